# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit is touched exactly when it runs, or may run, with something else than what is on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.units import current
from ansible_collections.stronghold.llm.plugins.module_utils.units.current import Files, Record, Unit

NOW = Files("now", "monday")
RUNS = {"active": True, "enabled": True, "stale_definition": False, "moment": "start"}
READ = Record(NOW, "start")


@pytest.mark.parametrize(
    ("differs", "record", "refresh", "expected"),
    [
        ({}, READ, "reload", []),
        ({}, READ, "restart", []),
        ({}, Record(Files("older", "monday"), "start"), "reload", [["reload", "u"]]),
        ({}, Record(Files("older", "monday"), "start"), "restart", [["restart", "u"]]),
        # A run that died before it wrote anything down is made good as well.
        ({}, None, "reload", [["reload", "u"]]),
        ({"active": False}, None, "restart", [["start", "u"]]),
        ({"active": False}, READ, "reload", [["start", "u"]]),
        # It is being tried again by itself with the present files; or with others, put back since.
        ({"active": False, "starting": True}, READ, "restart", [["start", "u"]]),
        (
            {"active": False, "starting": True},
            Record(Files("now", "sunday"), "start"),
            "restart",
            [["restart", "u"]],
        ),
        ({"active": False, "starting": True}, None, "restart", [["restart", "u"]]),
        ({"enabled": False}, READ, "reload", [["enable", "u"]]),
        (
            {"stale_definition": True},
            Record(Files("older", "monday"), "start"),
            "reload",
            [["daemon-reload"], ["restart", "u"]],
        ),
        # Something else made the definition stale: systemd reads it, the running unit is left alone.
        ({"stale_definition": True}, READ, "restart", [["daemon-reload"]]),
        # It came back by itself after a crash or a reboot, with files that nobody has touched.
        ({"moment": "after a crash"}, READ, "restart", []),
        # Somebody touched a file and put it back, and the unit has not read in between.
        ({}, Record(Files("now", "sunday"), "start"), "restart", []),
        # Somebody changed a file, reloaded the unit, and put the file back: it runs with what nobody sees.
        ({"moment": "reload"}, Record(Files("now", "sunday"), "start"), "reload", [["reload", "u"]]),
    ],
)
def test_only_what_is_needed_is_done(
    differs: dict, record: Record | None, refresh: current.Refresh, expected: list
) -> None:
    assert current.commands("u", Unit(**{**RUNS, **differs}), record, NOW, refresh) == expected


def test_a_record_survives_being_written_down() -> None:
    assert Record.load(READ.dump()) == READ


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"files": {"content": "x"}, "moment": "y"}', "older form"]
)
def test_a_record_that_is_not_whole_counts_as_none(text: str) -> None:
    assert Record.load(text) is None


def test_a_changed_a_missing_and_an_empty_file_differ(tmp_path: Path) -> None:
    path = tmp_path / "file"
    seen = {current.look([path]).content}
    for content in ("", "one", "two"):
        path.write_text(content)
        seen.add(current.look([path]).content)
    assert len(seen) == 4


def test_the_same_content_written_again_differs_in_its_time_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("same")
    before = current.look([path])
    path.unlink()
    path.write_text("same")
    after = current.look([path])
    assert after.content == before.content
    assert after.times != before.times


def test_a_file_that_comes_into_a_folder_is_seen(tmp_path: Path) -> None:
    before = current.look([tmp_path])
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_text("")
    assert current.look([tmp_path]).content != before.content


def test_contents_cannot_move_from_one_file_to_the_next_unseen(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("xy")
    second.write_text("z")
    before = current.look([first, second])
    first.write_text("x")
    second.write_text("yz")
    assert current.look([first, second]).content != before.content


def test_the_order_of_files_is_no_difference(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    assert current.look(paths) == current.look(reversed(paths))
    assert current.record_path("u", paths) == current.record_path("u", list(reversed(paths)))


def test_two_roles_with_files_of_their_own_keep_records_of_their_own(tmp_path: Path) -> None:
    assert current.record_path("u", [tmp_path / "a"]) != current.record_path("u", [tmp_path / "b"])
