# SPDX-License-Identifier: GPL-3.0-or-later
"""A tier that cannot be is refused before a disk is looked at, and what it will be is said beforehand."""

from __future__ import annotations

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.storage import geometry, planning, report
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    GB,
    StorageError,
    array_uuid,
    plain_uuid,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.tuning import Tuning, tuning
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.storage_hosts import disk, host, recorded, tier, tiers

GOOD = {"name": "hot", "level": 5, "disks": {"kind": "nvme", "count": 4}}
GIB = 2**30


@pytest.mark.parametrize(
    ("differs", "reason"),
    [
        ({"name": "Hot tier"}, "name 'Hot tier'"),
        ({"name": "../x"}, "name '../x'"),
        ({"level": 4}, "level 4: md tiers are RAID 0, 1, 5, 6 or 10"),
        ({"level": "five"}, "level 'five': it is a whole number"),
        ({"level": None}, "level None"),
        ({"disks": {"count": 2}}, "2 disks without spares: RAID5 takes 3 or more"),
        ({"level": 6, "disks": {"count": 3}}, "RAID6 takes 4 or more"),
        ({"level": 0, "spares": 1}, "RAID0 has no use for a spare"),
        ({"spares": -1}, "spares -1"),
        ({"chunk_kib": 100}, "chunk_kib 100: it is a power of two"),
        ({"disks": {}}, "disks are told by nothing"),
        ({"disks": {"count": 4, "slots": ["a"]}}, "disks are told by count and slots"),
        ({"disks": {"count": 4, "kind": "tape"}}, "kind 'tape'"),
        ({"disks": {"count": 4, "min_size": 9}}, "disks has min_size: known are"),
        ({"disks": {"count": 4, "min_size_gb": "big"}}, "min_size_gb 'big': it is a number of GB"),
        ({"disks": {"count": 4, "model": "("}}, "model '(': no regular expression"),
        ({"disks": {"ids": ["/dev/nvme0n1", "/dev/sda", "/dev/sdb"]}}, "/dev/nvme0n1: such names change"),
        ({"layout": "lvm"}, "layout 'lvm'"),
        ({"uuid": "short"}, "uuid 'short'"),
    ],
)
def test_what_cannot_be_is_refused_with_host_tier_and_value(differs: dict, reason: str) -> None:
    with pytest.raises(StorageError) as error:
        tiers({**GOOD, **differs})
    assert reason in str(error.value)
    assert str(error.value).startswith("store1: tier ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(StorageError) as error:
        tiers({**GOOD, "level": 4}, {**GOOD, "name": "warm", "chunk_kib": 3})
    assert len(str(error.value).splitlines()) == 2


def test_two_tiers_of_one_name_or_with_one_disk_are_refused() -> None:
    ids = [f"/dev/disk/by-id/nvme-X_{number}" for number in range(3)]
    with pytest.raises(StorageError, match="tier hot: declared 2 times"):
        tiers(GOOD, GOOD)
    with pytest.raises(StorageError, match="nvme-X_2: 2 tiers want it"):
        tiers(
            {**GOOD, "disks": {"ids": ids}},
            {"name": "warm", "level": 1, "disks": {"ids": [ids[2], "/dev/disk/by-id/y"]}},
        )


def test_tiers_of_zfs_are_left_to_their_role() -> None:
    assert [each.name for each in tiers(GOOD, {"name": "cold", "layout": "zfs", "level": 6})] == ["hot"]


def test_what_other_roles_read_of_a_tier_is_no_error() -> None:
    (only,) = tiers({**GOOD, "encryption": "aes-256-xts", "filesystem": "xfs", "mount": "/srv"})
    assert (only.raid_disks, only.spares, only.chunk) == (4, 0, 512 * 1024)


def test_sizes_are_told_in_gb_as_on_the_label() -> None:
    (only,) = tiers({**GOOD, "disks": {"count": 4, "min_size_gb": 0.3, "max_size_gb": 900}})
    assert (only.rule.min_size, only.rule.max_size) == (300_000_000, 900 * GB)


def test_an_array_is_of_one_host_and_one_tier() -> None:
    uuids = {array_uuid(name, tier_name) for name in ("store1", "store2") for tier_name in ("hot", "warm")}
    assert len(uuids) == 4
    assert array_uuid("store1", "hot") == "5026de68:94715ee3:bf3e8b3d:5eb51995"  # never another one, ever
    assert plain_uuid("5026DE68-9471-5ee3-bf3e-8b3d5eb51995") == array_uuid("store1", "hot")


def test_an_array_from_elsewhere_is_taken_over_by_its_uuid() -> None:
    (only,) = tiers({**GOOD, "uuid": "DFB5ECC4:a84ff1a3:2957cb4e:2f468417"})
    assert only.uuid == "dfb5ecc4:a84ff1a3:2957cb4e:2f468417"


@pytest.mark.parametrize(
    ("level", "disks", "parts", "may_die"),
    [(0, 4, 4, 0), (1, 3, 1, 2), (5, 4, 3, 1), (6, 6, 4, 2), (10, 4, 2, 1)],
)
def test_capacity_and_what_may_die(level: int, disks: int, parts: int, may_die: int) -> None:
    assert geometry.capacity(level, disks, 1000) == parts * 1000
    assert geometry.may_die(level, disks) == may_die


def test_what_is_said_before_it_is_made_is_what_it_is_then() -> None:
    on = recorded("whole")
    hot = on.arrays[1]
    size = next(each.size for each in on.disks if each.serial == "LABNVME00")
    assert geometry.capacity(5, 4, geometry.usable(size)) == pytest.approx(hot.size, rel=0.005)


def test_the_table_says_it_before_anything_is_made() -> None:
    on = host(*(disk(number) for number in range(5)))
    found = report.tiers(on, planning.plan(on, [tier(spares=1)]))
    assert report.table(found)[1] == ["hot", "/dev/md/hot", "5", "4", "1", "2.88 TB", "1", "not made"]
    assert (
        found[0]["sentences"][0] == "/dev/md/hot: RAID5 of 4 disks and 1 spare, about 2.88 TB; 1 disk may die"
    )


@pytest.mark.parametrize(
    ("memory", "cores", "expected"),
    [
        (2 * GIB, 2, Tuning(2048, 0)),
        (64 * GIB, 8, Tuning(8192, 2)),
        (64 * GIB, 4, Tuning(8192, 0)),  # one thread is what there is without
        (512 * GIB, 64, Tuning(8192, 8)),
        (2**26, 1, Tuning(256, 0)),
    ],
)
def test_cache_and_threads_follow_from_the_machine(memory: int, cores: int, expected: Tuning) -> None:
    assert tuning(memory, cores, 4) == expected


@given(st.integers(2**28, 2**44), st.integers(1, 512), st.integers(3, 60))
def test_the_cache_never_takes_more_than_its_share(memory: int, cores: int, disks: int) -> None:
    found = tuning(memory, cores, disks)
    assert 256 <= found.stripe_cache_size <= 8192
    assert found.stripe_cache_size == 256 or found.stripe_cache_size * 4096 * disks <= memory / 64
    assert found.group_thread_cnt * 4 <= cores
