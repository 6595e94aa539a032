# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim action: what it answers, and that the play goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.claims import (
    Claim,
    Condition,
    settle,
    summarise,
)
from ansible_collections.stronghold.llm.plugins.modules import claim as documentation

REPO = Path(__file__).parents[2]
TRUE, FALSE = Condition("a == 1", True), Condition("b == 2", False)
BROKEN = Condition("c.rc == 0", False, "'c' is undefined")


def judged(*conditions: Condition, **more: Any) -> Claim:
    about = {"id": "edge.tls13_only", "host": "edge1", "how": "a look", "when": "2026-11-25T02:40:22+00:00"}
    return Claim.judged(**about, conditions=conditions, **{"value": None, **more})


@pytest.mark.parametrize(
    ("claim", "status", "reason", "failed"),
    [
        (judged(TRUE), "proven", "", ()),
        (judged(TRUE, FALSE), "failed", "", ("b == 2",)),
        (judged(TRUE, BROKEN), "failed", "", ("c.rc == 0: 'c' is undefined",)),
        (judged(FALSE, unless="no card"), "not_proven", "no card", ()),
        (judged(BROKEN, check_mode=True), "not_proven", "check mode", ()),
        (judged(FALSE, check_mode=True), "not_proven", "check mode", ()),
        (judged(TRUE, check_mode=True), "proven", "", ()),
    ],
)
def test_one_condition_that_does_not_hold_is_enough(
    claim: Claim, status: str, reason: str, failed: tuple[str, ...]
) -> None:
    assert (claim.status, claim.reason, claim.failed_conditions) == (status, reason, failed)


def test_what_was_seen_stands_before_why_nothing_was_seen() -> None:
    assert judged(BROKEN).value == "'c' is undefined"
    assert judged(BROKEN, value={"rc": 1}).value == {"rc": 1}


@pytest.mark.parametrize("order", [("proven", "not_proven", "failed"), ("failed", "not_proven", "proven")])
def test_a_later_success_does_not_hide_a_failure(order: tuple[str, ...]) -> None:
    claims = [Claim("a.b", status, "edge1", "how", None, "now") for status in order]  # type: ignore[arg-type]
    assert [claim.status for claim in settle(claims)] == ["failed"]
    assert [claim.status for claim in settle(claims[:2] if order[0] == "proven" else claims[1:])] == [
        "not_proven"
    ]


def test_claims_are_in_one_order_whatever_the_order_of_the_hosts() -> None:
    keys = [("z.a", "a"), ("a.b", "z"), ("a.b", "a")]
    settled = settle(Claim(name, "proven", host, "how", None, "now") for name, host in keys)
    assert [(claim.id, claim.host) for claim in settled] == sorted(keys)
    assert summarise(settled) == {"failed": 0, "not_proven": 0, "proven": 3}


def test_a_record_comes_back_as_the_claim_it_was() -> None:
    for claim in (judged(TRUE), judged(FALSE), judged(TRUE, unless="no card")):
        assert Claim.from_record(json.loads(json.dumps(claim.record()))) == claim


# The action itself, in real runs on two hosts that are this machine.

# What playbooks/verify.yml ends with.
CLOSING: dict[str, Any] = yaml.safe_load(documentation.EXAMPLES)[-1]


def claim(name: str, that: Any, **more: Any) -> dict[str, Any]:
    task = {key: more.pop(key) for key in TASK_KEYS & more.keys()}
    return {"name": name, "stronghold.llm.claim": {"id": name, "how": "a look", "that": that, **more}, **task}


TASK_KEYS = {"loop", "run_once", "delegate_to", "delegate_facts", "no_log", "vars"}


def run(
    folder: Path, *tasks: dict[str, Any], options: str = "", plays: Any = None, stdout: str = "default"
) -> Any:
    """A playbook with these tasks, then the closing play. Its output is in `stdout`, errors too."""
    first = {"name": "Claims", "hosts": "all", "gather_facts": False, "tasks": list(tasks)}
    last = {"name": "The end", "hosts": "all", "gather_facts": False, "tasks": [CLOSING]}
    (folder / "site.yml").write_text(yaml.safe_dump(plays or [first, last]))
    (folder / "ansible.cfg").write_text("[defaults]\ncallbacks_enabled = stronghold.llm.evidence\n")
    ansible_playbook = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [ansible_playbook, "-i", "edge1,core1", "-c", "local", *options.split(), "site.yml"],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": f"{REPO}/collections",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_STDOUT_CALLBACK": stdout,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def evidence(folder: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads((folder / "build/evidence/evidence.json").read_text())
    return records


def statuses(folder: Path) -> dict[str, dict[str, str]]:
    """The status of each claim by id, then host."""
    found: dict[str, dict[str, str]] = {}
    for record in evidence(folder):
        found.setdefault(record["id"], {})[record["host"]] = record["status"]
    return found


def both(status: str) -> dict[str, str]:
    return {"core1": status, "edge1": status}


def test_claims_that_fail_let_the_play_go_on_and_the_last_play_names_them(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        claim("a.holds", ["answer.code == 200"], vars={"answer": {"code": 200}}, value="{{ answer }}"),
        claim("a.is_false", ["1 == 1", "1 == 2"], value="seen"),
        claim("a.undefined", "probe.rc == 0"),
        claim("a.value_undefined", True, value={"rc": "{{ probe.rc }}"}),
        claim("a.unless_undefined", True, unless="{{ probe.reason }}"),
        claim("a.list_by_template", "{{ conditions }}", vars={"conditions": ["1 == 1", "2 == 2"]}),
        claim(
            "a.no_card", "probe.rc == 0", unless="no card in {{ inventory_hostname }}", value="{{ probe }}"
        ),
        claim("a.last", True, unless=""),
    )
    failed = ["a.is_false", "a.undefined", "a.unless_undefined", "a.value_undefined"]
    assert statuses(tmp_path) == {
        "a.holds": both("proven"),
        "a.last": both("proven"),
        "a.list_by_template": both("proven"),
        "a.no_card": both("not_proven"),
        **dict.fromkeys(failed, both("failed")),
    }
    by_id = {record["id"]: record for record in evidence(tmp_path) if record["host"] == "edge1"}
    assert by_id["a.holds"]["value"] == {"code": 200}
    assert by_id["a.is_false"]["failed_conditions"] == ["1 == 2"]
    assert "'probe' is undefined" in by_id["a.undefined"]["value"]
    assert "'probe' is undefined" in by_id["a.value_undefined"]["value"]
    assert by_id["a.no_card"]["reason"] == "no card in edge1"
    assert result.returncode != 0
    for host in ("core1", "edge1"):
        assert f'Action failed: a.is_false on {host}: "seen"\na.undefined on {host}: "' in result.stdout


def test_a_failure_in_a_loop_once_or_delegated_reaches_the_last_play_of_its_host(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        claim("b.before", "inventory_hostname == 'edge1'"),
        claim("b.loop", "item != 2", loop=[1, 2, 3], value="{{ item }}"),
        claim("b.once", "1 == 2", run_once=True),
        claim("b.delegated", "inventory_hostname == 'edge1'", delegate_to="localhost"),
    )
    mixed = {"core1": "failed", "edge1": "proven"}
    assert statuses(tmp_path) == {
        "b.before": mixed,
        "b.delegated": mixed,
        "b.loop": both("failed"),
        "b.once": {"edge1": "failed"},
    }
    assert 'failed: b.loop on edge1: 2\nb.once on edge1: ["1 == 2"]\nOrigin' in result.stdout
    core1 = "failed: b.before on core1: .*\nb.delegated on core1: .*\nb.loop on core1: 2\nOrigin"
    assert re.search(core1, result.stdout)


def test_when_all_claims_hold_or_say_why_not_the_run_passes(tmp_path: Path) -> None:
    assert run(tmp_path, claim("c.a", True), claim("c.b", [], unless="no tape")).returncode == 0
    assert statuses(tmp_path) == {"c.a": both("proven"), "c.b": both("not_proven")}


def test_a_dry_run_on_a_bare_host_fails_no_claim_and_keeps_the_evidence_of_the_real_run(
    tmp_path: Path,
) -> None:
    looked = {"ansible.builtin.command": "test -e /nonexistent", "register": "probe", "changed_when": False}
    run(tmp_path, claim("d.earlier", True))
    built = [claim("d.built", "probe.stdout == 'x'"), claim("d.undefined", "nope")]
    result = run(tmp_path, looked, *built, options="--check")
    assert result.returncode == 0, result.stdout
    assert statuses(tmp_path) == {"d.earlier": both("proven")}


@pytest.mark.parametrize("template", ["{{ 7 * 6 }}", "{{ nope }}", "{% raw %}"])
def test_what_a_host_answers_is_never_taken_for_a_template(tmp_path: Path, template: str) -> None:
    (tmp_path / "answer").write_text(template)
    says = {"ansible.builtin.command": f"cat {tmp_path}/answer", "register": "probe"}
    run(tmp_path, says, claim("e.answer", "1 == 2", value="{{ probe.stdout }}"))
    assert {record["value"] for record in evidence(tmp_path)} == {template}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (claim("Edge.TLS", True), "id 'Edge.TLS' is not two or more words"),
        (claim("edge", True), "id 'edge' is not two or more words"),
        (claim("edge.tls", []), "edge.tls states no condition"),
        (claim("edge.tls", "{{ [] }}", unless=" "), "edge.tls states no condition"),
        (claim("edge.tls", True, how=" "), "edge.tls does not say how it is proven"),
        (claim("edge.tls", True, unless=True), "edge.tls: unless is True"),
        (claim("edge.tls", True, because="x"), "Unsupported parameters"),
        (claim("edge.tls", True, no_log=True), "leave secrets out of value"),
        (claim("edge.tls", True, delegate_facts=True), "remove delegate_facts"),
        ({"stronghold.llm.claim": {"id": "edge.tls", "that": True}}, "missing required arguments: how"),
    ],
)
def test_a_claim_that_is_badly_written_fails_its_task(
    tmp_path: Path, task: dict[str, Any], message: str
) -> None:
    result = run(tmp_path, task, options="--limit edge1")
    assert result.returncode != 0
    assert message in result.stdout
    assert result.stdout.count("[ERROR]") == 1, result.stdout
    assert not (tmp_path / "build").exists()


def test_a_drawing_is_in_the_report_and_one_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "edge1.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    drawn = claim("a.drawn", True, figure=str(tmp_path / "edge1.svg"))
    lost = claim("a.lost", True, figure=str(tmp_path / "none.svg"))
    result = run(tmp_path, drawn, lost)
    assert "a.lost: figure" in result.stdout
    assert "none.svg: No such file or directory" in result.stdout
    records = json.loads((tmp_path / "build/evidence/evidence.json").read_text())
    assert {record["figure"] for record in records} == {"<svg xmlns='http://www.w3.org/2000/svg'/>"}
