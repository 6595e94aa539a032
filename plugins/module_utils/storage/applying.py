# SPDX-License-Identifier: GPL-3.0-or-later
"""Doing it: look, decide, take one step, look again. So the next run goes on where a killed one ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding, refused
from ansible_collections.stronghold.llm.plugins.module_utils.storage import live
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    Disk,
    Host,
    Known,
    Record,
    StorageError,
    Tier,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.planning import Step, conf
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError, Run, must

Decision = tuple[Sequence[Step], Sequence[Finding]]

BUSY_TRIES = 20  # half a second each: md lets go of a failed disk when its last request has ended


def converge(
    look: Callable[[], Host], decide: Callable[[Host], Decision], run: Run, tiers: Sequence[Tier]
) -> Host:
    """The host after the last step.

    Raises:
        StorageError: something is refused, or a step did not do what it is for.
        CommandError: a command failed.
    """
    last: Step | None = None
    while True:
        host = look()
        steps, findings = decide(host)
        if refused(findings):
            raise StorageError(refusals(findings))
        if not steps:
            return host
        if steps[0] == last:
            raise StorageError(
                f"{host.name}: {last.text}: done ({' '.join(last.command)}), and nothing changed"
            )
        last = steps[0]
        _take(last, run, tiers)


def refusals(findings: Sequence[Finding]) -> str:
    return "\n".join(str(each) for each in findings if each.severity == "refuse")


def _take(step: Step, run: Run, tiers: Sequence[Tier]) -> None:
    if step.doing == "conf":
        live.write(live.CONF, conf(tiers))
        return
    for left in reversed(range(BUSY_TRIES if step.doing == "remove" else 1)):
        try:
            must(run, *step.command)
            break
        except CommandError as error:
            if not left or "busy" not in str(error).lower():
                raise
            time.sleep(0.5)
    # Links by id and the array's own name are udev's, and the next look goes by them.
    must(run, "udevadm", "settle", "--timeout=60")


def remember(host: Host, tier: Tier) -> Record:
    """The tier's members as they are now; of one that is gone, as it was last seen."""
    before, array = host.record(tier.name), host.array(tier.uuid)
    if array is None or not array.running:
        return before
    members = dict(before.members)
    for member in array.members:
        disk = host.by_kernel_name(member.kernel_name)
        if disk and member.role is not None and not member.faulty:
            members = {role: known for role, known in members.items() if known.serial != disk.serial}
            members[member.role] = _known(disk)
    return replace(
        before, members={role: members[role] for role in sorted(members) if role < array.raid_disks}
    )


def _known(disk: Disk) -> Known:
    return Known(disk.serial, disk.by_id, disk.slot)
