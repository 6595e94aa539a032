# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host must be able to reach and what not, and what a try says about it.

A cell of the matrix is open or closed. A refused connection proves an open way as much as an accepted one:
the packet came through both firewalls. Only silence, or no way to send at all, proves a closed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import Flow, Host, Site, service

OUTCOMES = ("open", "refused", "filtered", "unreachable")
REACHED = frozenset({"open", "refused"})

SSH = 22
DNS = 53


@dataclass(frozen=True)
class Case:
    """One try: from the probing host to an address, and what the matrix says about it."""

    name: str
    host: str  # whose address it is
    address: str
    port: int | None
    proto: str  # tcp, udp, icmp, or dns: a real question over UDP
    expect: str  # open or closed


def cells(site: Site, source_host: str) -> list[Case]:
    """Every cell of the matrix, as seen from one host: each other host, each service, IPv4 and IPv6.

    The services are all that any row names, and some that none may: ssh, an echo request, and a port that
    no row mentions, over TCP and UDP.
    """
    source = site.host(source_host)
    services = _services(site.flows)
    return [
        case
        for target in site.hosts
        if target.name != source.name
        for proto, port in services
        for case in _case(site, source, target, proto, port)
    ]


def _services(flows: Iterable[Flow]) -> list[tuple[str, int | None]]:
    named = {(flow.proto, flow.port) for flow in flows}
    ports = {port for _, port in named}
    unnamed = next(port for port in range(9, 65536) if port not in ports)
    always: set[tuple[str, int | None]] = {("tcp", SSH), ("tcp", unnamed), ("udp", unnamed), ("icmp", None)}
    return sorted(named | always, key=lambda known: (known[0], known[1] or 0))


def _case(site: Site, source: Host, target: Host, proto: str, port: int | None) -> Iterator[Case]:
    expect = "open" if site.allows(source.zone, target.zone, proto, port) else "closed"
    for family, address in (("ipv4", target.ipv4), ("ipv6", target.ipv6)):
        name = f"{source.name} to {target.name} {service(proto, port)} {family}"
        yield Case(name, target.name, str(address), port, _asked_as(proto, port), expect)


def _asked_as(proto: str, port: int | None) -> str:
    """A name server keeps silent when it is asked nothing, so it is asked something."""
    return "dns" if (proto, port) == ("udp", DNS) else proto


def outside_cases(outside: Mapping[str, str], expect: str) -> list[Case]:
    """All ways out of a zone: TCP, UDP, ICMP and DNS towards an address that stands for the outside."""
    services = (("tcp", 443), ("udp", 9999), ("icmp", None), ("dns", DNS))
    return [
        Case(f"outside {service(proto, port)} {family}", "outside", outside[family], port, proto, expect)
        for family in ("ipv4", "ipv6")
        if outside.get(family)
        for proto, port in services
    ]


def control_cases(site: Site, source_host: str) -> list[Case]:
    """Closed cells that a positive control opens: one of each protocol and family, all to one other host.

    As the probe must see the hole, the port is one that answers where the matrix leaves a choice: ssh.
    """
    source = site.host(source_host)
    others = [host for host in site.hosts if host.zone != source.zone] or [
        host for host in site.hosts if host.name != source.name
    ]
    if not others:
        return []
    # Spread over the site: not every host's control opens the same target.
    target = others[site.hosts.index(source) % len(others)]
    chosen: dict[tuple[str, bool], Case] = {}
    for case in cells(site, source_host):
        if case.host == target.name and case.expect == "closed":
            kind = case.proto, ":" in case.address
            if kind not in chosen or case.port == SSH:
                chosen[kind] = Case(**{**asdict(case), "expect": "open"})
    return list(chosen.values())


def passed(expect: str, outcome: str) -> bool:
    return (outcome in REACHED) == (expect == "open")


def result(case: Case, outcome: str) -> dict[str, Any]:
    seen = {"outcome": outcome, "passed": passed(case.expect, outcome)}
    return {"name": case.name, "address": case.address, "port": case.port, "proto": case.proto, **seen}


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of what was seen, and the cells that are not as the matrix says, by name."""
    return {
        "cells": len(results),
        "outcomes": {kind: sum(result["outcome"] == kind for result in results) for kind in OUTCOMES},
        "wrong": [f"{result['name']}: {result['outcome']}" for result in results if not result["passed"]],
    }
