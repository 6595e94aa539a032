#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: unit_current
short_description: A systemd unit is enabled, runs, and has read the files that are there now
version_added: 0.1.0
description:
  - Starts what does not run, and reloads or restarts what runs with older files than those on disk.
  - What a unit has read is kept as a digest in C(/var/lib/stronghold/units), so a run that dies between a
    change and its reload is made good by the next one, which no handler would do.
  - A unit that runs with the present files is left alone, also when it came back by itself after a crash. One
    that was reloaded by somebody with other files, which were put back since, is not.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  name:
    description: The unit.
    type: str
    required: true
  files:
    description: What it reads; a folder stands for all below it, and a missing file is a content of its own.
    type: list
    elements: path
    required: true
  refresh:
    description: How it reads them again.
    type: str
    choices: [reload, restart]
    default: reload
  validate:
    description: A command that must succeed before a running unit is touched, as C(nginx -t -q).
    type: list
    elements: str
    default: []
attributes:
  check_mode: {support: full, description: Says what it would do.}
"""

EXAMPLES = r"""
- name: The endpoint runs with its present configuration
  stronghold.llm.unit_current:
    name: nginx.service
    files: [/etc/nginx/conf.d/stronghold-endpoint.conf, /etc/stronghold/tls/host.pem]
    validate: [nginx, -t, -q]
"""

RETURN = r"""
done:
  description: The systemctl calls that were made, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [reload nginx.service]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.units import current

PROPERTIES = "ActiveState,UnitFileState,NeedDaemonReload,LoadState,InvocationID,StateChangeTimestampMonotonic"


def look(module: AnsibleModule, name: str) -> tuple[current.Unit, bool]:
    """The unit's state, and whether systemd knows it at all."""
    _, output, _ = module.run_command(["systemctl", "show", f"--property={PROPERTIES}", name], check_rc=True)
    shown = dict(line.split("=", 1) for line in output.splitlines())
    unit = current.Unit(
        active=shown["ActiveState"] in ("active", "reloading"),
        enabled=shown["UnitFileState"] in ("enabled", "static", "generated", "alias"),
        stale_definition=shown["NeedDaemonReload"] == "yes",
        # The state changes at a reload as well, through "reloading"; the invocation tells boots apart.
        moment=f"{shown['InvocationID']} {shown['StateChangeTimestampMonotonic']}",
        starting=shown["ActiveState"] == "activating",
    )
    return unit, shown["LoadState"] != "not-found"


def act(module: AnsibleModule, name: str, needed: list[list[str]]) -> None:
    if module.params["validate"]:
        code, _, error = module.run_command(module.params["validate"])
        if code:
            said = " ".join(module.params["validate"])
            module.fail_json(msg=f"{name} is left as it was, {said} says: {error.strip()}")
    for command in needed:
        code, _, error = module.run_command(["systemctl", *command])
        if code:
            tail = ["journalctl", f"--unit={name}", "--lines=20", "--output=cat"]
            _, journal, _ = module.run_command(tail)
            module.fail_json(msg=f"systemctl {' '.join(command)}: {error.strip()}\n{journal}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "refresh": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
            "validate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    name, paths = module.params["name"], [Path(path) for path in module.params["files"]]
    path = current.record_path(name, paths)
    record = current.Record.load(path.read_text()) if path.exists() else None
    files = current.look(paths)
    unit, known = look(module, name)
    if not known and not module.check_mode:
        # A unit file written a moment ago, which systemd has not looked for yet.
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        unit, _ = look(module, name)
    needed = current.commands(name, unit, record, files, module.params["refresh"])
    if not module.check_mode:
        if needed:
            act(module, name, needed)
        present = current.Record(files, look(module, name)[0].moment)
        if record != present:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(present.dump())
            draft.replace(path)
    module.exit_json(changed=bool(needed), done=[" ".join(command) for command in needed])


if __name__ == "__main__":
    main()
