#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a collected tree into a bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_write
short_description: Write a collected tree as a signed, content-addressed folder
description:
  - Each file is stored once under its sha256; C(manifest.json) lists the tree and is signed. The manifest is
    written last, so that an interrupted run leaves a bundle that verifies as before, or not at all.
  - Also signs the index of the Debian packages in C(debian/pool) as a suite for apt.
options:
  tree:
    description: Folder with the collected files, C(debian/pool) among them.
    type: path
    required: true
  path:
    description: Folder of the bundle.
    type: path
    required: true
  public_key:
    description: File with the armored public key, to see whether the bundle is written already.
    type: path
    required: true
  signing_home:
    description: GnuPG home with the secret key.
    type: path
    required: true
  signing_key:
    description: Fingerprint of the secret key.
    type: str
    required: true
  inputs:
    description: Digest of the declaration that the tree answers.
    type: str
    required: true
  suite:
    description: Name of the suite that apt reads.
    type: str
    default: stronghold
  architecture:
    description: Debian architecture.
    type: str
    default: amd64
  debian_suite:
    description: Debian release that the packages were resolved for.
    type: str
    required: true
  debian_packages:
    description: The declared packages.
    type: list
    elements: str
    required: true
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: Nothing is written; changed unless the bundle is sound.}
"""

EXAMPLES = r"""
- name: Bundle is written and signed
  stronghold.llm.bundle_write:
    tree: build/cache/bundle/lab/tree
    path: build/bundle/lab
    public_key: build/bundle/lab.asc
    signing_home: build/keys/bundle
    signing_key: 0123456789ABCDEF0123456789ABCDEF01234567
    inputs: "{{ declaration | to_json | hash('sha256') }}"
    debian_suite: trixie
    debian_packages: [nginx, rsync]
"""

RETURN = r"""
digest: {description: sha256 of the manifest., type: str, returned: success}
"""

import datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.collecting import index_debian
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import (
    BundleError,
    Debian,
    Manifest,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.openpgp import Signer
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.writing import scan, write


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tree": {"type": "path", "required": True},
            "path": {"type": "path", "required": True},
            "public_key": {"type": "path", "required": True},
            "signing_home": {"type": "path", "required": True},
            "signing_key": {"type": "str", "required": True, "no_log": False},
            "inputs": {"type": "str", "required": True},
            "suite": {"type": "str", "default": "stronghold"},
            "architecture": {"type": "str", "default": "amd64"},
            "debian_suite": {"type": "str", "required": True},
            "debian_packages": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    tree, path, key = (Path(asked[name]) for name in ("tree", "path", "public_key"))
    signer = Signer(Path(asked["signing_home"]), asked["signing_key"])
    debian = Debian(asked["debian_suite"], asked["architecture"], tuple(asked["debian_packages"]))
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        if not module.check_mode:
            index_debian(tree / "debian", asked["suite"], asked["architecture"], signer)
        manifest = Manifest(created, asked["inputs"], debian, tuple(scan(tree)))
        outcome = write(tree, path, manifest, signer, key, dry_run=module.check_mode)
    except BundleError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=outcome.changed, digest=outcome.digest)


if __name__ == "__main__":
    main()
