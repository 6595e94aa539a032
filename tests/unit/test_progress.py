# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress callback: where a run is, what it changed, and nothing else."""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from test_claim import REPO, claim, run

CHANGES = {"name": "Rules are in place", "ansible.builtin.command": "true"}
QUIET = {"name": "Nothing to do", "ansible.builtin.command": "true", "changed_when": False}
SKIPPED = {"name": "Not here", "ansible.builtin.command": "true", "when": "false"}


def play(name: str | None, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {"name": name} if name else {}
    return {**named, "hosts": "all", "gather_facts": False, "tasks": list(tasks), **more}


def output(folder: Path, *plays: dict[str, Any], options: str = "") -> str:
    out: str = run(folder, plays=list(plays), options=options, stdout="stronghold.llm.progress").stdout
    return re.sub(r"\d\d:\d\d", "00:00", out)


def test_phases_are_counted_over_the_whole_run_without_plays_that_have_no_name_hosts_or_tasks(
    tmp_path: Path,
) -> None:
    out = output(
        tmp_path,
        play("Zones: nobody passes", {**CHANGES, "tags": "zones"}),
        play(None, {**QUIET, "tags": "zones"}),
        play("Model: it answers", {**QUIET, "tags": "model"}),
        play("Nobody", {**QUIET, "tags": "zones"}, hosts="absent"),
        play("Batches", {**QUIET, "tags": "zones"}, serial=1),
        options="--tags zones",
    )
    headings = [line for line in out.splitlines() if line.startswith("[") and "WARNING" not in line]
    assert headings == ["[1/4] Zones: nobody passes  (00:00)", "[4/4] Batches  (00:00)"]
    assert "skipping" not in out


def test_a_task_has_a_line_only_if_it_changed_something(tmp_path: Path) -> None:
    loop = {**CHANGES, "name": "Each rule", "loop": [1, 2, 3]}
    out = output(tmp_path, play("Rules", CHANGES, QUIET, SKIPPED, loop), options="--limit edge1")
    assert out.split("PLAY RECAP")[0].splitlines() == [
        "[1/1] Rules  (00:00)",
        "  changed     edge1  Rules are in place",
        "  changed     edge1  Each rule",
        "",
    ]
    assert re.search(r"edge1 +: ok=3 +changed=2", out)
    assert "Total time 00:00" in out


def test_a_failure_is_shown_as_the_default_callback_shows_it(tmp_path: Path) -> None:
    broken = {"name": "Rules load", "ansible.builtin.command": "sh -c 'echo no such zone >&2; exit 3'"}
    out = output(tmp_path, play("Rules", broken), options="--limit edge1")
    assert "TASK [Rules load] ****" in out
    assert 'fatal: [edge1]: FAILED! => {"changed": true, "cmd": ["sh"' in out
    assert '"stderr": "no such zone"' in out


def test_a_claim_has_one_line_with_what_was_seen_or_why_not(tmp_path: Path) -> None:
    tasks = [
        claim("a.holds", True, value="fine"),
        claim("a.fails", "1 == 2", value="line one\n\033[2Jline two"),
        claim("a.open", [], unless="no card"),
        claim("a.loop", "item == 1", loop=[1, 2]),
    ]
    lines = output(tmp_path, play("Claims", *tasks), options="--limit edge1").splitlines()
    assert lines[1:6] == [
        "  proven      a.holds  edge1",
        r'  FAILED      a.fails  edge1  "line one\n\u001b[2Jline two"',
        "  not proven  a.open  edge1  no card",
        "  proven      a.loop  edge1",
        '  FAILED      a.loop  edge1  ["item == 1"]',
    ]


def test_what_a_playbook_says_and_warns_is_not_swallowed(tmp_path: Path) -> None:
    says = {"name": "Where", "ansible.builtin.debug": {"msg": "open build/evidence/index.html"}}
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "warn.py").write_text('#!/bin/sh\necho \'{"warnings": ["mind the gap"]}\'\n')
    retries = {
        **QUIET,
        "ansible.builtin.command": "false",
        "until": "r.rc == 0",
        "register": "r",
        "retries": 1,
    }
    retries |= {"delay": 0, "failed_when": False}
    out = output(tmp_path, play("All", says, {"warn": {}}, retries), options="--limit edge1")
    assert "[WARNING]: mind the gap" in out
    assert "  says        edge1  open build/evidence/index.html" in out
    assert "FAILED - RETRYING: [edge1]: Nothing to do (1 retries left)." in out


def test_a_diff_is_shown_with_its_task(tmp_path: Path) -> None:
    writes = {
        "name": "Rules file",
        "ansible.builtin.copy": {"content": "drop\n", "dest": f"{tmp_path}/rules"},
    }
    out = output(tmp_path, play("Rules", writes), options="--limit edge1 --diff --check")
    assert "TASK [Rules file]" in out
    assert "+drop" in out
    assert "  changed     edge1  Rules file" in out


def test_verbose_is_the_default_callback_with_the_phases(tmp_path: Path) -> None:
    out = output(tmp_path, play("Rules", QUIET, SKIPPED, claim("a.holds", True)), options="--limit edge1 -v")
    for text in (
        "PLAY [Rules]",
        "[1/1] Rules",
        "TASK [Nothing to do]",
        "ok: [edge1] =>",
        "skipping: [edge1]",
    ):
        assert text in out
    assert "  proven      a.holds  edge1" in out


def test_a_terminal_shows_the_running_task_and_wipes_it_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, plays=[play("Slow", {**CHANGES, "ansible.builtin.command": "sleep 1.5"})])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", f"{REPO}/collections")
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "stronghold.llm.progress")
    monkeypatch.setenv("ANSIBLE_PYTHON_INTERPRETER", sys.executable)
    seen = bytearray()

    def read(terminal: int) -> bytes:
        chunk = os.read(terminal, 4096)
        seen.extend(chunk)
        return chunk

    ansible_playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    argv = [ansible_playbook, "-i", "edge1,", "-c", "local", "site.yml"]
    assert pty.spawn(argv, read) == 0
    assert re.search(rb"\r\x1b\[K  Rules are in place  \(00:0[1-9]\)\r", seen)
    assert re.search(rb"\(00:0[1-9]\)\r\r\x1b\[K(\x1b\[[0-9;]*m)?  changed     edge1", seen), bytes(seen)
