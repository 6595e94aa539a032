# SPDX-License-Identifier: GPL-3.0-or-later
"""A ZFS tier on a real kernel: rebooted, with a disk pulled out, with bits flipped, in a guest of its own.

The tests go on from each other's end: a guest takes a minute to boot. Debian's kernel has no ZFS; where
nobody has compiled it (python -m lab.zfs_module), nothing here is proven.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import guests, zfs_module
from lab.site import REPOSITORY

PATTERN = b"The weights of this model stay in this building. "
PLAY = """
- hosts: store1
  become: true
  gather_facts: false
  roles: [stronghold.llm.zfs_storage]
- hosts: store1
  become: true
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: stronghold.llm.zfs_storage, tasks_from: verify.yml}
"""
DISKS = [f"LABNVME0{number}" for number in range(4)]  # the last one is the spare
FOREIGN = "LABNVME05"
BY_ID = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_"
MOUNT = "/srv/stronghold/hot"
TIER = {
    "name": "hot",
    "layout": "zfs",
    "level": 5,
    "disks": {"ids": [f"{BY_ID}{serial}" for serial in DISKS]},
    "spares": 1,
    "encryption": "aes-256-gcm",
    "mount": MOUNT,
}
MIB = 2**20
LABELS = 6 * MIB  # at both ends of a member: the table of partitions, and the labels of the pool


@dataclass(frozen=True)
class Site:
    """A guest with ZFS, the recovery identity, and what the play is told."""

    guest: guests.Guest
    folder: Path

    @property
    def settings(self) -> dict[str, Any]:
        command = ["age-keygen", "-y", self.folder / "identity"]
        return {
            "zfs_storage_tiers": [TIER],
            "zfs_storage_packages": ["zfsutils-linux", "zfs-zed", "stronghold-zfs-modules"],
            "zfs_storage_arc_max_mib": 64,
            "zfs_storage_unlock": "keyfile",
            "zfs_storage_escrow_dir": str(self.folder / "escrow"),
            "zfs_storage_recovery_recipient": subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip(),
        }

    def ansible(self, program: str, *arguments: str) -> str:
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            # Never over a connection to a guest of the same name in another state folder.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "STRONGHOLD_GUESTS": str(guests.STATE),
            "STRONGHOLD_EVIDENCE_DIR": str(self.folder / "evidence"),
        }
        command = [program, "-i", str(guests.INVENTORY.parent), *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    def converge(self) -> str:
        (self.folder / "play.yml").write_text(PLAY)
        (self.folder / "settings.json").write_text(json.dumps(self.settings))
        settings = f"@{self.folder}/settings.json"
        return self.ansible("ansible-playbook", "-e", settings, str(self.folder / "play.yml"))

    def make(self, *tiers: dict[str, Any], **how: Any) -> dict[str, Any]:
        """The module alone: what it answers."""
        recipient = self.settings["zfs_storage_recovery_recipient"]
        told = json.dumps({"host": "store1", "tiers": tiers, "recovery_recipient": recipient, **how})
        said = self.ansible("ansible", "store1", "--become", "-m", "stronghold.llm.zfs_tier", "-a", told)
        answer: dict[str, Any] = json.loads(said.partition("=>")[2])
        return answer

    def claims(self) -> dict[str, str]:
        report = json.loads((self.folder / "evidence/evidence.json").read_text())
        return {claim["id"]: claim["status"] for claim in report}

    def status(self) -> dict[str, Any]:
        pool: dict[str, Any] = json.loads(self.guest.run("zpool status -j --json-int hot").stdout)["pools"][
            "hot"
        ]
        return pool

    def digest(self) -> str:
        return self.guest.run(f"mountpoint -q {MOUNT} && sha256sum <{MOUNT}/weights").stdout

    def flip(self, serial: str) -> None:
        """Of every 4 KiB of a member that hold something, one bit."""
        with self.guest.image(serial).open("r+b") as image:
            size = image.seek(0, os.SEEK_END)
            for place in range(LABELS, size - LABELS, 4096):
                image.seek(place)
                found = image.read(1)
                if found != b"\0":
                    image.seek(place)
                    image.write(bytes([found[0] ^ 0x10]))

    def damage(self, *serials: str) -> None:
        """While the pool is out of use, so that nothing of it is cached when it is back."""
        self.guest.run(f"umount {MOUNT} && zpool export hot")
        for serial in serials:
            self.flip(serial)
        load = "/usr/local/lib/stronghold/zfs-load-key hot"
        self.guest.run(f"zpool import -N -d /dev/disk/by-id hot && {load} && mount {MOUNT}", check=False)


def thumbprint() -> str:
    """Of the signing key of the lab's tang server, whose file it names."""
    keys = {path.stem: json.loads(path.read_text()) for path in (guests.STATE / "tang").glob("*.jwk")}
    return next(name for name, key in keys.items() if "sign" in key["key_ops"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if (packages := zfs_module.built()) is None:
        pytest.skip("ZFS is not compiled for the guests' kernel: python -m lab.zfs_module")
    folder = tmp_path_factory.mktemp("zfs")
    before = guests.STATE, guests.SSH_CONFIG
    if "STRONGHOLD_GUESTS" not in os.environ:
        guests.STATE, guests.SSH_CONFIG = folder / "guests", folder / "guests/ssh_config"
    guest = guests.guest("store1")
    zfs_module.lay(guest, packages)
    guests.up([guest])
    subprocess.run(["age-keygen", "-o", folder / "identity"], check=True, capture_output=True)
    yield Site(guest, folder)
    if "STRONGHOLD_GUESTS" not in os.environ:
        guests.down([guest])
    guests.STATE, guests.SSH_CONFIG = before


@pytest.fixture(scope="module")
def digest(site: Site) -> str:
    """Of weights that were written when the pool was new: half noise, half a pattern to look for."""
    said = site.converge()
    assert "failed=0" in said, said
    noise, pattern = "head -c 12M /dev/urandom", f"yes '{PATTERN.decode()}' | head -c 12M"
    site.guest.run(f"{{ {noise}; {pattern}; }} >{MOUNT}/weights && sync")
    return site.digest()


def test_a_second_run_changes_nothing_and_what_the_role_claims_is_proven(site: Site, digest: str) -> None:
    said = site.converge()
    assert "changed=0" in said, said
    assert site.claims() == {"storage.zfs_encrypted_at_rest": "proven", "storage.zfs_whole": "proven"}


def test_who_carries_the_disks_away_finds_no_plaintext(site: Site, digest: str) -> None:
    site.guest.run(f"yes '{PATTERN.decode()}' | head -c 64K | dd of={BY_ID}{FOREIGN} conv=fsync")
    found = {serial for serial in (*DISKS, FOREIGN) if PATTERN in site.guest.image(serial).read_bytes()}
    assert found == {FOREIGN}  # which shows that it would have been found


def test_the_tier_is_there_again_after_a_boot(site: Site, digest: str) -> None:
    site.guest.reboot()
    assert site.digest() == digest


def test_the_escrow_opens_the_pool_and_nothing_else_does(site: Site, digest: str) -> None:
    command = ["age", "--decrypt", "-i", site.folder / "identity", site.folder / "escrow/store1/zfs-hot.age"]
    key = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert key == site.guest.run("cat /etc/stronghold/zfs/hot.key").stdout
    site.guest.run("mv /etc/stronghold/zfs/hot.key /etc/stronghold/zfs/away")
    said = site.make(TIER)["msg"]
    site.guest.run("mv /etc/stronghold/zfs/away /etc/stronghold/zfs/hot.key")
    assert "bring it back from the escrow" in said
    refused = site.guest.run("echo 0000 | zfs load-key -n -L prompt hot 2>&1", check=False)
    assert refused.returncode


@pytest.mark.parametrize("unlock", ["tang", "tpm2", "keyfile"])
def test_the_key_is_kept_in_another_way_and_opens_the_pool_at_boot(
    site: Site, digest: str, unlock: str
) -> None:
    """Each time as the units at boot do it, on a pool that was closed."""
    pins = {"tang": {"url": "http://10.0.2.50", "thp": thumbprint()}, "tpm2": {"pcr_ids": "7"}, "keyfile": {}}
    answer = site.make(TIER, unlock=unlock, pin=pins[unlock])
    assert answer["changed"], answer
    site.guest.run(f"umount {MOUNT} && systemctl stop stronghold-zfs-key@hot && zfs unload-key hot")
    assert site.guest.run(f"mount -t zfs hot {MOUNT}", check=False).returncode
    site.guest.run("systemctl start srv-stronghold-hot.mount")
    assert site.digest() == digest


@pytest.mark.parametrize(
    "signs", ["mkfs.xfs -q -f -L models", "pvcreate -qy", "mdadm -C /dev/md/x -R -f -l1 -n1"]
)
def test_a_disk_that_holds_something_is_refused_by_its_serial(site: Site, digest: str, signs: str) -> None:
    disk = f"{BY_ID}{FOREIGN}"
    site.guest.run(f"wipefs -qa {disk}; {signs} {disk}; udevadm settle")
    before = site.guest.run(f"wipefs {disk}").stdout
    other = TIER | {"name": "warm", "level": 0, "spares": 0, "disks": {"ids": [disk]}, "mount": "/srv/warm"}
    answer = site.make(other)
    site.guest.run("mdadm --stop --scan 2>/dev/null; true")
    assert FOREIGN in answer["msg"], answer
    assert site.guest.run(f"wipefs {disk}").stdout == before


def test_a_pool_of_another_layout_is_an_error_and_stays_as_it_is(site: Site, digest: str) -> None:
    said = site.make(TIER | {"level": 1})["msg"]
    assert "layout: raidz1, declared mirror" in said
    assert site.digest() == digest


def test_one_disk_is_pulled_out_and_the_spare_takes_over(site: Site, digest: str) -> None:
    site.guest.remove(DISKS[1])
    site.guest.run(f"head -c 4M /dev/urandom >{MOUNT}/more && sync")
    assert site.digest() == digest
    deadline = time.monotonic() + 90
    while (spare := next(iter(site.status()["spares"].values())))["state"] != "INUSE":
        assert time.monotonic() < deadline, spare
        time.sleep(2)
    site.guest.run("zpool wait -t resilver hot")
    assert site.digest() == digest
    assert site.status()["state"] == "DEGRADED"
    assert "failed" in site.converge()
    assert site.claims()["storage.zfs_whole"] == "failed"


def test_the_disk_comes_back_and_the_spare_stands_by_again(site: Site, digest: str) -> None:
    site.guest.add(DISKS[1])
    site.guest.run(f"udevadm settle; zpool online hot {BY_ID}{DISKS[1]}; zpool wait -t resilver hot")
    deadline = time.monotonic() + 60
    while site.status()["state"] != "ONLINE":
        assert time.monotonic() < deadline, site.status()
        time.sleep(2)
    assert site.digest() == digest


def test_bits_flipped_on_one_disk_are_mended_and_counted(site: Site, digest: str) -> None:
    site.damage(DISKS[0])
    assert site.digest() == digest
    site.guest.run("zpool scrub -w hot")
    pool = site.status()
    disks = pool["vdevs"]["hot"]["vdevs"]["raidz1-0"]["vdevs"]
    assert disks[f"nvme-QEMU_NVMe_Ctrl_{DISKS[0]}"]["checksum_errors"] > 0
    assert pool["error_count"] == 0
    site.guest.run("zpool clear hot; zpool scrub -w hot")
    assert site.digest() == digest


def test_bits_flipped_on_two_disks_are_an_error_and_never_other_data(site: Site, digest: str) -> None:
    """More than a raidz1 can mend. Every file that can be read is whole, and this one cannot."""
    site.damage(*DISKS[:2])
    read = site.guest.run(f"mountpoint -q {MOUNT} && sha256sum <{MOUNT}/weights", check=False)
    assert read.returncode
    assert not read.stdout
