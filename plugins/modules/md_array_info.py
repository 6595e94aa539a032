#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: md_array_info
short_description: Look at a host's md tiers, made or not, and say what would be done
version_added: 0.1.0
extends_documentation_fragment: [stronghold.llm.md_tiers]
author: The stronghold.llm maintainers (@stronghold)
description:
  - The twin of M(stronghold.llm.md_array) that only looks, also before mdadm is installed. What would be
    refused does not fail it, but is said.
attributes:
  check_mode: {support: full, description: It only looks.}
"""

EXAMPLES = r"""
- name: Tiers are planned
  stronghold.llm.md_array_info:
    name: "{{ inventory_hostname }}"
    tiers: "{{ stronghold_storage_tiers }}"
  register: planned

- name: Capacity, and how many disks may die
  ansible.builtin.debug:
    msg: "{{ planned.table | stronghold.llm.text_table }}"
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
table:
  description: The same for people, rows of text with the header first.
  returned: success
  type: list
  elements: list
steps:
  description: What M(stronghold.llm.md_array) would do, in words.
  returned: success
  type: list
  elements: str
  sample: ["make /dev/md/warm, RAID1 of 2 disks: Y6A0A0HRTDW5, Y6A0A0JTTDW5"]
findings:
  description: What is not as it should be, worst first; C(message) is the line for people.
  returned: success
  type: list
  elements: dict
refused:
  description: Whether anything is refused; then nothing would be done.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.site import findings
from ansible_collections.stronghold.llm.plugins.module_utils.storage import (
    declaration,
    live,
    planning,
    report,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import StorageError
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "tiers": {"type": "list", "elements": "dict", "required": True},
            "wipe": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    name, mdadm = module.params["name"], module.get_bin_path("mdadm") is not None
    try:
        tiers = declaration.md_tiers(name, module.params["tiers"])
        host = live.look(name, lambda command, data: module.run_command(list(command), data=data), mdadm)
        plan = planning.plan(host, tiers, module.params["wipe"])
    except (CommandError, StorageError) as error:
        module.fail_json(msg=str(error))
    found = report.tiers(host, plan)
    module.exit_json(
        changed=False,
        tiers=found,
        table=report.table(found),
        steps=[step.text for step in plan.steps],
        findings=findings.records(plan.findings),
        refused=findings.refused(plan.findings),
    )


if __name__ == "__main__":
    main()
