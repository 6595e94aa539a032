# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays become what is declared, and nothing that is on a disk is lost on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import refused
from ansible_collections.stronghold.llm.plugins.module_utils.storage import applying, geometry, planning
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    GB,
    Host,
    Known,
    Member,
    Record,
    Signature,
    Tier,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.storage_hosts import EXT4, Machine, disk, host, made, recorded, tier, tiers

DISKS = [disk(number) for number in range(8)]
BY_ID = [each.by_id for each in DISKS]


def doings(on: Host, *declared: Tier, wipe: tuple[str, ...] = ()) -> list[str]:
    planned = planning.plan(on, declared, wipe)
    assert not refused(planned.findings), "\n".join(map(str, planned.findings))
    return [step.doing for step in planned.steps]


def refusal(on: Host, *declared: Tier, wipe: tuple[str, ...] = ()) -> str:
    planned = planning.plan(on, declared, wipe)
    assert planned.steps == ()
    return applying.refusals(planned.findings)


def whole(declared: Tier, disks: int = 8) -> Host:
    on = made(declared, DISKS[:disks])
    return replace(on, records={"hot": applying.remember(on, declared)})


def without(on: Host, *serials: str, faulty: bool = False) -> Host:
    """The host after these disks have died: still plugged in, or gone from the bus and from the array."""
    gone = {each.kernel_name for each in on.disks if each.serial in serials}
    array = on.arrays[0]
    dead = tuple(
        replace(member, states=("faulty",), role=None) if member.kernel_name in gone else member
        for member in array.members
        if faulty or member.kernel_name not in gone
    )
    disks = tuple(each for each in on.disks if faulty or each.serial not in serials)
    return replace(on, disks=disks, arrays=(replace(array, members=dead),))


class TestNew:
    def test_an_array_is_made_of_names_that_stay(self) -> None:
        planned = planning.plan(host(*DISKS), [tier(spares=1)])
        command = planned.steps[-1].command
        assert command[-5:] == tuple(BY_ID[:5])
        assert {"--level=5", "--raid-devices=4", "--spare-devices=1", "--bitmap=internal"} <= set(command)
        assert {"--homehost=any", "--name=hot", f"--uuid={tier().uuid}"} <= set(command)
        assert not any("/dev/nvme" in word for step in planned.steps for word in step.command)

    def test_its_uuid_is_written_down_before_it_is_made(self) -> None:
        assert doings(host(*DISKS), tier()) == ["conf", "create"]

    def test_a_second_run_does_nothing(self) -> None:
        assert doings(whole(tier(spares=1)), tier(spares=1)) == []

    @pytest.mark.parametrize(
        ("level", "flags", "absent"),
        [
            (0, {"--chunk=512"}, "--bitmap=internal"),
            (1, {"--bitmap=internal"}, "--chunk=512"),
            (10, {"--layout=n2", "--bitmap=internal"}, ""),
            (6, {"--layout=left-symmetric"}, ""),
        ],
    )
    def test_each_level_gets_what_it_knows(self, level: int, flags: set[str], absent: str) -> None:
        command = planning.plan(host(*DISKS), [tier(level)]).steps[-1].command
        assert flags <= set(command)
        assert absent not in command

    def test_two_tiers_never_share_a_disk(self) -> None:
        declared = tiers(
            {"name": "warm", "level": 1, "disks": {"count": 2}},
            {"name": "hot", "level": 5, "disks": {"ids": BY_ID[:3]}},
        )
        planned = planning.plan(host(*DISKS), declared)
        assert [each.serial for each in planned.tiers[1].disks] == ["S00", "S01", "S02"]
        assert [each.serial for each in planned.tiers[0].disks] == ["S03", "S04"]

    def test_declared_ids_keep_their_order_and_end_in_the_spares(self) -> None:
        declared = tier(spares=1, disks={"ids": [BY_ID[3], BY_ID[1], BY_ID[0], BY_ID[2]]})
        assert planning.plan(host(*DISKS), [declared]).steps[-1].command[-4:] == tuple(declared.rule.ids)
        assert declared.raid_disks == 3


class TestNeverDestroys:
    @pytest.mark.parametrize(
        "kind",
        [
            "ext4",
            "xfs",
            "gpt",
            "dos",
            "LVM2_member",
            "zfs_member",
            "bcache",
            "linux_raid_member",
            "crypto_LUKS",
        ],
    )
    def test_a_disk_with_any_signature_is_not_taken_and_named(self, kind: str) -> None:
        on = host(disk(0, signatures=(Signature(kind, "mine"),)), *DISKS[1:4])
        said = refusal(on, tier())
        assert f"store1: tier hot: found 3 free disks; disk S00 ({BY_ID[0]}): it holds {kind} (mine)" in said
        assert "raid_storage_wipe" in said

    def test_a_declared_disk_with_a_signature_is_refused_by_name_and_serial(self) -> None:
        on = host(disk(0, signatures=(EXT4,)), *DISKS[1:])
        said = refusal(on, tier(disks={"ids": BY_ID[:4]}))
        assert said.startswith(
            f"store1: disk S00 ({BY_ID[0]}): found it holds ext4 (photos), expected an empty disk"
        )
        assert "add 'S00' to raid_storage_wipe" in said

    @pytest.mark.parametrize("use", ["mounted on /srv", "lvm vg-root", "raid1 md127", "held by the kernel"])
    def test_a_disk_in_use_is_not_taken_though_its_serial_is_given_up(self, use: str) -> None:
        on = host(disk(0, in_use=(use,)), *DISKS[1:4])
        said = refusal(on, tier(), wipe=("S00",))
        assert f"it is in use: {use}" in said
        assert "take 'S00' out of raid_storage_wipe" in said

    def test_a_disk_with_a_signature_is_taken_if_exactly_its_serial_is_given_up(self) -> None:
        on = host(disk(0, signatures=(EXT4,)), *DISKS[1:4])
        assert refusal(on, tier(), wipe=("S0", "S000", "s00"))
        assert doings(on, tier(), wipe=("S00",)) == ["conf", "wipe", "create"]

    def test_an_empty_disk_comes_before_one_that_is_given_up(self) -> None:
        on = host(disk(0, signatures=(EXT4,)), *DISKS[1:5])
        assert doings(on, tier(), wipe=("S00",)) == ["conf", "create"]

    def test_members_are_not_wiped_because_their_serials_still_stand_there(self) -> None:
        assert doings(whole(tier()), tier(), wipe=("S00", "S01", "S02", "S03")) == []

    def test_two_disks_of_one_serial_are_not_told_apart_and_not_taken(self) -> None:
        twins = (disk(0, serial="TWIN"), disk(1, serial="TWIN"))
        assert "two disks of this host give this serial" in refusal(host(*twins, *DISKS[2:4]), tier())

    def test_a_disk_without_a_lasting_name_is_not_taken(self) -> None:
        assert "no name below /dev/disk/by-id" in refusal(host(disk(0, by_id=""), *DISKS[1:4]), tier())

    def test_disks_that_the_rule_does_not_mean_are_said_with_why(self) -> None:
        small = [disk(number, size=480 * GB) for number in range(4)]
        said = refusal(host(*small), tier(disks={"kind": "nvme", "count": 4, "min_size_gb": 900}))
        assert "it has 480.0 GB, declared are at least 900" in said

    def test_nothing_at_all_is_done_while_one_tier_is_refused(self) -> None:
        declared = tiers(
            {"name": "hot", "level": 5, "disks": {"kind": "nvme", "count": 4}},
            {"name": "warm", "level": 1, "disks": {"kind": "rotational", "count": 2}},
        )
        assert "tier warm" in refusal(host(*DISKS), *declared)

    def test_an_array_of_the_same_name_from_another_host_is_not_taken(self) -> None:
        on = whole(tier())
        foreign = replace(on.arrays[0], uuid="1:2:3:4", name="other:hot")
        said = refusal(host(*DISKS[4:], arrays=(foreign,)), tier())
        assert "declare uuid: 1:2:3:4" in said


class TestDiffers:
    @pytest.mark.parametrize(
        ("declared", "difference"),
        [
            (tier(6), "found level RAID5, expected RAID6"),
            (tier(chunk_kib=64), "found chunk 512 KiB, expected 64 KiB"),
            (tier(count=3), "found 4 disks, expected 3"),
            (tier(disks={"kind": "nvme", "count": 4, "model": "OTHER"}), "member S00: its model is 'MODEL'"),
            (tier(disks={"ids": BY_ID[:3] + BY_ID[5:6]}), "found member S03: its id is not declared"),
        ],
    )
    def test_an_array_that_differs_is_left_alone_and_told_line_by_line(
        self, declared: Tier, difference: str
    ) -> None:
        said = refusal(whole(tier()), declared)
        assert difference in said
        assert "an array is not changed under its data" in said

    def test_a_spare_too_many_is_a_difference(self) -> None:
        assert "found 1 spares, expected 0" in refusal(whole(tier(spares=1)), tier())

    def test_every_difference_has_a_line(self) -> None:
        said = refusal(
            whole(tier()), tier(chunk_kib=64, disks={"kind": "nvme", "count": 4, "model": "OTHER"})
        )
        assert len(said.splitlines()) == 5

    @pytest.mark.parametrize("level", [0, 10])
    def test_a_level_that_does_not_grow_safely_does_not_grow(self, level: int) -> None:
        assert "found 4 disks, expected 6" in refusal(whole(tier(level)), tier(level, count=6))


class TestGrows:
    def test_a_spare_is_added(self) -> None:
        assert doings(whole(tier()), tier(spares=1)) == ["add"]

    @pytest.mark.parametrize("level", [1, 5, 6])
    def test_a_disk_more_is_added_and_the_array_grows(self, level: int) -> None:
        machine, declared = Machine(whole(tier(level))), tier(level, count=5)
        assert doings(machine.host, declared) == ["add", "grow"]
        machine.run(planning.plan(machine.host, [declared]).steps, [declared])
        assert doings(machine.host, declared) == []

    def test_it_does_not_grow_while_it_is_rebuilt(self) -> None:
        on = whole(tier())
        on = replace(on, arrays=(replace(on.arrays[0], action="recover", todo=10),))
        planned = planning.plan(on, [tier(count=5)])
        assert [step.doing for step in planned.steps] == ["add"]
        assert "run again when that has ended" in str(planned.findings[-1])

    def test_a_wish_for_more_than_there_is_is_refused(self) -> None:
        assert "0 free disks" in refusal(whole(tier(), disks=4), tier(count=5))

    def test_a_bitmap_that_somebody_took_away_comes_back(self) -> None:
        on = whole(tier())
        assert doings(replace(on, arrays=(replace(on.arrays[0], bitmap=False),)), tier()) == ["bitmap"]


class TestLoss:
    def test_a_free_disk_takes_the_place_of_one_that_died(self) -> None:
        assert doings(without(whole(tier()), "S01"), tier()) == ["add"]
        assert doings(without(whole(tier()), "S01", faulty=True), tier()) == ["add"]

    def test_without_a_free_disk_the_host_works_on_and_the_dead_one_is_named(self) -> None:
        planned = planning.plan(without(whole(tier(), disks=4), "S01"), [tier()])
        assert planned.steps == ()
        assert not refused(planned.findings)
        assert any("disk S01: found no working member" in str(each) for each in planned.findings)

    def test_a_disk_that_md_has_thrown_out_does_not_come_back_by_itself(self) -> None:
        planned = planning.plan(without(whole(tier(), disks=4), "S01", faulty=True), [tier()], ("S01",))
        assert planned.steps == ()
        assert any("-e failed=S01" in each.remedy for each in planned.findings)

    @pytest.mark.parametrize("faulty", [True, False])
    @pytest.mark.parametrize(
        ("level", "lost"), [(5, ("S01", "S02")), (6, ("S00", "S01", "S02")), (0, ("S01",))]
    )
    def test_more_lost_than_can_be_is_told_with_what_to_do_and_never_made_anew(
        self, level: int, lost: tuple[str, ...], faulty: bool
    ) -> None:
        said = refusal(without(whole(tier(level)), *lost, faulty=faulty), tier(level), wipe=tuple(lost))
        assert f"{len(lost)} of 4 disks lost" in said
        assert "it is never made anew" in said
        assert "--assemble --force" in said
        if not faulty:
            assert ", ".join(lost) in said

    def test_two_of_four_that_are_not_assembled_are_not_made_anew(self) -> None:
        on = without(whole(tier()), "S01", "S02")
        said = refusal(replace(on, arrays=()), tier())
        assert "2 of 4 disks lost (S01, S02)" in said

    def test_members_of_which_two_stopped_long_ago_are_not_started(self) -> None:
        on = whole(tier())
        old = [replace(each, superblock=replace(each.superblock, events=3)) for each in on.disks[:2]]
        on = replace(on, arrays=(), disks=(*(replace(each, in_use=()) for each in old), *on.disks[2:]))
        assert "2 of 4 disks lost" in refusal(on, tier())

    def test_a_replaced_disk_that_is_back_does_not_say_how_large_the_array_is(self) -> None:
        """The array has grown to five since; first in line is the disk that only knew of four."""
        on = whole(tier(5, 5), 5)
        before = on.disks[0].superblock
        assert before
        old = replace(on.disks[0], superblock=replace(before, events=3, raid_disks=4), in_use=())
        on = replace(on, arrays=(), disks=(old, *(replace(each, in_use=()) for each in on.disks[2:])))
        assert "2 of 5 disks lost (S01)" in refusal(on, tier(5, 5))

    def test_an_array_whose_disks_have_all_gone_is_not_made_anew_of_others(self) -> None:
        on = whole(tier())
        said = refusal(replace(on, arrays=(), disks=on.disks[4:]), tier())
        assert "S00 in slot pci-0000:00:00.0-nvme-1" in said
        assert "delete /var/lib/stronghold/storage/hot.json" in said

    def test_a_swapped_disk_is_named_with_the_one_in_its_slot(self) -> None:
        declared = tier(disks={"ids": BY_ID[:4]})
        on = without(whole(declared, disks=4), "S01")
        other = disk(9, slot=DISKS[1].slot)
        said = refusal(replace(on, disks=(*on.disks, other)), declared)
        assert f"disk S01 ({BY_ID[1]}): found disk S09 in its slot {DISKS[1].slot}" in said
        assert "-e failed=S01 -e new=S09" in said


class TestKilled:
    """Between any two steps, and in the middle of making."""

    def stopped(self, events: int, members: int, level: int = 5) -> Host:
        on = made(tier(level), DISKS[:4])
        disks = []
        for number, each in enumerate(on.disks):
            block = replace(each.superblock, events=events) if number < members else None
            signatures = each.signatures if block else ()
            disks.append(replace(each, superblock=block, signatures=signatures, in_use=()))
        inactive = replace(on.arrays[0], state="inactive", level=None, members=())
        return replace(on, disks=tuple(disks), arrays=(inactive,))

    @pytest.mark.parametrize("members", [1, 2, 3, 4])
    def test_a_creation_cut_short_is_begun_anew(self, members: int) -> None:
        assert doings(self.stopped(0, members), tier()) == ["stop", *["wipe"] * members, "create"]

    def test_an_array_that_did_not_start_is_started_and_not_made(self) -> None:
        planned = planning.plan(self.stopped(20, 4), [tier()])
        assert [step.doing for step in planned.steps] == ["stop", "assemble"]
        assert planned.steps[-1].command[-4:] == tuple(BY_ID[:4])

    def test_it_is_started_without_the_one_that_is_missing(self) -> None:
        assert doings(self.stopped(20, 3), tier()) == ["stop", "assemble"]

    def test_a_used_array_is_never_taken_for_a_creation_cut_short(self) -> None:
        assert "2 of 4 disks lost" in refusal(self.stopped(1, 2), tier())

    def test_without_mdadm_a_member_is_still_known_as_ours(self) -> None:
        on = self.stopped(20, 4)
        bare = replace(on, arrays=(), disks=tuple(replace(each, superblock=None) for each in on.disks))
        assert doings(bare, tier()) == ["assemble"]

    def test_wiped_and_not_made_is_made(self) -> None:
        machine, declared = Machine(host(disk(0, signatures=(EXT4,)), *DISKS[1:4])), tier()
        steps = planning.plan(machine.host, [declared], ("S00",)).steps
        machine.run(steps[:2], [declared])
        assert doings(machine.host, declared, wipe=("S00",)) == ["create"]


def test_a_recorded_host_is_as_it_was_declared() -> None:
    on = recorded("whole")
    declared = tiers(
        {"name": "hot", "level": 5, "disks": {"kind": "nvme", "count": 4}, "spares": 1},
        {"name": "warm", "level": 1, "disks": {"kind": "rotational", "count": 2}},
    )
    assert doings(replace(on, conf=planning.conf(declared)), *declared) == []


def test_a_record_keeps_the_name_of_what_is_gone() -> None:
    before = without(whole(tier()), "S01")
    kept = applying.remember(before, tier())
    assert kept.members[1].serial == "S01"
    after = replace(before, records={"hot": kept})
    machine = Machine(after)
    machine.run(planning.plan(after, [tier()]).steps, [tier()])
    assert applying.remember(machine.host, tier()).members[1].serial == "S04"


def test_a_disk_that_came_back_in_another_role_is_remembered_once() -> None:
    on = whole(tier())
    moved = replace(on.records["hot"], members={**on.records["hot"].members, 7: on.records["hot"].members[0]})
    kept = applying.remember(replace(on, records={"hot": moved}), tier(count=8))
    assert [known.serial for known in kept.members.values()] == ["S00", "S01", "S02", "S03"]
    wider = replace(on.arrays[0], raid_disks=8)
    kept = applying.remember(replace(on, arrays=(wider,), records={"hot": moved}), tier(count=8))
    assert [known.serial for known in kept.members.values()] == ["S00", "S01", "S02", "S03"]


def test_a_record_of_an_array_that_does_not_run_is_left_as_it_was() -> None:
    kept = Record({0: Known("S00", "id", "slot")})
    assert applying.remember(host(records={"hot": kept}), tier()) == kept


# What is on the disks, by chance ------------------------------------------------------------------

STATES = st.sampled_from(["free", "free", "free", "ext4", "mounted", "small", "rotational"])


def chance(number: int, state: str) -> planning.Disk:
    differs = {
        "ext4": {"signatures": (EXT4,)}, "mounted": {"signatures": (EXT4,), "in_use": ("mounted on /x",)},
        "small": {"size": GB}, "rotational": {"kind": "rotational"},
    }  # fmt: skip
    return disk(number, **differs.get(state, {}))


@st.composite
def wishes(draw: st.DrawFn) -> tuple[Host, tuple[Tier, ...], tuple[str, ...]]:
    disks = [chance(number, state) for number, state in enumerate(draw(st.lists(STATES, max_size=12)))]
    declared = []
    for name in draw(st.sampled_from([["hot"], ["hot", "warm"]])):
        level = draw(st.sampled_from(sorted(geometry.LEAST)))
        count = geometry.LEAST[level] + draw(st.integers(0, 2))
        spares = draw(st.integers(0, 1)) if level else 0
        rule = {"kind": draw(st.sampled_from(["nvme", "any"])), "count": count, "min_size_gb": 100}
        declared.append({"name": name, "level": level, "disks": rule, "spares": spares})
    wipe = draw(st.lists(st.sampled_from([each.serial for each in disks] or ["S"]), max_size=3, unique=True))
    return host(*disks), tiers(*declared), tuple(wipe)


@given(wishes())
def test_no_disk_is_taken_that_holds_something_or_is_in_use(wish: tuple) -> None:
    on, declared, wipe = wish
    named = {each.by_id: each for each in on.disks}
    touched = [
        word for step in planning.plan(on, declared, wipe).steps for word in step.command if word in named
    ]
    for each in map(named.__getitem__, touched):
        assert not each.in_use
        assert not each.signatures or each.serial in wipe
        assert each.size >= 100 * GB


@given(wishes())
def test_no_disk_is_in_two_arrays(wish: tuple) -> None:
    on, declared, wipe = wish
    made_of = [step.command for step in planning.plan(on, declared, wipe).steps if step.doing == "create"]
    used = [word for command in made_of for word in command if word.startswith("/dev/disk/")]
    assert len(used) == len(set(used))


@given(wishes(), st.integers(0, 12))
def test_killed_after_any_step_the_next_plan_goes_on_and_the_one_after_it_is_empty(
    wish: tuple, at: int
) -> None:
    on, declared, wipe = wish
    machine = Machine(on)
    machine.run(planning.plan(on, declared, wipe).steps[:at], declared)
    planned = planning.plan(machine.host, declared, wipe)
    first = planning.plan(on, declared, wipe)
    if refused(first.findings):
        assert machine.host == on
        return
    assert not refused(planned.findings)
    machine.run(planned.steps, declared)
    assert planning.plan(machine.host, declared, wipe).steps == ()


@given(wishes())
def test_what_was_on_other_disks_is_there_afterwards(wish: tuple) -> None:
    on, declared, wipe = wish
    machine = Machine(on)
    machine.run(planning.plan(on, declared, wipe).steps, declared)
    for before, after in zip(on.disks, machine.host.disks, strict=True):
        if before.signatures and before.serial not in wipe:
            assert after == before
    assert all(isinstance(member, Member) for array in machine.host.arrays for member in array.members)
