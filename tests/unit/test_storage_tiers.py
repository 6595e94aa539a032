# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks are chosen, arrays planned and replaced: what holds something is kept, what differs is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.storage import (
    geometry,
    planning,
    reading,
    replacing,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.declaration import md_tiers
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    GB,
    Array,
    Disk,
    Host,
    Known,
    Member,
    Record,
    Signature,
    StorageError,
    Superblock,
    Tier,
)
from hypothesis import given
from hypothesis import strategies as st

RECORDED = Path(__file__).parents[1] / "fixtures/storage"
LEFTOVER = Signature("ext4", "old")


def disk(number: int, **changed: Any) -> Disk:
    serial = f"S{number:02}"
    plain = Disk(
        path=f"/dev/nvme{number}n1",
        kernel_name=f"nvme{number}n1",
        serial=serial,
        model="MZQL2960",
        kind="nvme",
        size=960 * GB,
        by_id=f"/dev/disk/by-id/nvme-MZQL2960_{serial}",
        slot=f"pci-0000:0{number}:00.0-nvme-1",
    )
    return with_(plain, **changed)


def tier(**changed: Any) -> Tier:
    declared: dict[str, Any] = {"name": "hot", "level": 5, "disks": {"kind": "nvme", "count": 4}, **changed}
    return md_tiers("store1", [declared])[0]


HOT = tier()


def host(disks: Sequence[Disk], *arrays: Array, **changed: Any) -> Host:
    return Host("store1", tuple(disks), arrays, conf=changed.pop("conf", planning.conf([HOT])), **changed)


def made(wanted: Tier, disks: Sequence[Disk], **changed: Any) -> tuple[Array, list[Disk]]:
    """The array of a tier as it is once it has been made, and its disks."""
    data = wanted.raid_disks
    members = [Member(each.kernel_name, role, ("in_sync",)) for role, each in enumerate(disks[:data])]
    members += [Member(each.kernel_name, None, ("spare",)) for each in disks[data:]]
    plain = Array(
        path="/dev/md127",
        uuid=wanted.uuid,
        name=f"any:{wanted.name}",
        level=wanted.level,
        raid_disks=wanted.raid_disks,
        chunk=wanted.chunk if wanted.level != 1 else 0,
        layout=geometry.LAYOUTS.get(wanted.level, 0),
        state="clean",
        size=geometry.capacity(wanted.level, wanted.raid_disks, disks[0].size),
        component=geometry.usable(disks[0].size),
        bitmap=wanted.level != 0,
        members=tuple(members),
    )
    holding = [
        with_(
            each,
            in_use=("raid md127",),
            signatures=(Signature("linux_raid_member", f"any:{wanted.name}", wanted.uuid),),
            superblock=Superblock(
                wanted.uuid, f"any:{wanted.name}", wanted.level, wanted.raid_disks, 20, role
            ),
        )
        for role, each in enumerate(disks)
    ]
    return with_(plain, **changed), holding


def without(array: Array, *roles: int) -> Array:
    return with_(array, members=tuple(each for each in array.members if each.role not in roles))


def refusals(planned: planning.Plan) -> str:
    return "\n".join(str(each) for each in planned.findings if each.severity == "refuse")


class TestNew:
    def test_four_empty_disks_become_one_array_named_by_id_and_serial(self) -> None:
        planned = planning.plan(host([disk(n) for n in range(4)], conf=""), [HOT])
        assert [step.doing for step in planned.steps] == ["conf", "create"]
        command = planned.steps[1].command
        assert [word for word in command if "/dev/" in word and word != "/dev/md/hot"] == [
            f"/dev/disk/by-id/nvme-MZQL2960_S0{n}" for n in range(4)
        ]
        assert "--homehost=any" in command
        assert f"--uuid={HOT.uuid}" in command

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"signatures": (LEFTOVER,)}, "it holds ext4 (old)"),
            ({"signatures": (Signature("LVM2_member"),)}, "it holds LVM2_member"),
            ({"signatures": (Signature("bcache"),)}, "it holds bcache"),
            ({"signatures": (Signature("zfs_member", "tank"),)}, "it holds zfs_member (tank)"),
            ({"signatures": (Signature("crypto_LUKS"),)}, "it holds crypto_LUKS"),
            ({"signatures": (Signature("gpt"),)}, "it holds gpt"),
            ({"in_use": ("mounted on /srv",)}, "it is in use: mounted on /srv"),
            ({"serial": ""}, "no serial"),
        ],
    )
    def test_a_disk_that_holds_something_is_refused_by_name_and_reason(
        self, changed: dict[str, Any], said: str
    ) -> None:
        planned = planning.plan(host([disk(0, **changed), *(disk(n) for n in range(1, 4))]), [HOT])
        assert not planned.steps
        assert said in refusals(planned)
        assert "raid_storage_wipe" in refusals(planned)

    def test_a_disk_is_given_up_by_its_serial_and_wiped_before_it_is_taken(self) -> None:
        disks = [disk(0, signatures=(LEFTOVER,)), *(disk(n) for n in range(1, 4))]
        planned = planning.plan(host(disks), [HOT], wipe=["S00"])
        assert [step.doing for step in planned.steps] == ["wipe", "create"]
        assert "S00" in planned.steps[0].text
        assert planning.plan(host(disks), [HOT], wipe=["S01"]).steps == ()

    def test_a_mounted_disk_is_refused_even_when_its_serial_is_given_up(self) -> None:
        disks = [disk(0, in_use=("mounted on /",), signatures=(LEFTOVER,)), *(disk(n) for n in range(1, 4))]
        planned = planning.plan(host(disks), [HOT], wipe=["S00"])
        assert not planned.steps
        assert "in use" in refusals(planned)

    def test_two_disks_that_give_one_serial_are_no_disks_to_take(self) -> None:
        disks = [disk(0), disk(1, serial="S00"), disk(2), disk(3)]
        assert "two disks of this host give this serial" in refusals(planning.plan(host(disks), [HOT]))

    def test_an_empty_disk_is_taken_before_one_that_has_to_be_wiped(self) -> None:
        disks = [disk(0, signatures=(LEFTOVER,)), *(disk(n) for n in range(1, 5))]
        planned = planning.plan(host(disks), [HOT], wipe=["S00"])
        assert [step.doing for step in planned.steps] == ["create"]

    def test_two_tiers_never_take_the_same_disk(self) -> None:
        warm = tier(name="warm", level=1, disks={"kind": "nvme", "count": 2})
        planned = planning.plan(host([disk(n) for n in range(6)]), [HOT, warm])
        taken = [each.serial for one in planned.tiers for each in one.disks]
        assert len(taken) == len(set(taken)) == 6

    def test_an_array_of_the_same_name_and_another_uuid_is_not_taken_over(self) -> None:
        foreign, holding = made(with_(HOT, uuid="1:2:3:4"), [disk(n) for n in range(4)])
        planned = planning.plan(host([*holding, *(disk(n) for n in range(4, 8))], foreign), [HOT])
        assert not planned.steps
        assert "another host's" in refusals(planned)


class TestThere:
    def test_an_array_as_declared_is_left_alone(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        planned = planning.plan(host(disks, array), [HOT])
        assert planned.steps == ()
        assert planned.findings == ()

    @pytest.mark.parametrize(
        ("changed", "declared", "said"),
        [
            ({"level": 6}, {}, "RAID6"),
            ({"chunk": 65536}, {}, "64 KiB"),
            ({}, {"disks": {"kind": "nvme", "count": 3}}, "4 disks"),
            ({"layout": 0}, {}, "left-symmetric"),
            ({}, {"disks": {"kind": "rotational", "count": 4}}, "it is nvme, declared is rotational"),
        ],
    )
    def test_what_differs_is_an_error_with_the_difference_and_nothing_is_done(
        self, changed: dict[str, Any], declared: dict[str, Any], said: str
    ) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)], **changed)
        planned = planning.plan(host(disks, array), [tier(**declared)])
        assert not planned.steps
        assert said in refusals(planned)
        assert "not changed under its data" in refusals(planned)

    def test_two_disks_lost_are_refused_and_the_array_is_never_made_anew(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        planned = planning.plan(host([*disks[2:], disk(4), disk(5)], without(array, 0, 1)), [HOT])
        assert not planned.steps
        assert "2 of 4 disks lost" in refusals(planned)
        assert "never made anew" in refusals(planned)

    def test_members_that_have_all_gone_are_waited_for_not_replaced(self) -> None:
        known = {role: Known(f"S0{role}", "", f"slot{role}") for role in range(4)}
        planned = planning.plan(host([disk(n) for n in range(4, 8)], records={"hot": Record(known)}), [HOT])
        assert not planned.steps
        assert "not made anew while its disks may come back" in refusals(planned)

    def test_a_disk_too_few_is_filled_by_a_free_one(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        planned = planning.plan(host([*disks[1:], disk(4)], without(array, 0)), [HOT])
        assert [step.doing for step in planned.steps] == ["add"]
        assert "S04" in planned.steps[0].text

    def test_a_disk_too_few_and_none_free_is_told_and_the_host_goes_on(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        planned = planning.plan(host(disks[1:], without(array, 0)), [HOT])
        assert planned.steps == ()
        assert {each.severity for each in planned.findings} == {"warn"}

    def test_a_declared_disk_whose_slot_another_one_has_is_named_with_both_serials(self) -> None:
        ids = [f"/dev/disk/by-id/nvme-MZQL2960_S0{n}" for n in range(4)]
        declared = tier(disks={"ids": ids})
        array, disks = made(declared, [disk(n) for n in range(4)])
        stranger = disk(9, slot=disks[0].slot)
        known = {role: Known(f"S0{role}", ids[role], disks[role].slot) for role in range(4)}
        planned = planning.plan(
            host([stranger, *disks[1:]], without(array, 0), records={"hot": Record(known)}), [declared]
        )
        assert not planned.steps
        assert "S09 in its slot" in refusals(planned)
        assert "replace_disk.yml -e tier=hot -e failed=S00 -e new=S09" in refusals(planned)

    def test_it_grows_by_a_disk_only_when_it_is_whole(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        wider = tier(disks={"kind": "nvme", "count": 5})
        steps = planning.plan(host([*disks, disk(4)], array), [wider]).steps
        assert [step.doing for step in steps if step.doing != "conf"] == ["add", "grow"]
        busy = with_(array, action="recover")
        steps = planning.plan(host([*disks, disk(4)], busy), [wider]).steps
        assert "grow" not in [step.doing for step in steps]

    def test_a_creation_that_was_cut_short_is_begun_again_as_nothing_was_ever_written(self) -> None:
        _, disks = made(HOT, [disk(n) for n in range(4)])
        young = [
            with_(each, in_use=(), superblock=with_(each.superblock, events=0))
            for each in disks
            if each.superblock
        ]
        planned = planning.plan(host([*young[:2], disk(2), disk(3)]), [HOT])
        assert [step.doing for step in planned.steps] == ["wipe", "wipe", "create"]

    def test_an_array_that_has_been_written_to_is_assembled_and_never_created(self) -> None:
        _, disks = made(HOT, [disk(n) for n in range(4)])
        planned = planning.plan(host([with_(each, in_use=()) for each in disks]), [HOT])
        assert [step.doing for step in planned.steps] == ["assemble"]


class TestReplacing:
    def test_a_working_disk_is_failed_removed_and_the_new_one_added(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        found = replacing.replace(host([*disks, disk(4)], array), HOT, "S01", "S04")
        assert [step.doing for step in found.steps] == ["fail", "remove", "add"]
        assert not found.findings

    def test_a_working_disk_of_an_array_that_has_lost_one_is_never_failed(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        found = replacing.replace(host([*disks[1:], disk(4)], without(array, 0)), HOT, "S01", "S04")
        assert not found.steps
        assert "would end the array" in str(found.findings[0])

    def test_what_the_bus_has_lost_is_removed_and_its_successor_added(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        lost = with_(array.members[0], states=("faulty",), present=False)
        gone = with_(array, members=(lost, *array.members[1:]))
        known = {0: Known("S00", disks[0].by_id, disks[0].slot)}
        found = replacing.replace(
            host([*disks[1:], disk(4)], gone, records={"hot": Record(known)}), HOT, "S00", "S04"
        )
        assert [step.doing for step in found.steps] == ["remove", "add"]

    @pytest.mark.parametrize(
        ("new", "said"),
        [
            (disk(4, signatures=(LEFTOVER,)), "it holds ext4"),
            (disk(4, size=100 * GB), "as large as the others"),
            (disk(4, kind="rotational"), "it is rotational"),
            (None, "no disk with serial S04"),
        ],
    )
    def test_a_disk_that_does_not_fit_is_refused_before_the_old_one_leaves(
        self, new: Disk | None, said: str
    ) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        found = replacing.replace(host([*disks, *([new] if new else [])], array), HOT, "S01", "S04")
        assert not found.steps
        assert said in " ".join(map(str, found.findings))

    def test_a_serial_that_is_no_member_is_named_with_those_that_are(self) -> None:
        array, disks = made(HOT, [disk(n) for n in range(4)])
        found = replacing.replace(host([*disks, disk(4)], array), HOT, "S77", "S04")
        assert not found.steps
        assert "S00, S01, S02, S03" in str(found.findings[0])


class TestDeclaration:
    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"level": 4}, "RAID 0, 1, 5, 6 or 10"),
            ({"disks": {"kind": "nvme", "count": 2}}, "RAID5 takes 3 or more"),
            ({"disks": {"ids": ["/dev/nvme0n1", "/dev/nvme1n1", "/dev/sda"]}}, "change from boot to boot"),
            ({"disks": {"count": 4, "ids": ["/dev/disk/by-id/x"]}}, "give count, ids or slots"),
            ({"disks": {"count": 4, "size": 3}}, "disks has size"),
            ({"level": 0, "spares": 1}, "RAID0 has no use for a spare"),
            ({"chunk_kib": 100}, "power of two"),
            ({"name": "Hot Tier"}, "it becomes /dev/md/<name>"),
        ],
    )
    def test_what_cannot_be_meant_is_said_with_the_tiers_name(
        self, changed: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(StorageError, match="store1: tier") as error:
            tier(**changed)
        assert said in str(error.value)

    @pytest.mark.parametrize(
        ("level", "disks", "capacity", "may_die"),
        [(0, 2, 2, 0), (1, 3, 1, 2), (5, 4, 3, 1), (6, 6, 4, 2), (10, 4, 2, 1), (10, 5, 2.5, 1)],
    )
    def test_capacity_and_how_many_may_die(
        self, level: int, disks: int, capacity: float, may_die: int
    ) -> None:
        assert geometry.capacity(level, disks, GB) == capacity * GB
        assert geometry.may_die(level, disks) == may_die


def recorded(name: str) -> Host:
    """A guest's own output, as `live.look` would have read it."""
    folder = RECORDED / name
    slots = {kernel: link for link, kernel in json.loads((folder / "by-path.json").read_text()).items()}
    links: dict[str, tuple[str, ...]] = {}
    for link, kernel in json.loads((folder / "by-id.json").read_text()).items():
        links[kernel] = (*links.get(kernel, ()), link)
    superblocks = reading.superblocks((folder / "examine.txt").read_text())
    arrays = [
        reading.array(
            path.stem, json.loads(path.read_text()), (folder / f"{path.stem}-export.txt").read_text()
        )
        for path in sorted(folder.glob("md???.json"))
    ]
    disks = reading.disks(
        (folder / "lsblk.json").read_text(),
        reading.signatures((folder / "wipefs.json").read_text()),
        {path.removeprefix("/dev/"): block for path, block in superblocks.items()},
        links,
        slots,
        frozenset(),
    )
    return Host("store1", disks, tuple(arrays))


class TestRecorded:
    def test_a_whole_array_is_read_and_needs_nothing(self) -> None:
        found = recorded("whole")
        array = next(each for each in found.arrays if each.name == "any:hot")
        declared = tier(uuid=array.uuid, spares=len(array.members) - array.raid_disks)
        assert (array.level, array.raid_disks, array.working, array.missing) == (5, 4, 4, 0)
        steps = planning.plan(with_(found, conf=planning.conf([declared])), [declared]).steps
        assert steps == ()

    def test_its_disks_are_named_by_model_and_serial_not_by_the_kernels_names(self) -> None:
        named = {each.serial: each.by_id for each in recorded("whole").disks}
        assert named["LABNVME02"] == "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_LABNVME02"
        assert named["LABSAS00"] == "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_LABSAS00"

    def test_a_spare_that_took_over_is_told_with_the_disk_that_was_thrown_out(self) -> None:
        found = recorded("spare_took_over")
        array = next(each for each in found.arrays if each.name == "any:hot" and each.running)
        assert array.missing == 0
        declared = tier(uuid=array.uuid, spares=1)
        findings = planning.plan(with_(found, conf=planning.conf([declared])), [declared]).findings
        assert all(each.severity != "refuse" for each in findings), findings

    def test_output_that_is_cut_off_is_an_error_that_names_the_command(self) -> None:
        with pytest.raises(StorageError, match="lsblk printed no blockdevices"):
            reading.disks('{"blockdev', {}, {}, {}, {}, frozenset())


@st.composite
def shelves(draw: st.DrawFn) -> list[Disk]:
    holds = st.sampled_from(
        [(), (), (LEFTOVER,), (Signature("gpt"),), (Signature("linux_raid_member", "x", "9:9:9:9"),)]
    )
    used = st.sampled_from([(), (), ("mounted on /srv",), ("raid md9",)])
    return [
        disk(n, signatures=draw(holds), in_use=draw(used), kind=draw(st.sampled_from(["nvme", "rotational"])))
        for n in range(draw(st.integers(0, 9)))
    ]


@given(
    shelves(),
    st.sampled_from([0, 1, 5, 6, 10]),
    st.integers(2, 6),
    st.lists(st.sampled_from([f"S0{n}" for n in range(9)])),
)
def test_no_plan_ever_touches_a_disk_that_holds_something_it_was_not_told_to_lose(
    disks: list[Disk], level: int, count: int, wipe: list[str]
) -> None:
    try:
        wanted = tier(level=level, disks={"kind": "nvme", "count": count})
    except StorageError:
        return
    planned = planning.plan(host(disks), [wanted], wipe)
    touched = {word for step in planned.steps for word in step.command}
    for each in disks:
        if each.by_id in touched:
            assert not each.in_use
            assert each.kind == "nvme"
            assert not each.signatures or each.serial in wipe
    if not planned.steps:
        assert refusals(planned)  # nothing is left undone in silence
        return
    # And once it is done, there is nothing left to do.
    chosen = list(planned.tiers[0].disks)
    array, holding = made(wanted, chosen)
    others = [each for each in disks if each not in chosen]
    again = planning.plan(host([*holding, *others], array, conf=planning.conf([wanted])), [wanted], wipe=[])
    assert again.steps == ()
    assert not refusals(again)
