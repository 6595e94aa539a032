# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage benchmark compares within a round, and says what waited for what."""

from __future__ import annotations

import pytest

from tests.bench import storage


def test_a_ratio_is_taken_within_each_round_so_that_a_slow_minute_hits_both() -> None:
    found = storage.judged({"a": [10.0, 1.0, 10.0], "b": [5.0, 0.5, 5.0]}, [("a", "b")])
    assert found["ratios"]["a / b"] == {"median": 2.0, "least": 2.0, "most": 2.0}
    assert found["speeds"]["a"] == {"median": 10.0, "least": 1.0, "most": 10.0}


def test_without_zfs_nothing_of_it_is_asked() -> None:
    cells = [cell.variant for each in storage.comparisons(zfs=False) for cell in each.cells]
    assert not [name for name in cells if name.startswith("zfs")]


@pytest.mark.parametrize("zfs", [True, False])
def test_what_is_compared_is_asked(zfs: bool) -> None:
    for each in storage.comparisons(zfs):
        assert {name for pair in each.ratios for name in pair} <= {cell.name for cell in each.cells}


def test_openssl_tells_its_speed_in_bytes_per_second() -> None:
    assert storage.speed("+H:4096\n+F:25:AES-256-XTS:2715898109.73\n") == 2715898109.73


def test_a_row_shows_both_speeds_and_the_ratio() -> None:
    measured = {"title": "layers", "work": "random_read", "disks_held_to": 1, **storage.judged(
        {"md": [4e6], "disk": [1e6]}, [("md", "disk")]
    )}  # fmt: skip
    assert list(storage.rows([measured])) == [
        ["layers", "random read", "disks", "md / disk", "4.0 / 1.0", "4.00", "4.00 to 4.00"]
    ]
