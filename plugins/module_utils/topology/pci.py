# SPDX-License-Identifier: GPL-3.0-or-later
"""What the PCI bus holds: GPUs and NVSwitches, whether or not a driver sees them, their links, the bridges
above them, and what ACS and IOMMU do to traffic between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    LinkClass,
    Pcie,
    TopologyError,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Source

NVIDIA, AMD = 0x10DE, 0x1002
# VGA, 3D; AMD's accelerators also as "display" and "processing accelerator".
GPU_CLASSES = {NVIDIA: {0x0300, 0x0302}, AMD: {0x0300, 0x0380, 0x1200}}
NVSWITCH_CLASS = 0x0680

ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}

# PCI Express Base Specification 5.0, 7.6 and 7.7.8: extended capabilities begin at 100h, ACS is 000Dh, and
# bits 2 and 3 of its control register send requests and completions between peers up to the root complex.
EXTENDED, ACS, REDIRECT = 0x100, 0x000D, 0b1100


@dataclass(frozen=True)
class Device:
    address: str
    path: str
    vendor: int
    kind: int
    """Class and subclass: 0x0302."""
    numa_node: int | None = None
    link: Pcie = field(default_factory=Pcie)
    iommu: str | None = None
    """The kernel's word for its IOMMU domain: identity, DMA, DMA-FQ, …"""
    partition: str | None = None
    """AMD's compute partition: SPX is the whole GPU."""

    @property
    def bridges(self) -> tuple[str, ...]:
        """Those above it, from the root port down; a recording of /sys/bus/pci/devices does not know them."""
        return tuple(part for part in PurePosixPath(self.path).parts[:-1] if ADDRESS.fullmatch(part))

    @property
    def host_bridge(self) -> str:
        return self.path.split(f"/{(*self.bridges, self.address)[0]}")[0]

    @property
    def is_gpu(self) -> bool:
        return self.kind in GPU_CLASSES.get(self.vendor, ())


def devices(source: Source) -> dict[str, Device]:
    """Address -> device, in the order of addresses."""
    found = {}
    for path in source.glob("/sys/*/class"):
        folder = path.removesuffix("/class")
        address = folder.rpartition("/")[2]
        if ADDRESS.fullmatch(address):
            found[address] = _device(source, folder, address)
    return dict(sorted(found.items()))


def _device(source: Source, folder: str, address: str) -> Device:
    node = _number(source, f"{folder}/numa_node", 10)
    return Device(
        address=address,
        path=folder,
        vendor=_number(source, f"{folder}/vendor", 16) or 0,
        kind=(_number(source, f"{folder}/class", 16) or 0) >> 8,
        numa_node=node if node is not None and node >= 0 else None,  # -1: the firmware does not say
        link=Pcie(
            generation=_generation(source, f"{folder}/current_link_speed"),
            width=_width(source, f"{folder}/current_link_width"),
            generation_max=_generation(source, f"{folder}/max_link_speed"),
            width_max=_width(source, f"{folder}/max_link_width"),
        ),
        iommu=source.read(f"{folder}/iommu_group/type"),
        partition=source.read(f"{folder}/current_compute_partition"),
    )


def _number(source: Source, path: str, base: int) -> int | None:
    text = source.read(path)
    if text is None:
        return None
    try:
        return int(text, base)
    except ValueError:
        raise TopologyError(f"{source.where(path)}: {text[:60]!r} is no number") from None


def _generation(source: Source, path: str) -> int | None:
    text = source.read(path)
    if text is None or text.startswith("Unknown"):
        return None
    found = re.match(r"(\d+(?:\.\d+)?) GT/s", text)
    if not found or float(found[1]) not in GENERATIONS:
        raise TopologyError(
            f"{source.where(path)}: {text[:60]!r} is the speed of no PCIe generation known here"
        )
    return GENERATIONS[float(found[1])]


def _width(source: Source, path: str) -> int | None:
    width = _number(source, path, 10)
    return None if width in (0, 255) else width  # a virtual function has no link, and 255 is "unknown"


def pcie(device: Device, bus: Mapping[str, Device]) -> Pcie:
    """The link of a card to the host, at most what card and slot reach together."""
    end = _outermost(device, bus)
    slot = bus[end.bridges[-1]].link if end.bridges and end.bridges[-1] in bus else Pcie()
    return Pcie(
        generation=end.link.generation,
        width=end.link.width,
        generation_max=least(end.link.generation_max, slot.generation_max),
        width_max=least(end.link.width_max, slot.width_max),
    )


def least(*numbers: int | None) -> int | None:
    """The least of those that are known."""
    return min((number for number in numbers if number is not None), default=None)


def _outermost(device: Device, bus: Mapping[str, Device]) -> Device:
    """AMD's cards have a switch of their own, whose inner link says nothing of the slot."""
    for address in reversed(device.bridges if device.vendor == AMD else ()):
        if address not in bus or bus[address].vendor != AMD:
            break
        device = bus[address]
    return device


def way(a: Device, b: Device, bus: Mapping[str, Device]) -> LinkClass | None:
    """How two devices are joined by PCIe alone, in the words of `nvidia-smi topo`; None if nobody says."""
    if not (a.path.startswith("/sys/devices/") and b.path.startswith("/sys/devices/")):
        return None
    a, b = _outermost(a, bus), _outermost(b, bus)
    shared = sum(1 for one, other in zip(a.bridges, b.bridges, strict=False) if one == other)
    if shared:
        # Below the last bridge that both share, each has a port of that switch, or more bridges.
        return "PIX" if max(len(a.bridges), len(b.bridges)) - shared <= 1 else "PXB"
    if a.host_bridge == b.host_bridge:
        return "PHB"
    if a.numa_node is None or b.numa_node is None:
        return None
    return "NODE" if a.numa_node == b.numa_node else "SYS"


def acs_redirect(source: Source, bus: Mapping[str, Device]) -> tuple[tuple[str, ...], str | None]:
    """Bridges above GPUs whose ACS redirects, and a sentence if that could not be read. Root ports are left
    out: what passes them is at the root complex anyway.
    """
    redirecting: set[str] = set()
    hidden: set[str] = set()
    for gpu in (_outermost(device, bus) for device in bus.values() if device.is_gpu):
        for bridge in gpu.bridges[1:]:
            path = f"{bus[bridge].path}/config" if bridge in bus else bridge
            said = redirects(source.read(path), source.where(path))
            if said is not False:
                (hidden if said is None else redirecting).add(bridge)
    note = f"ACS of {len(hidden)} bridges above GPUs: only root may read it" if hidden else None
    return tuple(sorted(redirecting)), note


def redirects(config: str | None, where: str) -> bool | None:
    """Of a bridge's configuration space in hex; None if it ends before what only root may read."""
    try:
        data = bytes.fromhex(config or "")
    except ValueError:
        raise TopologyError(f"{where}: {str(config)[:60]!r} is not bytes in hex") from None
    if len(data) <= 64:
        return None
    data = data.ljust(4096, b"\0")
    place, seen = EXTENDED, set()
    while place >= EXTENDED and place not in seen:
        seen.add(place)
        header = int.from_bytes(data[place : place + 4], "little")
        if header & 0xFFFF == ACS:
            return bool(int.from_bytes(data[place + 6 : place + 8], "little") & REDIRECT)
        place = header >> 20 & 0xFFC
    return False


def iommu(source: Source, bus: Mapping[str, Device]) -> str | None:
    """As it is for GPUs, or for all devices of a host without: "off", "translated" or "passthrough"."""
    some = [device for device in bus.values() if device.is_gpu] or list(bus.values())
    kinds = {device.iommu for device in some if device.iommu}
    kinds |= (
        set() if bus else {source.read(path) or "" for path in source.glob("/sys/kernel/iommu_groups/*/type")}
    )
    if kinds:
        return "passthrough" if kinds == {"identity"} else "translated"
    if bus:
        return "off"
    words = (source.read("/proc/cmdline") or "").split()
    if "iommu=pt" in words or "iommu.passthrough=1" in words:
        return "passthrough"
    return "off" if {"iommu=off", "intel_iommu=off", "amd_iommu=off"} & set(words) else None
