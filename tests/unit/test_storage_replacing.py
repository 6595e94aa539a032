# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk is replaced only while the array can do without it, and a run that was killed is gone on with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.storage import applying, replacing
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Host, Record, Signature

from tests.unit.storage_hosts import EXT4, disk, host, made, tier, tiers

TIER = tier()
DISKS = [disk(number) for number in range(5)]


def whole(**array: object) -> Host:
    on = made(TIER, DISKS, **array)
    return replace(on, records={"hot": applying.remember(on, TIER)})


def member(on: Host, serial: str, **differs: object) -> Host:
    name = next(each.kernel_name for each in on.disks if each.serial == serial)
    members = tuple(
        replace(each, **differs) if each.kernel_name == name else each for each in on.arrays[0].members
    )
    return replace(on, arrays=(replace(on.arrays[0], members=members),))


def left(on: Host, serial: str) -> Host:
    """The array without the member of this disk, as after `mdadm --remove`."""
    name = next(each.kernel_name for each in on.disks if each.serial == serial)
    members = tuple(each for each in on.arrays[0].members if each.kernel_name != name)
    return replace(on, arrays=(replace(on.arrays[0], members=members),))


def pulled(on: Host, serial: str) -> Host:
    return replace(on, disks=tuple(each for each in on.disks if each.serial != serial))


def words(on: Host, failed: str = "S01", new: str = "S04", wipe: tuple[str, ...] = ()) -> list[str]:
    found = replacing.replace(on, TIER, failed, new, wipe)
    assert found.findings == ()
    return [step.doing for step in found.steps]


def refusal(on: Host, failed: str = "S01", new: str = "S04", wipe: tuple[str, ...] = ()) -> str:
    found = replacing.replace(on, TIER, failed, new, wipe)
    assert found.steps == ()
    return "\n".join(map(str, found.findings))


def test_a_working_disk_is_failed_removed_and_another_one_added_by_its_lasting_name() -> None:
    found = replacing.replace(whole(), TIER, "S01", "S04")
    assert [step.doing for step in found.steps] == ["fail", "remove", "add"]
    assert found.steps[-1].command[-1] == "/dev/disk/by-id/nvme-MODEL_S04"


def test_one_that_md_has_given_up_is_not_failed_again() -> None:
    assert words(member(whole(), "S01", states=("faulty",), role=None)) == ["remove", "add"]


def test_one_that_the_bus_has_lost_is_taken_out_without_its_name() -> None:
    on = pulled(member(whole(), "S01", present=False), "S01")
    found = replacing.replace(on, TIER, "S01", "S04")
    assert [step.command[-1] for step in found.steps[:2]] == ["detached", "detached"]
    assert found.steps[-1].doing == "add"


def test_one_that_is_gone_from_bus_and_array_is_still_known() -> None:
    assert words(pulled(left(whole(), "S01"), "S01")) == ["add"]


def test_killed_after_the_removal_the_next_run_still_knows_what_it_was_about() -> None:
    on = left(whole(), "S01")
    begun = replace(on, records={"hot": Record({}, ("S01", "S04"))}, disks=tuple(
        replace(each, signatures=(), superblock=None) if each.serial == "S01" else each for each in on.disks
    ))  # fmt: skip
    assert words(begun) == ["add"]
    assert "no member S01" in refusal(replace(begun, records={}))


def test_done_is_done() -> None:
    on = whole()
    (renamed,) = [each.kernel_name for each in on.disks if each.serial == "S04"]
    assert words(member(on, "S01", kernel_name=renamed)) == []


@pytest.mark.parametrize("action", ["recover", "resync", "reshape"])
def test_a_working_disk_is_not_failed_while_the_array_is_rebuilt(action: str) -> None:
    said = refusal(whole(action=action, todo=10))
    assert f"{action} under way" in said
    assert "failing this one would end the array" in said


def test_a_working_disk_is_not_failed_where_another_one_is_missing() -> None:
    said = refusal(left(whole(), "S02"))
    assert "member S01 works, and the array has lost 1 already" in said


def test_an_array_without_redundancy_loses_no_disk() -> None:
    striped = tier(0)
    found = replacing.replace(made(striped, DISKS), striped, "S01", "S04")
    assert found.steps == ()
    assert "the array has lost 0 already" in str(found.findings[0])


def test_a_new_disk_that_holds_something_is_refused_by_serial_unless_it_is_given_up() -> None:
    on = whole()
    dirty = replace(on, disks=(*on.disks[:4], replace(on.disks[4], signatures=(EXT4,))))
    assert "disk S04 (/dev/disk/by-id/nvme-MODEL_S04): found it holds ext4 (photos)" in refusal(dirty)
    assert words(dirty, wipe=("S04",)) == ["fail", "remove", "wipe", "add"]


def test_a_new_disk_in_use_is_refused_though_it_is_given_up() -> None:
    on = whole()
    used = replace(on, disks=(*on.disks[:4], replace(on.disks[4], in_use=("mounted on /x",))))
    assert "mounted on /x" in refusal(used, wipe=("S04",))


@pytest.mark.parametrize(
    ("differs", "reason"),
    [({"size": 10}, "0.00 GB"), ({"kind": "rotational"}, "it is rotational, declared is nvme")],
)
def test_a_new_disk_that_does_not_fit_is_refused(differs: dict, reason: str) -> None:
    on = whole()
    assert reason in refusal(replace(on, disks=(*on.disks[:4], replace(on.disks[4], **differs))))


def test_a_serial_that_is_not_there_is_refused_with_those_that_are_free() -> None:
    assert "no disk with serial S99, expected one of the free disks: S04" in refusal(whole(), new="S99")


def test_a_serial_that_is_no_member_is_refused_with_those_that_are() -> None:
    assert "no member S99, expected one of S00, S01, S02, S03" in refusal(whole(), failed="S99")


def test_a_working_member_is_no_replacement() -> None:
    assert "disk S02 in role 2 of the array" in refusal(whole(), new="S02")


def test_a_thrown_out_disk_is_taken_back_from_the_array_that_udev_has_put_it_into() -> None:
    on = left(whole(), "S01")
    alone = replace(on.arrays[0], path="/dev/md126", state="inactive", level=None, members=())
    returned = replace(on, arrays=(alone, *on.arrays))
    assert words(returned, new="S01") == ["stop", "add"]
    assert words(whole(), failed="S01", new="S01") == []


def test_a_disk_of_another_tier_is_not_taken() -> None:
    on = whole()
    (warm,) = tiers({"name": "warm", "level": 1, "disks": {"count": 2}})
    theirs = Signature("linux_raid_member", "any:warm", warm.uuid)
    taken = replace(on, disks=(*on.disks[:4], replace(on.disks[4], signatures=(theirs,))))
    assert "it holds linux_raid_member (any:warm)" in refusal(taken)


def test_an_array_that_does_not_run_is_started_first() -> None:
    assert "start it first" in refusal(host(*DISKS))
