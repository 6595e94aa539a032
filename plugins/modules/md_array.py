#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: md_array
short_description: A host's md tiers are the arrays that are declared
version_added: 0.1.0
extends_documentation_fragment: [stronghold.llm.md_tiers]
author: The stronghold.llm maintainers (@stronghold)
description:
  - Makes, starts or grows all md arrays of a host, and writes their UUIDs down for the next boot. Disks are
    known by serial and by their names below /dev/disk/by-id.
  - Never destroys. A disk that holds anything or is in use is refused by name. An array that differs from its
    declaration is refused with the difference, except that a spare or a disk more is added (RAID1, 5 and 6
    grow), and a free disk takes the place of one that has died. An array that has lost more disks than it can
    is not made anew. If anything is refused, nothing is done.
  - One step at a time, and after each one the host is looked at anew, so that a run that was killed is gone
    on with. An array's UUID follows from the names of host and tier, so its disks say whose they are.
attributes:
  check_mode: {support: full, description: Says what it would do.}
  diff_mode: {support: full, description: "Shows each array's level, chunk and members, and the ARRAY lines."}
"""

EXAMPLES = r"""
- name: Tiers are arrays
  stronghold.llm.md_array:
    name: "{{ inventory_hostname }}"
    tiers:
      - {name: hot, level: 5, disks: {kind: nvme, count: 4, min_size_gb: 900}, spares: 1}
      - {name: warm, level: 6, disks: {kind: rotational, count: 8}, chunk_kib: 128}
    wipe: [S64GNE0R700001]
"""

RETURN = r"""
tiers:
  description: Of each tier what it is, or will be. Sizes are bytes, C(progress) is 0 to 1 or null.
  returned: success
  type: list
  elements: dict
  sample:
    - name: hot
      device: /dev/md/hot
      path: /dev/md127
      uuid: 0b5a1c1e:9d0e7f51:8e5a5ab3:6f1f2b1f
      level: 5
      raid_disks: 4
      spares: 1
      chunk_bytes: 524288
      capacity_bytes: 2880000000000
      may_die: 1
      state: recover 34%
      action: recover
      progress: 0.34
      missing: 1
      faulty: 0
      mismatches: 0
      stripe_cache_size: 256
      group_thread_cnt: 0
      members: [/dev/disk/by-id/nvme-SAMSUNG_MZQL2960HCJR-00A07_S64GNE0R700001]
      serials: [S64GNE0R700001]
      kinds: [nvme]
      tuning: {stripe_cache_size: 8192, group_thread_cnt: 8}
      sentences: ["/dev/md/hot: RAID5 of 4 disks and 1 spare, 2.88 TB; 1 disk may die"]
steps:
  description: What was done, or would be in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["make /dev/md/warm, RAID1 of 2 disks: Y6A0A0HRTDW5, Y6A0A0JTTDW5"]
notes:
  description: What is not as it should be and stops nothing, as a disk that has died.
  returned: success
  type: list
  elements: str
"""

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.site import findings
from ansible_collections.stronghold.llm.plugins.module_utils.storage import (
    applying,
    declaration,
    live,
    planning,
    report,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Host, StorageError, Tier
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError


def arrays(module: AnsibleModule, tiers: Sequence[Tier]) -> None:
    name, wipe = module.params["name"], module.params["wipe"]
    mdadm, steps = module.get_bin_path("mdadm", required=not module.check_mode), []

    def run(command: Sequence[str], data: str) -> tuple[int, str, str]:
        return module.run_command(list(command), data=data)

    def look() -> Host:
        return live.look(name, run, mdadm is not None)

    def decide(host: Host) -> applying.Decision:
        plan = planning.plan(host, tiers, wipe)
        steps.extend(plan.steps[:1])
        return plan.steps, plan.findings

    host = look()
    before = planning.plan(host, tiers, wipe)
    if findings.refused(before.findings):
        module.fail_json(msg=applying.refusals(before.findings))
    after, changed = report.wanted(before, planning.conf(tiers)), bool(before.steps)
    diff = {
        "before": report.described(host, before),
        "after": after if changed else report.described(host, before),
    }
    if module.check_mode:
        steps, plan = list(before.steps), before
    else:
        host = applying.converge(look, decide, run, tiers)
        plan = planning.plan(host, tiers, wipe)
        for tier in tiers:
            live.write_record(tier.name, applying.remember(host, tier))
    module.exit_json(
        changed=changed,
        diff=diff,
        tiers=report.tiers(host, plan),
        steps=[step.text for step in steps],
        notes=[str(each) for each in plan.findings],
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "tiers": {"type": "list", "elements": "dict", "required": True},
            "wipe": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        arrays(module, declaration.md_tiers(module.params["name"], module.params["tiers"]))
    except (CommandError, StorageError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
