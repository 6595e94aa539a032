# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that a host has the arrays that are declared, or why it is not done.

The plan is made from what the disks say and nothing else, and it is made anew after each step. So a run that
was killed is no special case: the next one finds the disks as they are, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding, refused
from ansible_collections.stronghold.llm.plugins.module_utils.storage import differences, geometry, selection
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Array, Disk, Host, Tier

Doing = Literal["conf", "stop", "wipe", "create", "assemble", "fail", "remove", "add", "grow", "bitmap"]

Chooser = Callable[[int], selection.Choice]

HEADER = (
    "# Managed by stronghold.llm (role raid_storage): arrays are found by UUID, whichever names disks have.\n"
)


@dataclass(frozen=True)
class Step:
    """One command, and what it is for in words. `conf` is not a command: our file is written."""

    doing: Doing
    text: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class TierPlan:
    """`disks` are the tier's: those that it has, and those that it takes."""

    tier: Tier
    steps: tuple[Step, ...] = ()
    disks: tuple[Disk, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Steps of all tiers in order. While anything is refused, nothing is to be done at all."""

    tiers: tuple[TierPlan, ...]
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]


def plan(host: Host, tiers: Sequence[Tier], wipe: Collection[str] = ()) -> Plan:
    """`wipe` are serials of disks that may lose what is on them."""
    planned: dict[str, TierPlan] = {}
    taken: set[str] = set()
    # What is declared disk by disk comes before what is content with any.
    for tier in sorted(tiers, key=lambda tier: bool(tier.rule.count)):
        planned[tier.name] = each = _tier(host, tier, tiers, taken, wipe)
        taken |= {disk.serial for disk in each.disks}
    ordered = tuple(planned[tier.name] for tier in tiers)
    findings = (*_wipe(host, tiers, wipe), *(finding for each in ordered for finding in each.findings))
    steps = tuple(step for each in ordered for step in each.steps)
    if host.conf != conf(tiers):
        steps = (Step("conf", f"write down {len(tiers)} arrays by UUID"), *steps)
    return Plan(ordered, () if refused(findings) else steps, findings)


def conf(tiers: Sequence[Tier]) -> str:
    """ARRAY lines for mdadm.conf, as mdadm.conf(5) has them."""
    return HEADER + "".join(f"ARRAY {tier.device} metadata=1.2 UUID={tier.uuid}\n" for tier in tiers)


def _tier(
    host: Host, tier: Tier, tiers: Sequence[Tier], taken: Collection[str], wipe: Collection[str]
) -> TierPlan:
    array = host.array(tier.uuid)
    present = [disk for disk in host.disks if selection.is_of(disk, tier)]

    def choose(need: int) -> selection.Choice:
        return selection.choose(host, tier, need, tiers, taken, wipe)

    if array and array.running:
        return _running(host, tier, array, present, choose)
    if array or present:
        return _stopped(host, tier, present, choose)
    return _new(host, tier, choose)


def _new(host: Host, tier: Tier, choose: Chooser) -> TierPlan:
    if findings := tuple(_in_the_way(host, tier)):
        return TierPlan(tier, findings=findings)
    choice = choose(tier.disks)
    steps = (*map(wiped, choice.dirty), _create(tier, choice.disks))
    return TierPlan(tier, steps, choice.disks, (*choice.findings, *choice.swapped))


def _in_the_way(host: Host, tier: Tier) -> Iterator[Finding]:
    """What has the tier's name and is not known to be this tier."""
    for array in host.arrays:
        if array.name.rpartition(":")[2] == tier.name:
            yield Finding(
                "refuse", host.name, f"{array.path} ({array.name})", f"UUID {array.uuid}",
                f"UUID {tier.uuid}, which is this host's tier {tier.name}",
                "an array of the same name can be another host's", f"to take it over as it is, declare "
                f"uuid: {array.uuid} for the tier; otherwise rename or stop it",
            )  # fmt: skip
    lost = [each for each in host.record(tier.name).members.values() if not host.by_serial(each.serial)]
    if lost:
        yield Finding(
            "refuse", host.name, f"tier {tier.name}", "no disk of its array",
            f"its members {', '.join(f'{each.serial} in slot {each.slot}' for each in lost)}",
            "an array that was there is not made anew while its disks may come back",
            "look at cables, controller and power; if they are gone for good, delete "
            f"/var/lib/stronghold/storage/{tier.name}.json, run again and restore from the backup",
        )  # fmt: skip


def _stopped(host: Host, tier: Tier, present: Sequence[Disk], choose: Chooser) -> TierPlan:
    stop = tuple(
        Step("stop", f"stop {array.path}, which has not started", ("mdadm", "--stop", array.path))
        for array in host.arrays
        if array.uuid == tier.uuid
    )
    if not present:
        return TierPlan(tier, stop)
    blocks = {disk.serial: disk.superblock for disk in present if disk.superblock}
    if blocks and all(block.events == 0 for block in blocks.values()):
        # Nothing was ever written through it: a creation was cut short between its superblocks and its start.
        choice = choose(tier.disks - len(present))
        disks = (*present, *choice.disks)
        steps = (*stop, *map(wiped, (*present, *choice.dirty)), _create(tier, disks))
        return TierPlan(tier, steps, disks, (*choice.findings, *choice.swapped))
    newest = max((block.events for block in blocks.values()), default=0)
    # mdadm takes one that is a single event behind: the last write of a superblock that did not come through.
    fresh = [disk for disk in present if not disk.superblock or disk.superblock.events >= newest - 1]
    roles = {disk.superblock.role for disk in fresh if disk.superblock} - {None}
    # A disk that was replaced and put back knows the array of its day, which may have grown since.
    last = max(blocks.values(), key=lambda block: block.events, default=None)
    if last and last.raid_disks - len(roles) > geometry.most(last.level, last.raid_disks):
        finding = beyond_repair(host, tier, last.raid_disks, last.raid_disks - len(roles), last.level)
        return TierPlan(tier, (), tuple(present), (finding,))
    named = (disk.by_id or disk.path for disk in fresh)
    command = ("mdadm", "--assemble", tier.device, f"--uuid={tier.uuid}", "--run", *named)
    step = Step("assemble", f"start {tier.device} from {_serials(fresh)}", command)
    return TierPlan(tier, (*stop, step), tuple(present))


def _running(host: Host, tier: Tier, array: Array, present: Sequence[Disk], choose: Chooser) -> TierPlan:
    kept = [member for member in array.members if not member.faulty]
    members = [disk for member in kept if (disk := host.by_kernel_name(member.kernel_name))]
    findings = list(differences.differences(host, tier, array))
    if array.level in (0, 5, 6) and array.missing > geometry.may_die(array.level, array.raid_disks):
        findings = [beyond_repair(host, tier, array.raid_disks, array.missing, array.level)]
    if refused(findings):
        return TierPlan(tier, (), tuple(members), tuple(findings))
    findings += differences.thrown_out(host, tier, array, present)
    need = max(0, tier.disks - len(kept))
    choice = choose(need) if need and tier.level else selection.Choice()
    growing = tier.raid_disks > array.raid_disks
    # A disk too few is a fault of the host, which is told but not refused; a wish that cannot be met is.
    findings += [*choice.swapped, *(choice.findings if growing else map(differences.told, choice.findings))]
    steps = [*map(wiped, choice.dirty), *(_add(tier, array, disk) for disk in choice.disks)]
    whole = not array.missing and array.action == "idle"
    if growing and whole:
        command = ("mdadm", "--grow", array.path, f"--raid-devices={tier.raid_disks}")
        steps.append(
            Step("grow", f"grow {tier.device} from {array.raid_disks} to {tier.raid_disks} disks", command)
        )
    elif growing:
        findings.append(differences.later(host, tier, array))
    elif tier.level and whole and not array.bitmap:
        command = ("mdadm", "--grow", array.path, "--bitmap=internal")
        steps.append(Step("bitmap", f"give {tier.device} a write-intent bitmap", command))
    return TierPlan(tier, tuple(steps), (*members, *choice.disks), tuple(findings))


def beyond_repair(host: Host, tier: Tier, disks: int, lost: int, level: int) -> Finding:
    known = [each for each in host.record(tier.name).members.values() if not host.by_serial(each.serial)]
    names = f" ({', '.join(each.serial for each in known)})" if known else ""
    return Finding(
        "refuse", host.name, f"tier {tier.name} ({tier.device})", f"{lost} of {disks} disks lost{names}",
        f"{geometry.may_die(level, disks)} at most in RAID{level}",
        "it is never made anew: what can be saved is on the disks that are left",
        "write to none of them; bring a lost disk back (power, cable, slot) and run again, or let somebody "
        "who knows mdadm try `--assemble --force` on copies; with a backup at hand, `mdadm --stop` it, "
        "`wipefs -a` its disks by hand, run again and restore",
    )  # fmt: skip


def _wipe(host: Host, tiers: Sequence[Tier], wipe: Collection[str]) -> Iterator[Finding]:
    for serial in wipe:
        disk = host.by_serial(serial)
        if (
            disk
            and not any(selection.is_of(disk, tier) for tier in tiers)
            and (why := selection.never(disk, host))
        ):
            yield Finding(
                "refuse", host.name, str(disk), why, "a disk that nothing uses",
                f"{selection.WIPE} never takes a disk that is in use, or that nothing tells from another",
                f"take {serial!r} out of {selection.WIPE}, or take out of use what is on it",
            )  # fmt: skip


def wiped(disk: Disk) -> Step:
    """What makes a disk empty: all signatures that wipefs knows, and nothing else of it."""
    holds = ", ".join(map(str, disk.signatures)) or "nothing"
    return Step("wipe", f"wipe {disk}, which holds {holds}", ("wipefs", "--all", "--quiet", disk.by_id))


def _add(tier: Tier, array: Array, disk: Disk) -> Step:
    return Step("add", f"add {disk} to {tier.device}", ("mdadm", "--add", array.path, disk.by_id))


def _create(tier: Tier, disks: Sequence[Disk]) -> Step:
    options = [f"--level={tier.level}", f"--raid-devices={tier.raid_disks}"]
    if tier.spares:
        options.append(f"--spare-devices={tier.spares}")
    if tier.level != 1:
        options.append(f"--chunk={tier.chunk // 1024}")
    if tier.level in geometry.MDADM_LAYOUTS:
        options.append(f"--layout={geometry.MDADM_LAYOUTS[tier.level]}")
    if tier.level:
        options.append("--bitmap=internal")
    command = (
        # It asks nobody: what is on the disks was looked at a moment ago. With homehost "any" the name is the
        # same on every boot, also in an initramfs that knows nothing of this file or of the host's name.
        "mdadm", "--create", tier.device, "--run", "--metadata=1.2", "--homehost=any", f"--name={tier.name}",
        f"--uuid={tier.uuid}", *options, *(disk.by_id for disk in disks),
    )  # fmt: skip
    spares = f" and {tier.spares} spare" if tier.spares else ""
    text = f"make {tier.device}, RAID{tier.level} of {tier.raid_disks} disks{spares}: {_serials(disks)}"
    return Step("create", text, command)


def _serials(disks: Sequence[Disk]) -> str:
    return ", ".join(disk.serial for disk in disks)
