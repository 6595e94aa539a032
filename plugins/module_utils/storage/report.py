# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiers and disks as a module returns them and a person reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.storage import geometry, selection
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import GB, Array, Disk, Host, Tier
from ansible_collections.stronghold.llm.plugins.module_utils.storage.planning import Plan, TierPlan
from ansible_collections.stronghold.llm.plugins.module_utils.storage.tuning import tuning

HEADER = ["tier", "device", "RAID", "disks", "spares", "capacity", "may die", "state"]


def tiers(host: Host, plan: Plan) -> list[dict[str, Any]]:
    return [_tier(host, each) for each in plan.tiers]


def table(found: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Rows for the filter text_table, the header first."""
    keys = ("name", "device", "level", "raid_disks", "spares", "capacity", "may_die", "state")
    rows = [{**each, "capacity": size(each["capacity_bytes"])} for each in found]
    return [HEADER, *([str(row[key]) for key in keys] for row in rows)]


def disks(host: Host, wipe: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Every disk, and in words why it is not free (`taken`, empty where it is)."""
    return [_disk(host, disk, frozenset(wipe)) for disk in host.disks]


def described(host: Host, plan: Plan) -> str:
    """What a host has, as a diff shows it: one line for an array and for each of its members."""
    lines = []
    for each in plan.tiers:
        array = host.array(each.tier.uuid)
        if array is None or not array.running:
            lines.append(f"{each.tier.device}: not there")
            continue
        lines.append(_line(each.tier, array.level, array.raid_disks, array.chunk))
        members = filter(None, (host.by_kernel_name(member.kernel_name) for member in array.members))
        lines += sorted(f"{each.tier.device}: {disk.by_id}" for disk in members)
    return "\n".join([*lines, host.conf])


def wanted(plan: Plan, conf: str) -> str:
    """The same as it is declared."""
    lines = []
    for each in plan.tiers:
        lines.append(_line(each.tier, each.tier.level, each.tier.raid_disks, each.tier.chunk))
        lines += sorted(f"{each.tier.device}: {disk.by_id}" for disk in each.disks)
    return "\n".join([*lines, conf])


def size(count: int) -> str:
    return f"{count / GB / 1000:.2f} TB" if count >= 1000 * GB else f"{count / GB:.2f} GB"


def state(array: Array | None) -> str:
    """One word, or the word and how far it is."""
    if array is None:
        return "not made"
    if not array.running or array.level is None:
        return "stopped"
    if array.level in (0, 5, 6) and array.missing > geometry.may_die(array.level, array.raid_disks):
        return "failed"
    if array.progress is not None and array.action != "check":
        return f"{array.action} {array.progress:.0%}"
    return "degraded" if array.missing else "clean"


def _tier(host: Host, each: TierPlan) -> dict[str, Any]:
    tier, array = each.tier, host.array(each.tier.uuid)
    running = array if array and array.running else None
    level = tier.level if running is None or running.level is None else running.level
    raid_disks = running.raid_disks if running else tier.raid_disks
    smallest = min((disk.size for disk in each.disks), default=0)
    spares = (
        sum(1 for one in running.members if one.role is None and not one.faulty) if running else tier.spares
    )
    faulty = [one for one in running.members if one.faulty] if running else []
    found = {
        "name": tier.name,
        "device": tier.device,
        "path": array.path if array else "",
        "uuid": tier.uuid,
        "level": level,
        "raid_disks": raid_disks,
        "spares": spares,
        "chunk_bytes": running.chunk if running else tier.chunk,
        "capacity_bytes": running.size
        if running
        else geometry.capacity(level, raid_disks, geometry.usable(smallest)),
        "may_die": geometry.may_die(level, raid_disks),
        "state": state(array),
        "action": array.action if array else "idle",
        "progress": array.progress if array else None,
        "missing": running.missing if running else 0,
        "faulty": len(faulty),
        "mismatches": array.mismatches if array else 0,
        "stripe_cache_size": array.stripe_cache_size if array else 0,
        "group_thread_cnt": array.group_thread_cnt if array else 0,
        "members": [disk.by_id for disk in each.disks],
        "serials": [disk.serial for disk in each.disks],
        "kinds": sorted({disk.kind for disk in each.disks}),
        "tuning": asdict(tuning(host.memory, host.cores, raid_disks)) if level in (5, 6) else {},
    }
    return {**found, "sentences": _sentences(found, running)}


def _sentences(found: dict[str, Any], array: Array | None) -> list[str]:
    death = {0: "no disk", 1: "1 disk"}.get(found["may_die"], f"{found['may_die']} disks")
    about = "" if array else "about "
    spares = f" and {found['spares']} spare" if found["spares"] else ""
    said = [
        f"{found['device']}: RAID{found['level']} of {found['raid_disks']} disks{spares}, "
        f"{about}{size(found['capacity_bytes'])}; {death} may die",
        f"{found['device']}: {found['state']}",
    ]
    if array and array.progress is not None and array.speed:
        left = max(0, array.todo - array.done) / 2 / array.speed
        said.append(f"{found['device']}: {array.speed / 1024:.0f} MiB/s, {left / 60:.0f} minutes left")
    return said


def _disk(host: Host, disk: Disk, wipe: frozenset[str]) -> dict[str, Any]:
    names = ("serial", "model", "kind", "by_id", "slot", "path")
    return {
        **{name: getattr(disk, name) for name in names},
        "size_bytes": disk.size,
        "signatures": [str(each) for each in disk.signatures],
        "in_use": list(disk.in_use),
        "taken": selection.occupied(disk, host, wipe),
    }


def _line(tier: Tier, level: int | None, raid_disks: int, chunk: int) -> str:
    chunks = f", chunk {chunk // 1024} KiB" if level != 1 else ""
    return f"{tier.device}: RAID{level} of {raid_disks} disks{chunks}, UUID {tier.uuid}"
