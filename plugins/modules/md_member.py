#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: md_member
short_description: One disk of an array is out, and another one in
version_added: 0.1.0
extends_documentation_fragment: [stronghold.llm.md_tiers]
author: The stronghold.llm maintainers (@stronghold)
description:
  - Fails and removes one disk, also if the bus has lost it, and adds another one, both known by serial. The
    rebuild goes on when the module has ended; M(stronghold.llm.md_array_info) says how far it is.
  - Refused while the array lives on the disk that is to go, that is, where a disk is missing already or a
    rebuild is under way. C(mdadm --fail) would answer "busy" and end the array all the same.
  - The same serial twice takes a disk back that was thrown out, for instance after a loose cable.
  - Killed at any moment, it is gone on with by the next run.
options:
  tier:
    description: The tier whose disk it is.
    type: str
    required: true
  failed:
    description: Serial of the disk that goes.
    type: str
    required: true
  new:
    description: Serial of the disk that comes. It is empty, or its serial stands in O(wipe).
    type: str
    required: true
attributes:
  check_mode: {support: full, description: Says what it would do.}
"""

EXAMPLES = r"""
- name: The disk that has failed is replaced
  stronghold.llm.md_member:
    name: "{{ inventory_hostname }}"
    tiers: "{{ stronghold_storage_tiers }}"
    tier: hot
    failed: S64GNE0R700002
    new: S64GNE0R700009
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [remove what the bus has lost, add disk Y6A0A0JTTDW5 to /dev/md/warm]
"""

from collections.abc import Sequence
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.site import findings
from ansible_collections.stronghold.llm.plugins.module_utils.storage import (
    applying,
    declaration,
    live,
    replacing,
)
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import Host, StorageError, Tier
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError


def replaced(module: AnsibleModule, tier: Tier) -> None:
    pair = (module.params["failed"], module.params["new"])
    steps = []

    def run(command: Sequence[str], data: str) -> tuple[int, str, str]:
        return module.run_command(list(command), data=data)

    def look() -> Host:
        return live.look(module.params["name"], run, True)

    def decide(host: Host) -> applying.Decision:
        found = replacing.replace(host, tier, *pair, module.params["wipe"])
        steps.extend(found.steps[:1])
        return found.steps, found.findings

    host = look()
    first = replacing.replace(host, tier, *pair, module.params["wipe"])
    if findings.refused(first.findings):
        module.fail_json(msg=applying.refusals(first.findings))
    if module.check_mode:
        module.exit_json(changed=bool(first.steps), steps=[step.text for step in first.steps])
    if first.steps:
        # What has been taken out is no member any more: without this the next run would not know it.
        live.write_record(tier.name, replace(applying.remember(host, tier), replacing=pair))
    host = applying.converge(look, decide, run, [tier])
    live.write_record(tier.name, replace(applying.remember(host, tier), replacing=None))
    module.exit_json(changed=bool(steps), steps=[step.text for step in steps])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "tiers": {"type": "list", "elements": "dict", "required": True},
            "tier": {"type": "str", "required": True},
            "failed": {"type": "str", "required": True},
            "new": {"type": "str", "required": True},
            "wipe": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    module.get_bin_path("mdadm", required=True)
    try:
        tiers = {
            tier.name: tier for tier in declaration.md_tiers(module.params["name"], module.params["tiers"])
        }
        if module.params["tier"] not in tiers:
            raise StorageError(
                f"{module.params['name']}: tier {module.params['tier']!r}: no md tier of this host; "
                f"name one of {', '.join(tiers) or 'none'}"
            )
        replaced(module, tiers[module.params["tier"]])
    except (CommandError, StorageError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
