#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: object_probe
short_description: Try an object store's encryption, its lock, and whom it lets in
version_added: 0.1.0
description:
  - Stores a pattern and looks for it in the raw files of this host; tries, as root, to be rid of a locked
    version; asks with a wrong password and without a name. What it saw is the result, for a claim to judge.
  - Uses the buckets C(stronghold-proof) and C(stronghold-proof-locked) and leaves one object in each.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  endpoint:
    description: The server, as C(HOST:PORT).
    type: str
    required: true
  ca_path:
    description: The root that vouches for the server.
    type: path
    default: /etc/stronghold/tls/ca.pem
  root_user:
    description: The store's root.
    type: str
    required: true
  root_password:
    description: Its password.
    type: str
    required: true
  drives:
    description: The folders of the data on this host.
    type: list
    elements: path
    required: true
  client:
    description: The virtual environment with the SDK.
    type: path
    default: /opt/stronghold/objects
attributes:
  check_mode: {support: none, description: Trying is doing.}
"""

EXAMPLES = r"""
- name: The store is tried
  stronghold.llm.object_probe:
    endpoint: data1:9000
    root_user: "{{ minio_root_user }}"
    root_password: "{{ minio_root_password }}"
    drives: [/srv/stronghold/cold/minio]
  register: tried
"""

RETURN = r"""
encryption:
  description: What the store said of an object, and what its raw files hold.
  type: dict
  returned: success
  sample: {header: AES256, reads_back: true, files: 2, bytes: 2105440, found_in: [], control_found: true}
lock:
  description: What root was told, each time.
  type: dict
  returned: success
  sample: {delete: InvalidRequest, bypass: InvalidRequest, reads_equal: true, control: done}
strangers:
  description: What was said to whom.
  type: dict
  returned: success
  sample: {root: done, wrong_secret: SignatureDoesNotMatch, anonymous: AccessDenied}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.objects import declaration, proof, server


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str", "required": True},
            "ca_path": {"type": "path", "default": "/etc/stronghold/tls/ca.pem"},
            "root_user": {"type": "str", "required": True},
            "root_password": {"type": "str", "required": True, "no_log": True},
            "drives": {"type": "list", "elements": "path", "required": True},
            "client": {"type": "path", "default": str(server.CLIENT)},
        },
    )
    asked = module.params
    endpoint = server.Endpoint(asked["endpoint"], Path(asked["ca_path"]))
    root = asked["root_user"], asked["root_password"]
    try:
        server.connect(endpoint, *root, Path(asked["client"]))
    except declaration.ObjectsError as error:
        module.fail_json(msg=str(error))
    s3 = server.s3_client(endpoint, *root)
    module.exit_json(
        changed=False,
        encryption=proof.encrypted_at_rest(s3, [Path(drive) for drive in asked["drives"]]),
        lock=proof.lock_holds(s3),
        strangers=proof.strangers(endpoint, *root),
    )


if __name__ == "__main__":
    main()
