# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the pools of the tiers whose layout is zfs."""

DOCUMENTATION = r"""
module: zfs_tier
short_description: Each storage tier with the layout zfs is a pool, encrypted with AES-256-GCM by ZFS itself
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Makes the pool of each tier at once. Its key is kept, escrowed and recorded before there is a pool.
  - Never destroys. A disk that holds any signature is refused, and a pool that is not as declared is an error
    which names the differences. Properties that count for new data, such as the compression, are put right.
  - A pool that is on the disks and not in use is imported, and not by force.
  - Tiers with another layout are not looked at.
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
    description:
      - What opens a pool at boot. V(keyfile) is a file on the root file system, for a lab, or where that is
        encrypted; V(tpm2) and V(tang) are clevis's.
    type: str
    choices: [keyfile, tpm2, tang]
    default: keyfile
  pin:
    description: What clevis needs, such as C(url) and C(thp) of a tang server, or C(pcr_ids) of a TPM.
    type: dict
    default: {}
  recovery_recipient:
    description: The public age key that a pool's key is encrypted to, for when nothing else opens it.
    type: str
    required: true
  max_age_days:
    description: How old a key may become, for its record.
    type: int
    default: 730
attributes:
  check_mode:
    description: Says what it would do. Without zpool on the host every declared pool is a change.
    support: full
  diff_mode:
    description: Shows the commands.
    support: full
  platform:
    description: The systems it works on.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: The warm tier is a raidz1 pool of four disks
  stronghold.llm.zfs_tier:
    host: "{{ inventory_hostname }}"
    tiers:
      - name: warm
        layout: zfs
        level: 5
        disks: {kind: rotational, count: 4}
        mount: /srv/stronghold/warm
    unlock: tang
    pin: {url: "http://tang1.mgmt.example", thp: 8h2Kz1pWqA0xv3yTnL5cJb7RmE4dUo6sGi9fXwZkVtY}
    recovery_recipient: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq
"""

RETURN = r"""
escrow:
  description: Files of the host that hold the keys, encrypted to the recovery recipient.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/stronghold/escrow/zfs-warm.age]
pools:
  description: For each tier its layout, how many disks it has, and how many of them may die.
  returned: success
  type: list
  elements: dict
  sample: [{name: warm, layout: raidz1, disks: 4, spares: 0, may_die: 1}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import StorageError
from ansible_collections.stronghold.llm.plugins.module_utils.zfs import choosing, host, keys, tiers
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError

ERRORS = (tiers.DeclarationError, choosing.NotFreeError, host.DiffersError, StorageError, CommandError)


def look_or_make(module: AnsibleModule, wanted: list[tiers.Tier], ring: keys.Keyring) -> list[host.Change]:
    if module.check_mode and not module.get_bin_path("zpool"):
        return [host.Change(tier.name, f"a pool, {tier.layout} of {tier.disks} disks") for tier in wanted]
    acting = host.Host(module.params["host"], ring.run, ring)
    return acting.changes(wanted) if module.check_mode else acting.apply(wanted)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "tiers": {"type": "list", "elements": "dict", "required": True},
            "unlock": {"type": "str", "choices": ["keyfile", "tpm2", "tang"], "default": "keyfile"},
            "pin": {"type": "dict", "default": {}},
            "recovery_recipient": {"type": "str", "required": True},
            "max_age_days": {"type": "int", "default": 730},
        },
        supports_check_mode=True,
    )

    def run(command, data):
        # Binary: a key is fed as it is, without a newline more.
        return module.run_command(list(command), data=data or None, binary_data=True)

    given = module.params
    ring = keys.Keyring(
        given["unlock"], given["pin"], given["recovery_recipient"], given["max_age_days"], run
    )
    try:
        wanted = tiers.declared(given["host"], given["tiers"])
        changes = look_or_make(module, wanted, ring) if wanted else []
    except ERRORS as error:
        module.fail_json(msg=str(error))
    escrow = [ring.escrowed(tier.name) for tier in wanted]
    module.exit_json(
        changed=bool(changes),
        diff={"before": "", "after": "".join(f"{change}\n" for change in changes)},
        escrow=[str(path) for path in escrow if path.exists()],
        pools=[tier.described() for tier in wanted],
    )


if __name__ == "__main__":
    main()
