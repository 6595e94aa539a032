#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse a bundle that is not the one that was signed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_verify
short_description: Refuse a bundle that is damaged, incomplete, or signed by another key
description:
  - Checks the detached signature of C(manifest.json) with sqv or gpgv, whichever the machine has,
    then size and sha256 of every file, and that nothing else lies among them.
  - Fails with the name of each bad file and the way on.
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
- name: The bundle is whole and signed
  stronghold.llm.bundle_verify:
    path: build/bundle/lab
    public_key: build/bundle/lab.asc
  delegate_to: localhost
"""

RETURN = r"""
digest: {description: sha256 of the manifest., type: str, returned: when the manifest could be read}
inputs: {description: Digest of the declaration that the bundle answers., type: str, returned: always}
fingerprint: {description: The key that signed., type: str, returned: always}
files: {description: Files in the manifest., type: int, returned: always}
bytes: {description: Their size together., type: int, returned: always}
missing: {description: Files of the manifest that are not there., type: list, elements: str, returned: always}
corrupt: {description: Files of another size or digest., type: list, elements: str, returned: always}
extra: {description: Files that the manifest does not know., type: list, elements: str, returned: always}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.verification import explain, verify


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "public_key": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    report = verify(path, Path(module.params["public_key"]))
    if not report.sound:
        module.fail_json(msg=explain(report, path), **report.facts())
    module.exit_json(changed=False, **report.facts())


if __name__ == "__main__":
    main()
