# SPDX-License-Identifier: GPL-3.0-or-later
"""No pool is made of disks that hold anything, and none that is there is touched where it differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Disk, Signature
from ansible_collections.stronghold.llm.plugins.module_utils.zfs import plan, pools, tiers
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.choosing import NotFreeError

FIXTURES = Path(__file__).parents[1] / "fixtures/zfs"
BY_ID = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_LABNVME"
DECLARED = {
    "name": "hot",
    "layout": "zfs",
    "level": 5,
    "disks": {"kind": "nvme", "count": 3},
    "spares": 1,
    "encryption": "aes-256-gcm",
    "mount": "/srv/stronghold/hot",
}
POOL = pools.pools((FIXTURES / "zpool-status-raidz1-spare.json").read_text())["hot"]
PROPERTIES = {**tiers.PROPERTIES, **tiers.FOREVER, "encryption": "aes-256-gcm"}


def tier(**change: Any) -> tiers.Tier:
    return tiers.declared("store1", [DECLARED | change])[0]


def disk(number: int, **change: Any) -> Disk:
    serial = f"LABNVME{number:02}"
    plain = Disk(
        path=f"/dev/nvme{number}n1",
        kernel_name=f"nvme{number}n1",
        serial=serial,
        model="QEMU NVMe Ctrl",
        kind="nvme",
        size=10**9,
        by_id=f"{BY_ID}{number:02}",
        slot=f"pci-0000:0{number}:00.0",
    )
    return replace(plain, **change)


FOUR = tuple(disk(number) for number in range(4))
THERE = plan.Seen(disks=FOUR, pools={"hot": POOL}, properties={"hot": PROPERTIES})


def test_a_new_pool_is_encrypted_from_its_first_block_and_its_key_is_in_no_argument() -> None:
    (step,) = plan.steps(tier(), plan.Seen(disks=FOUR))
    text = str(step)
    assert step.keyed
    assert "-O encryption=aes-256-gcm -O keyformat=hex -O keylocation=prompt" in text
    assert "-o ashift=12" in text
    assert text.endswith(f"hot raidz1 {BY_ID}00 {BY_ID}01 {BY_ID}02 spare {BY_ID}03")
    assert "-f" not in step.command


@pytest.mark.parametrize(
    ("level", "words"), [(0, f"hot {BY_ID}00"), (1, f"hot mirror {BY_ID}00"), (6, f"hot raidz2 {BY_ID}00")]
)
def test_every_level_has_its_word(level: int, words: str) -> None:
    (step,) = plan.steps(tier(level=level, disks={"count": 4}, spares=0), plan.Seen(disks=FOUR))
    assert words in str(step)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"signatures": (Signature("xfs", "models"),)}, "holds xfs (models)"),
        ({"in_use": ("mounted at /srv",)}, "in use: mounted at /srv"),
    ],
)
def test_a_disk_that_holds_something_is_refused_by_name(change: dict[str, Any], word: str) -> None:
    with pytest.raises(NotFreeError, match="LABNVME02") as raised:
        plan.steps(tier(), plan.Seen(disks=(*FOUR[:2], disk(2, **change), FOUR[3])))
    assert word in str(raised.value)


def test_a_dirty_disk_is_passed_over_while_others_of_the_rule_are_free() -> None:
    dirty = disk(0, signatures=(Signature("linux_raid_member"),))
    (step,) = plan.steps(tier(), plan.Seen(disks=(dirty, *FOUR[1:], disk(4))))
    assert f"{BY_ID}00" not in step.command
    assert step.command[-1] == f"{BY_ID}04"


def test_a_named_disk_is_never_passed_over() -> None:
    named = tier(disks={"ids": [f"{BY_ID}0{number}" for number in (3, 1, 0, 2)]}, spares=1)
    dirty = disk(1, signatures=(Signature("gpt"),))
    with pytest.raises(NotFreeError, match="LABNVME01"):
        plan.steps(named, plan.Seen(disks=(FOUR[0], dirty, *FOUR[2:])))


def test_named_disks_keep_the_order_of_the_declaration_so_that_the_last_is_the_spare() -> None:
    named = tier(disks={"ids": [f"{BY_ID}0{number}" for number in (3, 1, 0, 2)]}, spares=1)
    (step,) = plan.steps(named, plan.Seen(disks=FOUR))
    assert step.command[-2:] == ("spare", f"{BY_ID}02")


def test_a_pool_on_the_disks_is_imported_without_force() -> None:
    (step,) = plan.steps(tier(), plan.Seen(importable=frozenset({"hot"})))
    assert step.command[:3] == ("zpool", "import", "-N")
    assert "-f" not in step.command
    assert not step.keyed


def test_a_pool_as_declared_is_left_alone() -> None:
    assert plan.steps(tier(), THERE) == []
    assert plan.differences(tier(), THERE) == []


def test_what_zfs_reports_of_a_pool_that_we_made_is_what_was_asked_for() -> None:
    """ZFS takes xattr=sa and says "on": what was asked for must be what it says."""
    found = pools.properties((FIXTURES / "zfs-get.json").read_text(), "hot")
    assert plan.steps(tier(), replace(THERE, properties={"hot": found | tiers.FOREVER})) == []


def test_a_property_for_new_data_is_put_right() -> None:
    seen = replace(THERE, properties={"hot": PROPERTIES | {"atime": "on"}})
    assert [str(step) for step in plan.steps(tier(), seen)] == ["zfs set atime=off hot"]


@pytest.mark.parametrize(
    ("wanted", "properties", "words"),
    [
        ({"level": 6, "disks": {"kind": "nvme", "count": 4}}, {}, "layout: raidz1, declared raidz2"),
        ({"disks": {"kind": "nvme", "count": 4}}, {}, "disks: 3, declared 4"),
        ({"spares": 0}, {}, "spares: 1, declared 0"),
        ({}, {"encryption": "off"}, "encryption: off, declared aes-256-gcm"),
        ({}, {"ashift": "9"}, "ashift: 9, declared 12"),
        ({"disks": {"kind": "rotational", "count": 3}}, {}, "it is nvme, declared is rotational"),
    ],
)
def test_a_pool_that_differs_is_an_error_that_says_how(
    wanted: dict[str, Any], properties: dict[str, str], words: str
) -> None:
    seen = replace(THERE, properties={"hot": PROPERTIES | properties})
    assert words in "; ".join(plan.differences(tier(**wanted), seen))


def test_a_lost_disk_is_no_difference() -> None:
    """The pool is degraded and ZFS says so; the declaration is still met, or nobody could run the play."""
    assert plan.differences(tier(), replace(THERE, disks=FOUR[1:])) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "mirror1"}, "no name for a pool"),
        ({"name": "Hot tier"}, "no name for a pool"),
        ({"level": 10}, "level 10"),
        ({"disks": {"kind": "nvme", "count": 2}}, "2 disks without spares: raidz1 takes 3"),
        ({"disks": {"kind": "nvme"}}, "count"),
        ({"disks": {"ids": ["/dev/disk/by-id/a"], "count": 3}}, "one of these"),
        ({"encryption": "aes-256-xts"}, "a ZFS tier has aes-256-gcm"),
        ({"mount": ""}, "say where it is mounted"),
    ],
)
def test_a_tier_that_cannot_be_made_is_refused_with_what_to_write(change: dict[str, Any], words: str) -> None:
    with pytest.raises(tiers.DeclarationError, match="store1: tier") as raised:
        tiers.declared("store1", [DECLARED | change])
    assert words in str(raised.value)


def test_tiers_of_other_layouts_are_nobodys_business_here() -> None:
    assert tiers.declared("store1", [{"name": "warm", "layout": "md", "level": 10}, {"name": "x"}]) == []


@pytest.mark.parametrize(("level", "disks", "may_die"), [(0, 3, 0), (1, 3, 2), (5, 3, 1), (6, 5, 2)])
def test_how_many_disks_may_die_is_said_before_anything_is_made(level: int, disks: int, may_die: int) -> None:
    assert tier(level=level, disks={"count": disks}).described()["may_die"] == may_die
