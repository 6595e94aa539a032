# SPDX-License-Identifier: GPL-3.0-or-later
"""An array that runs, against its declaration: line by line what differs and cannot be made good safely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.storage import geometry
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Array, Disk, Host, Tier

GROWS = (1, 5, 6)
"""Levels to which a disk can be added while they work, without a way back being needed."""


def differences(host: Host, tier: Tier, array: Array) -> Iterator[Finding]:
    """What only new disks or a new declaration can mend. More disks and spares are no difference."""
    kept = [member for member in array.members if not member.faulty]
    if array.level != tier.level:
        yield _differs(host, tier, f"level RAID{array.level}", f"RAID{tier.level}")
        return
    if tier.level != 1 and array.chunk != tier.chunk:
        yield _differs(host, tier, f"chunk {array.chunk // 1024} KiB", f"{tier.chunk // 1024} KiB")
    if array.layout != geometry.LAYOUTS.get(tier.level, array.layout):
        yield _differs(host, tier, f"layout {array.layout:#x}", geometry.LAYOUT_NAMES[tier.level])
    grows = array.raid_disks <= tier.raid_disks and tier.level in GROWS
    if array.raid_disks != tier.raid_disks and not grows:
        yield _differs(host, tier, f"{array.raid_disks} disks", f"{tier.raid_disks}")
    elif len(kept) > tier.disks:
        spares = len(kept) - array.raid_disks
        yield _differs(host, tier, f"{spares} spares", f"{tier.disks - array.raid_disks}")
    for member in kept:
        disk = host.by_kernel_name(member.kernel_name)
        if disk is None:
            yield _differs(host, tier, f"member {member.kernel_name}, no whole disk", "whole disks")
        elif mismatch := tier.rule.mismatch(disk):
            yield _differs(host, tier, f"member {disk.serial}: {mismatch}", "members of the declared rule")


def thrown_out(host: Host, tier: Tier, array: Array, present: Sequence[Disk]) -> list[Finding]:
    """Disks that md has given up. It is for a person to say whether one is taken back or replaced."""
    active = {member.kernel_name for member in array.members if not member.faulty}
    out = {disk.serial for disk in present if disk.kernel_name not in active}
    out |= {
        known.serial
        for known in host.record(tier.name).members.values()
        if array.missing and not host.by_serial(known.serial)
    }
    return [
        Finding(
            "warn", host.name, f"disk {serial}", f"no working member of {tier.device}",
            f"a member of tier {tier.name}", "md has given it up, or the bus has lost it",
            f"playbooks/replace_disk.yml -e tier={tier.name} -e failed={serial} -e new=SERIAL; with the same "
            "serial as new it is taken back",
        )
        for serial in sorted(out)
    ]  # fmt: skip


def told(finding: Finding) -> Finding:
    """The same as news only: a host that a disk has died on goes on working."""
    return replace(finding, severity="warn")


def later(host: Host, tier: Tier, array: Array) -> Finding:
    return Finding(
        "note", host.name, f"tier {tier.name} ({tier.device})",
        f"{array.raid_disks} disks, {_doing(array)}", f"{tier.raid_disks}",
        "an array grows only while it is whole and idle", "run again when that has ended",
    )  # fmt: skip


def _doing(array: Array) -> str:
    return f"{array.missing} missing" if array.missing else f"which {array.action} goes through"


def _differs(host: Host, tier: Tier, found: str, declared: str) -> Finding:
    return Finding(
        "refuse", host.name, f"tier {tier.name} ({tier.device})", found, declared,
        "an array is not changed under its data",
        "correct the declaration; or make a new tier, move the data, and give up the old one",
    )  # fmt: skip
