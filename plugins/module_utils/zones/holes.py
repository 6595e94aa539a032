# SPDX-License-Identifier: GPL-3.0-or-later
"""A hole for the positive control: elements with a timeout in sets that are empty at all other times.

The kernel takes an element out when its time is up, so a hole closes also where all that opened it is dead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import Run, first_line, may, must
from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import Site
from ansible_collections.stronghold.llm.plugins.module_utils.zones.probe import Case
from ansible_collections.stronghold.llm.plugins.module_utils.zones.ruleset import (
    CONTROL_SETS,
    TABLE,
)


@dataclass(frozen=True)
class Peer:
    """The other end of a hole, and what may pass to it and from it."""

    address: str
    proto: str  # tcp, udp, dns or icmp
    port: int | None = None


@dataclass(frozen=True)
class End:
    """A host that opens a hole, for whom, and through which routers where it has no route to them."""

    host: str
    peers: list[Peer]
    gateways: dict[str, str]


def ends(site: Site, source_host: str, cases: Sequence[Case]) -> list[End]:
    """Both ends of a way have a firewall, so both open it: the probing host and the one that it probes."""
    if not cases:
        return []
    source = site.host(source_host)
    towards = [Peer(case.address, case.proto, case.port) for case in cases]
    back = [
        Peer(str(source.ipv6 if ":" in case.address else source.ipv4), case.proto, case.port)
        for case in cases
    ]
    return [End(source.name, towards, {}), End(cases[0].host, back, {})]


def end_towards_outside(
    site: Site, source_host: str, cases: Sequence[Case], routers: Mapping[str, str]
) -> End:
    """A host without a way out needs a route too. By custom, routers have a subnet's first address."""
    zone = site.zone(site.host(source_host).zone)
    customary = {"ipv4": str(zone.ipv4[1]), "ipv6": str(zone.ipv6[1])}
    peers = [Peer(case.address, case.proto, case.port) for case in cases]
    return End(source_host, peers, {**customary, **routers})


# Takes the routes away should nobody come back to do it.
WATCHDOG = "stronghold-hole-routes"


def open_for(run: Run, seconds: int, routes: Sequence[Sequence[str]], peers: Sequence[Peer]) -> None:
    may(run, "systemctl", "stop", f"{WATCHDOG}.timer")
    if routes:
        remove = "; ".join(f"ip {family} route del {address}" for family, address, *_ in routes)
        when = f"--on-active={seconds}", "--timer-property=AccuracySec=100ms"
        must(run, "systemd-run", "--quiet", "--collect", f"--unit={WATCHDOG}", *when, "sh", "-c", remove)
    for family, *route in routes:
        must(run, "ip", family, "route", "replace", *route)
    must(run, "nft", "-f", "-", data=open_script(peers, seconds))


def close(run: Run, routes: Sequence[Sequence[str]]) -> list[str]:
    """Closes every hole; what is still open after that, or why nobody can tell."""
    for family, address, *_ in routes:
        may(run, "ip", family, "route", "del", address)  # the timer may have been faster
    may(run, "systemctl", "stop", f"{WATCHDOG}.timer")
    run(("nft", "-f", "-"), close_script())
    code, listing, error = run(("nft", "--json", "list", "table", "inet", "stronghold"), "")
    return [first_line(error)] if code else still_open(listing)


def open_script(peers: Iterable[Peer], seconds: int) -> str:
    return "".join(
        f"add element {TABLE} {_set_of(peer)} {{ {_element(peer)} timeout {seconds}s }}\n" for peer in peers
    )


def close_script() -> str:
    """All holes: an element that its timeout has taken already cannot be deleted by name."""
    return "".join(f"flush set {TABLE} {name}\n" for name in CONTROL_SETS)


def still_open(listing: str) -> list[str]:
    """The control sets that are not empty, from `nft --json list table inet stronghold`."""
    found = (item["set"] for item in json.loads(listing)["nftables"] if "set" in item)
    return sorted(each["name"] for each in found if each["name"] in CONTROL_SETS and each.get("elem"))


def routes(addresses: Iterable[str], gateways: Mapping[str, str]) -> list[list[str]]:
    """A route to each address, as arguments of `ip`, without the verb: family, destination, gateway."""
    return [
        [family, address, "via", gateways[key]]
        for address in dict.fromkeys(addresses)
        for family, key in [("-6", "ipv6") if ":" in address else ("-4", "ipv4")]
        if gateways.get(key)
    ]


def _set_of(peer: Peer) -> str:
    version = "v6" if ":" in peer.address else "v4"
    return f"positive_control_ping_{version}" if peer.proto == "icmp" else f"positive_control_{version}"


def _element(peer: Peer) -> str:
    if peer.proto == "icmp":
        return peer.address
    return f"{peer.address} . {'udp' if peer.proto == 'dns' else peer.proto} . {peer.port}"
