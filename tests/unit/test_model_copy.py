# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts arrive in any order and a copy may die any time: what is whole is right, what is done is kept."""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.models import fetch, hot_tier, partial, weights
from ansible_collections.stronghold.llm.plugins.module_utils.models.partial import CorruptError, Part, Partial
from ansible_collections.stronghold.llm.plugins.module_utils.models.progress import Progress, Snapshot
from ansible_collections.stronghold.llm.plugins.module_utils.models.sources import (
    PartSums,
    SourceError,
    Stamp,
    patiently,
)
from hypothesis import given
from hypothesis import strategies as st

DATA = bytes(range(256)) * 5
DIGEST = sha256(DATA).hexdigest()
STAMP = Stamp(len(DATA), "etag")


def fill(copy: Partial, indices: list[int]) -> None:
    for part in copy.missing:
        if part.index in indices:
            copy.write(part, [DATA[part.offset : part.offset + part.length]])


@given(size=st.integers(0, 10**6), part_bytes=st.integers(1, 10**6))
def test_parts_cover_every_byte_once(size: int, part_bytes: int) -> None:
    if size // part_bytes > 1000:
        return
    ends = [(part.offset, part.offset + part.length) for part in partial.parts(size, part_bytes)]
    assert [start for start, _ in ends] == [0, *(end for _, end in ends)][: len(ends)]
    assert (ends[-1][1] if ends else 0) == size


@pytest.mark.parametrize("seed", range(5))
def test_parts_in_any_order_make_the_file(tmp_path: Path, seed: int) -> None:
    copy = Partial(tmp_path / "f", STAMP, 100)
    order = copy.missing
    random.Random(seed).shuffle(order)
    for part in order:
        copy.write(part, [DATA[part.offset : part.offset + part.length]])
    copy.finish(DIGEST, tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_another_run_brings_only_what_is_missing(tmp_path: Path) -> None:
    fill(Partial(tmp_path / "f", STAMP, 100), [0, 3, 12])
    again = Partial(tmp_path / "f", STAMP, 100)
    assert [part.index for part in again.missing] == [1, 2, *range(4, 12)]
    assert again.have == 280
    fill(again, list(range(13)))
    again.finish(DIGEST, tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == DATA


@pytest.mark.parametrize(
    ("stamp", "part_bytes"), [(Stamp(1280, "other"), 100), (Stamp(1281, "etag"), 100), (STAMP, 99)]
)
def test_a_changed_source_or_part_size_begins_anew(tmp_path: Path, stamp: Stamp, part_bytes: int) -> None:
    fill(Partial(tmp_path / "f", STAMP, 100), [0, 3])
    assert Partial(tmp_path / "f", stamp, part_bytes).have == 0


@pytest.mark.parametrize("journal", ["", "{", "[]", "{}", '{"done": 3}', '{"done": [0]}'])
def test_a_journal_that_is_not_whole_counts_as_none(tmp_path: Path, journal: str) -> None:
    fill(Partial(tmp_path / "f", STAMP, 100), [0])
    (tmp_path / "f.json").write_text(journal)
    assert Partial(tmp_path / "f", STAMP, 100).have == 0


def test_a_journal_without_its_file_counts_as_none(tmp_path: Path) -> None:
    fill(Partial(tmp_path / "f", STAMP, 100), [0])
    (tmp_path / "f.partial").unlink()
    assert Partial(tmp_path / "f", STAMP, 100).have == 0


def test_a_part_that_is_known_to_be_wrong_is_named_with_its_bytes_and_not_kept(tmp_path: Path) -> None:
    copy = Partial(tmp_path / "f", STAMP, 100)
    with pytest.raises(CorruptError, match=r"part 2 \(bytes 200 to 299\): sha256 is"):
        copy.write(Part(2, 200, 100), [b"x" * 100], sha256(DATA[200:300]).hexdigest())
    assert 2 in [part.index for part in Partial(tmp_path / "f", STAMP, 100).missing]


@pytest.mark.parametrize(("came", "error"), [(99, EOFError), (101, CorruptError)])
def test_a_part_of_another_length_does_not_count(tmp_path: Path, came: int, error: type[Exception]) -> None:
    copy = Partial(tmp_path / "f", STAMP, 100)
    with pytest.raises(error):
        copy.write(Part(0, 0, 100), [b"x" * came])
    assert copy.have == 0


def test_bytes_that_changed_on_the_disk_between_two_runs_are_found(tmp_path: Path) -> None:
    """The digest is taken from what lies on the disk, not from what once came."""
    fill(Partial(tmp_path / "f", STAMP, 100), [0, 1, 2])
    with (tmp_path / "f.partial").open("r+b") as file:
        file.seek(150)
        file.write(b"!")
    again = Partial(tmp_path / "f", STAMP, 100)
    fill(again, list(range(13)))
    with pytest.raises(CorruptError, match=f"declared {DIGEST}"):
        again.finish(DIGEST, tmp_path / "whole")
    assert list(tmp_path.iterdir()) == []


def test_what_may_pass_is_tried_again_and_what_may_not_is_said_at_once() -> None:
    tries = []

    def fail(passing: bool) -> None:
        tries.append(passing)
        raise SourceError("no", passing=passing)

    for passing, expected in ((True, 4), (False, 1)):
        tries.clear()
        with pytest.raises(SourceError):
            patiently(lambda passing=passing: fail(passing), [0, 0, 0])
        assert len(tries) == expected


class Source:
    """One file of DATA; `sums` are those of its parts, `bad` a byte that it serves wrongly."""

    remedy = "do something"

    def __init__(self, sums: bool = False, bad: int | None = None, fail_first: int = 0) -> None:
        self.sums, self.bad, self.fail_first, self.reads = sums, bad, fail_first, 0

    def where(self, file: weights.File) -> str:
        return f"https://store.example/{file.sha256}"

    def stamp(self, file: weights.File) -> Stamp:
        return STAMP

    def part_sums(self, file: weights.File) -> PartSums | None:
        sums = tuple(sha256(DATA[offset : offset + 200]).hexdigest() for offset in range(0, len(DATA), 200))
        return PartSums(200, sums) if self.sums else None

    def read(self, file: weights.File, stamp: Stamp, offset: int, length: int) -> Iterator[bytes]:
        self.reads += 1
        data = bytearray(DATA)
        if self.bad is not None:
            data[self.bad] ^= 1
        if self.fail_first:
            self.fail_first -= 1
            yield bytes(data[offset : offset + 1])
            raise SourceError("reset", passing=True)
        yield bytes(data[offset : offset + length])


FILE = weights.File("model.gguf", DIGEST, len(DATA))
MANNER = fetch.Manner(workers=3, part_bytes=100, pauses=(0.0, 0.0))


def test_a_flipped_byte_is_refused_with_file_and_part(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match=r"model\.gguf, part 2 \(bytes 400 to 599\)"):
        fetch.fetch("m", [FILE], Source(sums=True, bad=450), tmp_path, MANNER)
    assert not (tmp_path / "m").exists()


def test_a_flipped_byte_is_refused_where_no_sums_of_parts_are_known(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match=r"model\.gguf: sha256 is .*nothing of it was kept"):
        fetch.fetch("m", [FILE], Source(bad=450), tmp_path, MANNER)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_sums_of_parts_that_lie_cannot_make_other_bytes_right(tmp_path: Path) -> None:
    class Lying(Source):
        def part_sums(self, file: weights.File) -> PartSums | None:
            data = bytearray(DATA)
            data[450] ^= 1
            return PartSums(len(DATA), (sha256(data).hexdigest(),))

    with pytest.raises(fetch.FetchError, match=f"declared {DIGEST}"):
        fetch.fetch("m", [FILE], Lying(bad=450), tmp_path, MANNER)


def test_a_line_that_breaks_now_and_then_does_not_stop_the_copy(tmp_path: Path) -> None:
    seen: list[Snapshot] = []
    brought = fetch.fetch("m", [FILE], Source(fail_first=2), tmp_path, MANNER, seen.append)
    assert weights.problems(brought.folder, brought.folder.name) == []
    assert brought.copied == len(DATA) == seen[-1].bytes_done  # what had to come again is not counted twice
    assert seen[-1].state == "done"


def test_a_line_that_stays_broken_ends_the_copy_after_few_tries(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match="run again, and it goes on"):
        fetch.fetch("m", [FILE], source := Source(fail_first=1000), tmp_path, MANNER)
    assert source.reads <= 3 * 3  # three threads at it; the other parts are not even begun


def test_another_size_at_the_source_is_refused_before_anything_comes(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match="1280 bytes there, 1279 declared"):
        fetch.fetch("m", [weights.File("model.gguf", DIGEST, 1279)], Source(), tmp_path, MANNER)


def test_a_model_that_does_not_fit_is_refused_with_the_numbers_and_what_could_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fetch.fetch("old", [FILE], Source(), tmp_path, MANNER).folder
    monkeypatch.setattr(hot_tier.serving, "in_use", lambda folders, units: {})
    monkeypatch.setattr(hot_tier.serving, "loaded_units", lambda: "")
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(fetch.FetchError, match=rf"GiB needed.*could go: old/{old.name}"):
        fetch.fetch("m", [FILE], Source(), tmp_path, fetch.Manner(keep_bytes=free + 10**9))


def test_bytes_of_an_earlier_run_need_no_space_again(tmp_path: Path) -> None:
    size = 10 * 2**20
    file = weights.File("big", "0" * 64, size)
    folder = fetch.wanted("m", [file], tmp_path)
    copy = Partial(tmp_path / f".incoming/m-{folder.name}.parts/big", Stamp(size, "e"), 2**20)
    copy.write(copy.missing[4], [b"x" * 2**20])
    assert size - 3 * 2**20 < fetch.still_needed("m", [file], tmp_path) <= size - 2**20


def test_a_file_of_an_earlier_version_of_the_program_is_read_before_it_is_trusted(tmp_path: Path) -> None:
    left = tmp_path / ".incoming" / f"m-{weights.digest([FILE])}" / "model.gguf"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"X" + DATA[1:])
    folder = fetch.fetch("m", [FILE], Source(), tmp_path, MANNER).folder
    assert weights.problems(folder, folder.name) == []


def test_nothing_of_the_copy_stays_beside_the_model(tmp_path: Path) -> None:
    fetch.fetch("m", [FILE], Source(), tmp_path, MANNER)
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_two_copies_at_once_make_one(tmp_path: Path) -> None:
    """A play that was killed may have left its copy running when the next one begins."""
    began = threading.Event()

    class Slow(Source):
        def read(self, file: weights.File, stamp: Stamp, offset: int, length: int) -> Iterator[bytes]:
            began.set()
            time.sleep(0.02)
            return super().read(file, stamp, offset, length)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(fetch.fetch, "m", [FILE], Slow(), tmp_path, MANNER)
        assert began.wait(10)
        second = fetch.fetch("m", [FILE], Source(bad=0), tmp_path, MANNER)
        assert (first.result().copied, second.copied) == (len(DATA), 0)


def test_progress_speaks_every_five_seconds_or_five_percent_and_not_more() -> None:
    now = 0.0
    seen: list[tuple[float, Snapshot]] = []
    progress = Progress("m", 10_000, lambda snapshot: seen.append((now, snapshot)), lambda: now)
    progress.found(100)

    def moments(count: int, size: int, seconds: float) -> list[float]:
        nonlocal now
        seen.clear()
        for _ in range(count):
            now += seconds
            progress.add(size)
        return [moment for moment, _ in seen]

    slow = moments(200, 1, 0.1)  # far from 5 %
    assert all(4.9 <= later - earlier <= 5.2 for earlier, later in itertools.pairwise(slow))
    steady = moments(20, 250, 1.25)  # 5 % in 2.5 s
    assert all(2.4 <= later - earlier <= 2.6 for earlier, later in itertools.pairwise(steady))
    fast = moments(20, 200, 0.1)  # 5 % in 0.3 s
    assert all(1.0 <= later - earlier <= 1.1 for earlier, later in itertools.pairwise(fast))
    assert len(slow) > 2 < len(steady)
    assert len(fast) == 2
    assert seen[-1][1].seconds_left is not None
