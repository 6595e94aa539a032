# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's hosts as the planner asks about them: how many ranks of one kind go where.

Hosts of the same shape (all that the plan depends on: cards, links, network cards; not names and addresses)
are looked at once, however many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning import cards, placement
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Device, PlanError
from ansible_collections.stronghold.llm.plugins.module_utils.planning.placement import Group
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Topology

_GPU = attrgetter(
    "index", "vendor", "name", "memory_mib", "compute_capability", "numa_node", "remapped_rows_pending",
    "remapped_rows_failed", "mig", "mig_instances", "power_limit_w",
)  # fmt: skip
_NIC = attrgetter("name", "link_layer", "rate_gbps", "state", "near")


@dataclass(frozen=True)
class Stage:
    """One tensor-parallel group, at its host."""

    host: str
    group: Group


@dataclass(frozen=True)
class Place:
    """Room for one replica: its stages in the order of the pipeline, and how many places its host has before
    this one.
    """

    stages: tuple[Stage, ...]
    turn: int

    @property
    def one_host(self) -> bool:
        return len({stage.host for stage in self.stages}) == 1

    @property
    def local(self) -> bool:
        return all(stage.group.local for stage in self.stages)


class Fleet:
    """Hosts by shape. The order in which they are given makes no difference.

    Raises:
        PlanError: two hosts have one name.
    """

    def __init__(self, topologies: Sequence[Topology]) -> None:
        self._samples: list[Topology] = []
        self._shape_of: dict[str, int] = {}
        self._groups: dict[tuple[int, int], Mapping[Device, tuple[Group, ...]]] = {}
        numbers: dict[Hashable, int] = {}
        for topology in sorted(topologies, key=attrgetter("host")):
            if topology.host in self._shape_of:
                raise PlanError(f"topologies: {topology.host} is there twice: give each host once")
            shape = numbers.setdefault(_shape(topology), len(numbers))
            if shape == len(self._samples):
                self._samples.append(topology)
            self._shape_of[topology.host] = shape
        self._counts = Counter(self._shape_of.values())

    @property
    def hosts(self) -> Iterable[str]:
        """Their names, in order."""
        return self._shape_of.keys()

    def sample(self, host: str) -> Topology:
        """A host of the same shape: what differs between the two is no concern of a plan."""
        return self._samples[self._shape_of[host]]

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """What ranks can be given anywhere, each kind once."""
        found = {device for shape in self._counts for device in self._by_device(shape, 1)}
        return tuple(sorted(found, key=repr))

    def largest_group(self, device: Device) -> int:
        """The most ranks of this kind that one host has."""
        return max(len(self._by_device(shape, 1).get(device, ())) for shape in self._counts)

    def room(self, device: Device, tensor_parallel: int, pipeline_parallel: int) -> tuple[int, int]:
        """How many replicas find room within hosts, and how many more with stages on several hosts."""
        within = over = 0
        for shape, hosts in self._counts.items():
            groups = len(self._by_device(shape, tensor_parallel).get(device, ()))
            within += hosts * (groups // pipeline_parallel)
            over += hosts * (groups % pipeline_parallel)
        # A processor's memory is one rank, and its engine is not spread over hosts.
        return within, 0 if device.vendor == "cpu" else over // pipeline_parallel

    def places(self, device: Device, tensor_parallel: int, pipeline_parallel: int) -> list[Place]:
        """Room for replicas, host by host in the order of their names; those over several hosts come last."""
        within: list[Place] = []
        rest: list[Stage] = []
        for host, shape in self._shape_of.items():
            stages = iter(
                Stage(host, group) for group in self._by_device(shape, tensor_parallel).get(device, ())
            )
            for turn, chunk in enumerate(_chunks(stages, pipeline_parallel)):
                if len(chunk) == pipeline_parallel:
                    within.append(Place(chunk, turn))
                else:
                    rest += chunk
        if device.vendor == "cpu":
            return within
        over = [chunk for chunk in _chunks(iter(rest), pipeline_parallel) if len(chunk) == pipeline_parallel]
        return within + [Place(chunk, 0) for chunk in over]

    def _by_device(self, shape: int, size: int) -> Mapping[Device, tuple[Group, ...]]:
        """A shape's groups of this size, best first, by what their ranks have."""
        known = self._groups.get((shape, size))
        if known is None:
            known = self._groups[shape, size] = _by_device(self._samples[shape], size)
        return known


def power_w(topology: Topology, group: Group) -> float | None:
    """The limits of a group's GPUs together; None where one of them has none that is known."""
    devices = [cards.device(gpu) for gpu in topology.gpus if gpu.index in group.gpus]
    limits = [device.power_w for device in devices if device and device.power_w]
    return sum(limits) if limits and len(limits) == len(group.gpus) else None


def _by_device(topology: Topology, size: int) -> Mapping[Device, tuple[Group, ...]]:
    if not topology.gpus:
        processor = cards.cpu_device(topology)
        return {processor: (Group((), None),)} if processor else {}
    gpus = {gpu.index: gpu for gpu in topology.gpus}
    found: dict[Device, tuple[Group, ...]] = {}
    for group in placement.groups(topology, size):
        device = cards.device(gpus[group.gpus[0]])
        if device:
            # Cards that differ in their power limit alone are one kind.
            kind = replace(device, power_w=None)
            found[kind] = (*found.get(kind, ()), group)
    return found


def _shape(topology: Topology) -> Hashable:
    gpus: tuple[Any, ...] = tuple(map(_GPU, topology.gpus))
    # Processors and memory count only where they are what computes.
    return (gpus, topology.links, tuple(map(_NIC, topology.nics)), None if gpus else topology.cpu)


def _chunks(stages: Iterator[Stage], size: int) -> Iterator[tuple[Stage, ...]]:
    for first in stages:
        yield tuple(chain((first,), islice(stages, size - 1)))
