#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""A download cache that holds only what is wanted, whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_keep
short_description: Remove every cached file that has none of the wanted digests
description:
  - What was damaged, cut short, or is no longer declared, goes; what stays need not be downloaded again.
options:
  path:
    description: Folder of the cache.
    type: path
    required: true
  pattern:
    description: Which files of it are looked at.
    type: str
    default: '*'
  sha256:
    description: Digests of the files to keep.
    type: list
    elements: str
    required: true
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: Names what would go.}
"""

EXAMPLES = r"""
- name: Cached packages are whole and still declared
  stronghold.llm.bundle_keep:
    path: build/cache/bundle/lab/tree/debian/pool
    pattern: '*.deb'
    sha256: "{{ closure.stdout | regex_findall('SHA256:([0-9a-f]{64})') }}"
"""

RETURN = r"""
removed: {description: The files that went., type: list, elements: str, returned: success}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.collecting import keep_only


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "pattern": {"type": "str", "default": "*"},
            "sha256": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    path, pattern, digests = (module.params[name] for name in ("path", "pattern", "sha256"))
    removed = keep_only(Path(path), pattern, digests, dry_run=module.check_mode)
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
