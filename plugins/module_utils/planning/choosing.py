# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that a fleet has room for, or all that was tried.

For each kind of device the smallest tensor parallel size that serves the wish, so that many replicas find
room; with stages of pipeline parallel, as few as can be, only where no size alone serves it. Replicas within
one host go before those over several, local groups before others, and then hosts are filled in turn, so that
the loss of one costs the fewest replicas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ansible_collections.stronghold.llm.plugins.module_utils.planning import engine
from ansible_collections.stronghold.llm.plugins.module_utils.planning.candidates import (
    Candidate,
    Question,
    candidate,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.fleet import Fleet, Place
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Constraint, Device
from ansible_collections.stronghold.llm.plugins.module_utils.planning.words import named

MAX_STAGES = 16
"""Stages of pipeline parallel that are tried; each adds its time to every token."""

LARGEST_HOST = 8
"""GPUs of a host that is yet to be bought."""


@dataclass(frozen=True)
class Option:
    """The best layout for one kind of device, and how many replicas find room in it."""

    candidate: Candidate
    within_hosts: int
    over_hosts: int

    @property
    def room(self) -> int:
        return self.within_hosts + self.over_hosts


@dataclass(frozen=True)
class Chosen:
    """Where the replicas go, in order."""

    replicas: tuple[tuple[Place, Candidate], ...]


@dataclass(frozen=True)
class Failure:
    """What was tried: layouts that do not serve the wish, and those that do but have too little room."""

    tried: tuple[Candidate, ...]
    options: tuple[Option, ...]
    constraint: Constraint | None = None
    why: str = ""
    """Where nothing could be tried at all."""

    @property
    def room(self) -> int:
        return sum(option.room for option in self.options)


def choose(question: Question, fleet: Fleet) -> Chosen | Failure:
    tried: list[Candidate] = []
    options = []
    for device in fleet.devices:
        option = _option(question, fleet, device, tried)
        if option:
            options.append(option)
    if sum(option.room for option in options) >= question.wish.replicas:
        return Chosen(_places(question.wish.replicas, options, fleet))
    constraint, why = (None, "") if tried or options else _nothing_to_try(question, fleet)
    return Failure(tuple(tried), tuple(options), constraint, why)


def if_there_were_enough(question: Question, device: Device) -> Candidate | None:
    """The fewest ranks of this kind that serve the wish, wherever they come from; None if none do."""
    free = replace(question, wish=replace(question.wish, tensor_parallel=None, pipeline_parallel=None))
    for size, stages in sorted(layouts(free, device, LARGEST_HOST), key=lambda each: each[0] * each[1]):
        made = candidate(free, device, size, stages)
        if not made.constraint:
            return made
    return None


def layouts(question: Question, device: Device, limit: int) -> Iterator[tuple[int, int]]:
    """Sizes of tensor (up to `limit`) and pipeline parallel that the model can have there, best first."""
    wish = question.wish
    sizes: tuple[int, ...] = (1,)
    stages: range | tuple[int, ...] = (1,)
    if device.vendor != "cpu":
        sizes = engine.tensor_parallel_sizes(question.architecture, question.weights, limit)
        stages = range(1, MAX_STAGES + 1) if wish.engine == "vllm" else (1,)
    if wish.tensor_parallel:
        sizes = tuple(size for size in sizes if size == wish.tensor_parallel)
    if wish.pipeline_parallel:
        stages = (wish.pipeline_parallel,)
    for count in stages:
        yield from ((size, count) for size in sizes)


def _option(question: Question, fleet: Fleet, device: Device, tried: list[Candidate]) -> Option | None:
    """The first layout that holds all replicas within hosts, or over several; else what holds most."""
    found: list[Option] = []
    served: set[int] = set()
    replicas = question.wish.replicas
    for size, stages in layouts(question, device, fleet.largest_group(device)):
        within, over = fleet.room(device, size, stages)
        # More stages than are needed leave room for fewer replicas.
        if within + over == 0 or size in served:
            continue
        made = candidate(question, device, size, stages)
        if made.constraint:
            tried.append(made)
            continue
        served.add(size)
        found.append(Option(made, within, over))
        if within >= replicas:
            return found[-1]
    enough = [option for option in found if option.room >= replicas]
    return enough[0] if enough else max(found, key=lambda option: option.room, default=None)


def _places(replicas: int, options: list[Option], fleet: Fleet) -> tuple[tuple[Place, Candidate], ...]:
    room = [
        (place, option.candidate)
        for option in options
        for place in fleet.places(
            option.candidate.device,
            option.candidate.serving.tensor_parallel,
            option.candidate.serving.pipeline_parallel,
        )
    ]
    room.sort(
        key=lambda each: (
            not each[0].one_host,
            not each[0].local,
            each[0].turn,
            each[1].ranks,
            each[0].stages[0].host,
            each[0].stages[0].group.gpus,
        )
    )
    return tuple(room[:replicas])


def _nothing_to_try(question: Question, fleet: Fleet) -> tuple[Constraint, str]:
    wish = question.wish
    if not fleet.hosts:
        return "hosts", "there is no host to plan on"
    if not fleet.devices:
        return (
            "gpus",
            f"none of {named(list(fleet.hosts))} has a GPU or a memory size that a rank could be given",
        )
    size, most = wish.tensor_parallel or 1, max(map(fleet.largest_group, fleet.devices))
    legal = engine.tensor_parallel_sizes(question.architecture, question.weights, max(size, most))
    if size not in legal:
        sizes = ", ".join(map(str, legal))
        return "divisibility", f"tensor parallel {size} does not divide the model, which {sizes} do"
    if size > most:
        return "gpus", f"tensor parallel {size} is wished, and no host has more than {most} GPUs of one kind"
    stages = wish.pipeline_parallel or 1
    return "gpus", f"tensor parallel {size} with {stages} stages needs {size * stages} ranks of one kind"
