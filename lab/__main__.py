# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m lab up | down | status | shell HOST | ask QUESTION | run COMMAND…

up      boots what is not running; the hosts stay until `down`
down    halts the hosts and removes all that `up` made, also after a crash; the cached base image stays
shell   a login on a host, named by itself or by its zone
ask     the model, from the client zone, with the demo's key
run     a command inside the lab's network, where nothing outside can be reached
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from lab import machines, network, requirements, site

# Written last by `up`: without it a lab is half-made and is taken down before the next start.
WHOLE = site.STATE / "whole"
SSH_CONFIG = site.STATE / "ssh/config"


def up(lab: site.Site) -> None:
    missing = [*requirements.problems(), *requirements.missing_packages()]
    if missing:
        raise SystemExit("The lab cannot start:\n  - " + "\n  - ".join(missing))
    if WHOLE.exists() and set(machines.running()) == {host.name for host in lab.hosts}:
        print("The lab is up.")
        return
    down(lab)
    image = machines.base_image()
    key = SSH_CONFIG.with_name("id_ed25519")
    key.parent.mkdir(parents=True)
    machines.make_key(key, comment="lab")
    _write_ssh_config(lab, key)
    network.up(lab)
    network.start_outside(lab)
    machines.start(lab, image, key.with_suffix(".pub").read_text())
    WHOLE.touch()
    print("The lab is up:", ", ".join(f"{host.name} {host.ipv4}" for host in lab.hosts))


def _write_ssh_config(lab: site.Site, key: Path) -> None:
    """How ssh, and whatever uses it, reaches the hosts: by name, through the namespace."""
    folder = key.parent
    connect = shlex.join(network.inside(lab, ["nc", "-s", str(lab.controller)]))
    lines = [
        f"IdentityFile {key}",
        f"UserKnownHostsFile {folder / 'known_hosts'}",
        f"ProxyCommand {connect} %h %p",
        "IdentitiesOnly yes",
        "StrictHostKeyChecking yes",
        "User ops",
        "ServerAliveInterval 5",
    ]
    for host in lab.hosts:
        lines += [f"Host {host.name}", f"  HostName {host.ipv4}", f"  HostKeyAlias {host.name}"]
    SSH_CONFIG.write_text("\n".join(lines) + "\n")


def down(lab: site.Site) -> None:
    machines.stop()
    network.down(lab)
    if site.STATE.exists():
        shutil.rmtree(site.STATE)


def ask(lab: site.Site, question: str) -> None:
    edge, client = lab.host("edge"), lab.host("client")
    request = {
        "address": str(edge.ipv4),
        "port": 443,
        "name": edge.name,
        "ca": (site.STATE / "pki/root.pem").read_text(),
        "key": (site.STATE / "secrets/api_key_demo").read_text().strip(),
        "model": lab.model,
        "question": question,
    }
    program = shlex.quote(Path(__file__).with_name("ask.py").read_text())
    print(f"{client.name} asks {edge.name} ({edge.ipv4}): {question}")
    ssh = ["ssh", "-F", str(SSH_CONFIG), client.name, f"python3 -c {program}"]
    sys.exit(subprocess.run(ssh, input=json.dumps(request), text=True, check=False).returncode)


def main(arguments: list[str]) -> None:
    lab = site.load()
    match arguments:
        case ["up"]:
            up(lab)
        case ["down"]:
            down(lab)
        case ["status"]:
            running = machines.running()
            for host in lab.hosts:
                state = "up" if host.name in running else "down"
                print(f"{host.name:10} {host.zone.name:8} {host.ipv4!s:12} {state}")
        case ["shell", name]:
            os.execvp("ssh", ["ssh", "-F", str(SSH_CONFIG), lab.host(name).name])
        case ["ask", question]:
            ask(lab, question)
        case ["run", *command] if command:
            os.execvp("nsenter", network.inside(lab, command))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
