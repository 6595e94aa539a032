# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has, in one form for every vendor; standard library only.

Plain data goes over the wire and into files (`to_data`, `from_data`); code reads these dataclasses. `None`
means that nobody has said, which is never the same as zero or off. PCI addresses have the kernel's form, in
lower case with a domain of four digits or more: ``0000:1b:00.0``. Memory is in MiB, as drivers report it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Vendor = Literal["nvidia", "amd"]

LinkClass = Literal["NV", "XGMI", "PIX", "PXB", "PHB", "NODE", "SYS"]

LINK_CLASSES: tuple[LinkClass, ...] = get_args(LinkClass)
"""Nearest first: NVLink or Infinity Fabric, one PCIe switch, several, the host bridge, one NUMA node, between
sockets. AMD's `PCIE` says no more of two GPUs than "not XGMI": the NUMA nodes of both decide."""

INTERCONNECTS: frozenset[LinkClass] = frozenset({"NV", "XGMI"})


class TopologyError(ValueError):
    """Output that does not say what it should; names the file or command, the line, the column or field."""


@dataclass(frozen=True)
class Pcie:
    """A PCIe link: generation and lanes, as trained now and at most of card and slot. An idle card may lower
    its generation to save power, its width never.
    """

    generation: int | None = None
    width: int | None = None
    generation_max: int | None = None
    width_max: int | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU (one GCD, where a package holds several)."""

    index: int
    vendor: Vendor
    name: str
    """As the driver says it: "NVIDIA H100 80GB HBM3", "AMD Instinct MI300X"."""
    pci: str | None = None
    uuid: str | None = None
    memory_mib: int | None = None
    """Total frame buffer that the driver reports (nvidia-smi's `FB Memory Usage: Total`)."""
    memory_used_mib: int | None = None
    compute_capability: str | None = None
    """NVIDIA: "9.0". AMD: the gfx target, "gfx942"."""
    numa_node: int | None = None
    cpu_affinity: str | None = None
    """CPUs near it, as a list of ranges: "0-31,64-95"."""
    pcie: Pcie = field(default_factory=Pcie)
    ecc: bool | None = None
    ecc_uncorrected: int | None = None
    """Uncorrectable errors counted over the card's life."""
    remapped_rows_pending: bool | None = None
    """A row waits for a reset of the GPU to be replaced."""
    remapped_rows_failed: bool | None = None
    """Spare rows ran out: the card is to be replaced."""
    mig: bool | None = None
    mig_instances: tuple[str, ...] = ()
    """Profiles of its instances: ("1g.10gb", "3g.40gb")."""
    persistence: bool | None = None
    power_limit_w: float | None = None
    nvlinks_active: int | None = None
    nvlinks_inactive: int | None = None
    fabric_state: str | None = None
    """What the GPU says of the NVLink fabric: "Completed" once fabric manager or imex has set it up."""


@dataclass(frozen=True)
class Link:
    """How two GPUs are joined, once for each pair, `a` < `b`. `lanes` is the number of bonded NVLinks (12 in
    NV12), 1 for XGMI and 0 else; `hops` is more than 1 where XGMI goes through other GPUs.
    """

    a: int
    b: int
    kind: LinkClass
    lanes: int = 0
    hops: int = 1


@dataclass(frozen=True)
class Way:
    """How a network card and the GPU of this index are joined."""

    gpu: int
    kind: LinkClass


@dataclass(frozen=True)
class Nic:
    """A network card near GPUs, by its device name ("mlx5_0", else "ens3f0" or NIC0's legend)."""

    name: str
    pci: str | None = None
    numa_node: int | None = None
    link_layer: str | None = None
    """"InfiniBand" or "Ethernet"."""
    rate_gbps: float | None = None
    state: str | None = None
    """"ACTIVE", "DOWN", …"""
    near: tuple[Way, ...] = ()


@dataclass(frozen=True)
class NumaNode:
    index: int
    cpus: str
    memory_mib: int | None = None


@dataclass(frozen=True)
class Cpu:
    """The host's processors: `cores` are physical ones, `threads` are what runs at once."""

    name: str
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    memory_mib: int | None = None
    flags: tuple[str, ...] = ()
    """Of /proc/cpuinfo, those that engines ask for: avx2, avx512f, avx512_bf16, amx_bf16, amx_int8."""


@dataclass(frozen=True)
class Topology:
    """One host. Without GPUs `gpus` is empty, which is no error."""

    host: str
    gpus: tuple[Gpu, ...] = ()
    links: tuple[Link, ...] = ()
    nics: tuple[Nic, ...] = ()
    numa: tuple[NumaNode, ...] = ()
    cpu: Cpu | None = None
    nvswitches: tuple[str, ...] = ()
    """PCI addresses of NVSwitches; on GB200 racks they are in trays of their own, and none is seen here."""
    driver: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver says it serves."""
    kernel_module: Literal["open", "proprietary"] | None = None
    rocm: str | None = None
    kernel: str | None = None
    iommu: str | None = None
    """"off", "translated" or "passthrough"."""
    acs_redirect: tuple[str, ...] = ()
    """PCI bridges above GPUs whose ACS sends peer-to-peer traffic by way of the root complex."""
    board: tuple[str, ...] | None = None
    """PCI addresses of GPUs that the bus holds, whether or not the driver sees them; None where it was not
    read."""
    unread: tuple[str, ...] = ()
    """What could not be read, and why, in a sentence each."""

    def link(self, a: int, b: int) -> Link | None:
        """The link of a pair, in either order."""
        low, high = sorted((a, b))
        return next((link for link in self.links if (link.a, link.b) == (low, high)), None)


def to_data(topology: Topology) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(topology)


def from_data(data: Mapping[str, Any]) -> Topology:
    """The same topology again.

    Raises:
        TopologyError: a field that is missing, unknown, or of another type; says which.
    """
    topology = _read(data, Topology, "topology")
    assert isinstance(topology, Topology)
    return topology


def _read(value: Any, wanted: Any, where: str) -> Any:
    """`value` as type `wanted`; only what this file uses is understood."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        return None if value is None else _read(value, arguments[0], where)
    if origin is Literal:
        if value not in arguments:
            raise TopologyError(f"{where}: {value!r} is none of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TopologyError(f"{where}: {value!r} is no list")
        return tuple(_read(item, arguments[0], f"{where}[{place}]") for place, item in enumerate(value))
    if isinstance(wanted, type) and hasattr(wanted, "__dataclass_fields__"):
        return _read_dataclass(value, wanted, where)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise TopologyError(f"{where}: {value!r} is no {wanted.__name__}")
    return value


def _read_dataclass(value: Any, wanted: type[Any], where: str) -> Any:
    if not isinstance(value, Mapping):
        raise TopologyError(f"{where}: {value!r} is no {wanted.__name__}")
    hints = _hints(wanted)
    if unknown := sorted(set(value) - set(hints)):
        raise TopologyError(f"{where}: {', '.join(unknown)} is not known")
    try:
        return wanted(**{name: _read(item, hints[name], f"{where}.{name}") for name, item in value.items()})
    except TypeError as error:
        raise TopologyError(f"{where}: {error}") from error


_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints(wanted: type[Any]) -> dict[str, Any]:
    if wanted not in _HINTS:  # for 1,000 hosts, resolving annotations anew would be most of the time
        _HINTS[wanted] = get_type_hints(wanted)
    return _HINTS[wanted]
