# SPDX-License-Identifier: GPL-3.0-or-later
"""AMD's GPUs of a host: what `amd-smi` says or, where that is not, the older `rocm-smi`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.stronghold.llm.plugins.module_utils.topology.amd_links import Pair
from ansible_collections.stronghold.llm.plugins.module_utils.topology.amd_smi import NO_NAME
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Link, LinkClass
from ansible_collections.stronghold.llm.plugins.module_utils.topology.pci import Device, way
from ansible_collections.stronghold.llm.plugins.module_utils.topology.rocm_smi import Cards, Tables


@dataclass(frozen=True)
class Parts:
    """AMD's part of a Topology."""

    gpus: tuple[Gpu, ...] = ()
    links: tuple[Link, ...] = ()
    driver: str | None = None
    unread: tuple[str, ...] = ()


def assemble(
    *,
    static: tuple[Mapping[int, Gpu], str | None] | None = None,
    listed: Mapping[int, tuple[str | None, str | None]] | None = None,
    metrics: Mapping[int, tuple[int | None, int | None]] | None = None,
    pairs: Sequence[Pair] | None = None,
    cards: Cards | None = None,
    tables: Tables | None = None,
    bus: Mapping[str, Device],
) -> Parts:
    """The two tools number GPUs differently, so what one says is never mixed with what the other says."""
    if static is not None or listed is not None or pairs is not None:
        said, driver = static or ({}, None)
        names = listed or {}
        indices = {*said, *names} or _ends(pairs or ())
        found = {index: said.get(index) or Gpu(index, "amd", NO_NAME) for index in sorted(indices)}
        for index, (address, uuid) in names.items():
            found[index] = replace(found[index], pci=address or found[index].pci, uuid=uuid)
        for index, (used, uncorrected) in (metrics or {}).items():
            if index in found:
                found[index] = replace(found[index], memory_used_mib=used, ecc_uncorrected=uncorrected)
    else:
        found, driver = ({**cards.gpus}, cards.driver) if cards else ({}, None)
        pairs = tables.pairs if tables else cards.pairs if cards else ()
        if tables and not found:
            indices = _ends(pairs) | set(tables.numa)
            found = {index: Gpu(index, "amd", NO_NAME) for index in sorted(indices)}
        for index, node in (tables.numa if tables else {}).items():
            if index in found:
                found[index] = replace(found[index], numa_node=node)
    links, unread = _links(pairs or (), found, bus)
    return Parts(tuple(found.values()), links, driver, unread)


def _ends(pairs: Sequence[Pair]) -> set[int]:
    return {end for pair in pairs for end in (pair.a, pair.b)}


def _links(
    pairs: Sequence[Pair], gpus: Mapping[int, Gpu], bus: Mapping[str, Device]
) -> tuple[tuple[Link, ...], tuple[str, ...]]:
    if beyond := _ends(pairs) - set(gpus):
        more = ", ".join(map(str, sorted(beyond)))
        return (), (
            f"the topology of AMD's GPUs has more than their list (GPU {more}): no link is taken from it",
        )
    links, unknown = [], []
    for pair in pairs:
        kind: LinkClass | None = "XGMI" if pair.kind == "XGMI" else _pcie(gpus[pair.a], gpus[pair.b], bus)
        if kind is None:
            unknown.append(f"{pair.a} and {pair.b}")
        elif kind == "XGMI":
            links.append(Link(pair.a, pair.b, kind, 1, pair.hops))
        else:
            links.append(Link(pair.a, pair.b, kind))
    note = f"GPUs {', '.join(unknown)}: PCIe joins them, and no NUMA node says over which way"
    return tuple(links), (note,) if unknown else ()


def _pcie(a: Gpu, b: Gpu, bus: Mapping[str, Device]) -> LinkClass | None:
    """Of "PCIE", which means no more than "not XGMI": bridges tell which way, else the NUMA nodes."""
    ends = bus.get(a.pci or ""), bus.get(b.pci or "")
    if ends[0] and ends[1] and (kind := way(ends[0], ends[1], bus)):
        return kind
    if a.numa_node is None or b.numa_node is None:
        return None
    return "NODE" if a.numa_node == b.numa_node else "SYS"
