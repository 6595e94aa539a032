# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible.builtin.apt as every role uses it, with a check mode that works before the site's mirror does."""

from __future__ import annotations

import re
from typing import Any

from ansible.plugins.action import ActionBase

# From modules/apt.py of ansible-core 2.19. The last one comes in check mode only.
UNKNOWN_YET = re.compile(
    r"No package(\(s\))? matching '.*'( is)? available"
    r"|no available installation candidate for "
    r"|python3-apt must be installed to use check mode"
)


class ActionModule(ActionBase):
    """Runs apt on the host."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "name": {"type": "list", "elements": "str", "required": True},
                "state": {"type": "str", "choices": ["present"], "default": "present"},
                "policy_rc_d": {"type": "int"},
            },
        )
        apt_args = {name: value for name, value in args.items() if value is not None}
        apt_args |= {"install_recommends": False, "lock_timeout": 120}
        apt = self._execute_module("ansible.builtin.apt", module_args=apt_args, task_vars=task_vars)
        if self._task.check_mode and apt.get("failed") and unknown_yet(apt.get("msg", "")):
            would = "would be installed from the site mirror, which this host does not read yet"
            return result | {"changed": True, "msg": f"{would}: {', '.join(args['name'])}"}
        return result | apt


def unknown_yet(message: str) -> bool:
    """Whether apt failed only because its lists lack the package, or because python3-apt is missing."""
    return UNKNOWN_YET.match(message) is not None
