# SPDX-License-Identifier: GPL-3.0-or-later
"""One disk of an array out, another one in: what is to be done next, from what is there now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.storage import geometry, selection
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    GB,
    Array,
    Disk,
    Host,
    Member,
    Tier,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.planning import Step, wiped


@dataclass(frozen=True)
class Replacement:
    """No steps and no findings: it is done."""

    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()


def replace(host: Host, tier: Tier, failed: str, new: str, wipe: Collection[str] = ()) -> Replacement:
    """`failed` and `new` are serials; the same one twice takes a disk back that md had given up."""
    array = host.array(tier.uuid)
    if array is None or not array.running:
        return _refusal(host, tier, "no array that runs", "one", "start it first: playbooks/storage.yml")
    old, fresh = host.by_serial(failed), host.by_serial(new)
    leaving, joined = _member(array, old), _member(array, fresh)
    if failed == new and leaving and not leaving.faulty:
        return Replacement()
    out = tuple(_out(array, old, leaving))
    if joined and not joined.faulty and failed != new:
        if leaving and leaving.in_sync and joined.role is not None:
            found = f"disk {new} in role {joined.role} of the array"
            return _refusal(host, tier, found, "a free disk, or a spare", "name a disk that is not in use")
        return _checked_out(host, tier, array, failed, leaving, out)
    if not out and not _known(host, tier, failed, new):
        names = ", ".join(sorted(_serials(host, tier, array)))
        return _refusal(host, tier, f"no member {failed}", f"one of {names}", "name the disk that is to go")
    if refusals := tuple(_unfit(host, tier, array, fresh, new, wipe)):
        return Replacement(findings=refusals)
    assert fresh is not None  # else it was unfit
    steps = (*out, *_in(host, tier, array, fresh))
    return _checked_out(host, tier, array, failed, leaving, steps)


def _checked_out(
    host: Host, tier: Tier, array: Array, failed: str, leaving: Member | None, steps: Sequence[Step]
) -> Replacement:
    """The steps, unless the array lives on the disk that is to go."""
    if leaving is None or not leaving.in_sync:
        return Replacement(tuple(steps))
    spared = geometry.may_die(array.level or 0, array.raid_disks) - array.missing
    if spared < 1 or array.action in ("resync", "recover", "reshape"):
        doing = f", {array.action} under way" if array.action != "idle" else ""
        return _refusal(
            host, tier, f"member {failed} works, and the array has lost {array.missing} already{doing}",
            "an array that can do without it",
            "replace the disk that is missing first, or wait until the array is whole; failing this one "
            "would end the array, though mdadm says no more than 'busy'",
        )  # fmt: skip
    return Replacement(tuple(steps))


def _out(array: Array, old: Disk | None, leaving: Member | None) -> Iterator[Step]:
    """What takes the failed disk out. One that the bus has lost has no name any more but `detached`."""
    if leaving and old:
        if not leaving.faulty and leaving.role is not None:
            yield Step("fail", f"fail {old}", ("mdadm", array.path, "--fail", old.path))
        yield Step("remove", f"remove {old}", ("mdadm", array.path, "--remove", old.path))
        return
    for states in {each.states for each in array.members if not each.present}:
        if "faulty" not in states:
            yield Step("fail", "fail what the bus has lost", ("mdadm", array.path, "--fail", "detached"))
        yield Step("remove", "remove what the bus has lost", ("mdadm", array.path, "--remove", "detached"))


def _in(host: Host, tier: Tier, array: Array, fresh: Disk) -> Iterator[Step]:
    for other in host.arrays:
        # udev puts an old member that is plugged in again into an array of its own.
        if other.uuid == tier.uuid and other.path != array.path:
            yield Step("stop", f"let go of {fresh} in {other.path}", ("mdadm", "--stop", other.path))
    if fresh.signatures and not selection.is_of(fresh, tier):
        yield wiped(fresh)
    yield Step("add", f"add {fresh} to {tier.device}", ("mdadm", array.path, "--add", fresh.by_id))


def _unfit(
    host: Host, tier: Tier, array: Array, fresh: Disk | None, new: str, wipe: Collection[str]
) -> Iterator[Finding]:
    if fresh is None:
        there = ", ".join(disk.serial for disk in host.disks if not selection.occupied(disk, host, ()))
        yield _finding(host, tier, f"no disk with serial {new}", f"one of the free disks: {there or 'none'}",
                       "plug it in, or name one that is there")  # fmt: skip
    elif not selection.is_of(fresh, tier):
        if reason := selection.occupied(fresh, host, wipe):
            yield selection.refuse(host, fresh, tier, reason)
        if not tier.rule.ids and not tier.rule.slots and (reason := tier.rule.mismatch(fresh)):
            yield _finding(
                host, tier, f"{fresh}: {reason}", "a disk as the tier's rule has them", "take another"
            )
        if fresh.size < array.component:
            has, needs = (f"{size / GB:.2f} GB" for size in (fresh.size, array.component))
            yield _finding(host, tier, f"{fresh} of {has}", needs, "take a disk as large as the others")


def _known(host: Host, tier: Tier, failed: str, new: str) -> bool:
    record, disk = host.record(tier.name), host.by_serial(failed)
    remembered = {known.serial for known in record.members.values()}
    return (
        failed in remembered
        or record.replacing == (failed, new)
        or bool(disk and selection.is_of(disk, tier))
    )


def _serials(host: Host, tier: Tier, array: Array) -> set[str]:
    disks = (host.by_kernel_name(member.kernel_name) for member in array.members)
    remembered = {known.serial for known in host.record(tier.name).members.values()}
    return {disk.serial for disk in disks if disk} | remembered


def _member(array: Array, disk: Disk | None) -> Member | None:
    # The name of one that the bus has lost may be another disk's by now.
    return next(
        (each for each in array.members if disk and each.present and each.kernel_name == disk.kernel_name),
        None,
    )


def _refusal(host: Host, tier: Tier, found: str, expected: str, remedy: str) -> Replacement:
    return Replacement(findings=(_finding(host, tier, found, expected, remedy),))


def _finding(host: Host, tier: Tier, found: str, expected: str, remedy: str) -> Finding:
    subject = f"tier {tier.name} ({tier.device})"
    rule = "a disk is replaced only while nothing else is at risk"
    return Finding("refuse", host.name, subject, found, expected, rule, remedy)
