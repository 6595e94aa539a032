# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with disks and arrays for the tests of storage, and what md would make of a plan's steps.

`Machine` is a constructed stand-in for mdadm and wipefs. It does to a host what each command of a plan does
to a real one, as far as the next plan looks at it. Whether that is so, the tests on guests say.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.storage import (
    declaration,
    geometry,
    planning,
    reading,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    GB,
    Array,
    Disk,
    Host,
    Member,
    Signature,
    Superblock,
    Tier,
)

FIXTURES = Path(__file__).parents[1] / "fixtures/storage"
EXT4 = Signature("ext4", "photos")


def recorded(name: str) -> Host:
    """A host as it was recorded; see the README of the fixtures."""
    folder = FIXTURES / name
    links: dict[str, dict[str, tuple[str, ...]]] = {}
    for kind in ("by-id", "by-path"):
        links[kind] = {}
        for link, disk in json.loads((folder / f"{kind}.json").read_text()).items():
            links[kind][disk] = (*links[kind].get(disk, ()), link)
    superblocks = reading.superblocks((folder / "examine.txt").read_text())
    arrays = [
        reading.array(
            path.stem, json.loads(path.read_text()), (folder / f"{path.stem}-export.txt").read_text()
        )
        for path in sorted(folder.glob("md*.json"))
    ]
    return Host(
        name="store1",
        disks=reading.disks(
            (folder / "lsblk.json").read_text(),
            reading.signatures((folder / "wipefs.json").read_text()),
            {path.removeprefix("/dev/"): superblock for path, superblock in superblocks.items()},
            links["by-id"],
            {disk: found[0] for disk, found in links["by-path"].items()},
            frozenset(),
        ),
        arrays=tuple(arrays),
    )


def disk(number: int, **differs: Any) -> Disk:
    serial = differs.pop("serial", f"S{number:02}")
    values = {
        "path": f"/dev/nvme{number}n1",
        "kernel_name": f"nvme{number}n1",
        "model": "MODEL",
        "kind": "nvme",
        "size": 960 * GB,
        "by_id": f"/dev/disk/by-id/nvme-MODEL_{serial}",
        "slot": f"pci-0000:{number:02}:00.0-nvme-1",
    }
    return Disk(serial=serial, **{**values, **differs})


def host(*disks: Disk, **differs: Any) -> Host:
    return Host(name="store1", disks=disks, **differs)


def tiers(*declared: dict[str, Any]) -> tuple[Tier, ...]:
    return declaration.md_tiers("store1", declared)


def tier(level: int = 5, count: int = 4, spares: int = 0, **differs: Any) -> Tier:
    disks = differs.pop("disks", {"kind": "nvme", "count": count})
    return tiers({"name": "hot", "level": level, "disks": disks, "spares": spares, **differs})[0]


def made(declared: Tier, disks: Sequence[Disk], **differs: Any) -> Host:
    """A host on which the tier was made of the first of these disks."""
    machine = Machine(host(*disks))
    machine.run(planning.plan(machine.host, [declared]).steps, [declared])
    changed = [replace(each, **differs) for each in machine.host.arrays] if differs else machine.host.arrays
    return replace(machine.host, arrays=tuple(changed))


class Machine:
    def __init__(self, start: Host) -> None:
        self.host = start

    def run(self, steps: Sequence[planning.Step], declared: Collection[Tier]) -> None:
        for step in steps:
            self.take(step, declared)

    def take(self, step: planning.Step, declared: Collection[Tier]) -> None:
        if step.doing == "conf":
            self.host = replace(self.host, conf=planning.conf(list(declared)))
            return
        named = {each.by_id: each for each in self.host.disks}
        disks = [named[word] for word in step.command if word in named]
        getattr(self, f"_{step.doing}")(step.command, disks)

    def _wipe(self, _: Sequence[str], disks: Sequence[Disk]) -> None:
        for each in disks:
            self._change(each, signatures=(), superblock=None)

    def _create(self, command: Sequence[str], disks: Sequence[Disk]) -> None:
        said = dict(word[2:].split("=", 1) for word in command if word.startswith("--") and "=" in word)
        level, raid_disks = int(said["level"]), int(said["raid-devices"])
        members = [(each, role if role < raid_disks else None) for role, each in enumerate(disks)]
        array = Array(
            path=f"/dev/md{127 - len(self.host.arrays)}",
            uuid=said["uuid"],
            name=f"any:{said['name']}",
            level=level,
            raid_disks=raid_disks,
            chunk=int(said.get("chunk", 0)) * 1024,
            layout=geometry.LAYOUTS.get(level, 0),
            state="clean",
            size=1,
            component=min(each.size for each in disks),
            bitmap="bitmap" in said,
            members=tuple(
                Member(each.kernel_name, role, ("spare",) if role is None else ("in_sync",))
                for each, role in members
            ),
        )
        self.host = replace(self.host, arrays=(*self.host.arrays, array))
        for each, role in members:
            self._mark(each, array, role)

    def _add(self, command: Sequence[str], disks: Sequence[Disk]) -> None:
        array = next(each for each in self.host.arrays if each.path in command)
        taken = {each.role for each in array.members if not each.faulty}
        free = [role for role in range(array.raid_disks) if role not in taken]
        role = free[0] if free else None
        member = Member(disks[0].kernel_name, role, ("in_sync",) if free else ("spare",))
        self._set(replace(array, members=(*array.members, member)))
        self._mark(disks[0], array, role)

    def _grow(self, command: Sequence[str], _: Sequence[Disk]) -> None:
        array = next(each for each in self.host.arrays if each.path in command)
        said = dict(word[2:].split("=", 1) for word in command if "=" in word)
        count, members = int(said["raid-devices"]), list(array.members)
        for role in range(array.raid_disks, count):
            at = next(number for number, each in enumerate(members) if each.role is None)
            members[at] = replace(members[at], role=role, states=("in_sync",))
        self._set(replace(array, raid_disks=count, members=tuple(members)))

    def _bitmap(self, command: Sequence[str], _: Sequence[Disk]) -> None:
        self._set(replace(next(each for each in self.host.arrays if each.path in command), bitmap=True))

    def _stop(self, command: Sequence[str], _: Sequence[Disk]) -> None:
        self.host = replace(
            self.host, arrays=tuple(each for each in self.host.arrays if each.path not in command)
        )

    def _set(self, array: Array) -> None:
        self.host = replace(
            self.host, arrays=tuple(array if each.path == array.path else each for each in self.host.arrays)
        )

    def _mark(self, each: Disk, array: Array, role: int | None) -> None:
        block = Superblock(array.uuid, array.name, array.level or 0, array.raid_disks, 20, role)
        signature = Signature("linux_raid_member", array.name, array.uuid)
        self._change(each, superblock=block, signatures=(signature,), in_use=(f"raid{array.level} md",))

    def _change(self, each: Disk, **differs: Any) -> None:
        after = replace(each, **differs)
        self.host = replace(
            self.host, disks=tuple(after if one.serial == each.serial else one for one in self.host.disks)
        )
