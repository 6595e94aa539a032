# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption at rest on a real kernel: killed, rebooted, damaged and recovered, in a guest of its own.

The tests go on from each other's end: a guest takes a minute to boot. STRONGHOLD_GUESTS names a state folder
whose running guest is taken instead, its disks with it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import guests
from lab.site import REPOSITORY

PATTERN = b"The weights of this model are nobody else's business. "
PLAY = """
- hosts: store1
  become: true
  gather_facts: false
  roles: [stronghold.llm.disk_encryption]
- hosts: store1
  become: true
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: stronghold.llm.disk_encryption, tasks_from: verify.yml}
"""
MD = {"layout": "md", "level": 1, "filesystem": "xfs"}
HOT = {"name": "hot", "encryption": "aes-256-xts", "mount": "/srv/stronghold/hot", **MD}
VAULT = {"name": "vault", "encryption": "aes-256-gcm", "mount": "/srv/stronghold/vault", **MD}
DISKS = {"hot": "LABNVME00", "vault": "LABNVME01", "plain": "LABNVME02"}
ARRAY_KIB = 128 * 1024  # making an authenticated volume writes all of it


@dataclass(frozen=True)
class Site:
    """A guest with arrays, the recovery identity, and what the play is told."""

    guest: guests.Guest
    folder: Path

    @property
    def settings(self) -> dict[str, Any]:
        shown = subprocess.run(
            ["age-keygen", "-y", self.identity], capture_output=True, text=True, check=True
        )
        return {
            "disk_encryption_tiers": [HOT, VAULT],
            "disk_encryption_unlock": "keyfile",
            "disk_encryption_recovery_recipient": shown.stdout.strip(),
            "disk_encryption_escrow_dir": str(self.folder / "escrow"),
        }

    @property
    def identity(self) -> Path:
        return self.folder / "identity"

    def command(self, **changed: object) -> list[str]:
        (self.folder / "play.yml").write_text(PLAY)
        (self.folder / "settings.json").write_text(json.dumps(self.settings | changed))
        inventory = str(guests.INVENTORY.parent)
        return [
            "ansible-playbook", "--diff", "-i", inventory, "-e", f"@{self.folder}/settings.json",
            str(self.folder / "play.yml"),
        ]  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            # Never over a connection to a guest of the same name in another state folder.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "STRONGHOLD_GUESTS": str(guests.STATE),
            "STRONGHOLD_EVIDENCE_DIR": str(self.folder / "evidence"),
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=False
        )

    def converge(self, **changed: object) -> str:
        done = self.run(*self.command(**changed))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make(self, **changed: object) -> dict[str, Any]:
        """The module alone, in a tenth of the time."""
        arguments = {
            key.removeprefix("disk_encryption_"): value for key, value in (self.settings | changed).items()
        }
        arguments.pop("escrow_dir")
        module = ("-m", "stronghold.llm.luks_volume", "-a", json.dumps(arguments))
        done = self.run("ansible", "store1", "-i", str(guests.INVENTORY.parent), "--become", *module)
        answer: dict[str, Any] = json.loads(done.stdout.partition("=>")[2])
        return answer

    def claims(self) -> dict[str, Any]:
        report = json.loads((self.folder / "evidence/evidence.json").read_text())
        return {claim["id"]: claim for claim in report}

    def decrypt(self, name: str) -> bytes:
        """What the people who hold the identity do, with the controller's copy."""
        path = self.folder / "escrow/store1" / name
        return subprocess.run(
            ["age", "--decrypt", "-i", self.identity, path], capture_output=True, check=True
        ).stdout

    def uuid(self, tier: str) -> str:
        return self.guest.run(f"cryptsetup luksUUID /dev/md/{tier}").stdout.strip()

    def give(self, data: bytes, path: str) -> None:
        command = ["ssh", "-F", str(guests.SSH_CONFIG), "store1", f"sudo sh -c 'cat >{path}'"]
        subprocess.run(command, input=data, check=True)

    def disk(self, tier: str) -> Path:
        return self.guest.image(DISKS[tier])

    def close(self) -> None:
        self.guest.run("for v in hot vault; do systemctl stop systemd-cryptsetup@$v; done")

    def digest(self, tier: str) -> str:
        return self.guest.run(f"head -c 8M /dev/mapper/{tier} | sha256sum").stdout

    def counted(self) -> int:
        self.guest.run("systemctl start stronghold-write-budget.service")
        state = self.guest.run("cat /var/lib/stronghold/gcm_write_budget.json").stdout
        return int(json.loads(state)["vault"]["used"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("encryption")
    before = guests.STATE, guests.SSH_CONFIG
    if "STRONGHOLD_GUESTS" not in os.environ:
        guests.STATE, guests.SSH_CONFIG = folder / "guests", folder / "guests/ssh_config"
    guest = guests.guest("store1")
    guests.up([guest])
    subprocess.run(["age-keygen", "-o", folder / "identity"], check=True, capture_output=True)
    for tier, serial in DISKS.items():
        # Its name is for any host: the initramfs, which finds it first at boot, has another name.
        kind = f"--homehost=any --run --force --level=1 --raid-devices=1 --size={ARRAY_KIB}"
        guest.run(f"mdadm --create /dev/md/{tier} {kind} /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{serial}")
    guest.run("mdadm --detail --scan >>/etc/mdadm/mdadm.conf")
    yield Site(guest, folder)
    if "STRONGHOLD_GUESTS" not in os.environ:
        guests.down([guest])
    guests.STATE, guests.SSH_CONFIG = before


def test_a_run_that_is_killed_while_it_formats_is_made_good(site: Site) -> None:
    with subprocess.Popen(
        site.command(),
        cwd=REPOSITORY,
        env=site.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        killed = site.guest.run(
            "for i in $(seq 1000); do dmsetup table | grep -q 'temporary.* crypt' && break; sleep 0.1; done;"
            "pkill -KILL python3;"
            # What the killed run had started goes on, and holds the lock until it ends.
            "flock -n /run/stronghold/luks.lock true || echo locked; pkill -KILL cryptsetup"
        )
        run.kill()
    assert killed.stdout == "locked\n"
    assert "subsystem:\tstronghold-making" in dump(site, "vault").lower()
    assert "temporary-cryptsetup" in site.guest.run("dmsetup ls").stdout
    site.converge()
    assert "temporary-cryptsetup" not in site.guest.run("dmsetup ls").stdout


def dump(site: Site, tier: str) -> str:
    return re.sub(r"[ \t]+", "\t", site.guest.run(f"cryptsetup luksDump /dev/md/{tier}").stdout)


def test_both_claims_are_proven(site: Site) -> None:
    claims = site.claims()
    assert {claims[name]["status"] for name in ("storage.encrypted_at_rest", "storage.gcm_write_budget")} == {
        "proven"
    }


def test_a_second_run_changes_nothing(site: Site) -> None:
    assert re.search(r"store1 .*changed=0 .*failed=0", site.converge())


def test_check_mode_passes_on_what_is_built(site: Site) -> None:
    done = site.run(*site.command(), "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_key_lies_about_and_none_was_logged(site: Site) -> None:
    keys = [site.decrypt(f"{site.uuid(tier)}.age").decode() for tier in ("hot", "vault")]
    keys += site.guest.run("cat /etc/stronghold/luks/*.key").stdout.split()
    assert site.guest.run("ls /run/stronghold/luks").stdout == ""
    assert site.guest.run("stat -c %a /etc/stronghold/luks/hot.key").stdout == "400\n"
    logged = site.guest.run("journalctl --output=cat").stdout
    assert not [key for key in keys if key in logged]


def test_raw_disks_show_nothing_and_an_unencrypted_array_shows_everything(site: Site) -> None:
    site.give(PATTERN * 20000, "/root/pattern")
    for device in ("mapper/hot", "mapper/vault", "md/plain"):
        site.guest.run(f"dd if=/root/pattern of=/dev/{device} bs=1M oflag=direct,sync conv=notrunc,fsync")
    assert PATTERN not in site.disk("hot").read_bytes()
    assert PATTERN not in site.disk("vault").read_bytes()
    assert PATTERN in site.disk("plain").read_bytes()


def test_writes_are_counted(site: Site) -> None:
    before = site.counted()
    site.guest.run("dd if=/dev/zero of=/dev/mapper/vault bs=1M count=8 seek=20 oflag=direct conv=fsync")
    assert site.counted() - before >= 8 * 2**20 // 4096


def test_a_flipped_bit_of_a_gcm_tier_is_an_error_and_never_data(site: Site) -> None:
    read = "echo 1 >/proc/sys/vm/drop_caches; dd if=/dev/mapper/vault of=/dev/null bs=1M"
    site.guest.run(read)
    flip(site.disk("vault"))
    done = site.guest.run(read, check=False)
    assert "Input/output error" in done.stderr
    assert "INTEGRITY AEAD ERROR" in site.guest.run("dmesg").stdout
    flip(site.disk("vault"))  # and back
    site.guest.run(read)
    # xts has no tag: the same flip is other data, and no error. So docs/encryption.md says it.
    before = site.guest.run("sha256sum /dev/mapper/hot").stdout
    flip(site.disk("hot"))
    assert site.guest.run("echo 1 >/proc/sys/vm/drop_caches; sha256sum /dev/mapper/hot").stdout != before
    flip(site.disk("hot"))


def flip(image: Path) -> None:
    """One bit in every MiB of a stretch in the middle, where file system data would be."""
    with image.open("r+b") as file:
        for offset in range(60 * 2**20, 80 * 2**20, 2**20):
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 1]))
        os.fsync(file.fileno())


def test_a_reboot_unlocks_without_a_person_and_the_count_goes_on(site: Site) -> None:
    before, content = site.counted(), site.digest("hot")
    site.guest.reboot()
    assert site.digest("hot") == content
    assert site.counted() > before


def test_another_cipher_than_declared_is_refused_with_the_difference(site: Site) -> None:
    made = site.make(disk_encryption_tiers=[{**HOT, "encryption": "aes-256-gcm"}, VAULT])
    assert "cipher is aes-xts-plain64, declared is aes-gcm-random" in made["msg"]


def test_an_array_that_holds_something_is_refused_by_name(site: Site) -> None:
    site.guest.run("mkfs.vfat /dev/md/plain")
    made = site.make(disk_encryption_tiers=[HOT, VAULT, {**HOT, "name": "plain"}])
    assert "/dev/md/plain holds vfat" in made["msg"]
    assert "vfat" in site.guest.run("blkid -p /dev/md/plain").stdout


def test_flags_change_on_an_open_volume_and_last(site: Site) -> None:
    flags = ["no_read_workqueue", "no_write_workqueue"]
    assert site.make(disk_encryption_flags={"hot": flags, "vault": flags})["changed"]
    for tier in ("hot", "vault"):
        assert "no_read_workqueue no_write_workqueue" in site.guest.run(f"dmsetup table {tier}").stdout
    assert "no-read-workqueue,no-write-workqueue" in site.guest.run("cat /etc/crypttab").stdout


def test_tang_takes_over_from_the_key_file_and_unlocks_a_reboot(site: Site) -> None:
    content = site.digest("hot")
    site.converge(**tang())
    assert site.guest.run("ls /etc/stronghold/luks").stdout == ""
    assert site.claims()["storage.encrypted_at_rest"]["status"] == "proven"
    site.guest.reboot()
    site.guest.run(
        "for i in $(seq 60); do test -e /dev/mapper/vault -a -e /dev/mapper/hot && break; sleep 2; done"
    )
    assert site.digest("hot") == content


def wait_for_volumes(site: Site) -> None:
    site.guest.run(
        "timeout 120 sh -c 'until test -e /dev/mapper/hot -a -e /dev/mapper/vault; do sleep 1; done'"
    )


def tang() -> dict[str, str]:
    keys = [
        json.loads(path.read_text()) | {"name": path.stem} for path in (guests.STATE / "tang").glob("*.jwk")
    ]
    (signing,) = [key["name"] for key in keys if "sign" in key["key_ops"]]
    return {
        "disk_encryption_unlock": "tang",
        "disk_encryption_tang_url": "http://10.0.2.50",
        "disk_encryption_tang_thumbprint": signing,
    }


def test_the_tpm_takes_over_from_tang(site: Site) -> None:
    content = site.digest("hot")
    assert site.make(disk_encryption_unlock="tpm2")["changed"]
    assert "tang" not in site.guest.run("clevis luks list -d /dev/md/hot").stdout
    site.guest.reboot()
    wait_for_volumes(site)
    assert site.digest("hot") == content


def test_the_escrowed_key_opens_a_volume_whose_unlock_method_is_gone(site: Site) -> None:
    content = site.digest("hot")
    site.close()
    site.guest.run("for s in 1 2 3; do cryptsetup luksKillSlot --batch-mode /dev/md/hot $s || true; done")
    assert "Keyslots:\n\t0:\tluks2\n" in dump(site, "hot")
    site.give(site.decrypt(f"{site.uuid('hot')}.age"), "/run/recovery")
    site.guest.run("cryptsetup open --key-file=/run/recovery /dev/md/hot hot")
    assert site.digest("hot") == content
    site.guest.run("cryptsetup close hot")


def test_a_destroyed_header_is_not_taken_for_an_empty_disk_and_comes_back(site: Site) -> None:
    uuid = site.uuid("hot")
    site.guest.run("dd if=/dev/zero of=/dev/md/hot bs=1M count=16 conv=fsync; wipefs --no-act /dev/md/hot")
    assert "its header is lost, its data is not" in site.make(disk_encryption_unlock="tpm2")["msg"]
    site.give(site.decrypt(f"{uuid}.header.age"), "/run/header")
    restore = "cryptsetup luksHeaderRestore --batch-mode --header-backup-file=/run/header /dev/md/hot"
    site.guest.run(f"{restore} && rm /run/header")
    # The controller's copy is older than the binding to the TPM: tang opens it, and it is bound again.
    steps = site.make(disk_encryption_unlock="tpm2")["steps"]["hot"]
    assert steps[0].startswith("bound")
    assert steps[-1] == "open"
    assert PATTERN.decode() in site.guest.run("head -c 4096 /dev/mapper/hot").stdout
