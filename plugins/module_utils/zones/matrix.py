# SPDX-License-Identifier: GPL-3.0-or-later
"""The site as its zone matrix declares it, checked before anything is made from it.

What is not in the matrix is not allowed. A row names zones only, so there is no way to write down a hole to
anywhere outside the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import combinations
from typing import Any, TypeVar

PROTOCOLS = ("tcp", "udp", "icmp")
ROW_KEYS = ("from", "to", "ports", "proto", "why")
# A zone's name becomes part of the name of an nftables set, and is a group of the inventory.
ZONE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

Address = TypeVar("Address", IPv4Address, IPv6Address)


class SiteError(ValueError):
    """Everything that is wrong with a declaration, each message with its value, the rule and the remedy."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


@dataclass(frozen=True)
class Zone:
    name: str
    ipv4: IPv4Network
    ipv6: IPv6Network


@dataclass(frozen=True)
class Flow:
    """One way that is open: new connections from any host of `source` to any host of `destination`."""

    source: str
    destination: str
    proto: str  # tcp, udp or icmp
    port: int | None  # none for icmp, which means an echo request
    why: str

    @property
    def key(self) -> tuple[str, str, str, int | None]:
        return self.source, self.destination, self.proto, self.port

    def __str__(self) -> str:
        return f"{self.source} to {self.destination} {service(self.proto, self.port)}"


@dataclass(frozen=True)
class Host:
    name: str
    zone: str
    ipv4: IPv4Address
    ipv6: IPv6Address


@dataclass(frozen=True)
class Site:
    zones: tuple[Zone, ...]
    flows: tuple[Flow, ...]
    hosts: tuple[Host, ...]

    @cached_property
    def _open(self) -> frozenset[tuple[str, str, str, int | None]]:
        return frozenset(flow.key for flow in self.flows)

    def allows(self, source: str, destination: str, proto: str, port: int | None) -> bool:
        return (source, destination, proto, port) in self._open

    def zone(self, name: str) -> Zone:
        return next(zone for zone in self.zones if zone.name == name)

    def host(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts) or "none"
        raise SiteError([f"{name} is not a host of the site: add it to one zone; hosts are: {known}"])


def service(proto: str, port: int | None) -> str:
    return proto if port is None else f"{proto}/{port}"


def parse(
    zones: Mapping[str, Any], matrix: Sequence[Mapping[str, Any]], hosts: Sequence[Mapping[str, Any]]
) -> Site:
    """The declaration as a Site; SiteError with every message at once if it cannot be one.

    zones   {name: {ipv4: subnet, ipv6: subnet}}
    matrix  [{from: zone or list, to: zone or list, ports: [int], proto: tcp | udp | icmp, why: text}]
    hosts   [{name, zones: [zone], ipv4: address, ipv6: address}]
    """
    problems: list[str] = []
    found_zones = _zones(zones, problems)
    flows = _flows(matrix, zones, problems)
    found_hosts = _hosts(hosts, zones, found_zones, problems)
    if problems:
        raise SiteError(problems)
    return Site(tuple(found_zones.values()), tuple(flows), tuple(found_hosts))


def _zones(declared: Mapping[str, Any], problems: list[str]) -> dict[str, Zone]:
    found: dict[str, Zone] = {}
    for name, zone in declared.items():
        if not ZONE_NAME.fullmatch(name):
            problems.append(
                f"zone {name!r}: a zone's name is a-z, 0-9 and _, begins with a letter and has at most 32 of "
                "them: rename it, and its inventory group"
            )
        try:
            found[name] = Zone(str(name), IPv4Network(zone["ipv4"]), IPv6Network(zone["ipv6"]))
        except (KeyError, TypeError):
            problems.append(f"zone {name}: a zone has two subnets, ipv4 and ipv6: declare both")
        except ValueError as error:
            problems.append(f"zone {name}: {error}: write the subnet as 10.1.0.0/24 or fd00:1::/64")
    for one, other in combinations(found.values(), 2):
        for subnet, taken in ((one.ipv4, other.ipv4), (one.ipv6, other.ipv6)):
            if subnet.overlaps(taken):
                problems.append(
                    f"zones {one.name} ({subnet}) and {other.name} ({taken}) overlap: an address belongs to "
                    "one zone, or nobody could tell whose packet it is; give one of them another subnet"
                )
    return found


def _flows(matrix: Sequence[Mapping[str, Any]], zones: Mapping[str, Any], problems: list[str]) -> list[Flow]:
    first_row: dict[tuple[str, str, str, int | None], int] = {}
    flows = []
    for number, row in enumerate(matrix, start=1):
        wrong = list(_row_problems(row, zones))
        problems += [f"zone matrix, row {number}: {message}" for message in wrong]
        if wrong:
            continue
        for flow in _row_flows(row):
            earlier = first_row.setdefault(flow.key, number)
            if earlier != number:
                problems.append(
                    f"zone matrix, row {number}: {flow} is already in row {earlier}: "
                    "keep it in one of them, so that taking the row away closes the way"
                )
            flows.append(flow)
    return flows


def _row_flows(row: Mapping[str, Any]) -> Iterator[Flow]:
    proto = row.get("proto", "tcp")
    for source in _names(row["from"]):
        for destination in _names(row["to"]):
            for port in row.get("ports") or [None]:
                yield Flow(source, destination, str(proto), port, str(row["why"]))


def _names(value: Any) -> list[str]:
    """Zones of a row's end, each once: a name or a list of names."""
    return list(dict.fromkeys([str(value)] if isinstance(value, str) else map(str, value)))


def _row_problems(row: Mapping[str, Any], zones: Mapping[str, Any]) -> Iterator[str]:
    for key in row:
        if key not in ROW_KEYS:
            yield f"{key!r} is not a key of a row: use {', '.join(ROW_KEYS)}"
    for end in ("from", "to"):
        if not row.get(end):
            yield f"{end!r} is missing: name a zone or a list of zones"
            continue
        for name in _names(row[end]):
            if name not in zones:
                yield (
                    f"{end}: {name!r} is not a zone, and a row can name nothing else (no address, nothing "
                    f"outside the site): use one of {', '.join(zones)}"
                )
    if not isinstance(row.get("why"), str) or not row["why"].strip():
        yield "'why' is missing: every open way has a reason that an auditor can read"
    yield from _service_problems(row.get("proto", "tcp"), row.get("ports"))


def _service_problems(proto: Any, ports: Any) -> Iterator[str]:
    if proto not in PROTOCOLS:
        yield f"proto {proto!r} is not known: use {', '.join(PROTOCOLS)}"
    elif proto == "icmp":
        if ports:
            yield f"ports {ports!r}: icmp has none (it means an echo request): leave ports out"
    elif not isinstance(ports, list) or not ports:
        yield f"ports {ports!r}: {proto} needs a list of port numbers, as in [443]"
    else:
        for port in ports:
            if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
                yield f"port {port!r} is not a whole number from 1 to 65535: correct it"
        for port in sorted({port for port in ports if ports.count(port) > 1}, key=str):
            yield f"port {port!r} is there twice: write it once"


def _hosts(
    declared: Sequence[Mapping[str, Any]],
    names: Mapping[str, Any],
    zones: Mapping[str, Zone],
    problems: list[str],
) -> list[Host]:
    found: list[Host] = []
    taken: dict[IPv4Address | IPv6Address, str] = {}
    for host in declared:
        name = str(host["name"])
        places = [str(zone) for zone in host.get("zones") or []]
        if len(places) != 1:
            stands = f"in {len(places)} zones ({', '.join(places)})" if places else "in no zone"
            problems.append(
                f"host {name} stands {stands}, and must stand in one: put it into exactly one of the "
                f"groups {', '.join(names)}"
            )
        elif places[0] not in names:
            problems.append(f"host {name}: {places[0]!r} is not a zone: use one of {', '.join(names)}")
        zone = zones.get(places[0]) if len(places) == 1 else None
        ipv4 = _address(IPv4Address, host, "ipv4", zone.ipv4 if zone else None, taken, problems)
        ipv6 = _address(IPv6Address, host, "ipv6", zone.ipv6 if zone else None, taken, problems)
        if zone and ipv4 and ipv6:
            found.append(Host(name, zone.name, ipv4, ipv6))
    return found


def _address(
    kind: type[Address],
    host: Mapping[str, Any],
    family: str,
    subnet: IPv4Network | IPv6Network | None,
    taken: dict[IPv4Address | IPv6Address, str],
    problems: list[str],
) -> Address | None:
    name, text = str(host["name"]), host.get(family)
    try:
        address = kind(text)
    except ValueError:
        problems.append(f"host {name}: {family} {text!r} is not an address: give it its address in its zone")
        return None
    if subnet and address not in subnet:
        problems.append(
            f"host {name}: {family} {address} is not in its zone's subnet {subnet}: "
            "correct the address, or move the host to the zone it stands in"
        )
    if address in taken:
        problems.append(f"host {name}: {family} {address} is {taken[address]}'s already: give it its own")
    taken.setdefault(address, name)
    return address
