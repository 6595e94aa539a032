#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a machine takes its packages from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_sources_info
short_description: Say where apt and pip take packages from, and what of it is foreign
description:
  - Reads apt's source files in both of their formats, C(apt-cache policy), and pip's configuration.
options:
  own:
    description: URLs that belong to the site; every other enabled source is foreign.
    type: list
    elements: str
    default: []
  control:
    description: Text of a deb822 source to look at as if it were enabled too, to show that it would be seen.
    type: str
    default: ''
  apt:
    description: apt's configuration folder.
    type: path
    default: /etc/apt
author: The stronghold.llm maintainers
attributes:
  check_mode: {support: full, description: Only reads.}
"""

EXAMPLES = r"""
- name: Enabled sources of packages are known
  stronghold.llm.apt_sources_info:
    own: [https://mgmt1/debian]
    control: |
      Types: deb
      URIs: https://mirror.example/debian
      Suites: trixie
      Components: main
  register: sources
"""

RETURN = r"""
sources: {description: Enabled entries., type: list, elements: dict, returned: always}
foreign: {description: Entries that point elsewhere., type: list, elements: dict, returned: always}
control_foreign: {description: The same with O(control)., type: list, elements: dict, returned: always}
candidates_from: {description: Where apt finds candidates., type: list, elements: str, returned: always}
pip_indexes: {description: Settings that send pip to an index., type: list, elements: str, returned: always}
debian_url: {description: Debian's archive as this machine addresses it., type: str, returned: always}
debian_security_url: {description: Debian's security archive., type: str, returned: always}
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.bundle import apt_sources

PIP_CONFIGURATION = ("/etc/pip.conf", "/root/.pip/pip.conf", "/root/.config/pip/pip.conf")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "own": {"type": "list", "elements": "str", "default": []},
            "control": {"type": "str", "default": ""},
            "apt": {"type": "path", "default": "/etc/apt"},
        },
        supports_check_mode=True,
    )
    own = module.params["own"]
    found = apt_sources.read_folder(Path(module.params["apt"]))
    control = apt_sources.parse_file("control.sources", module.params["control"])
    archive, security = apt_sources.debian_mirrors(found)
    policy = module.run_command([module.get_bin_path("apt-cache", required=True), "policy"], check_rc=True)[1]
    pip = {name: Path(name).read_text(encoding="utf-8") for name in PIP_CONFIGURATION if Path(name).is_file()}
    module.exit_json(
        changed=False,
        sources=[asdict(source) for source in found],
        foreign=[asdict(source) for source in apt_sources.foreign(found, own)],
        control_foreign=[asdict(source) for source in apt_sources.foreign([*found, *control], own)],
        candidates_from=apt_sources.policy_origins(policy),
        pip_indexes=apt_sources.pip_indexes(pip),
        debian_url=archive,
        debian_security_url=security,
    )


if __name__ == "__main__":
    main()
