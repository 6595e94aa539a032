# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic of the write budget, and a count that may be too high and never too low."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.encryption import luks_header, write_budget
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.write_budget import (
    BUDGET,
    DAY,
    LEAST_ALLOWANCE,
    Sample,
    budget,
    observe,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent.parent / "fixtures/luks"
TIB = 2**40
FIRST = Sample(key="k", activation="boot/7", written=10, size=1000, time=0.0)


def test_the_formats_own_wipe_counts() -> None:
    assert observe(None, FIRST).used == 1010


def test_writes_of_an_interval_are_added() -> None:
    count = observe(observe(None, FIRST), replace(FIRST, written=25, time=60.0))
    assert (count.used, count.peak) == (1025, 15)


def test_a_reboot_adds_an_allowance_for_what_nobody_saw() -> None:
    count = observe(observe(None, FIRST), replace(FIRST, activation="other/7", written=3))
    assert count.used == 1010 + LEAST_ALLOWANCE + 3


def test_a_reboot_of_a_busy_tier_adds_more() -> None:
    busy = observe(observe(None, FIRST), replace(FIRST, written=10 + 2 * LEAST_ALLOWANCE))
    again = observe(busy, replace(FIRST, activation="other/7", written=0))
    assert again.used - busy.used == 4 * LEAST_ALLOWANCE


def test_another_key_begins_anew() -> None:
    count = observe(observe(None, FIRST), replace(FIRST, key="new", written=10**6))
    assert (count.key, count.used) == ("new", 1000 + 10**6)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.booleans()), max_size=30))
def test_a_count_never_goes_back_and_never_falls_behind(steps: list[tuple[int, int, bool]]) -> None:
    """Each step: writes that were seen; then, if the machine dies, some that nobody saw."""
    count, sample, really = observe(None, FIRST), FIRST, FIRST.size + FIRST.written
    for number, (seen, unseen, dies) in enumerate(steps):
        before = count.used
        sample = replace(sample, written=sample.written + seen)
        really += seen
        count = observe(count, sample)
        if dies:
            really += min(unseen, LEAST_ALLOWANCE)
            sample = replace(sample, activation=f"boot{number}/7", written=0)
            count = observe(count, sample)
        assert count.used >= before
        assert count.used >= really


def test_days_left_are_told_by_what_was_written_and_not_by_the_wipe() -> None:
    count = replace(observe(None, FIRST), used=BUDGET // 2 + 1000, wiped=1000)
    left = budget(count, now=100 * DAY).days_left
    assert left == pytest.approx(100, rel=1e-4)


def test_a_tier_that_nobody_writes_to_lasts() -> None:
    assert budget(observe(None, replace(FIRST, written=0)), now=DAY).days_left is None


def test_sixteen_tebibytes_are_a_whole_budget() -> None:
    assert BUDGET * write_budget.SECTOR == 16 * TIB


@pytest.mark.parametrize(
    ("size", "share", "refused"), [(8 * TIB, 0.5, False), (8 * TIB + 4096, 0.5, True), (9 * TIB, 0.75, False)]
)
def test_a_tier_that_its_own_making_would_wear_out_is_refused(size: int, share: float, refused: bool) -> None:
    assert bool(write_budget.too_large("vault", "aes-256-gcm", size, share)) is refused


def test_xts_has_no_such_budget() -> None:
    assert write_budget.too_large("hot", "aes-256-xts", 10**15, 0.5) == ""


def test_a_refusal_names_the_rule_the_size_and_the_ways_out() -> None:
    said = write_budget.too_large("vault", "aes-256-gcm", 12 * TIB, 0.5)
    for part in (
        "tier vault",
        "SP 800-38D",
        "12.0 TiB",
        "75%",
        "50%",
        "several smaller tiers",
        "aes-256-xts",
    ):
        assert part in said


def test_the_host_and_the_collection_know_a_key_by_the_same_name() -> None:
    dump, metadata = (FIXTURES / "warm.dump").read_text(), (FIXTURES / "warm.json").read_text()
    header = luks_header.parse(dump, metadata)
    assert header.key_digest == write_budget.key_of(metadata, header.uuid)


# The program ----------------------------------------------------------------------------------


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sample: Sample | None
) -> tuple[dict[str, dict[str, int]], str]:
    monkeypatch.setattr(write_budget, "sample", lambda mapping: sample)
    paths = [folder / name for name in ("config.json", "state.json", "budget.prom")]
    paths[0].write_text('["warm"]')
    write_budget.main(*map(str, paths))
    return json.loads(paths[1].read_text()), paths[2].read_text()


def test_the_program_keeps_its_count_and_tells_prometheus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, monkeypatch, FIRST)
    state, metrics = run(tmp_path, monkeypatch, replace(FIRST, written=30))
    assert state["warm"]["used"] == 1030
    assert 'stronghold_gcm_sector_writes{tier="warm"} 1030\n' in metrics
    assert f'stronghold_gcm_write_budget{{tier="warm"}} {BUDGET}\n' in metrics
    assert sorted(path.name for path in tmp_path.iterdir()) == ["budget.prom", "config.json", "state.json"]


def test_the_header_is_read_from_what_lies_lowest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_budget, "BLOCK", tmp_path)
    for above, below in (("dm-1", "dm-0"), ("dm-0", "md126"), ("md126", "nvme0n1")):
        (tmp_path / above / "slaves" / below).mkdir(parents=True)
    assert write_budget.underneath(tmp_path / "dm-1") == "/dev/md126"


def test_a_closed_volume_keeps_its_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, monkeypatch, FIRST)
    state, metrics = run(tmp_path, monkeypatch, None)
    assert state["warm"]["used"] == 1010
    assert '{tier="warm"} 1010\n' in metrics
