#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: object_drives
short_description: Refuse folders for an object store that hold something else, or lie on the root file system
version_added: 0.1.0
description:
  - A folder is the store's when it was empty as it was taken, or holds the store that this host knows; that
    is kept in C(/var/lib/stronghold/objects/drives.json). All others are refused by name.
  - Never removes anything.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  paths:
    description: The folders.
    type: list
    elements: path
    required: true
  allow_root_disk:
    description: Whether a folder may be on the root file system.
    type: bool
    default: false
  deployment_id:
    description: The id of a store that is there and may be taken over.
    type: str
    default: ""
  alone:
    description: Whether the data is there once only, so that an empty folder cannot be healed.
    type: bool
    default: true
  take:
    description: Write down that the folders are the store's, and which store is in them.
    type: bool
    default: false
attributes:
  check_mode: {support: full, description: Looks, and writes nothing down.}
"""

EXAMPLES = r"""
- name: The folder for the data is nobody's, or ours
  stronghold.llm.object_drives:
    paths: [/srv/stronghold/cold/minio]
"""

RETURN = r"""
deployment:
  description: The id of the store in the folders, empty if there is none yet.
  type: str
  returned: success
  sample: 6d8a0f2e-7c7d-4a53-9a3f-3f0a7a1f4d7b
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.objects import drives


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "allow_root_disk": {"type": "bool", "default": False},
            "deployment_id": {"type": "str", "default": ""},
            "alone": {"type": "bool", "default": True},
            "take": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    asked = module.params
    record = drives.Record.load(drives.RECORD)
    found = [drives.look(path) for path in asked["paths"]]
    against = list(
        drives.problems(
            found,
            record,
            allow_root_disk=asked["allow_root_disk"],
            adopt=asked["deployment_id"],
            alone=asked["alone"],
        )
    )
    if against:
        module.fail_json(msg="\n".join(against))
    new = drives.taken(found, record)
    changed = asked["take"] and new != record
    if changed and not module.check_mode:
        new.save(drives.RECORD)
    module.exit_json(changed=changed, deployment=new.deployment)


if __name__ == "__main__":
    main()
