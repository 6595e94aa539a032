# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: how the tiers whose layout is zfs are, touching nothing."""

DOCUMENTATION = r"""
module: zfs_tier_info
short_description: The pools of the storage tiers with the layout zfs, and how they are encrypted
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description: Reads only. See M(stronghold.llm.zfs_tier) for what makes them.
options:
  host:
    description: The host's name in the inventory, for messages.
    type: str
    required: true
  tiers:
    description: The site's tiers, as C(stronghold_storage_tiers) declares them.
    type: list
    elements: dict
    required: true
  unlock:
    description: What opens the pools, which tells where a key has to be.
    type: str
    choices: [keyfile, tpm2, tang]
    default: keyfile
  pin:
    description: What clevis was told, as for M(stronghold.llm.zfs_tier).
    type: dict
    default: {}
  recovery_recipient:
    description: The public age key that the keys have to be escrowed to.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  platform:
    description: The systems it works on.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: How the pools are
  stronghold.llm.zfs_tier_info:
    host: "{{ inventory_hostname }}"
    tiers: "{{ stronghold_storage_tiers }}"
    recovery_recipient: "{{ zfs_storage_recovery_recipient }}"
  register: pools
"""

RETURN = r"""
pools:
  description:
    - For each tier its pool. C(errors) counts what each disk gave that was wrong; C(lost_files) is what could
      not be mended from parity. C(escrowed) says that key, escrow and record are there.
  returned: success
  type: list
  elements: dict
  sample:
    - name: warm
      state: ONLINE
      layout: raidz1
      disks: {nvme-A: ONLINE, nvme-B: ONLINE, nvme-C: ONLINE}
      errors: {}
      lost_files: 0
      differences: []
      escrowed: true
      encryption: aes-256-gcm
      encryptionroot: warm
      keystatus: available
      mounted: "yes"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import StorageError
from ansible_collections.stronghold.llm.plugins.module_utils.zfs import host, keys, tiers
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "tiers": {"type": "list", "elements": "dict", "required": True},
            "unlock": {"type": "str", "choices": ["keyfile", "tpm2", "tang"], "default": "keyfile"},
            "pin": {"type": "dict", "default": {}},
            "recovery_recipient": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )

    def run(command, data):
        return module.run_command(list(command), data=data or None)

    given = module.params
    ring = keys.Keyring(given["unlock"], given["pin"], given["recovery_recipient"], 0, run)
    try:
        wanted = tiers.declared(given["host"], given["tiers"])
        module.exit_json(pools=host.Host(given["host"], run, ring).report(wanted))
    except (tiers.DeclarationError, StorageError, CommandError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
