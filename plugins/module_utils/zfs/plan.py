# SPDX-License-Identifier: GPL-3.0-or-later
"""What brings a tier's pool about, and why a pool that is there cannot be it. Nothing here ever destroys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Disk
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.choosing import choose
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.pools import Pool
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.tiers import (
    CIPHER,
    FOREVER,
    PROPERTIES,
    Tier,
)

BY_ID = "/dev/disk/by-id"


@dataclass(frozen=True)
class Seen:
    """What a host has: disks, pools in use with their properties, and names of pools that are not in use."""

    disks: tuple[Disk, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    importable: frozenset[str] = frozenset()

    def has(self, tier: Tier) -> bool:
        return tier.name in self.pools or tier.name in self.importable


@dataclass(frozen=True)
class Step:
    """A command, for people and for the host. `keyed`: it reads the pool's key from its standard input."""

    command: tuple[str, ...]
    keyed: bool = False

    def __str__(self) -> str:
        return " ".join(self.command)


def steps(tier: Tier, seen: Seen) -> list[Step]:
    """What is to be done next. A pool that was imported is to be looked at again.

    Raises:
        NotFreeError: there is no such pool, and the disks to make it of are not there or not free.
    """
    if tier.name in seen.pools:
        return _put_right(tier, seen.properties[tier.name])
    if tier.name in seen.importable:
        # Not by force: a pool that another host may still use is not ours to take.
        return [Step(("zpool", "import", "-N", "-d", BY_ID, tier.name))]
    return [_create(tier, [disk.by_id for disk in choose(tier, seen.disks)])]


def _create(tier: Tier, disks: list[str]) -> Step:
    encryption = {"encryption": CIPHER, "keyformat": "hex", "keylocation": "prompt"}
    forever = [word for name, value in FOREVER.items() for word in ("-o", f"{name}={value}")]
    properties = [
        word for name, value in (PROPERTIES | encryption).items() for word in ("-O", f"{name}={value}")
    ]
    members = disks[: tier.disks] if tier.level == 0 else [tier.layout, *disks[: tier.disks]]
    spares = ["spare", *disks[tier.disks :]] if tier.spares else []
    return Step(("zpool", "create", *forever, *properties, tier.name, *members, *spares), keyed=True)


def _put_right(tier: Tier, found: Mapping[str, str]) -> list[Step]:
    wrong = [f"{name}={value}" for name, value in PROPERTIES.items() if found.get(name) != value]
    return [Step(("zfs", "set", *wrong, tier.name))] if wrong else []


def differences(tier: Tier, seen: Seen) -> list[str]:
    """Why the pool of that name is not the tier that is declared; none where no such pool is in use."""
    if tier.name not in seen.pools:
        return []
    pool, found = seen.pools[tier.name], seen.properties[tier.name]
    pairs = [
        ("layout", " and ".join(pool.layouts), tier.layout),
        ("disks", str(len(pool.disks)), str(tier.disks)),
        ("spares", str(len(pool.spares)), str(tier.spares)),
        ("encryption", found.get("encryption", "off"), CIPHER),
        *((name, found.get(name, ""), value) for name, value in FOREVER.items()),
    ]
    return [f"{name}: {has}, declared {wants}" for name, has, wants in pairs if has != wants] + _strangers(
        tier, seen
    )


def _strangers(tier: Tier, seen: Seen) -> list[str]:
    """Members that the rule does not mean. A disk that is gone is no stranger: `zpool status` tells of it."""
    pool = seen.pools[tier.name]
    paths = {*(disk.path for disk in pool.disks), *pool.spares}
    members = [disk for disk in seen.disks if paths & {disk.by_id, *disk.ids}]
    return [f"{disk}: {why}" for disk in members if (why := tier.rule.mismatch(disk))]
