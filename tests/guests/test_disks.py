# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays on real disks: made, killed, pulled, rebooted and replaced; nothing that holds something is taken.

The tests go on from each other's end, as a guest takes a while to boot.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import guests
from lab.site import REPOSITORY

HOT = {
    "name": "hot", "layout": "md", "level": 5, "disks": {"kind": "nvme", "count": 4}, "encryption": "none",
    "filesystem": "xfs", "mount": "/srv/stronghold/hot",
}  # fmt: skip
PLAY = """
- hosts: storage
  become: true
  gather_facts: false
  vars_files: [{vars}]
  roles: [stronghold.llm.raid_storage, stronghold.llm.storage_mount]
"""


@dataclass(frozen=True)
class Store:
    """A guest, and what a site says of it."""

    guest: guests.Guest
    folder: Path

    def start(self, *arguments: str, book: str = "", **declared: Any) -> subprocess.Popen[str]:
        settings = {"stronghold_storage_tiers": [HOT], **declared}
        (self.folder / "settings.json").write_text(json.dumps(settings))
        (self.folder / "play.yml").write_text(PLAY.format(vars=REPOSITORY / "playbooks/vars/site.yml"))
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        command = [
            program, "-i", str(guests.INVENTORY.parent), "-e", f"@{self.folder}/settings.json", *arguments,
            book or str(self.folder / "play.yml"),
        ]  # fmt: skip
        told = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "STRONGHOLD_GUESTS": str(guests.STATE)}
        told |= {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default", "ANSIBLE_NOCOLOR": "1"}
        plain = {name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")}
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=plain | told,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def play(self, *arguments: str, book: str = "", **declared: Any) -> tuple[int, str]:
        process = self.start(*arguments, book=book, **declared)
        output, _ = process.communicate(timeout=900)
        return process.returncode, " ".join(output.split())

    def converge(self, **declared: Any) -> str:
        code, output = self.play(**declared)
        assert code == 0, output
        return output

    def refused(self, **declared: Any) -> str:
        before = self.state()
        code, output = self.play(**declared)
        assert code != 0, output
        assert self.state() == before
        return output

    def state(self) -> str:
        """Every disk's signatures, and the arrays."""
        return self.guest.run("wipefs --json /dev/nvme?n1 /dev/sd?; grep ^md /proc/mdstat | sort").stdout

    def digest(self) -> str:
        """Of a file on the tier, as the disks have it and not the cache."""
        return self.guest.run(
            "mountpoint -q /srv/stronghold/hot && sync && echo 3 >/proc/sys/vm/drop_caches && "
            "sha256sum </srv/stronghold/hot/weights"
        ).stdout

    def kernel_name(self, serial: str) -> str:
        link = f"/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{serial}"
        return self.guest.run(f"basename $(readlink -f {link})").stdout.strip()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    guest = guests.guest("store1")
    guests.down([guest])
    guests.up([guest])
    yield Store(guest, tmp_path_factory.mktemp("store"))
    guests.down([guest])


def test_a_module_killed_again_and_again_leaves_what_the_next_run_makes_whole(store: Store) -> None:
    process = store.start()
    killed = 0
    while process.poll() is None:
        done = store.guest.run("pkill -KILL -f 'AnsiballZ_md_array[.]py|mdadm --create'", check=False)
        killed += done.returncode == 0
        time.sleep(0.2)
        if killed == 3:
            process.kill()
            process.wait()
    store.converge()
    assert "[4/4] [UUUU]" in store.guest.run("mdadm --wait /dev/md/hot; cat /proc/mdstat").stdout
    assert killed


def test_a_second_run_changes_nothing(store: Store) -> None:
    assert "changed=0" in store.converge()


def test_the_file_system_knows_the_stripe_and_nothing_lands_beside_it(store: Store) -> None:
    store.guest.run("dd if=/dev/urandom of=/srv/stronghold/hot/weights bs=1M count=64 status=none")
    assert "sunit=128 swidth=384 blks" in " ".join(
        store.guest.run("xfs_info /srv/stronghold/hot").stdout.replace("sunit=128    ", "sunit=128 ").split()
    )
    store.guest.run("umount /srv/stronghold/hot")
    assert store.guest.run("touch /srv/stronghold/hot/lost", check=False).returncode != 0
    store.guest.run("mount /srv/stronghold/hot")


def test_it_survives_a_reboot_under_its_own_name(store: Store) -> None:
    before = store.digest()
    store.guest.reboot()
    assert store.digest() == before
    assert store.guest.run("mdadm --detail --brief /dev/md/hot").stdout


def test_a_disk_pulled_out_under_load_costs_no_byte_and_is_replaced_by_serial(store: Store) -> None:
    before = store.digest()
    store.guest.run(
        "systemd-run --unit=load --property=RuntimeMaxSec=600 sh -c "
        "'cd /srv/stronghold/hot; while :; do dd if=/dev/urandom of=load bs=1M count=16 conv=fsync; done'"
    )
    store.guest.remove("LABNVME02")
    deadline = time.monotonic() + 60
    while "[4/3]" not in store.guest.run("cat /proc/mdstat").stdout:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert store.digest() == before
    code, output = store.play(
        "-e", "tier=hot", "-e", "failed=LABNVME02", "-e", "new=LABNVME04",
        "-e", "raid_storage_poll_seconds=1",
        book="playbooks/replace_disk.yml",
    )  # fmt: skip
    assert code == 0, output
    assert store.guest.run("systemctl is-active load").stdout.strip() == "active"
    store.guest.run("systemctl stop load")
    assert "[4/4] [UUUU]" in store.guest.run("cat /proc/mdstat").stdout
    assert store.digest() == before
    assert "changed=0" in store.converge()


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ("mkfs.ext4 -q -F -L old {}", "it holds ext4 (old)"),
        ("wipefs -aq {0}; echo 'label: gpt' | sfdisk -q {0}", "it holds gpt"),
        ("wipefs -aq {0}; pvcreate -qq {0}", "it holds LVM2_member"),
        (
            "wipefs -aq {0}; mkfs.ext4 -q -F {0}; mkdir -p /mnt/x; mount {0} /mnt/x",
            "it is in use: mounted on /mnt/x",
        ),
    ],
    ids=["file system", "partition table", "LVM", "mounted"],
)
def test_a_disk_that_holds_something_is_refused_by_its_serial(store: Store, holds: str, said: str) -> None:
    disk = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_LABNVME05"
    store.guest.run(holds.format(disk))
    sas = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_LABSAS00"
    more = {**HOT, "name": "more", "level": 1, "disks": {"ids": [disk, sas]}, "mount": "/srv/stronghold/more"}
    # A mounted disk is refused even where it is given up.
    wipe = ["LABNVME05"] if "mounted" in said else []
    output = store.refused(stronghold_storage_tiers=[HOT, more], stronghold_storage_wipe=wipe)
    assert "LABNVME05" in output
    assert said in output


def test_another_level_is_an_error_with_the_difference(store: Store) -> None:
    output = store.refused(stronghold_storage_tiers=[{**HOT, "level": 6}])
    assert "an array is not changed under its data" in output


def test_two_disks_lost_are_refused_and_nothing_is_made_anew(store: Store) -> None:
    store.guest.remove("LABNVME00")
    store.guest.remove("LABNVME01")
    store.guest.run("dd if=/dev/md/hot of=/dev/null bs=1M count=8 iflag=direct", check=False)
    store.guest.power_off()
    guests.up([store.guest])  # without the two disks no longer in their slots
    store.guest.remove("LABNVME00")
    store.guest.remove("LABNVME01")
    store.guest.run("umount -l /srv/stronghold/hot; mdadm --stop /dev/md/hot", check=False)
    code, output = store.play()
    assert code != 0
    assert "2 of 4 disks lost" in output
    assert "never made anew" in output
