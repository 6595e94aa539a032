# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: complete, safe to open, and never lost."""

from __future__ import annotations

import json
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.claims import Claim, plain
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.report import LONG, Run, render
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.store import (
    write_atomically,
    write_evidence,
)
from test_claim import both, claim, evidence, run, statuses

RUN = Run("site.yml", "inventories/lab", "2026-11-25T02:40:22+00:00", "limit edge")
ATTACK = "</code><script>alert(1)</script>\"'&"


def stated(name: str = "edge.tls13_only", status: Any = "proven", host: str = "edge1", **more: Any) -> Claim:
    return Claim(name, status, host, **{"how": "a look", "value": None, "when": "now", **more})


class Page(HTMLParser):
    """What a browser makes of the page: its elements, its attributes and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += [data.strip()] if data.strip() else []


def test_nothing_that_a_host_or_a_playbook_says_becomes_markup() -> None:
    hostile = stated(
        status="failed", host=ATTACK, how=ATTACK, value=ATTACK, when=ATTACK, failed_conditions=(ATTACK,)
    )
    long = stated("edge.long", value={"answer": ATTACK * 10})
    unproven = stated("edge.none", "not_proven", reason=ATTACK)
    page = Page(render([hostile, long, unproven], Run(ATTACK, ATTACK, ATTACK, ATTACK)))
    assert "script" not in page.tags
    assert page.text.count(ATTACK) == 9  # each as text, entire


def test_a_drawing_is_shown_where_no_script_in_it_could_run() -> None:
    figure = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    page = Page(render([stated(figure=figure)], RUN))
    assert "script" not in page.tags
    source = dict(page.attributes)["src"]
    assert source is not None
    assert b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode() == figure


def test_the_page_loads_nothing() -> None:
    page = Page(render([stated(value={"url": "https://example.org/x.js"})], RUN))
    assert not {"script", "link", "img", "iframe"} & page.tags
    assert not {"src", "href"} & {name for name, _ in page.attributes}


def test_failures_stand_first_and_every_status_is_a_word() -> None:
    claims = [
        stated("aa.fine"),
        stated("zz.fine"),
        stated("zz.late", "failed", failed_conditions=("x == 1",)),
        stated("mm.open", "not_proven", reason="no card"),
    ]
    text = Page(render(claims, RUN)).text
    order = ["zz", "zz.late", "zz.fine", "mm", "mm.open", "aa", "aa.fine"]
    assert [word for word in text if word in order] == order
    assert {"failed", "not proven", "proven", "not so: x == 1", "no card", "limit edge"} <= set(text)


def test_a_long_value_is_folded_and_complete() -> None:
    value = {"cells": [f"cell {number}" for number in range(LONG)]}
    page = Page(render([stated(value=value)], RUN))
    assert "details" in page.tags
    assert json.dumps(value, indent=2) in page.text


@pytest.mark.parametrize("value", [{1, 2}, {"b": b"bytes"}, {("a", "b"): 1}, object()])
def test_a_value_without_a_form_in_json_is_still_shown(value: Any) -> None:
    assert json.dumps(plain(value))


def test_what_has_no_form_in_json_does_not_take_the_rest_of_the_value_with_it() -> None:
    assert plain({"rc": 1, "out": b"bytes"}) == {"rc": 1, "out": "b'bytes'"}


def test_a_disk_that_fills_up_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "evidence.json"
    write_atomically(report, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_atomically(report, "new")
    assert report.read_text() == "old"
    assert list(tmp_path.iterdir()) == [report]


def test_a_claim_that_no_page_can_show_leaves_the_old_report(tmp_path: Path) -> None:
    write_evidence(tmp_path, [stated()], RUN)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write_evidence(tmp_path, [stated(value=object())], RUN)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
    assert sorted(before) == ["evidence.json", "index.html"]


# The callback, in real runs.


def test_a_run_without_claims_keeps_the_evidence_and_a_whole_run_replaces_it(tmp_path: Path) -> None:
    run(tmp_path, claim("a.first", True))
    run(tmp_path, {"ansible.builtin.debug": {"msg": "no claim here"}})
    assert statuses(tmp_path) == {"a.first": both("proven")}
    result = run(tmp_path, claim("a.second", True))
    assert statuses(tmp_path) == {"a.second": both("proven")}
    page = tmp_path / "build/evidence/index.html"
    assert f"Evidence: 0 failed, 0 not proven, 2 proven: {page}" in result.stdout


def test_a_run_with_a_limit_replaces_what_it_looked_at_and_nothing_else(tmp_path: Path) -> None:
    run(tmp_path, claim("a.first", True), claim("a.second", True))
    run(tmp_path, claim("a.second", False), options="--limit edge1")
    assert statuses(tmp_path) == {
        "a.first": both("proven"),
        "a.second": {"core1": "proven", "edge1": "failed"},
    }
    assert "limit edge1" in (tmp_path / "build/evidence/index.html").read_text()


def test_a_limited_run_over_a_report_that_cannot_be_read_writes_its_own(tmp_path: Path) -> None:
    report = tmp_path / "build/evidence/evidence.json"
    report.parent.mkdir(parents=True)
    report.write_text("[{}")
    run(tmp_path, claim("a.first", True), options="--limit edge1")
    assert statuses(tmp_path) == {"a.first": {"edge1": "proven"}}


def test_claims_before_a_task_that_fails_are_kept(tmp_path: Path) -> None:
    assert run(tmp_path, claim("a.early", True), {"ansible.builtin.fail": {"msg": "x"}}).returncode == 2
    assert statuses(tmp_path) == {"a.early": both("proven")}


def test_other_tasks_cannot_state_claims(tmp_path: Path) -> None:
    forged = {"id": "a.forged", "status": "proven", "host": "edge1", "how": "", "value": None, "when": ""}
    (tmp_path / "claim.json").write_text(json.dumps({"claim": forged, "changed": False}))
    module = tmp_path / "library" / "forge.py"
    module.parent.mkdir()
    module.write_text(f"#!/bin/sh\ncat {tmp_path}/claim.json\n")
    result = run(
        tmp_path, {"forge": {}, "register": "forged"}, claim("a.real", "forged.claim.id == 'a.forged'")
    )
    assert result.returncode == 0, result.stdout
    assert {record["id"] for record in evidence(tmp_path)} == {"a.real"}
