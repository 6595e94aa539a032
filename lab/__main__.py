# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m lab up | down | status | shell HOST | run COMMAND…

up      boots what is not running; the hosts stay until `down`
down    halts the hosts and removes all that `up` made, also after a crash; the cached base image stays
shell   a login on a host, named by itself or by its zone
run     a command inside the lab's network, where nothing outside can be reached
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from lab import machines, network, requirements, site

# Written last by `up`: without it a lab is half-made and is taken down before the next start.
WHOLE = site.STATE / "whole"


def up(lab: site.Site) -> None:
    missing = [*requirements.problems(), *requirements.missing_packages()]
    if missing:
        raise SystemExit("The lab cannot start:\n  - " + "\n  - ".join(missing))
    if WHOLE.exists() and set(machines.running()) == {host.name for host in lab.hosts}:
        print("The lab is up.")
        return
    down(lab)
    image = machines.base_image()
    (site.STATE / "ssh").mkdir(parents=True)
    key = site.STATE / "ssh/id_ed25519"
    machines.make_key(key, comment="lab")
    _write_connect(lab)
    network.up(lab)
    network.start_outside(lab)
    machines.start(lab, image, key.with_suffix(".pub").read_text())
    WHOLE.touch()
    print("The lab is up:", ", ".join(f"{host.name} {host.ipv4}" for host in lab.hosts))


def _write_connect(lab: site.Site) -> None:
    """ssh's way in, as ProxyCommand: from the controller's address, through the namespace."""
    command = network.inside(lab, ["nc", "-s", str(lab.controller)])
    path = site.STATE / "connect"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$1" "$2"\n')
    path.chmod(0o755)


def down(lab: site.Site) -> None:
    machines.stop()
    network.down(lab)
    if site.STATE.exists():
        shutil.rmtree(site.STATE)


def shell(lab: site.Site, name: str) -> None:
    host = lab.host(name)
    ssh = [
        "ssh", "-i", str(site.STATE / "ssh/id_ed25519"), "-o", "IdentitiesOnly=yes",
        "-o", f"UserKnownHostsFile={site.STATE / 'ssh/known_hosts'}",
        "-o", f"ProxyCommand={site.STATE / 'connect'} %h %p", f"operator@{host.ipv4}",
    ]  # fmt: skip
    os.execvp("ssh", ssh)


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
            shell(lab, name)
        case ["run", *command] if command:
            os.execvp("nsenter", network.inside(lab, command))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
