# SPDX-License-Identifier: GPL-3.0-or-later
"""No log is lost on its way to the store, whatever dies when, and everything old gets there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.logs import archive
from ansible_collections.stronghold.llm.plugins.module_utils.logs.archive import (
    Digest,
    JournalFile,
    Report,
    Rules,
    Step,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
DAY = 86400.0
RULES = Rules(close_after=DAY, archive_after=7 * DAY)
SEQUENCE = "0123456789abcdef" * 2
CLOSED = f"edge1@{SEQUENCE}-0000000000000001-00060fa000000000.journal"
DAMAGED = "edge1@00060fa000000000-4ef37f785406df8d.journal~"
PACKED = Digest(10, "aa")


def load_program() -> ModuleType:
    """The program, as it lies on a host: beside `archive.py`."""
    sys.modules["archive"] = archive
    path = ROOT / "roles/log_archive/files/archive_logs.py"
    spec = importlib.util.spec_from_file_location("archive_logs", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["archive_logs"] = module
    spec.loader.exec_module(module)
    return module


program = load_program()


def file(**differs: Any) -> JournalFile:
    return replace(JournalFile("edge1", CLOSED, size=100, active=False, age=8 * DAY), **differs)


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (file(active=True, age=DAY - 1), Step.KEEP),
        (file(active=True, age=DAY), Step.CLOSE),
        (file(age=7 * DAY - 1), Step.KEEP),
        (file(age=7 * DAY), Step.PACK),
        (file(packed=PACKED, age=0), Step.PACK),
        (file(packed=PACKED, stored=PACKED), Step.PACK),
        (file(size=0, packed=PACKED), Step.STORE),
        (file(size=0, packed=PACKED, stored=replace(PACKED, size=9)), Step.STORE),
        (file(size=0, packed=PACKED, stored=replace(PACKED, sha256="ab")), Step.STORE),
        (file(size=0, packed=PACKED, stored=PACKED), Step.REMOVE),
    ],
)
def test_the_next_step_follows_from_what_is_seen(seen: JournalFile, step: Step) -> None:
    assert archive.next_step(seen, RULES) is step


def test_a_tier_that_is_short_of_space_waits_for_no_age_but_closes_nothing_early() -> None:
    pressed = replace(RULES, pressed=True)
    assert archive.next_step(file(age=0), pressed) is Step.PACK
    assert archive.next_step(file(active=True, age=0), pressed) is Step.KEEP


digests = st.builds(Digest, st.integers(0, 3), st.sampled_from(["aa", "ab"]))


@given(
    seen=st.builds(
        JournalFile,
        host=st.just("edge1"),
        name=st.just(CLOSED),
        size=st.integers(0, 2),
        active=st.booleans(),
        age=st.floats(0, 20 * DAY),
        packed=st.none() | digests,
        stored=st.none() | digests,
    ),
    rules=st.builds(Rules, st.floats(0, 9 * DAY), st.floats(0, 9 * DAY), st.booleans()),
)
def test_nothing_is_removed_that_the_store_has_not_given_back(seen: JournalFile, rules: Rules) -> None:
    if seen.packed is None and not seen.size:
        return  # no such file
    if archive.next_step(seen, rules) is Step.REMOVE:
        assert not seen.active
        assert seen.size == 0
        assert seen.stored is not None
        assert seen.stored == seen.packed


@pytest.mark.parametrize("name", [CLOSED, DAMAGED])
def test_the_key_says_host_and_month_of_the_first_entry(name: str) -> None:
    assert archive.key("edge1", name) == f"edge1/2024/01/{name}.zst"


def test_a_file_that_is_still_written_has_no_key() -> None:
    with pytest.raises(ValueError, match="not the name of a closed journal file"):
        archive.key("edge1", "edge1.journal")


def test_a_full_tier_opens_again_at_twice_the_room() -> None:
    assert archive.shut(99, 100, shut_now=False)
    assert not archive.shut(100, 100, shut_now=False)
    assert archive.shut(199, 100, shut_now=True)
    assert not archive.shut(200, 100, shut_now=True)


def journal(first: int, last: int, state: int = archive.ARCHIVED, filling: bytes = b"") -> bytes:
    """The header of a journal file (constructed), with something after it."""
    header = bytearray(archive.HEADER_BYTES)
    header[:8] = archive.MAGIC
    header[archive.STATE] = state
    header[archive.SEQNUM_ID : archive.SEQNUM_ID + 16] = bytes.fromhex(SEQUENCE)
    for at, value in (
        (archive.HEAD_SEQNUM, 1),
        (archive.HEAD_REALTIME, first),
        (archive.TAIL_REALTIME, last),
    ):
        header[at : at + 8] = value.to_bytes(8, "little")
    return bytes(header) + filling


def test_the_header_of_a_real_journal_file_is_read() -> None:
    """Of systemd 257 on the lab's edge1: the first 240 bytes."""
    header = archive.Header.read((ROOT / "tests/fixtures/logs/edge1.journal.head").read_bytes())
    assert header
    assert not header.archived
    name = header.closed_name("edge1")
    assert archive.CLOSED.fullmatch(name)
    assert archive.key("edge1", name).startswith("edge1/2026/11/edge1@")
    assert header.head_usec < header.tail_usec


def test_what_is_no_journal_file_is_left_alone() -> None:
    assert archive.Header.read(b"#!/bin/sh") is None
    assert archive.Header.read(b"x" * 1000) is None


class Away(ConnectionError):
    pass


class Killed(BaseException):
    """A kill -9: nothing may catch it."""


class Faults:
    """Counts what touches disk and store, and dies or breaks at one of them."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.error: type[BaseException] = Killed

    def point(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise self.error

    def around(self, function: Any) -> Any:
        """Dies before, or after."""

        def faulty(*arguments: Any, **named: Any) -> Any:
            self.point()
            result = function(*arguments, **named)
            self.point()
            return result

        return faulty


class MemoryStore:
    def __init__(self, faults: Faults) -> None:
        self.objects: dict[str, bytes] = {}
        self.up = True
        self.spoils = False
        self._faults = faults

    def put(self, key: str, path: Path, digest: Digest) -> None:
        self._reached()
        data = path.read_bytes()
        assert program.digest_of(iter([data])) == digest
        self.objects[key] = data[:-1] if self.spoils else data
        self._faults.point()

    def digest(self, key: str) -> Digest | None:
        self._reached()
        return program.digest_of(iter([self.objects[key]])) if key in self.objects else None

    def _reached(self) -> None:
        self._faults.point()
        if not self.up:
            raise Away("nobody listens")


class World:
    """A warm tier, a store, and the entries that must never be lost."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.now = root, 100 * DAY
        self.faults = Faults()
        self.store = MemoryStore(self.faults)
        self.contents: list[bytes] = []
        patch.setattr(program, "stop_receiver", lambda host: self.faults.point())
        patch.setattr(Path, "rename", self.faults.around(Path.rename))
        patch.setattr(Path, "unlink", self.faults.around(Path.unlink))

    def write(self, host: str, active: bool, age_days: float) -> None:
        folder = self.root / host
        folder.mkdir(exist_ok=True)
        first = int((self.now - age_days * DAY) * 1_000_000) + len(self.contents)
        data = journal(first, first, state=1 if active else archive.ARCHIVED, filling=os.urandom(40))
        header = archive.Header.read(data)
        assert header
        path = folder / (f"{host}.journal" if active else header.closed_name(host))
        if not path.exists():
            path.write_bytes(data)
            self.contents.append(data)

    def run(self) -> Any:
        run = program.Run(program.Warm(self.root), self.store, RULES)
        run.go(self.now)
        return run

    def take(self, step: str, number: Any, age: Any) -> None:
        match step:
            case "write":
                self.write("edge1", active=number, age_days=age)
            case "day":
                self.now += number * DAY
            case "store":
                self.store.up = number
            case "killed" | "fault":
                self.faults.left = number
                self.faults.error = Killed if step == "killed" else OSError
                try:
                    self.run()
                except Killed:
                    pass
                finally:
                    self.faults.left = None

    def kept(self) -> set[bytes]:
        """All contents that can still be read, wherever."""
        local = [path for path in self.root.rglob("*") if path.is_file()]
        found = {path.read_bytes() for path in local if ".zst" not in path.name}
        packed = [path.read_bytes() for path in local if path.name.endswith(".zst")]
        return found | {unpacked(data) for data in [*packed, *self.store.objects.values()]}


def unpacked(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=True).stdout


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def local_files(world: World) -> list[str]:
    return sorted(path.name for path in world.root.rglob("*") if path.is_file())


# Files come, time passes, the store goes or comes, a run dies or meets a fault at its nth operation.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.booleans(), st.floats(0, 10)),
        st.tuples(st.just("day"), st.integers(1, 4), st.none()),
        st.tuples(st.just("store"), st.booleans(), st.none()),
        st.tuples(st.just("killed"), st.integers(0, 14), st.none()),
        st.tuples(st.just("fault"), st.integers(0, 14), st.none()),
    ),
    max_size=12,
)


@given(steps=steps)
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_whatever_dies_when_and_all_that_is_old_gets_there(
    steps: list[tuple[str, Any, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = World(Path(folder), patch)
        for step, number, age in steps:
            world.take(step, number, age)
            assert world.kept() >= set(world.contents)
        world.store.up = True
        world.now += 30 * DAY
        world.run()
        assert world.run().failures == 0
        assert local_files(world) == []
        assert {unpacked(data) for data in world.store.objects.values()} == set(world.contents)


def test_a_run_killed_between_storing_and_removing_is_followed_by_one_that_only_removes(world: World) -> None:
    world.write("edge1", active=False, age_days=8)
    world.store.up = False
    world.run()
    world.store.up = True
    world.faults.left = 4  # digest, put and its end, digest; the next is the removal
    with pytest.raises(Killed):
        world.run()
    world.faults.left = None
    assert len(world.store.objects) == 1
    assert len(local_files(world)) == 1
    world.store.put = None  # type: ignore[assignment,method-assign]  # nothing is stored again
    assert world.run().failures == 0
    assert local_files(world) == []


def test_while_the_store_is_away_files_are_packed_and_wait(world: World) -> None:
    for age in (8, 9, 10):
        world.write("edge1", active=False, age_days=age)
    world.store.up = False
    assert world.run().failures == 1  # said once, not for each file
    assert [name.endswith(".journal.zst") for name in local_files(world)] == [True] * 3
    assert world.kept() == set(world.contents)


def test_a_store_that_gives_back_something_else_keeps_the_file_here(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write("edge1", active=False, age_days=8)
    world.store.spoils = True
    assert world.run().failures == 1
    assert len(local_files(world)) == 1
    assert "stays on the warm tier: the store gives back" in capsys.readouterr().err


def test_a_file_that_does_not_unpack_to_itself_is_kept_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A compressor that loses bytes, as on a bad disk."""
    world.write("edge1", active=False, age_days=8)
    good, lossy = program.ZSTD, tmp_path.parent / "lossy"
    lossy.write_text(
        '#!/bin/sh\n[ "$2" != -9 ] || { head -c 50 "$4" | zstd -q >"$6"; exit; }\nexec zstd "$@"\n'
    )
    lossy.chmod(0o755)
    monkeypatch.setattr(program, "ZSTD", [str(lossy), "-q"])
    assert world.run().failures == 1
    assert world.store.objects == {}
    monkeypatch.setattr(program, "ZSTD", good)
    assert world.run().failures == 0
    assert {unpacked(data) for data in world.store.objects.values()} == set(world.contents)


def test_one_bad_file_does_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for age in (8, 9):
        world.write("edge1", active=False, age_days=age)
    pack, bad = program.Warm.pack, min(local_files(world))

    def packing(warm: Any, packed: JournalFile) -> None:
        if packed.name == bad:
            raise OSError("Input/output error")
        pack(warm, packed)

    monkeypatch.setattr(program.Warm, "pack", packing)
    assert world.run().failures == 1
    assert local_files(world) == [bad]


def test_other_files_in_the_folder_are_not_touched(world: World) -> None:
    world.write("edge1", active=True, age_days=0.5)
    (world.root / "edge1/notes.txt").write_text("mine")
    (world.root / "edge1/user-1000.journal").write_bytes(journal(1, 1))
    (world.root / ".lock").touch()
    world.now += 300 * DAY
    world.run()
    assert local_files(world) == [".lock", "notes.txt", "user-1000.journal"]


def test_metrics_say_what_waits_and_for_how_long() -> None:
    waiting = [file(), file(size=0, packed=Digest(40, "aa"), age=9 * DAY), file(active=True, age=5)]
    report = Report(
        waiting,
        failures=1,
        last_success=5,
        free_bytes=7,
        size_bytes=9,
        receiving=True,
        last_entry={"edge1": 4},
    )
    text = archive.metrics(report)
    for line in (
        "stronghold_log_archive_backlog_files 2",
        "stronghold_log_archive_warm_bytes 240",
        f"stronghold_log_archive_oldest_seconds {round(9 * DAY)}",
        "stronghold_log_archive_failures 1",
        "stronghold_log_archive_last_success_timestamp_seconds 5",
        "stronghold_log_archive_receiving 1",
        'stronghold_log_archive_last_entry_timestamp_seconds{source="edge1"} 4',
    ):
        assert line in text.splitlines()


def test_a_failed_run_keeps_the_time_of_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "METRICS", tmp_path / "log_archive.prom")
    assert program.last_success() == 0
    program.publish(archive.metrics(Report([], 0, 1234, 1, 1, True)))
    assert program.last_success() == 1234
