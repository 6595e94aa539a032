# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disks a tier may take. A disk that holds anything is not taken, unless its serial is given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    Disk,
    Host,
    Known,
    Tier,
    plain_uuid,
)

WIPE = "raid_storage_wipe"
RULE = "what is on a disk is not destroyed unasked"


@dataclass(frozen=True)
class Choice:
    """Free disks for a tier, in the order in which they are taken; `dirty` are those that are wiped first.

    `findings` say what is missing, `swapped` which declared disks have gone with others in their slots.
    """

    disks: tuple[Disk, ...] = ()
    dirty: tuple[Disk, ...] = ()
    findings: tuple[Finding, ...] = ()
    swapped: tuple[Finding, ...] = ()


def is_of(disk: Disk, tier: Tier) -> bool:
    """Whether the disk says that it belongs to the tier's array."""
    if disk.superblock:
        return disk.superblock.uuid == tier.uuid
    return any(
        each.kind == "linux_raid_member" and plain_uuid(each.uuid) == tier.uuid for each in disk.signatures
    )


def never(disk: Disk, host: Host) -> str:
    """Why the disk cannot be taken whatever anybody says; empty where it can."""
    if disk.in_use:
        return f"it is in use: {', '.join(disk.in_use)}"
    if not disk.serial or not disk.by_id:
        return "it has no serial or no name below /dev/disk/by-id, so nothing tells it from another one"
    if Counter(each.serial for each in host.disks)[disk.serial] > 1:
        return "two disks of this host give this serial"
    return ""


def occupied(disk: Disk, host: Host, wipe: Collection[str]) -> str:
    """Why the disk is not free, in words; empty where it is."""
    if reason := never(disk, host):
        return reason
    if disk.signatures and disk.serial not in wipe:
        return f"it holds {', '.join(map(str, disk.signatures))}"
    return ""


def refuse(host: Host, disk: Disk, tier: Tier, reason: str) -> Finding:
    if never(disk, host):
        remedy = "take out of use what is on it, or declare another disk"
    else:
        remedy = (
            f"look at it, then add {disk.serial!r} to {WIPE} if it is to be lost, or declare another disk"
        )
    return Finding(
        "refuse", host.name, str(disk), reason, f"an empty disk for tier {tier.name}", RULE, remedy
    )


def choose(
    host: Host, tier: Tier, need: int, tiers: Iterable[Tier], taken: Collection[str], wipe: Collection[str]
) -> Choice:
    """`need` disks that are free. Nobody's are all that no tier claims and nobody has `taken` (serials)."""
    open_to_all = [
        disk
        for disk in host.disks
        if disk.serial not in taken and not any(is_of(disk, other) for other in tiers)
    ]
    matching = [disk for disk in open_to_all if not tier.rule.mismatch(disk)]
    free = [disk for disk in matching if not occupied(disk, host, wipe)]
    if tier.rule.ids or tier.rule.slots:
        return _exactly(host, tier, need, matching, free)
    # Empty ones first, so that nothing is given up without a need.
    free.sort(key=lambda disk: bool(disk.signatures))
    disks = tuple(free[:need])
    findings = () if len(disks) == need else (_too_few(host, tier, need, open_to_all, wipe),)
    return Choice(disks, tuple(disk for disk in disks if disk.signatures), findings)


def _exactly(host: Host, tier: Tier, need: int, matching: Sequence[Disk], free: Sequence[Disk]) -> Choice:
    """Of the disks that are declared one by one. In their order: the last ones are the spares."""
    places = [*tier.rule.ids, *tier.rule.slots]
    findings = [refuse(host, disk, tier, occupied(disk, host, ())) for disk in matching if disk not in free]
    swapped = []
    for place in places:
        if not at(host, place):
            known, stands = in_its_slot(host, tier, place)
            if known and stands:
                swapped.append(_swapped(host, tier, known, stands))
            else:
                findings.append(_gone(host, tier, place))
    order = {disk.serial: number for number, place in enumerate(places) for disk in at(host, place)}
    disks = tuple(sorted(free, key=lambda disk: order[disk.serial]))[:need]
    return Choice(disks, tuple(disk for disk in disks if disk.signatures), tuple(findings), tuple(swapped))


def at(host: Host, place: str) -> list[Disk]:
    """The disk of a declared id or slot."""
    return [disk for disk in host.disks if place in (disk.by_id, *disk.ids, disk.slot)]


def in_its_slot(host: Host, tier: Tier, place: str) -> tuple[Known | None, Disk | None]:
    """What is known of a disk that has gone, and which one is in the slot that it had."""
    members = host.record(tier.name).members.values()
    known = next((each for each in members if place in (each.by_id, each.slot)), None)
    stands = at(host, known.slot) if known and known.slot else []
    return known, stands[0] if stands else None


def _swapped(host: Host, tier: Tier, known: Known, stands: Disk) -> Finding:
    return Finding(
        "refuse", host.name, f"disk {known.serial} ({known.by_id})",
        f"disk {stands.serial} in its slot {known.slot}", f"the disk that tier {tier.name} declares",
        "a disk is what its serial says, not where it stands",
        f"put the right disk back; or playbooks/replace_disk.yml -e tier={tier.name} "
        f"-e failed={known.serial} -e new={stands.serial}, and {stands.by_id} in the declaration",
    )  # fmt: skip


def _gone(host: Host, tier: Tier, place: str) -> Finding:
    return Finding(
        "refuse", host.name, place, "no such disk", f"a disk of tier {tier.name}",
        "a declared disk is there", "plug it in, or declare another one",
    )  # fmt: skip


def _too_few(host: Host, tier: Tier, need: int, disks: Sequence[Disk], wipe: Collection[str]) -> Finding:
    said, free = [], 0
    for disk in disks:
        reason = tier.rule.mismatch(disk) or occupied(disk, host, wipe)
        free += not reason
        if reason:
            said.append(f"{disk}: {reason}")
    return Finding(
        "refuse", host.name, f"tier {tier.name}", "; ".join([f"{free} free disks", *said]),
        f"{need} of kind {tier.rule.kind}", RULE,
        f"correct the rule, plug disks in, or add the serials that are to be lost to {WIPE}",
    )  # fmt: skip
