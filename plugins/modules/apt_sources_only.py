#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""One source of packages, and no other."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_sources_only
short_description: Disable every apt source file but one
description:
  - The other files are renamed to C(*.disabled-by-stronghold), never deleted or overwritten.
options:
  keep:
    description: The source file that stays.
    type: path
    required: true
  apt:
    description: apt's configuration folder.
    type: path
    default: /etc/apt
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: Names what would be renamed.}
"""

EXAMPLES = r"""
- name: No other source of packages is enabled
  stronghold.llm.apt_sources_only:
    keep: /etc/apt/sources.list.d/stronghold.sources
"""

RETURN = r"""
disabled: {description: The files that apt reads no more., type: list, elements: str, returned: success}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.apt_sources import disable_others


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "keep": {"type": "path", "required": True},
            "apt": {"type": "path", "default": "/etc/apt"},
        },
        supports_check_mode=True,
    )
    renamed = disable_others(
        Path(module.params["apt"]), Path(module.params["keep"]), dry_run=module.check_mode
    )
    module.exit_json(
        changed=bool(renamed),
        disabled=[old for old, _ in renamed],
        diff=[{"before": f"{old}\n", "after": f"{new}\n"} for old, new in renamed],
    )


if __name__ == "__main__":
    main()
