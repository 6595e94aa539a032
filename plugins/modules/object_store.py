#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: object_store
short_description: The site's object store has the declared buckets, users and rights
version_added: 0.1.0
description:
  - One call for the whole store. What differs is changed; what is not declared is left alone, and named in
    RV(undeclared).
  - A change that would lose data of a bucket which holds some is refused before anything is done.
  - Speaks TLS 1.3 only, through the C(minio) SDK of the role object_client.
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
    description: Who makes the changes.
    type: str
    required: true
  root_password:
    description: That user's secret.
    type: str
    required: true
  client:
    description: The virtual environment with the SDK.
    type: path
    default: /opt/stronghold/objects
  buckets:
    description: The buckets. New objects in them are always encrypted by the server (SSE-S3).
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Its name., type: str, required: true}
      versioning: {description: Whether an overwrite keeps what was there., type: bool, default: false}
      lock:
        description: Nobody deletes a version too soon; a locked bucket keeps versions.
        type: dict
        suboptions:
          mode:
            description: In compliance mode not even root deletes.
            type: str
            choices: [compliance, governance]
            default: compliance
          days: {description: How many days a new version is kept at least., type: int, required: true}
      lifecycle:
        description: What goes by itself.
        type: dict
        suboptions:
          expire_days: {description: Objects go after so many days., type: int}
          noncurrent_days: {description: Versions go so many days after they were overwritten., type: int}
      quota_gb: {description: "What the bucket may hold, in 10^9 bytes; 0: no limit.", type: int, default: 0}
      expire_existing:
        description: Whether O(buckets[].lifecycle.expire_days) may delete what is there already.
        type: bool
        default: false
  users:
    description: Who may do what. Each user has a policy of its own name, made from the verbs.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: The access key., type: str, required: true}
      secret: {description: The secret key., type: str, required: true}
      may:
        description: Verb -> buckets.
        type: dict
        required: true
        suboptions:
          read: {description: Get and list., type: list, elements: str}
          append: {description: "Put, and nothing else: neither look nor delete.", type: list, elements: str}
          write: {description: "Read, put and delete; versions stay.", type: list, elements: str}
attributes:
  check_mode: {support: full, description: A server that is not there yet counts as an empty one.}
  diff_mode: {support: full, description: Each step as a line.}
"""

EXAMPLES = r"""
- name: Weights are there to be read, and backups cannot be deleted
  stronghold.llm.object_store:
    endpoint: data1:9000
    root_user: "{{ minio_root_user }}"
    root_password: "{{ minio_root_password }}"
    buckets:
      - {name: weights, versioning: true, lifecycle: {noncurrent_days: 30}, quota_gb: 2000}
      - {name: backup, lock: {mode: compliance, days: 30}}
    users:
      - {name: weights-read, secret: "{{ weights_read_secret }}", may: {read: [weights]}}
      - {name: backup, secret: "{{ backup_secret }}", may: {write: [backup]}}
  no_log: true
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [bucket backup is made with object lock]
undeclared:
  description: What the server has and the site does not declare.
  type: list
  elements: str
  returned: success
  sample: [bucket old-weights, user somebody]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.objects import changes, declaration, server

BUCKET = {
    "name": {"type": "str", "required": True},
    "versioning": {"type": "bool", "default": False},
    "lock": {
        "type": "dict",
        "options": {
            "mode": {"type": "str", "choices": list(declaration.LOCK_MODES), "default": "compliance"},
            "days": {"type": "int", "required": True},
        },
    },
    "lifecycle": {
        "type": "dict",
        "options": {"expire_days": {"type": "int"}, "noncurrent_days": {"type": "int"}},
    },
    "quota_gb": {"type": "int", "default": 0},
    "expire_existing": {"type": "bool", "default": False},
}
USER = {
    "name": {"type": "str", "required": True},
    "secret": {"type": "str", "required": True, "no_log": True},
    "may": {
        "type": "dict",
        "required": True,
        "options": {verb: {"type": "list", "elements": "str"} for verb in declaration.VERBS},
    },
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str", "required": True},
            "ca_path": {"type": "path", "default": "/etc/stronghold/tls/ca.pem"},
            "root_user": {"type": "str", "required": True},
            "root_password": {"type": "str", "required": True, "no_log": True},
            "client": {"type": "path", "default": str(server.CLIENT)},
            "buckets": {"type": "list", "elements": "dict", "required": True, "options": BUCKET},
            "users": {"type": "list", "elements": "dict", "required": True, "options": USER},
        },
        supports_check_mode=True,
    )
    asked = module.params
    endpoint = server.Endpoint(asked["endpoint"], Path(asked["ca_path"]))
    try:
        declared = declaration.store(asked["buckets"], asked["users"])
        store = server.connect(endpoint, asked["root_user"], asked["root_password"], Path(asked["client"]))
        found = store.read(declared)
    except declaration.ObjectsError as error:
        if not (module.check_mode and isinstance(error, server.Unreachable)):
            module.fail_json(msg=str(error))
        found = changes.Found()
    plan = changes.plan(found, declared)
    if plan.refusals:
        module.fail_json(msg="\n".join(plan.refusals))
    if not module.check_mode:
        for step in plan.steps:
            store.do(step)
    steps = [step.text for step in plan.steps]
    diff = {"before": "", "after": "".join(f"{step}\n" for step in steps)}
    module.exit_json(changed=bool(steps), steps=steps, undeclared=list(plan.undeclared), diff=diff)


if __name__ == "__main__":
    main()
