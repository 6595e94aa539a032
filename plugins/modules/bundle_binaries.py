#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single programs of the bundle, from where they are declared to come from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_binaries
short_description: Bring the declared programs into the tree
description:
  - Builds each program from its pinned Go module, once for each version of module and toolchain, or takes it
    from a file of the declared digest.
  - The same toolchain makes the same bytes, wherever it runs.
  - Programs that are not declared are removed from the tree.
options:
  binaries:
    description: The site's C(stronghold_stack.binaries).
    type: list
    elements: dict
    required: true
  tree:
    description: Folder that gets C(binaries/<name>).
    type: path
    required: true
  cache:
    description: Folder that keeps what was built.
    type: path
    required: true
  toolchains:
    description: Commands C(go); the first one that is there and new enough for the module is taken.
    type: list
    elements: path
    default: [go]
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: Names what would be placed; builds nothing.}
"""

EXAMPLES = r"""
- name: Programs are in the tree
  stronghold.llm.bundle_binaries:
    binaries:
      - name: minio
        version: v0.0.0-20260212201848-7aac2a2c5b7c
        source: {go: github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c}
    tree: build/cache/bundle/lab/tree
    cache: ~/.cache/stronghold-llm
"""

RETURN = r"""
placed: {description: Paths that were brought in., type: list, elements: str, returned: success}
removed: {description: Programs that are not declared., type: list, elements: str, returned: success}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.binaries import binaries, place
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "binaries": {"type": "list", "elements": "dict", "required": True},
            "tree": {"type": "path", "required": True},
            "cache": {"type": "path", "required": True},
            "toolchains": {"type": "list", "elements": "path", "default": ["go"]},
        },
        supports_check_mode=True,
    )
    tree, cache = Path(module.params["tree"]), Path(module.params["cache"])
    toolchains = [Path(command) for command in module.params["toolchains"]]
    try:
        wanted = binaries(module.params["binaries"])
        names = {binary.name for binary in wanted}
        removed = [file for file in sorted(tree.glob("binaries/*")) if file.name not in names]
        if not module.check_mode:
            for file in removed:
                file.unlink()
        placed = place(wanted, tree, cache, toolchains, dry_run=module.check_mode)
    except BundleError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(removed or placed), removed=[str(file) for file in removed], placed=placed)


if __name__ == "__main__":
    main()
