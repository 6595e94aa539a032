# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has in disks and arrays, and what is declared about them. Sizes are bytes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["nvme", "ssd", "rotational"]

GB = 10**9
MIB = 2**20

# Any fixed UUID does: with it a host's name and a tier's name always give the same array UUID.
NAMESPACE = uuid.UUID("4f0c9b3e-5d0e-5f0a-9a53-6f1f2b1f7d11")

RUNNING = (
    "clean", "active", "active-idle", "write-pending", "readonly", "read-auto", "suspended", "broken"
)  # fmt: skip
"""States of a started array, broken ones too; from Documentation/admin-guide/md.rst (array_state)."""


class StorageError(Exception):
    """What was read or declared is not what it should be; the message names where."""


@dataclass(frozen=True)
class Signature:
    """Something that wipefs finds on a disk: a file system, a partition table, a RAID or LVM member."""

    kind: str
    label: str = ""
    uuid: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.label})" if self.label else self.kind


@dataclass(frozen=True)
class Superblock:
    """What an md member says of its array. `role` is its place in it, None for a spare.

    `events` counts the changes of the array's state; it is 0 until the array has been started once.
    """

    uuid: str
    name: str
    level: int
    raid_disks: int
    events: int
    role: int | None


@dataclass(frozen=True)
class Disk:
    """A whole disk. `path` and `kernel_name` are of this boot only; what names it is the serial and `by_id`.

    `slot` is the place it is plugged into (the name below /dev/disk/by-path), `in_use` what the kernel or a
    mount holds on it, in words.
    """

    path: str
    kernel_name: str
    serial: str
    model: str
    kind: Kind
    size: int
    by_id: str
    ids: tuple[str, ...] = ()
    slot: str = ""
    in_use: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()
    superblock: Superblock | None = None

    def __str__(self) -> str:
        return f"disk {self.serial or '(no serial)'} ({self.by_id or self.path})"


@dataclass(frozen=True)
class Member:
    """A disk in an array. `role` is None for a spare; `present` is false where the bus has lost it."""

    kernel_name: str
    role: int | None
    states: tuple[str, ...]
    present: bool = True

    @property
    def faulty(self) -> bool:
        return "faulty" in self.states or not self.present

    @property
    def in_sync(self) -> bool:
        return "in_sync" in self.states and not self.faulty


@dataclass(frozen=True)
class Array:
    """An md array as the kernel has it. `level` is None where it is not started.

    `action` is idle, resync, recover, reshape, check or repair; `done` and `todo` are sectors of it, `speed`
    KiB/s for each disk. `component` is what it takes of each member.
    """

    path: str
    uuid: str
    name: str
    level: int | None
    raid_disks: int
    chunk: int
    layout: int
    state: str
    size: int
    component: int
    action: str = "idle"
    done: int = 0
    todo: int = 0
    speed: int = 0
    bitmap: bool = False
    mismatches: int = 0
    stripe_cache_size: int = 0
    group_thread_cnt: int = 0
    members: tuple[Member, ...] = ()

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def working(self) -> int:
        return sum(1 for member in self.members if member.in_sync)

    @property
    def missing(self) -> int:
        """Disks whose data is not there, or not wholly there yet."""
        return max(0, self.raid_disks - self.working)

    @property
    def progress(self) -> float | None:
        """Of what it is doing, 0 to 1; None where it is idle."""
        if self.action == "idle":
            return None
        return self.done / self.todo if self.todo else 0.0


@dataclass(frozen=True)
class Known:
    """A member as it was last seen, so that one that is gone still has a name."""

    serial: str
    by_id: str
    slot: str


@dataclass(frozen=True)
class Record:
    """What is remembered of a tier: its members by role, and a replacement (failed, new) that was begun."""

    members: Mapping[int, Known] = field(default_factory=dict)
    replacing: tuple[str, str] | None = None


@dataclass(frozen=True)
class Host:
    """All that decisions are made from. `conf` is the text of our file of ARRAY lines."""

    name: str
    disks: tuple[Disk, ...] = ()
    arrays: tuple[Array, ...] = ()
    conf: str = ""
    records: Mapping[str, Record] = field(default_factory=dict)
    memory: int = 0
    cores: int = 1

    def array(self, uuid: str) -> Array | None:
        """The array of this UUID; the one that runs, where udev has put a lost member into one of its own."""
        found = [array for array in self.arrays if array.uuid == uuid]
        return next((array for array in found if array.running), found[0] if found else None)

    def record(self, tier: str) -> Record:
        return self.records.get(tier, Record())

    def by_serial(self, serial: str) -> Disk | None:
        return next((disk for disk in self.disks if disk.serial == serial), None)

    def by_kernel_name(self, name: str) -> Disk | None:
        return next((disk for disk in self.disks if disk.kernel_name == name), None)


@dataclass(frozen=True)
class Rule:
    """Which disks a tier takes: `count` of those that match, or exactly these `ids` or `slots`."""

    kind: str = "any"
    count: int = 0
    min_size: int = 0
    max_size: int = 0
    model: str = ""
    ids: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()

    def mismatch(self, disk: Disk) -> str:
        """Why the disk is not one that the rule means, in words; empty where it is."""
        if self.ids:
            return "" if set(self.ids) & {disk.by_id, *disk.ids} else "its id is not declared"
        if self.slots:
            return "" if disk.slot in self.slots else f"its slot {disk.slot or '(unknown)'} is not declared"
        if self.kind not in ("any", disk.kind):
            return f"it is {disk.kind}, declared is {self.kind}"
        if disk.size < self.min_size:
            return f"it has {disk.size / GB:.1f} GB, declared are at least {self.min_size / GB:g}"
        if self.max_size and disk.size > self.max_size:
            return f"it has {disk.size / GB:.1f} GB, declared are at most {self.max_size / GB:g}"
        if self.model and not re.search(self.model, disk.model):
            return f"its model is {disk.model!r}, declared is {self.model!r}"
        return ""


@dataclass(frozen=True)
class Tier:
    """An array that is declared. `raid_disks` hold data and parity, `spares` stand by. `chunk` is bytes."""

    name: str
    level: int
    rule: Rule
    raid_disks: int
    spares: int
    chunk: int
    uuid: str

    @property
    def device(self) -> str:
        return f"/dev/md/{self.name}"

    @property
    def disks(self) -> int:
        return self.raid_disks + self.spares


def array_uuid(host: str, tier: str) -> str:
    """The UUID of a host's tier, as mdadm writes it.

    It follows from the names, so superblocks say whose they are: of a creation that was cut short, after the
    system was installed anew, and when a disk of another host is plugged in.
    """
    digits = uuid.uuid5(NAMESPACE, f"{host}/{tier}").hex
    return ":".join(digits[at : at + 8] for at in range(0, 32, 8))


def plain_uuid(text: str) -> str:
    """mdadm's form of a UUID, from that or from the one of blkid (with dashes, elsewhere)."""
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    return ":".join(digits[at : at + 8] for at in range(0, 32, 8)) if len(digits) == 32 else ""
