#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_files
short_description: A model's files are in the store, read-only and digest by digest
description:
  - Brings the files of one model from an HTTPS server inside the site, several at once, resumed after an
    interruption, and moves them into place only when every SHA-256 is right.
  - Files that are already there are compared by list and size; their bytes are read again by the model
    server's unit before each start, and by C(verify).
author: [The stronghold.llm maintainers (@stronghold)]
options:
  name:
    description: The model's name; its folder below I(store).
    type: str
    required: true
  files:
    description: The files, as the site declares them.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Path below the model's folder., type: str, required: true}
      sha256: {description: In hex., type: str, required: true}
      size: {description: In bytes., type: int, required: true}
      source: {description: Where the bundle has it from; of no use here., type: dict}
  url:
    description: The folder of the files on the mirror.
    type: str
    required: true
  ca_path:
    description: The root that vouches for the mirror.
    type: path
    required: true
  store:
    description: The folder of all models, on the hot tier.
    type: path
    required: true
attributes:
  check_mode: {support: full, description: Says whether anything would be brought.}
"""

EXAMPLES = r"""
- name: The weights are on the hot tier
  stronghold.llm.model_files:
    name: smollm2-135m-instruct
    files:
      - name: SmolLM2-135M-Instruct.Q4_1.gguf
        sha256: 6e1a3f3d8f0f5e0f6c3d3d4d1f8a1bb1c1f1b7a9c9d3b2f4e5a6b7c8d9e0f1a2
        size: 98362432
    url: https://10.77.50.11/models/smollm2-135m-instruct
    ca_path: /etc/stronghold/tls/ca.pem
    store: /srv/models
"""

RETURN = r"""
folder:
  description: Where the files lie.
  type: str
  returned: success
  sample: /srv/models/smollm2-135m-instruct/0123456789abcdef
digest:
  description: What this set of files is known by.
  type: str
  returned: success
  sample: 0123456789abcdef
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.models import fetch, weights


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                    "size": {"type": "int", "required": True},
                    "source": {"type": "dict"},
                },
            },
            "url": {"type": "str", "required": True},
            "ca_path": {"type": "path", "required": True},
            "store": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    name, store = module.params["name"], Path(module.params["store"])
    files = [weights.File(file["name"], file["sha256"], file["size"]) for file in module.params["files"]]
    folder = fetch.wanted(name, files, store)
    result = {"folder": str(folder), "digest": folder.name, "changed": not fetch.is_stored(folder, files)}
    if result["changed"] and not module.check_mode:
        try:
            fetch.fetch(
                name, files, module.params["url"], store, fetch.https_opener(module.params["ca_path"])
            )
        except fetch.FetchError as error:
            module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
