#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: luks_volume
short_description: The encrypted tiers of a host are LUKS2 volumes that open at boot and can be recovered
version_added: 0.1.0
description:
  - Makes C(/dev/md/NAME) of each encrypted md tier a LUKS2 volume, opened as C(/dev/mapper/NAME). Only a
    device on which nothing is gets formatted. A volume that differs from the declaration is an error with the
    difference.
  - Each volume has two key slots. Slot 0 takes a recovery key, made on the host and kept there encrypted to
    O(recovery_recipient) only; the other one opens the volume without a person, by O(unlock).
  - A volume opens only after its recovery key is in escrow, its unlock method has opened it, and a backup of
    its header has been tested and encrypted. The backup is renewed when the header has changed.
  - Killed at any point, the next run goes on. What was never complete is made anew, what was is never
    formatted.
  - Secrets travel through standard input and files that root alone reads.
options:
  tiers:
    description: The site's declaration (C(stronghold_storage_tiers)); encrypted ones of layout C(md) count.
    type: list
    elements: dict
    required: true
  recovery_recipient:
    description: A native age recipient (C(age1...)); its identity never comes to a host.
    type: str
    required: true
  unlock:
    description: How volumes open at boot without a person. V(keyfile) is for labs only.
    type: str
    choices: [tpm2, tang, keyfile]
    required: true
  tang_url:
    description: Where the tang server answers. Required with O(unlock=tang).
    type: str
    default: ""
  tang_thumbprint:
    description: S256 thumbprint of one of its signing keys, as C(tang-show-keys) prints it.
    type: str
    default: ""
  tpm2_pcrs:
    description: The PCRs of the SHA-256 bank whose values the TPM must have to give the key.
    type: list
    elements: int
    default: [7]
  flags:
    description: Tier name to dm-crypt flags, as C(no_read_workqueue); an open volume takes them as it is.
    type: dict
    default: {}
  wipe_share:
    description: The part of an AES-GCM key's write budget that making the volume may use.
    type: float
    default: 0.5
attributes:
  check_mode: {support: full, description: Says which steps it would take.}
  diff_mode: {support: full, description: Shows the steps of each volume.}
seealso:
  - module: stronghold.llm.luks_volume_info
  - module: community.crypto.luks_device
"""

EXAMPLES = r"""
- name: Encrypted tiers are open, and can be recovered
  stronghold.llm.luks_volume:
    tiers:
      - {name: hot, layout: md, encryption: aes-256-xts}
      - {name: vault, layout: md, encryption: aes-256-gcm}
    recovery_recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    unlock: tang
    tang_url: http://mgmt1
    tang_thumbprint: 3ZWS6-cDrCG61UPJS2BMmPU4I54zWYkRiOTQ7tJ2bQ4
    flags: {hot: [no_read_workqueue, no_write_workqueue]}
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode, for each tier.
  type: dict
  returned: success
  sample: {hot: [header backed up, tested and encrypted]}
escrow:
  description: Files that the controller should keep a copy of.
  type: list
  elements: str
  returned: success
  sample: [/var/lib/stronghold/escrow/c0345c62-cff4-4e43-b304-fa8e34d26b64.age]
"""

from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.encryption import (
    luks_plan,
    luks_run,
    luks_steps,
    recipients,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_files import Files
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_host import Host
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError

ARGUMENTS = {
    "tiers": {"type": "list", "elements": "dict", "required": True},
    "recovery_recipient": {"type": "str", "required": True},
    "unlock": {"type": "str", "choices": ["tpm2", "tang", "keyfile"], "required": True},
    "tang_url": {"type": "str", "default": ""},
    "tang_thumbprint": {"type": "str", "default": ""},
    "tpm2_pcrs": {"type": "list", "elements": "int", "default": [7]},
    "flags": {"type": "dict", "default": {}},
    "wipe_share": {"type": "float", "default": 0.5},
}


def steps_of(module: AnsibleModule, host: Host, volume: luks_plan.Volume) -> tuple[luks_plan.Step, ...]:
    seen = host.look(volume)
    if module.check_mode and seen.size is None and seen.record is None:
        seen = replace(seen, size=0)  # a device that an earlier task would have made
    return luks_plan.plan(volume, seen, wipe_share=module.params["wipe_share"])


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    settings = module.params
    if wrong := recipients.problem(settings["recovery_recipient"]):
        module.fail_json(msg=wrong)
    unlock = luks_plan.Unlock(
        settings["unlock"], settings["tang_url"], settings["tang_thumbprint"], tuple(settings["tpm2_pcrs"])
    )
    try:
        volumes = luks_plan.declared(settings["tiers"], unlock, settings["flags"])
        with luks_run.alone() as lock:
            host = Host(luks_run.runner(module.run_command, lock), Files())
            host.refuse_unlock(unlock)
            doing = luks_steps.Steps(host, settings["recovery_recipient"])
            # All is looked at before anything is done: one refused volume leaves every other as it is.
            steps = {volume.name: steps_of(module, host, volume) for volume in volumes}
            for volume in () if module.check_mode else volumes:
                for step in steps[volume.name]:
                    doing.do(step, volume)
            escrow = [str(path) for volume in volumes for path in host.escrow_files(volume)]
    except (CommandError, luks_plan.Refusal) as error:
        module.fail_json(msg=str(error))
    texts = {name: [str(step) for step in each] for name, each in steps.items()}
    module.exit_json(changed=any(steps.values()), steps=texts, escrow=escrow, diff=luks_plan.diff(texts))


if __name__ == "__main__":
    main()
