# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for the planner's tests and benchmark: recorded matrices with cards put in, and constructed ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.topology import nvidia_topo
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Cpu,
    Gpu,
    Link,
    LinkClass,
    Nic,
    Topology,
    Way,
)

FIXTURES = Path(__file__).parent / "fixtures/topology"

H100, A100, A10, V100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA A10", "Tesla V100-SXM2-16GB"
MI300X = "AMD Instinct MI300X"
MEMORY_MIB = {H100: 81559, A100: 81920, A10: 23028, V100: 16384, MI300X: 196288}


def gpu(index: int, name: str = H100, memory_mib: int | None = None, numa_node: int | None = 0) -> Gpu:
    return Gpu(
        index,
        "amd" if name.startswith("AMD") else "nvidia",
        name,
        memory_mib=memory_mib or MEMORY_MIB.get(name),
        numa_node=numa_node,
    )


def links(gpus: Iterable[int], kind: LinkClass, lanes: int = 0) -> tuple[Link, ...]:
    """All pairs, joined in one way."""
    return tuple(Link(a, b, kind, lanes) for a, b in combinations(sorted(gpus), 2))


def host(
    name: str, count: int = 8, card: str = H100, kind: LinkClass = "NV", nics: Collection[str] = ()
) -> Topology:
    """GPUs of one kind, all joined in the same way, and network cards as near to one as to the other."""
    indices = range(count)
    return Topology(
        name,
        gpus=tuple(gpu(index, card, numa_node=2 * index // max(count, 1)) for index in indices),
        links=links(indices, kind, 18 if kind == "NV" else int(kind == "XGMI")),
        nics=tuple(
            Nic(nic, link_layer="InfiniBand", rate_gbps=200.0, near=tuple(Way(i, "NODE") for i in indices))
            for nic in nics
        ),
    )


def bridged(name: str, islands: Iterable[Collection[int]], card: str, between: LinkClass) -> Topology:
    """Islands of NVLink, and one class of PCIe between them."""
    joined = [link for island in islands for link in links(island, "NV", 4)]
    known = {(link.a, link.b) for link in joined}
    members = sorted({index for island in islands for index in island})
    far = [link for link in links(members, between) if (link.a, link.b) not in known]
    return Topology(name, gpus=tuple(gpu(index, card) for index in members), links=(*joined, *far))


def processors(name: str, memory_gib: int) -> Topology:
    """A host without GPUs."""
    return Topology(name, cpu=Cpu("AMD EPYC 9354", sockets=2, cores=64, memory_mib=memory_gib * 1024))


def recorded(folder: str, card: str) -> Topology:
    """A recorded `nvidia-smi topo -m` as a host with cards of this kind."""
    [file] = (FIXTURES / folder).glob("nvidia-smi-topo-m*")
    matrix = nvidia_topo.parse(file.read_text(), folder)
    cards = tuple(gpu(near.index, card, numa_node=None) for near in matrix.gpus)
    return Topology(folder, gpus=cards, links=matrix.links, nics=matrix.nics)


def with_gpu(topology: Topology, index: int, **changes: object) -> Topology:
    """The same host with something about one GPU changed."""
    changed = tuple(replace(g, **changes) if g.index == index else g for g in topology.gpus)  # type: ignore[arg-type]
    return replace(topology, gpus=changed)
