# SPDX-License-Identifier: GPL-3.0-or-later
"""No line of a rotated log is lost, and without a crash none is sent twice."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.logs import follow
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program, as it lies on a host: beside `follow.py`."""
    sys.modules["follow"] = follow
    spec = importlib.util.spec_from_file_location(
        "follow_logs", ROOT / "roles/log_source/files/follow_logs.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Journal:
    """Keeps what it is sent; breaks when it is told to, as a kill would."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.dies_after: int | None = None

    def send(self, message: bytes, path: str) -> None:
        if self.dies_after is not None:
            if not self.dies_after:
                raise InterruptedError
            self.dies_after -= 1
        self.got.append(message.decode())


class Log:
    """A folder with one log, as nginx and logrotate treat it."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "access.log"
        self.writer = self.base.open("ab", buffering=0)
        self.written: list[str] = []

    def write(self, count: int) -> None:
        for _ in range(count):
            line = f'{{"time":"2026-01-01","request":{len(self.written)}}}'
            self.written.append(line)
            self.writer.write(line.encode() + b"\n")

    def rename(self) -> None:
        """nginx goes on with the renamed file until `reopen`."""
        shutil.rmtree(self.base.parent / "gone", ignore_errors=True)
        old = [self.base.with_suffix(f".log.{n}") for n in (1, 2)]
        if old[0].exists():
            old[0].replace(old[1])
        self.base.replace(old[0])
        self.base.touch()

    def reopen(self) -> None:
        self.writer = self.base.open("ab", buffering=0)

    def copytruncate(self) -> None:
        old = [self.base.with_suffix(f".log.{n}") for n in (1, 2)]
        if old[0].exists():
            old[0].replace(old[1])
        shutil.copyfile(self.base, old[0])
        self.base.open("r+b").truncate()


def deaths_and_rotations() -> Any:
    step = st.one_of(
        st.tuples(st.just("write"), st.integers(1, 5)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("rename"), st.integers(0, 3)),
        st.tuples(st.just("copytruncate"), st.just(0)),
        st.tuples(st.just("die"), st.integers(0, 6)),
    )
    return st.lists(step, max_size=25)


@given(steps=deaths_and_rotations())
@settings(max_examples=150, deadline=None)
def test_every_line_arrives_through_rotations_and_kills(
    program: ModuleType, steps: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, journal, state = Log(Path(folder)), Journal(), Path(folder) / "positions.json"
        read = lambda: program.read_on(log.base, journal, program.Positions(state))  # noqa: E731
        died = False
        for step, number in steps:
            match step:
                case "write":
                    log.write(number)
                case "read":
                    read()
                case "rename":
                    read()  # a day lies between two rotations: what is compressed has been read
                    log.rename()
                    log.write(number)
                    read()
                    log.write(number)  # nginx has not been told yet
                    log.reopen()
                case "copytruncate":
                    read()
                    log.copytruncate()
                    log.reopen()
                case "die":
                    journal.dies_after = number
                    try:
                        read()
                    except InterruptedError:
                        died = True
                    journal.dies_after = None
        read()
        assert set(journal.got) == set(log.written)
        assert died or sorted(journal.got) == sorted(log.written)


def test_a_line_that_is_not_whole_yet_waits_for_its_end(program: ModuleType, tmp_path: Path) -> None:
    log, journal, positions = tmp_path / "a.log", Journal(), program.Positions(tmp_path / "p")
    log.write_bytes(b"one\ntw")
    program.read_on(log, journal, positions)
    assert journal.got == ["one"]
    log.write_bytes(b"one\ntwo\n")
    program.read_on(log, journal, positions)
    assert journal.got == ["one", "two"]


def test_a_line_longer_than_a_datagram_comes_in_pieces(program: ModuleType, tmp_path: Path) -> None:
    log, journal = tmp_path / "a.log", Journal()
    log.write_bytes(b"x" * (2 * program.READ_BYTES) + b"\nafter\n")
    program.read_on(log, journal, program.Positions(tmp_path / "p"))
    assert "".join(journal.got[:-1]) == "x" * (2 * program.READ_BYTES)
    assert max(map(len, journal.got)) <= follow.PIECE_BYTES
    assert journal.got[-1] == "after"


def test_a_file_that_reuses_the_inode_of_one_that_is_gone_is_read_from_its_start() -> None:
    known = [follow.Position(inode=7, offset=20, head=b"first of Monday\n")]
    assert follow.start(follow.LogFile(7, 400, b"first of Tuesday\nand more"), known) == 0


def test_a_file_that_was_cut_is_read_from_its_start_also_when_it_begins_as_before() -> None:
    head = b"a banner that is longer than what a file is known by\n" * 5
    known = [follow.Position(inode=7, offset=400, head=head[: follow.HEAD_BYTES])]
    assert follow.start(follow.LogFile(7, 300, head[: follow.HEAD_BYTES]), known) == 0


def test_of_two_files_that_begin_alike_each_goes_on_where_it_was() -> None:
    known = [follow.Position(7, 40, b"same\n"), follow.Position(8, 60, b"same\n")]
    assert follow.start(follow.LogFile(7, 90, b"same\nand"), known) == 40
    assert follow.start(follow.LogFile(8, 90, b"same\nand"), known) == 60


def test_a_copy_with_another_inode_is_known_by_how_it_begins() -> None:
    known = [follow.Position(inode=7, offset=16, head=b"first of Monday\n")]
    assert follow.start(follow.LogFile(8, 400, b"first of Monday\nand more"), known) == 16


def test_compressed_files_are_not_read(program: ModuleType, tmp_path: Path) -> None:
    for name in ("a.log", "a.log.1", "a.log.2.gz", "a.log.10", "a.log.tmp"):
        (tmp_path / name).touch()
    assert [path.name for path in program.series(tmp_path / "a.log")] == ["a.log.10", "a.log.1", "a.log"]


def test_a_message_may_hold_any_byte() -> None:
    entry = follow.datagram(b"a\nb=c\0", "/var/log/x")
    assert entry.endswith(b"MESSAGE\n\x06\0\0\0\0\0\0\0a\nb=c\0\n")


def test_what_is_remembered_can_be_read_by_the_next_start(program: ModuleType, tmp_path: Path) -> None:
    log, journal, state = tmp_path / "a.log", Journal(), tmp_path / "positions.json"
    log.write_bytes(b"one\n")
    program.read_on(log, journal, program.Positions(state))
    assert json.loads(state.read_text())[str(log)][0][1] == 4
    program.read_on(log, journal, program.Positions(state))
    assert journal.got == ["one"]
