# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools print becomes disks and arrays, with the names that stay."""

from __future__ import annotations

import json

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.storage import reading
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Known, Record, StorageError

from tests.unit import storage_hosts


def lsblk(**differs: object) -> str:
    plain = {
        "name": "sda", "path": "/dev/sda", "type": "disk", "size": 10**12, "rota": False, "tran": "sas",
        "model": "M", "serial": "S", "wwn": None, "hctl": "0:0:0:0", "mountpoints": [None],
    }  # fmt: skip
    return json.dumps({"blockdevices": [{**plain, **differs}]})


def one(text: str, held: frozenset[str] = frozenset()) -> tuple[reading.Disk, ...]:
    return reading.disks(text, {}, {}, {}, {}, held)


class TestARealHost:
    host = storage_hosts.recorded("whole")

    def test_disks_come_in_the_order_of_their_slots_with_names_that_stay(self) -> None:
        nvme = [disk for disk in self.host.disks if disk.kind == "nvme"]
        assert [disk.serial for disk in nvme] == [f"LABNVME0{number}" for number in range(6)]
        assert nvme[3].by_id == "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_LABNVME03"
        assert nvme[3].kernel_name == "nvme2n1"  # which is why nobody goes by that
        assert nvme[3].slot == "pci-0000:04:00.0-nvme-1"

    def test_kinds_are_told_apart(self) -> None:
        kinds = {disk.serial: disk.kind for disk in self.host.disks if disk.serial}
        assert kinds["LABSAS00"] == "rotational"
        assert kinds["LABNVME00"] == "nvme"

    def test_the_root_disk_is_in_use(self) -> None:
        (root,) = [disk for disk in self.host.disks if disk.kernel_name == "vda"]
        assert root.in_use == ("mounted on /",)

    def test_superblocks_say_whose_and_which(self) -> None:
        blocks = {disk.serial: disk.superblock for disk in self.host.disks if disk.superblock}
        assert {serial: block.role for serial, block in blocks.items()} == {
            "LABNVME00": 0, "LABNVME01": 1, "LABNVME02": 2, "LABNVME03": 3, "LABNVME04": None,
            "LABSAS00": 0, "LABSAS01": 1,
        }  # fmt: skip
        assert blocks["LABNVME00"].name == "any:hot"
        assert blocks["LABNVME00"].level == 5
        assert blocks["LABNVME00"].events > 0
        assert blocks["LABNVME00"].uuid == self.host.arrays[1].uuid

    def test_the_array_is_whole(self) -> None:
        hot = self.host.arrays[1]
        assert (hot.level, hot.raid_disks, hot.chunk, hot.layout) == (5, 4, 512 * 1024, 2)
        assert (hot.running, hot.missing, hot.bitmap, hot.progress) == (True, 0, True, None)
        assert [member.role for member in hot.members] == [0, 1, 3, 2, None]
        assert hot.size == 2347008 * 512

    def test_the_disk_that_was_pulled_out_is_gone_and_the_spare_has_its_role(self) -> None:
        hot = storage_hosts.recorded("spare_took_over").arrays[1]
        assert [(member.kernel_name, member.role) for member in hot.members] == [
            ("nvme0n1", 0), ("nvme2n1", 3), ("nvme3n1", 2), ("nvme4n1", 1),
        ]  # fmt: skip


@pytest.mark.parametrize("name", ["zram0", "loop3", "nbd0", "md127", "sr0", "ram1", "dm-0"])
def test_what_is_no_disk_is_none(name: str) -> None:
    assert one(lsblk(name=name)) == ()


def test_an_empty_drive_is_no_disk() -> None:
    assert one(lsblk(size=0)) == ()


@pytest.mark.parametrize(
    ("children", "uses"),
    [
        ([{"name": "sda1", "type": "part", "mountpoints": [None]}], ()),
        ([{"name": "sda1", "type": "part", "mountpoints": ["/boot"]}], ("mounted on /boot",)),
        ([{"name": "sda1", "type": "part", "mountpoints": ["[SWAP]"]}], ("mounted on [SWAP]",)),
        (
            [
                {
                    "name": "sda1",
                    "type": "part",
                    "children": [{"name": "vg-root", "type": "lvm", "mountpoints": ["/"]}],
                }
            ],
            ("lvm vg-root", "mounted on /"),
        ),
        ([{"name": "md127", "type": "raid5", "mountpoints": []}], ("raid5 md127",)),
    ],
)
def test_what_stands_on_a_disk_is_its_use_and_a_partition_alone_is_none(children: list, uses: tuple) -> None:
    assert one(lsblk(children=children))[0].in_use == uses


def test_a_disk_that_the_kernel_does_not_give_away_is_in_use() -> None:
    (disk,) = one(lsblk(), frozenset({"sda"}))
    assert "held by the kernel" in disk.in_use[0]


@pytest.mark.parametrize(
    ("links", "name"),
    [
        (("nvme-eui.0025", "nvme-MODEL_S1_1", "nvme-MODEL_S1"), "nvme-MODEL_S1"),
        (("scsi-35000c500", "wwn-0x5000c500"), "wwn-0x5000c500"),
        (("ata-MODEL_S1", "wwn-0x5000c500"), "wwn-0x5000c500"),
        (("scsi-35000c500", "scsi-SVENDOR_MODEL_S1"), "scsi-SVENDOR_MODEL_S1"),
        (("nvme-eui.0025",), "nvme-eui.0025"),
        (("usb-STICK",), "usb-STICK"),
    ],
)
def test_the_name_that_can_be_read_off_a_disk_comes_first(links: tuple[str, ...], name: str) -> None:
    ids = tuple(f"/dev/disk/by-id/{link}" for link in links)
    assert reading.preferred(ids) == f"/dev/disk/by-id/{name}"


def test_slot_two_comes_before_slot_ten() -> None:
    assert sorted(["pci-10", "pci-2"], key=reading.natural) == ["pci-2", "pci-10"]


def test_all_signatures_of_a_disk_are_seen_and_a_backup_table_counts_once() -> None:
    text = json.dumps({"signatures": [
        {"device": "sda", "offset": "0x200", "type": "gpt", "uuid": None, "label": None},
        {"device": "sda", "offset": "0xfffff", "type": "gpt", "uuid": None, "label": None},
        {"device": "sda", "offset": "0x438", "type": "ext4", "uuid": "u", "label": "photos"},
    ]})  # fmt: skip
    assert [str(each) for each in reading.signatures(text)["sda"]] == ["gpt", "ext4 (photos)"]


def test_a_member_that_the_bus_has_lost_counts_as_faulty() -> None:
    texts = {"md/array_state": "clean", "md/level": "raid5", "md/raid_disks": "3",
             "md/dev-sda/state": "in_sync", "md/dev-sda/slot": "0", "md/dev-sda/present": "no"}  # fmt: skip
    assert reading.array("md0", texts, "").missing == 3


def test_a_reshape_has_its_new_number_of_disks_and_its_progress() -> None:
    texts = {"md/array_state": "clean", "md/level": "raid5", "md/raid_disks": "5 (4)",
             "md/sync_action": "reshape", "md/sync_completed": "100 / 400"}  # fmt: skip
    array = reading.array("md0", texts, "")
    assert (array.raid_disks, array.progress) == (5, 0.25)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"members": []}', '{"members": {"0": {"x": 1}}}'])
def test_a_record_that_is_not_whole_is_none(text: str) -> None:
    assert reading.record(text) == Record()


def test_a_record_survives_being_written_down() -> None:
    kept = Record({0: Known("S1", "/dev/disk/by-id/x", "slot")}, ("S1", "S2"))
    assert reading.record(reading.record_text(kept)) == kept


def test_what_is_not_lsblk_is_said_to_be_not() -> None:
    with pytest.raises(StorageError, match="lsblk printed no blockdevices"):
        one("lsblk: not found")
