# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs of a host work together: islands by their links, and groups for tensor parallel taken from them.

Tensor parallel talks after every layer, so the ranks of a group should be as near to each other as the host
allows. A group has cards of one kind and never leaves its host; stages of pipeline parallel, which pass on
one vector for each token, may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    INTERCONNECTS,
    LINK_CLASSES,
    Gpu,
    LinkClass,
    Topology,
)

Kind = tuple[str, str, int | None]
"""What the ranks of a group have in common: vendor, the driver's name, memory in MiB."""

_INTERCONNECT = 0
_UNKNOWN = len(LINK_CLASSES)
"""Farther than any: nobody has read how the two are joined."""


@dataclass(frozen=True)
class Island:
    """GPUs that reach each other over links of `link` or nearer; `gpus` in ascending order."""

    gpus: tuple[int, ...]
    link: LinkClass | None
    """None: how they are joined was not read."""
    nics: tuple[str, ...] = ()
    """Network cards that are as near to one of them as any is; those that are known to be down left out."""

    @property
    def local(self) -> bool:
        """NVLink or XGMI all the way, or nobody to talk to."""
        return len(self.gpus) < 2 or self.link in INTERCONNECTS


@dataclass(frozen=True)
class Group(Island):
    """An island, or a part of one, as a tensor-parallel group: `gpus` in the order of the ranks."""


def usable(gpu: Gpu) -> bool:
    """Whether a rank may be given this GPU: rows whose replacement waits or has failed will cost answers."""
    return not (gpu.remapped_rows_failed or gpu.remapped_rows_pending) and (
        not gpu.mig or bool(gpu.mig_instances)
    )


def why_unusable(gpu: Gpu) -> str:
    """For people, why `usable` says no; empty where it says yes."""
    if gpu.remapped_rows_failed:
        return "its spare rows ran out"
    if gpu.remapped_rows_pending:
        return "a row waits for a reset to be replaced"
    return "MIG is on, and it has no instance" if gpu.mig and not gpu.mig_instances else ""


def kind(gpu: Gpu) -> Kind:
    return gpu.vendor, gpu.name, gpu.memory_mib


def islands(topology: Topology) -> tuple[Island, ...]:
    """GPUs by NVLink or XGMI, each in one island: through NVSwitches, fully connected, in a mesh, in pairs,
    or alone. Larger ones first.
    """
    joined = _Links(topology)
    found = joined.components([gpu.index for gpu in topology.gpus], _INTERCONNECT)
    return tuple(
        Island(tuple(sorted(gpus)), joined.worst(gpus), joined.nics(gpus))
        for gpus in sorted(found, key=lambda gpus: (-len(gpus), gpus))
    )


def groups(topology: Topology, size: int) -> tuple[Group, ...]:
    """As many groups of this size as the host has room for, none sharing a GPU, best first.

    Each class of links is gone through, nearest first, and takes what is still free: a group goes over PCIe
    or between sockets only when no island holds enough free GPUs of its kind.
    """
    joined = _Links(topology)
    # One rank may have a MIG instance; ranks that talk may not: NCCL does not serve instances.
    free = [gpu for gpu in topology.gpus if usable(gpu) and (size == 1 or not gpu.mig)]
    found: list[tuple[int, Group]] = []
    for gpus in _by_kind(free).values():
        left = set(gpus)
        for level in range(_UNKNOWN + 1):
            for island in joined.components(sorted(left), level):
                for members in joined.packed(island, size, level):
                    left -= set(members)
                    found.append((level, Group(members, joined.worst(members), joined.nics(members))))
    return tuple(group for _, group in sorted(found, key=lambda each: (each[0], each[1].gpus)))


def _by_kind(gpus: Iterable[Gpu]) -> Mapping[Kind, list[int]]:
    kinds: dict[Kind, list[int]] = {}
    for gpu in gpus:
        kinds.setdefault(kind(gpu), []).append(gpu.index)
    return kinds


class _Links:
    """A host's links, to be asked by pair."""

    def __init__(self, topology: Topology) -> None:
        self._nics = topology.nics
        self._numa = {gpu.index: gpu.numa_node for gpu in topology.gpus}
        self._levels: dict[tuple[int, int], int] = {}
        self._lanes: dict[tuple[int, int], int] = {}
        self._kinds: dict[tuple[int, int], LinkClass] = {}
        for link in topology.links:
            level = _INTERCONNECT if link.kind in INTERCONNECTS else LINK_CLASSES.index(link.kind)
            for pair in ((link.a, link.b), (link.b, link.a)):
                self._levels[pair] = level
                self._lanes[pair] = link.lanes
                self._kinds[pair] = link.kind

    def level(self, a: int, b: int) -> int:
        return self._levels.get((a, b), _UNKNOWN)

    def components(self, gpus: Iterable[int], level: int) -> list[list[int]]:
        """Those among `gpus` that reach each other over links of this level or nearer."""
        left = list(gpus)
        found = []
        while left:
            island = [left.pop(0)]
            for member in island:
                near = [gpu for gpu in left if self.level(member, gpu) <= level]
                left = [gpu for gpu in left if gpu not in near]
                island += near
            found.append(sorted(island))
        return found

    def packed(self, island: Iterable[int], size: int, level: int) -> Iterator[tuple[int, ...]]:
        """Groups of this size, grown one by one from the lowest free GPU on. In a mesh that is not fully
        connected, what the others have left may hold together no more: that is passed over.
        """
        left = sorted(island)
        while len(left) >= size:
            members = self._grown(left, size, level)
            if members:
                left = [gpu for gpu in left if gpu not in members]
                yield tuple(sorted(members))
            else:
                del left[0]

    def _grown(self, free: list[int], size: int, level: int) -> list[int]:
        members = [free[0]]
        while len(members) < size:
            others = (gpu for gpu in free if gpu not in members)
            candidates = [gpu for gpu in others if any(self.level(gpu, one) <= level for one in members)]
            if not candidates:
                return []
            members.append(min(candidates, key=lambda gpu: self._distance(gpu, members)))
        return members

    def _distance(self, gpu: int, members: list[int]) -> tuple[int, int, int, int]:
        """From a group: the classes of its links with all members together, other sockets, fewer lanes."""
        return (
            sum(self.level(gpu, member) for member in members),
            sum(self._numa[gpu] != self._numa[member] for member in members),
            -sum(self._lanes.get((gpu, member), 0) for member in members),
            gpu,
        )

    def worst(self, gpus: Iterable[int]) -> LinkClass | None:
        """The farthest class that talk within these needs: NVLink or XGMI, where a mesh of it holds them
        together. None for one GPU, or where the link of a pair was not read.
        """
        members = sorted(gpus)
        pairs = [(a, b) for place, a in enumerate(members) for b in members[place + 1 :]]
        if not pairs:
            return None
        if len(self.components(members, _INTERCONNECT)) == 1:
            return next(self._kinds[pair] for pair in pairs if self._kinds.get(pair) in INTERCONNECTS)
        far = max(self.level(a, b) for a, b in pairs)
        return None if far == _UNKNOWN else LINK_CLASSES[far]

    def nics(self, gpus: Iterable[int]) -> tuple[str, ...]:
        members = set(gpus)
        near: dict[str, int] = {}
        for nic in self._nics:
            ways = [LINK_CLASSES.index(way.kind) for way in nic.near if way.gpu in members]
            if ways and (nic.state or "ACTIVE").upper() in ("ACTIVE", "UP"):
                near[nic.name] = min(ways)
        nearest = min(near.values(), default=0)
        return tuple(sorted(name for name, way in near.items() if way == nearest))
