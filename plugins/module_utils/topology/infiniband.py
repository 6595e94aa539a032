# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards that speak InfiniBand or RoCE: their ports, from /sys, `ibstat` or `ibstatus`, joined with
what the matrix of nvidia-smi says of which GPU they are near.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Gpu,
    Nic,
    TopologyError,
    Way,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.pci import ADDRESS, NVIDIA, Device, way
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Source

IBSTAT, IBSTATUS = ("ibstat",), ("ibstatus",)
PORT = re.compile(r"(.*)/infiniband/([^/]+)/ports/\d+/(rate|state|link_layer)")
RATE = re.compile(r"(-?\d+(?:\.\d+)?)(?: Gb/sec.*)?")
# The management ports of NVSwitches since Blackwell, which are no PCI devices any more: each is an HCA that
# has this word in its vital product data (github.com/siderolabs/extensions pull request 895, 2025-11).
SWITCH_PORT = "SW_MNG"


@dataclass(frozen=True)
class Port:
    """A device's best port: one that is up, then the fastest."""

    state: str | None = None
    rate_gbps: float | None = None
    link_layer: str | None = None
    pci: str | None = None


def ports(source: Source) -> dict[str, Port]:
    """Device name -> port, as /sys says."""
    said: dict[str, dict[str, str]] = {}
    folders = {}
    for path in source.glob("/sys/*/infiniband/*/ports/*"):
        if row := PORT.fullmatch(path):
            folder, name, key = row.groups()
            said.setdefault(path.rpartition("/")[0], {})[key] = source.read(path) or ""
            folders[path.rpartition("/")[0]] = (name, folder.rpartition("/")[2])
    found: list[tuple[str, Port]] = []
    for place, values in said.items():
        name, parent = folders[place]
        found.append(
            (name, _port(values, source.where(place), parent if ADDRESS.fullmatch(parent) else None))
        )
    return _best(found)


def parse(text: str, where: str) -> dict[str, Port]:
    """Device name -> port, of the text of `ibstat` or `ibstatus`."""
    found: list[tuple[str, Port]] = []
    name, values = "", dict[str, str]()
    for number, line in enumerate([*text.splitlines(), "Port 0:"], start=1):
        device = re.match(r"\s*(?:CA|Infiniband device) '([^']+)'", line)
        if (device or re.match(r"\s*Port \d+:", line)) and values:
            found.append((name, _port(values, f"{where}: above line {number}", None)))
            values = {}
        if device:
            name = device[1]
        key, _, value = line.strip().partition(":")
        if name and key in ("State", "Rate", "Link layer", "state", "rate", "link_layer"):
            values[key.lower().replace(" ", "_")] = value.strip()
    if not found:
        raise TopologyError(f"{where}: line 1: no port of a device is here: {text.strip()[:60]!r}")
    return _best(found)


def _port(values: Mapping[str, str], where: str, pci: str | None) -> Port:
    rate = values.get("rate")
    number = RATE.fullmatch(rate) if rate is not None else None
    if rate is not None and not number:
        raise TopologyError(f"{where}: rate: {rate[:60]!r} is not in Gb/sec")
    gbps = float(number[1]) if number else None
    state = values.get("state")
    return Port(
        state=state.rpartition(": ")[2].upper() if state else None,
        rate_gbps=gbps if gbps and gbps > 0 else None,
        link_layer=values.get("link_layer"),
        pci=pci,
    )


def _best(found: Iterable[tuple[str, Port]]) -> dict[str, Port]:
    best: dict[str, Port] = {}
    for name, port in found:
        if name not in best or _rank(port) > _rank(best[name]):
            best[name] = port
    return best


def _rank(port: Port) -> tuple[bool, float]:
    return port.state == "ACTIVE", port.rate_gbps or 0.0


def merge(
    matrix: Sequence[Nic], found: Mapping[str, Port], gpus: Sequence[Gpu], bus: Mapping[str, Device]
) -> tuple[Nic, ...]:
    """The matrix's cards with what their ports say, then those that it does not have."""
    names = [nic.name for nic in matrix]
    rest = [Nic(name) for name in sorted(set(found) - set(names), key=_natural)]
    return tuple(_nic(nic, found.get(nic.name), gpus, bus) for nic in (*matrix, *rest))


def _nic(nic: Nic, port: Port | None, gpus: Sequence[Gpu], bus: Mapping[str, Device]) -> Nic:
    if port is None:
        return nic
    device = bus.get(port.pci or "")
    return replace(
        nic,
        pci=port.pci,
        numa_node=device.numa_node if device else None,
        link_layer=port.link_layer,
        rate_gbps=port.rate_gbps,
        state=port.state,
        near=nic.near or (_near(device, gpus, bus) if device else ()),
    )


def _near(device: Device, gpus: Sequence[Gpu], bus: Mapping[str, Device]) -> tuple[Way, ...]:
    places = [(gpu.index, bus.get(gpu.pci or "")) for gpu in gpus]
    ways = [(index, way(device, place, bus)) for index, place in places if place]
    return tuple(Way(index, kind) for index, kind in ways if kind)


def _natural(name: str) -> list[tuple[str, int]]:
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d*)", name)]


def switch_ports(source: Source, found: Mapping[str, Port], bus: Mapping[str, Device]) -> dict[str, str]:
    """Device name -> PCI address of those that lead to NVSwitches and to no network; only root can tell."""
    if not any(device.is_gpu and device.vendor == NVIDIA for device in bus.values()):
        return {}
    found_at = {name: bus[port.pci] for name, port in found.items() if port.pci and port.pci in bus}
    return {
        name: device.address
        for name, device in found_at.items()
        if SWITCH_PORT in (source.read(f"{device.path}/vpd") or "")
    }
