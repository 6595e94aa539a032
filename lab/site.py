# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as its inventory declares it: read once, written nowhere else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
# Another inventory is another lab, with hosts, state and network of its own: molecule/objects has one.
INVENTORY = REPOSITORY / os.environ.get("STRONGHOLD_LAB_INVENTORY", "inventories/lab")
STATE = REPOSITORY / "build" / INVENTORY.name


@dataclass(frozen=True)
class Zone:
    name: str
    ipv4: IPv4Network
    ipv6: IPv6Network

    @property
    def bridge(self) -> str:
        return f"z-{self.name}"

    @property
    def router(self) -> tuple[IPv4Interface, IPv6Interface]:
        """The first address of each subnet is the router's."""
        return (
            IPv4Interface(f"{self.ipv4[1]}/{self.ipv4.prefixlen}"),
            IPv6Interface(f"{self.ipv6[1]}/{self.ipv6.prefixlen}"),
        )


@dataclass(frozen=True)
class Host:
    name: str
    zone: Zone
    ipv4: IPv4Address
    ipv6: IPv6Address

    @property
    def folder(self) -> Path:
        return STATE / "hosts" / self.name

    @property
    def root(self) -> Path:
        return self.folder / "root"


@dataclass(frozen=True)
class Site:
    zones: tuple[Zone, ...]
    hosts: tuple[Host, ...]
    model: str

    @property
    def namespace(self) -> str:
        """One network namespace for each lab of each clone, so that no two ever meet."""
        clone = f"stronghold-{hashlib.sha256(bytes(REPOSITORY)).hexdigest()[:6]}"
        return clone if STATE.name == "lab" else f"{clone}-{STATE.name}"

    @property
    def controller(self) -> IPv4Address:
        """The second address of the management zone: where the controller's packets come from."""
        return self.zone("mgmt").ipv4[2]

    def zone(self, name: str) -> Zone:
        return next(zone for zone in self.zones if zone.name == name)

    def host(self, name: str) -> Host:
        """The host of that name, or the first one of the zone of that name."""
        for host in self.hosts:
            if name in (host.name, host.zone.name):
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise SystemExit(f"{name!r} is neither a host nor a zone of the lab: {known}")


def _hosts_below(group: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, variables in (group.get("hosts") or {}).items():
        yield name, variables or {}
    for child in (group.get("children") or {}).values():
        yield from _hosts_below(child or {})


def load(inventory: Path = INVENTORY) -> Site:
    groups = yaml.safe_load((inventory / "hosts.yml").read_text())["all"]["children"]
    declared = yaml.safe_load((inventory / "group_vars/all/zones.yml").read_text())["stronghold_zones"]
    zones = {
        name: Zone(name, IPv4Network(zone["ipv4"]), IPv6Network(zone["ipv6"]))
        for name, zone in declared.items()
    }
    hosts = []
    for zone_name, zone in zones.items():
        variables: dict[str, dict[str, Any]] = {}
        for name, values in _hosts_below(groups.get(zone_name) or {}):
            variables.setdefault(name, {}).update(values)
        for name, values in variables.items():
            addresses = IPv4Address(values["stronghold_ipv4"]), IPv6Address(values["stronghold_ipv6"])
            hosts.append(Host(name, zone, *addresses))
    models = inventory / "group_vars/all/model.yml"
    model = yaml.safe_load(models.read_text())["stronghold_model"] if models.exists() else ""
    return Site(tuple(zones.values()), tuple(hosts), model)
