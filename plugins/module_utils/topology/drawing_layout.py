# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything stands in the drawing of a host: NUMA nodes in two rows, and links in the middle between.

A group is a NUMA node's part of a row. GPUs stand on its inner side, network cards on the outer. Own links of
GPUs (NVLink, XGMI) are drawn pair by pair, or as a hub where all pairs are alike. PCIe is a tree, so it is
drawn as rails: two GPUs are joined by the nearest rail that holds both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import PCIE_CLASSES, Pair
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    INTERCONNECTS,
    LINK_CLASSES,
    Gpu,
    Link,
    LinkClass,
    Nic,
    NumaNode,
    Topology,
)

ROW = 4
"""GPUs of one group that still stand in one row where there is no second node to be the other row."""
WIRED = ("PIX", "PXB", "PHB")
"""A network card that is this near to a GPU is drawn with a wire to it, and beside it."""
MESH = 5
"""From this many GPUs on, alike links of all pairs are drawn as a hub, NVSwitch or not."""


@dataclass(frozen=True)
class Group:
    """`node` is None for what no node is known of."""

    node: int | None
    gpus: tuple[Gpu, ...] = ()
    nics: tuple[Nic, ...] = ()
    numa: NumaNode | None = None

    @property
    def shelves(self) -> list[tuple[Nic, ...]]:
        """Rows of network cards, from the GPUs outward: those with wires first."""
        wired = tuple(nic for nic in self.nics if nearest(nic)[0] in WIRED)
        rest = [nic for nic in self.nics if nic not in wired]
        most = max(ROW, len(self.gpus))
        more = [tuple(rest[start : start + most]) for start in range(0, len(rest), most)]
        return [shelf for shelf in (wired, *more) if shelf]


@dataclass(frozen=True)
class Bundle:
    """Pairs that are drawn as one thing."""

    kind: LinkClass
    links: tuple[Link, ...]

    @property
    def gpus(self) -> tuple[int, ...]:
        return tuple(sorted({end for link in self.links for end in (link.a, link.b)}))

    @property
    def lanes(self) -> dict[int, int]:
        """GPU -> the most lanes that it has to another."""
        own = {gpu: [link.lanes for link in self.links if gpu in (link.a, link.b)] for gpu in self.gpus}
        return {gpu: max(lanes) for gpu, lanes in own.items()}

    @property
    def complete(self) -> bool:
        """All pairs are there, and each has what both ends have lanes for: so it is through a switch."""
        ways = len(self.gpus) * (len(self.gpus) - 1) // 2
        lanes = self.lanes
        return len(self.links) == ways and all(
            link.lanes == min(lanes[link.a], lanes[link.b]) for link in self.links
        )


@dataclass(frozen=True)
class Layout:
    rows: tuple[tuple[Group, ...], tuple[Group, ...]]
    """Above and below; the latter may be empty."""
    hubs: tuple[Bundle, ...]
    lines: tuple[Link, ...]
    rails: tuple[Bundle, ...]
    """Nearest first."""


def layout(topology: Topology) -> Layout:
    own = [link for link in topology.links if link.kind in INTERCONNECTS]
    hubs = tuple(_hubs(own, bool(topology.nvswitches)))
    held = {(link.a, link.b) for hub in hubs for link in hub.links}
    rails, loose = _rails([link for link in topology.links if link.kind not in INTERCONNECTS])
    lines = [link for link in own if (link.a, link.b) not in held]
    return Layout(_rows(_groups(topology)), hubs, (*lines, *loose), rails)


def _groups(topology: Topology) -> list[Group]:
    """In the order of their first GPUs. Beside GPUs, nodes that have nothing are left out."""
    nodes = {node.index: node for node in topology.numa}
    places = {nic.name: _node(nic, topology.gpus) for nic in topology.nics}
    indices = dict.fromkeys([*(gpu.numa_node for gpu in topology.gpus), *places.values()])
    if not topology.gpus:
        indices = {**dict.fromkeys(nodes), **indices}
    return [
        Group(
            index,
            tuple(gpu for gpu in topology.gpus if gpu.numa_node == index),
            tuple(_beside_gpus([nic for nic in topology.nics if places[nic.name] == index])),
            nodes.get(index) if index is not None else None,
        )
        for index in indices
    ]


def nearest(nic: Nic) -> tuple[LinkClass | None, tuple[int, ...]]:
    """The class of its shortest way to a GPU, and the GPUs that are that near."""
    if not nic.near:
        return None, ()
    best = min((way.kind for way in nic.near), key=LINK_CLASSES.index)
    return best, tuple(way.gpu for way in nic.near if way.kind == best)


def _node(nic: Nic, gpus: Sequence[Gpu]) -> int | None:
    if nic.numa_node is not None:
        return nic.numa_node
    kind, near = nearest(nic)
    return next((gpu.numa_node for gpu in gpus if gpu.index in near and kind != "SYS"), None)


def _beside_gpus(nics: Iterable[Nic]) -> list[Nic]:
    return sorted(nics, key=lambda nic: sum(nearest(nic)[1]) / max(len(nearest(nic)[1]), 1))


def _rows(groups: Sequence[Group]) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    if len(groups) == 1 and len(groups[0].gpus) > ROW:
        [whole] = groups
        half = (len(whole.gpus) + 1) // 2
        upper = {gpu.index for gpu in whole.gpus[:half]}
        above = tuple(nic for nic in whole.nics if not upper.isdisjoint(nearest(nic)[1]) or not nic.near)
        below = tuple(nic for nic in whole.nics if nic not in above)
        return (
            (Group(whole.node, whole.gpus[:half], above, whole.numa),),
            (Group(whole.node, whole.gpus[half:], below, whole.numa),),
        )
    with_gpus = [group for group in groups if group.gpus]
    rest = [group for group in groups if not group.gpus]
    half = (len(with_gpus) + 1) // 2
    if not with_gpus:
        return tuple(rest), ()
    return tuple(with_gpus[:half]), (*with_gpus[half:], *rest)


def _hubs(own: Sequence[Link], switched: bool) -> Iterable[Bundle]:
    kinds = dict.fromkeys((link.kind, 0 if switched else link.lanes, link.hops) for link in own)
    for kind, lanes, hops in kinds:
        links = [link for link in own if (link.kind, link.hops) == (kind, hops) and lanes in (0, link.lanes)]
        for gpus in components((link.a, link.b) for link in links):
            hub = Bundle(kind, tuple(link for link in links if link.a in gpus))
            if hub.complete and (len(gpus) >= MESH or (switched and len(gpus) > 2)):
                yield hub


def _rails(links: Sequence[Link]) -> tuple[tuple[Bundle, ...], tuple[Link, ...]]:
    """Rails, and what fits no tree: those pairs are lines."""
    by_pair = {(link.a, link.b): link for link in links}
    rails: list[Bundle] = []
    for place, kind in enumerate(PCIE_CLASSES):
        near = {pair for pair, link in by_pair.items() if PCIE_CLASSES.index(link.kind) <= place}
        for gpus in components(near):
            inside = [by_pair[pair] for pair in combinations(sorted(gpus), 2) if pair in by_pair]
            if any((link.a, link.b) not in near for link in inside):
                continue
            if here := tuple(link for link in inside if link.kind == kind):
                rails.append(Bundle(kind, here))
    held = {(link.a, link.b) for rail in rails for link in rail.links}
    return tuple(rails), tuple(link for pair, link in by_pair.items() if pair not in held)


def components(pairs: Iterable[Pair]) -> list[set[int]]:
    """What hangs together, in the order of the first of each."""
    found: list[set[int]] = []
    for pair in pairs:
        touching = [part for part in found if not part.isdisjoint(pair)]
        found = [part for part in found if part.isdisjoint(pair)] + [set(pair).union(*touching)]
    return sorted(found, key=min)
