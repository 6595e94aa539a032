# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: one namespace, a bridge for each zone, a router between them, and no way out.

The router forwards everything: what keeps zones apart is each host's own firewall, which is what the lab
is there to prove. Addresses set aside for documentation (RFC 5737, RFC 3849) stand for the outside.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.processes import commands, send
from lab.site import REPOSITORY, STATE, Site

CONTROL_PATHS = REPOSITORY / "build/cp"  # as in ansible.cfg
RESPONDER = Path(__file__).with_name("outside.py")
OUTSIDE = ("198.51.100.53/32", "2001:db8:53::53/128")


def inside(site: Site, command: Sequence[str]) -> list[str]:
    """The command, in the lab's namespace. (``ip netns exec`` remounts /sys, which nspawn cannot bear.)"""
    return ["nsenter", f"--net=/run/netns/{site.namespace}", *command]


def up(site: Site) -> None:
    subprocess.run(["ip", "netns", "add", site.namespace], check=True)
    batch = ["link set lo up", *(f"address add {address} dev lo" for address in OUTSIDE)]
    for zone in site.zones:
        ipv4, ipv6 = zone.router
        batch += [
            f"link add {zone.bridge} type bridge forward_delay 0",
            f"address add {ipv4} dev {zone.bridge}",
            f"address add {ipv6} dev {zone.bridge} nodad",
            f"link set {zone.bridge} up",
        ]
    management = site.zone("mgmt")
    batch.append(f"address add {site.controller}/{management.ipv4.prefixlen} dev {management.bridge}")
    command = ["ip", "-n", site.namespace, "-batch", "-"]
    subprocess.run(command, input="\n".join(batch), text=True, check=True)
    forwarding = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
    subprocess.run(inside(site, ["sh", "-ec", forwarding]), check=True)


def start_outside(site: Site) -> None:
    """Something that answers on the outside's addresses, so that a hole in a firewall can be seen."""
    with (STATE / "outside.log").open("wb") as log:
        subprocess.Popen(
            inside(site, [sys.executable, str(RESPONDER)]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def down(site: Site) -> None:
    """Ends what answers as the outside, and ssh's kept connections: their hosts are gone without a word."""
    kept = f"ssh: {CONTROL_PATHS}/"
    for process, command in commands():
        if str(RESPONDER) in command or command[0].startswith(kept):
            send(signal.SIGTERM, process)
    subprocess.run(["ip", "netns", "delete", site.namespace], check=False, capture_output=True)
