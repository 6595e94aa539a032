#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve what was verified, and nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_publish
short_description: Verify a bundle and lay it out as the tree that a mirror serves
description:
  - Verifies the bundle as M(stronghold.llm.bundle_verify) does. Only when it is sound, the tree is built of
    hard links beside the old one, C(current) is switched to it in one step, and the old tree is removed.
  - On any fault the module fails, and the old tree stays as it is.
options:
  path:
    description: Folder of the bundle.
    type: path
    required: true
  public_key:
    description: File with the armored public key that must have signed the manifest.
    type: path
    required: true
  dest:
    description: Folder that gets C(current); on the same file system as O(path).
    type: path
    required: true
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: A bundle that is not there yet counts as one to be published.}
"""

EXAMPLES = r"""
- name: The verified bundle is the tree that is served
  stronghold.llm.bundle_publish:
    path: /srv/stronghold/bundle
    public_key: /etc/stronghold/bundle.asc
    dest: /srv/stronghold/mirror
"""

RETURN = r"""
digest: {description: sha256 of the manifest that is served., type: str, returned: success}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle import manifest
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.verification import explain, verify
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.writing import publish


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "public_key": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    if module.check_mode and not (path / manifest.NAME).exists():
        module.exit_json(changed=True, digest="")
    report = verify(path, Path(module.params["public_key"]))
    if not report.sound or report.manifest is None:
        module.fail_json(
            msg=explain(report, path) + "\nWhat was served before is served on.", **report.facts()
        )
    outcome = publish(
        path, report.manifest, report.digest, Path(module.params["dest"]), dry_run=module.check_mode
    )
    module.exit_json(changed=outcome.changed, digest=outcome.digest)


if __name__ == "__main__":
    main()
