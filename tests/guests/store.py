# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with disks, and what a site says of it: for the tests of arrays and of replacing their disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import guests
from lab.site import REPOSITORY

BY_ID = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_"
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
    environment: Mapping[str, str] = field(default_factory=dict)

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
            env=plain | told | self.environment,
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


@contextmanager
def fresh_guest() -> Iterator[guests.Guest]:
    """Its disks are empty before, and it is gone afterwards."""
    guest = guests.guest("store1")
    guests.down([guest])
    guests.up([guest])
    try:
        yield guest
    finally:
        guests.down([guest])
