#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: luks_volume_info
short_description: What a host's encrypted tiers really are
version_added: 0.1.0
description:
  - Asks the header, the kernel's own table of the open mapping, the escrow, the unlock method and the count
    of writes, and names what of the promise is missing. Changes nothing and shows no secret.
options:
  tiers:
    description: As of M(stronghold.llm.luks_volume).
    type: list
    elements: dict
    required: true
  recovery_recipient:
    description: As of M(stronghold.llm.luks_volume).
    type: str
    required: true
  unlock:
    description: As of M(stronghold.llm.luks_volume).
    type: str
    choices: [tpm2, tang, keyfile]
    required: true
  tang_url:
    description: As of M(stronghold.llm.luks_volume).
    type: str
    default: ""
  tang_thumbprint:
    description: As of M(stronghold.llm.luks_volume).
    type: str
    default: ""
  tpm2_pcrs:
    description: As of M(stronghold.llm.luks_volume).
    type: list
    elements: int
    default: [7]
  flags:
    description: As of M(stronghold.llm.luks_volume).
    type: dict
    default: {}
attributes:
  check_mode: {support: full, description: It only reads.}
seealso:
  - module: stronghold.llm.luks_volume
"""

EXAMPLES = r"""
- name: Encrypted tiers are asked what they are
  stronghold.llm.luks_volume_info:
    tiers: "{{ stronghold_storage_tiers }}"
    recovery_recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    unlock: tpm2
  register: encrypted
"""

RETURN = r"""
volumes:
  description: One entry for each encrypted md tier; an empty C(missing) is what is promised.
  returned: success
  type: list
  elements: dict
  sample:
    - tier: hot
      declared: aes-256-xts
      unlock: tpm2
      uuid: c0345c62-cff4-4e43-b304-fa8e34d26b64
      kernel: {cipher: aes-xts-plain64, integrity: none, key_bits: 512, sector: 4096, flags: []}
      slots: [0, 1]
      header_backed_up: "2026-11-25T10:54:00+00:00"
      missing: []
      budget: {}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.encryption import (
    luks_plan,
    luks_report,
    luks_run,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_files import Files
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_host import Host
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tiers": {"type": "list", "elements": "dict", "required": True},
            "recovery_recipient": {"type": "str", "required": True},
            "unlock": {"type": "str", "choices": ["tpm2", "tang", "keyfile"], "required": True},
            "tang_url": {"type": "str", "default": ""},
            "tang_thumbprint": {"type": "str", "default": ""},
            "tpm2_pcrs": {"type": "list", "elements": "int", "default": [7]},
            "flags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    settings = module.params
    unlock = luks_plan.Unlock(
        settings["unlock"], settings["tang_url"], settings["tang_thumbprint"], tuple(settings["tpm2_pcrs"])
    )
    try:
        volumes = luks_plan.declared(settings["tiers"], unlock, settings["flags"])
        host = Host(luks_run.runner(module.run_command), Files())
        recipient = settings["recovery_recipient"]
        shown = [luks_report.shown(each, host.find(each), recipient, time.time()) for each in volumes]
    except (CommandError, luks_plan.Refusal) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, volumes=shown)


if __name__ == "__main__":
    main()
