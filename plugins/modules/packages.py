# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which calls ansible.builtin.apt."""

DOCUMENTATION = r"""
module: packages
short_description: Have Debian packages installed, with a check mode that works before the mirror does
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - M(ansible.builtin.apt) without recommended packages, and patient with a lock that another apt holds.
  - In check mode a package that apt does not know yet counts as one that would be installed. On a host that
    does not read the site's mirror yet nearly every package is one, and M(ansible.builtin.apt) would fail.
options:
  name:
    description: Names of the packages.
    type: list
    elements: str
    required: true
  state:
    description: The packages are installed.
    type: str
    choices: [present]
    default: present
  policy_rc_d:
    description: As in M(ansible.builtin.apt). V(101) keeps a service from starting before it is configured.
    type: int
attributes:
  check_mode:
    description: Says what would be installed, also where apt does not know the packages yet.
    support: full
  diff_mode:
    description: As M(ansible.builtin.apt).
    support: full
  platform:
    description: The systems it works on.
    platforms: debian
    support: full
notes:
  - A misspelt name is therefore only found by a real run.
seealso:
  - module: ansible.builtin.apt
"""

EXAMPLES = r"""
- name: Nginx is installed, and not started before it is configured
  stronghold.llm.packages:
    name: [nginx, libnginx-mod-http-modsecurity]
    policy_rc_d: 101
"""

RETURN = r"""
msg:
  description: What would be installed, where only check mode could say so.
  returned: in check mode, when apt does not know a package yet
  type: str
  sample: "would be installed from the site mirror, which this host does not read yet: nginx"
"""
