# SPDX-License-Identifier: GPL-3.0-or-later
"""A model that is used never leaves the hot tier, and none leaves it that cannot be brought back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.models import (
    evicting,
    hot_tier,
    room,
    serving,
    weights,
)
from ansible_collections.stronghold.llm.plugins.module_utils.models.evicting import Eviction, Refusal, Stored
from hypothesis import given
from hypothesis import strategies as st

MODELS = st.lists(
    st.builds(
        Stored,
        model=st.text("abc", min_size=1),
        digest=st.just("0" * 16),
        files=st.just(()),
        size=st.integers(1, 100),
        last_used=st.floats(0, 100),
        used_by=st.sampled_from(["", "", "a unit"]),
        not_archived=st.sampled_from(["", "", "no object"]),
    ),
    unique_by=lambda model: model.model,
)
BYTES = st.integers(0, 300)


@given(models=MODELS, need=BYTES, free=BYTES, keep=BYTES)
def test_none_that_is_used_or_not_archived_ever_goes(
    models: list[Stored], need: int, free: int, keep: int
) -> None:
    choice = evicting.choose(models, need, free, keep)
    if isinstance(choice, Eviction):
        assert [model for model in choice.go if model.used_by or model.not_archived] == []


@given(models=MODELS, need=BYTES, free=BYTES, keep=BYTES)
def test_enough_goes_or_nothing_does_and_the_numbers_are_said(
    models: list[Stored], need: int, free: int, keep: int
) -> None:
    choice = evicting.choose(models, need, free, keep)
    could = sum(model.size for model in models if not model.used_by and not model.not_archived)
    if isinstance(choice, Eviction):
        assert choice.freed == sum(model.size for model in choice.go)
        assert free + choice.freed >= need + keep or (not choice.go and need + keep <= free)
    else:
        assert (choice.short, choice.could_free) == (need + keep - free, could)
        assert could < choice.short


@given(models=MODELS, need=BYTES, free=BYTES, keep=BYTES)
def test_none_goes_that_could_have_stayed(models: list[Stored], need: int, free: int, keep: int) -> None:
    choice = evicting.choose(models, need, free, keep)
    if isinstance(choice, Eviction):
        assert [model for model in choice.go if free + choice.freed - model.size >= need + keep] == []


@given(models=MODELS, need=BYTES, free=BYTES, keep=BYTES)
def test_one_used_later_goes_only_where_those_before_it_are_too_small(
    models: list[Stored], need: int, free: int, keep: int
) -> None:
    choice = evicting.choose(models, need, free, keep)
    if isinstance(choice, Eviction) and choice.go:
        newest = max((model.last_used, model.name) for model in choice.go)
        before = [
            model
            for model in models
            if (model.last_used, model.name) < newest and not model.used_by and not model.not_archived
        ]
        assert free + sum(model.size for model in before) < need + keep


def test_the_one_unused_for_longest_goes_first() -> None:
    models = [Stored(name, "0" * 16, (), 10, used) for name, used in (("a", 3), ("b", 1), ("c", 2))]
    choice = evicting.choose(models, need=15, free=0, keep=0)
    assert isinstance(choice, Eviction)
    assert [model.model for model in choice.go] == ["b", "c"]


def test_a_refusal_says_why_each_stays() -> None:
    models = [
        Stored("a", "0" * 16, (), 10, 0, used_by="x.service names it"),
        Stored("b", "0" * 16, (), 10, 0, not_archived="https://store/b is not there"),
    ]
    choice = evicting.choose(models, need=15, free=0, keep=0)
    assert isinstance(choice, Refusal)
    assert "a/0000000000000000 is used (x.service names it)" in str(choice)
    assert "b/0000000000000000 is not archived (https://store/b is not there)" in str(choice)


def put(store: Path, model: str, data: bytes = b"weights", last_used: int = 1000) -> Path:
    files = [weights.File("model.gguf", sha256(data).hexdigest(), len(data))]
    folder = store / model / weights.digest(files)
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(data)
    (folder / weights.SUMS).write_text(weights.sums(files))
    hot_tier.touch(store, model, folder.name)
    os.utime(store / ".used" / f"{model}-{folder.name}", (last_used, last_used))
    return folder


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Starts a process that alone is seen, as the kernel shows it; it runs until the test ends."""
    proc, started = tmp_path / "proc", []
    proc.mkdir()
    monkeypatch.setattr(serving, "PROC", proc)
    monkeypatch.setattr(serving, "loaded_units", lambda: "")

    def start(program: str, *arguments: str, **more) -> int:
        code = f"import os; {program}; print(flush=True); import time; time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, **more
        )
        started.append(process)
        assert process.stdout
        process.stdout.readline()
        (proc / str(process.pid)).symlink_to(f"/proc/{process.pid}")
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


MAPPED = (
    "import ctypes; f = open('model.gguf'); libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p; "
    "address = libc.mmap(None, ctypes.c_size_t(1), 1, 1, f.fileno(), ctypes.c_long(0)); f.close()"
)


@pytest.mark.parametrize(
    "program",
    [
        "f = open('model.gguf'); os.chdir('/')",
        f"{MAPPED}; os.chdir('/')",
        "os.link('model.gguf', '../other-name'); f = open('../other-name'); os.chdir('/')",
        "pass",  # it only stands there
    ],
)
def test_a_process_that_holds_a_file_keeps_the_model(
    tmp_path: Path, processes: Callable[..., int], program: str
) -> None:
    folder, other = put(tmp_path / "s", "a", b"x" * 4096), put(tmp_path / "s", "b")
    pid = processes(program, cwd=folder)
    used = serving.in_use([folder, other], "")
    assert used == {folder: f"process {pid} has a file of it open"}


@pytest.mark.parametrize(
    ("in_maps", "in_map_files"),
    [("00400000-0040b000", "400000-40b000"), ("7f00c0de0000-7f00c0de1000", "7f00c0de0000-7f00c0de1000")],
)
def test_a_map_at_a_low_address_is_found_too(in_maps: str, in_map_files: str) -> None:
    assert serving._plain(in_maps) == in_map_files


def test_a_process_that_names_the_model_keeps_it(tmp_path: Path, processes: Callable[..., int]) -> None:
    told, knows, other = (put(tmp_path / "s", name, name.encode()) for name in ("a", "b", "c"))
    processes("pass", f"--model={told}/model.gguf")
    processes("pass", env={**os.environ, "MODEL": str(knows)})
    assert serving.in_use([told, knows, other], "").keys() == {told, knows}


def test_a_unit_that_names_the_model_keeps_it_also_while_it_does_not_run(
    tmp_path: Path, processes: Callable[..., int]
) -> None:
    folder, other = put(tmp_path / "s", "a"), put(tmp_path / "s", "b")
    units = (
        f"Id=x.service\nActiveState=inactive\nExecStartPre={{ argv[]=check {folder} }}\n\n"
        "Id=y.service\nExecStart={ path=/bin/true }\n"
    )
    assert serving.in_use([folder, other], units) == {folder: "x.service names it"}


def test_a_process_that_cannot_be_looked_into_lets_nothing_go(
    tmp_path: Path, processes: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "s", "a")
    processes("pass")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serving, "_used_by_process", denied)
    with pytest.raises(room.NoRoomError, match=r"cannot be looked into.*nothing was taken"):
        make_room(tmp_path / "s")
    assert folder.exists()


NEW = [weights.File("new.gguf", "f" * 64, 10)]


def make_room(store: Path, lacking: str = "", dry_run: bool = False) -> list[str]:
    """Room for one model more than there is, on a tier where everything that is free shall stay so."""
    keep = hot_tier.free(store)
    gone = room.make_room(store, "new", NEW, keep - 5, lambda file: lacking, dry_run=dry_run)
    return [model.name for model in gone]


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tier where nobody else writes."""
    monkeypatch.setattr(hot_tier, "free", lambda store: 10**9)


@pytest.mark.usefixtures("processes", "steady")
def test_the_oldest_leaves_and_the_others_are_as_they_were(tmp_path: Path) -> None:
    young, old = put(tmp_path, "a", b"a", last_used=2000), put(tmp_path, "b", b"bbbbb", last_used=1000)
    assert make_room(tmp_path) == [f"b/{old.name}"]
    assert not old.parent.exists()
    assert weights.problems(young, young.name) == []
    assert list((tmp_path / ".outgoing").iterdir()) == []


@pytest.mark.usefixtures("processes", "steady")
def test_nothing_leaves_in_a_dry_run(tmp_path: Path) -> None:
    folder = put(tmp_path, "a")
    assert make_room(tmp_path, dry_run=True) == [f"a/{folder.name}"]
    assert weights.problems(folder, folder.name) == []


@pytest.mark.usefixtures("processes", "steady")
def test_one_that_is_not_in_the_cold_bucket_stays(tmp_path: Path) -> None:
    folder = put(tmp_path, "a")
    with pytest.raises(room.NoRoomError, match="is not archived"):
        make_room(tmp_path, lacking="https://store/x is not there")
    assert weights.problems(folder, folder.name) == []


@pytest.mark.usefixtures("steady")
def test_one_that_is_served_stays_and_counts_as_used_now(
    tmp_path: Path, processes: Callable[..., int]
) -> None:
    store = tmp_path / "s"
    served, other = put(store, "a", b"a" * 10, last_used=1), put(store, "b", b"b" * 10, last_used=2)
    processes("f = open('model.gguf')", cwd=served)
    assert make_room(store) == [f"b/{other.name}"]
    assert weights.problems(served, served.name) == []
    [stored] = hot_tier.stored(store)
    assert stored.last_used > 10**9


@pytest.mark.usefixtures("steady")
def test_one_that_is_taken_up_in_the_last_moment_has_its_name_again(
    tmp_path: Path, processes: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s"
    folder = put(store, "a")

    def not_archived(file: weights.File) -> str:  # asked after the first look, before the eviction
        processes("f = open('model.gguf')", cwd=folder)
        return ""

    with pytest.raises(room.NoRoomError, match="used since a moment ago"):
        room.make_room(store, "new", NEW, 10**9 - 5, not_archived, dry_run=False)
    assert weights.problems(folder, folder.name) == []


@pytest.mark.usefixtures("processes", "steady")
def test_what_an_eviction_that_died_has_left_goes_with_the_next_run(tmp_path: Path) -> None:
    folder = put(tmp_path, "a")
    (tmp_path / ".outgoing").mkdir()
    folder.rename(tmp_path / ".outgoing/a-x")
    room.make_room(tmp_path, "new", NEW, 0, lambda file: "", dry_run=False)
    assert list((tmp_path / ".outgoing").iterdir()) == []


def mine(folder: Path) -> None:
    (folder / weights.SUMS).unlink()


def other_name(folder: Path) -> None:
    folder.rename(folder.with_name("0123456789abcdef"))


def link(folder: Path) -> None:
    folder.rename(folder.parents[2] / folder.name)
    folder.symlink_to(folder.parents[2] / folder.name)


def no_digest(folder: Path) -> None:
    folder.rename(folder.with_name("my-weights"))


@pytest.mark.usefixtures("processes", "steady")
@pytest.mark.parametrize("change", [mine, other_name, link, no_digest])
def test_a_folder_that_is_not_a_model_by_its_own_list_is_never_touched(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    store = tmp_path / "s"
    change(put(store, "a"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(room.NoRoomError):
        make_room(store)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("processes")
def test_the_bucket_is_not_asked_while_there_is_room(tmp_path: Path) -> None:
    put(tmp_path, "a")

    def ask(file: weights.File) -> str:
        raise AssertionError("asked")

    assert room.make_room(tmp_path, "new", NEW, 0, ask, dry_run=False) == ()
