#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: disk_info
short_description: Read a host's disks, each by serial, with what is on it and why it is not free
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Whole disks only, in the order of their slots. C(by_id) is the name that stays; C(path) is this boot's.
  - A disk is free where nothing uses it (a mount, an array, LVM, ZFS, bcache, swap, asked of the kernel by an
    exclusive opening) and wipefs finds no signature on it. What a disk holds without any signature, for
    instance plain dm-crypt, nobody can see.
options:
  name:
    description: What the host is called in errors.
    type: str
    required: true
attributes:
  check_mode: {support: full, description: It only looks.}
"""

EXAMPLES = r"""
- name: Disks are read
  stronghold.llm.disk_info:
    name: "{{ inventory_hostname }}"
  register: read

- name: Free NVMe disks are shown
  ansible.builtin.debug:
    msg: "{{ read.disks | selectattr('kind', 'eq', 'nvme') | rejectattr('taken') | map(attribute='serial') }}"
"""

RETURN = r"""
disks:
  description: The disks. Sizes are bytes; C(taken) says why a disk is not free, and is empty where it is.
  returned: success
  type: list
  elements: dict
  sample:
    - serial: S64GNE0R700001
      model: SAMSUNG MZQL2960HCJR-00A07
      kind: nvme
      by_id: /dev/disk/by-id/nvme-SAMSUNG_MZQL2960HCJR-00A07_S64GNE0R700001
      slot: pci-0000:c1:00.0-nvme-1
      path: /dev/nvme0n1
      size_bytes: 960197124096
      signatures: [ext4 (scratch)]
      in_use: []
      taken: it holds ext4 (scratch)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.storage import live, report
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import StorageError
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError


def main() -> None:
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    mdadm = module.get_bin_path("mdadm") is not None
    try:
        host = live.look(
            module.params["name"], lambda command, data: module.run_command(list(command), data=data), mdadm
        )
    except (CommandError, StorageError) as error:
        module.fail_json(msg=f"{module.params['name']}: {error}")
    module.exit_json(changed=False, disks=report.disks(host))


if __name__ == "__main__":
    main()
