# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway, asked from the client's host: attacks around a prompt are blocked, prompts never are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.site import Site
from tests.integration.conftest import playbook, secret

CORPUS = Path(__file__).parent / "gateway_corpus"
Probe = Callable[[list[dict[str, Any]]], dict[str, Any]]


@pytest.fixture
def probe(lab: Site, tmp_path: Path) -> Probe:
    """Runs the module `http_probe` on the client's host and returns its report by group."""

    def ask(cases: list[dict[str, Any]]) -> dict[str, Any]:
        edge, answer = lab.host("edge"), tmp_path / "answer.json"
        questions = tmp_path / "cases.json"
        questions.write_text(json.dumps(cases))
        asked = {
            "url": f"https://{edge.ipv4}:443",
            "server_hostname": edge.name,
            "ca_path": "/etc/stronghold/tls/ca.pem",
            "bearer": secret("api_key_demo"),
            # From a file: prompts that look like templates must not be taken for ones.
            "cases": f"{{{{ lookup('ansible.builtin.file', '{questions}') | from_json }}}}",
        }
        book = [
            {
                "hosts": "client",
                "become": True,
                "gather_facts": False,
                "tasks": [
                    {"stronghold.llm.http_probe": asked, "register": "seen"},
                    {
                        "ansible.builtin.copy": {
                            "content": "{{ seen.by_group | to_json }}",
                            "dest": str(answer),
                            "mode": "0600",
                        },
                        "delegate_to": "localhost",
                        "become": False,
                    },
                ],
            }
        ]
        path = tmp_path / "probe.yml"
        path.write_text(json.dumps(book))
        done = playbook(book=str(path))
        assert done.returncode == 0, done.stdout
        return json.loads(answer.read_text())

    return ask


SLOW_KEY = {
    "name": "slow",
    "key": "a-key-with-a-rate-of-three-in-a-minute",
    "requests_per_minute": 3,
    "max_tokens": 8,
}


def chat(model: str, prompt: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": prompt}]}


def test_attacks_around_the_prompt_are_blocked(lab: Site, probe: Probe) -> None:
    text = (CORPUS / "attacks.json").read_text().replace('"MODEL"', json.dumps(lab.model))
    cases = json.loads(text)
    [report] = probe(cases).values()
    assert report["asked"] == len(cases) >= 40
    assert report["missed"] == []


def test_harmless_prompts_that_look_like_attacks_are_answered(lab: Site, probe: Probe) -> None:
    prompts = json.loads((CORPUS / "prompts.json").read_text())
    cases = [
        {
            "name": prompt["name"],
            "method": "POST",
            "path": "/v1/chat/completions",
            "body": chat(lab.model, prompt["prompt"]),
            "expect_status": [200],
        }
        for prompt in prompts
    ]
    [report] = probe(cases).values()
    assert report["asked"] == len(prompts) >= 28
    assert report["missed"] == []


def test_a_key_is_held_to_its_requests_a_minute(lab: Site, probe: Probe) -> None:
    """With a key of a rate of its own, put beside the site's for the time of the test."""
    done = playbook("-e", json.dumps({"stronghold_api_keys": [SLOW_KEY]}), "--tags", "gateway")
    assert done.returncode == 0, done.stdout
    try:
        case = {
            "name": "again and again",
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": {"Authorization": f"Bearer {SLOW_KEY['key']}"},
            "bearer": False,
            "body": chat(lab.model, "Say yes."),
            "expect_status": [200],
        }
        [report] = probe([case] * 12).values()
        statuses = [result["status"] for result in report["results"]]
        # A minute of the clock may end in between: then twice the rate passes, and never more.
        assert 3 <= statuses.count(200) <= 6
        assert statuses.count(429) == 12 - statuses.count(200)
    finally:
        assert playbook("--tags", "gateway").returncode == 0


def test_prompts_are_in_no_log(on, probe: Probe, lab: Site) -> None:
    marked = "zebra-in-the-prompt"
    attack = {"name": "blocked", "path": "/v1/chat/completions?q=%3Cscript%3E", "expect_status": [403]}
    answered = {"name": "answered", "path": "/v1/chat/completions", "expect_status": [200]}
    both = [
        {**case, "method": "POST", "body": chat(lab.model, f"{marked} ' OR 1=1")}
        for case in (attack, answered)
    ]
    [report] = probe(both).values()
    assert report["missed"] == []
    logs = on("edge").check_output("cat /var/log/nginx/*")
    assert '"status":200' in logs
    assert '"status":403' in logs
    assert marked not in logs
