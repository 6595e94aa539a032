# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disks a new pool takes: those that the rule means and that hold nothing at all."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Disk
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.tiers import Tier


class NotFreeError(Exception):
    """The rule's disks are too few, or hold something; the message names each."""


def choose(tier: Tier, disks: Sequence[Disk]) -> list[Disk]:
    """As many as the tier declares, spares last, in the order of the declaration, or else of the slots.

    Named disks are taken all or none. Of those that a rule only describes, ones that are not free are passed
    over, as they may be another tier's; they are named where too few are left.
    """
    means = [disk for disk in disks if not tier.rule.mismatch(disk)]
    named = tier.rule.ids or tier.rule.slots
    if named:
        means.sort(key=lambda disk: _place(named, disk))
    wanted = tier.disks + tier.spares
    free = [disk for disk in means if not _held(disk)]
    if len(free) < wanted or (named and len(free) < len(means)):
        held = "".join(f"; {disk} {_held(disk)}" for disk in means if _held(disk))
        raise NotFreeError(
            f"tier {tier.name} takes {wanted} disks that hold nothing, its rule finds {len(free)}{held}. "
            "Nothing is ever wiped for a pool: plug in disks, change the rule, or clear one by hand where "
            "what it holds may go (wipefs --all)"
        )
    if unnamed := [disk.path for disk in free[:wanted] if not disk.by_id]:
        raise NotFreeError(
            f"tier {tier.name}: {', '.join(unnamed)} has no lasting name below /dev/disk/by-id"
        )
    return free[:wanted]


def _place(named: Sequence[str], disk: Disk) -> int:
    return min(place for place, name in enumerate(named) if name in (disk.slot, disk.by_id, *disk.ids))


def _held(disk: Disk) -> str:
    """Why it is not free, in words; empty where it is."""
    if disk.in_use:
        return f"is in use: {', '.join(disk.in_use)}"
    return f"holds {', '.join(map(str, disk.signatures))}" if disk.signatures else ""
