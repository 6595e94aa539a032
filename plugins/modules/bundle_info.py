#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a bundle without refusing it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_info
short_description: Say whether a bundle is whole, signed, and the one that was asked for
description:
  - Reads what M(stronghold.llm.bundle_verify) reads, but reports faults instead of failing.
options:
  path:
    description: Folder of the bundle, with C(manifest.json).
    type: path
    required: true
  public_key:
    description: File with the armored public key that must have signed the manifest.
    type: path
    required: true
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: Only reads.}
"""

EXAMPLES = r"""
- name: State of the bundle is known
  stronghold.llm.bundle_info:
    path: build/bundle/lab
    public_key: build/bundle/lab.asc
  register: bundle
"""

RETURN = r"""
sound: {description: Signature, digests and sizes all hold., type: bool, returned: always}
problems: {description: One sentence for each fault., type: list, elements: str, returned: always}
digest: {description: sha256 of the manifest; empty without one., type: str, returned: always}
inputs: {description: Digest of the declaration that the bundle answers., type: str, returned: always}
fingerprint: {description: The key that signed., type: str, returned: always}
files: {description: Files in the manifest., type: int, returned: always}
bytes: {description: Their size together., type: int, returned: always}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.verification import verify


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "public_key": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    report = verify(Path(module.params["path"]), Path(module.params["public_key"]))
    module.exit_json(changed=False, sound=report.sound, problems=list(report.problems), **report.facts())


if __name__ == "__main__":
    main()
