# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory expects of a host (`stronghold_accelerators`); what it does not name is free.

    count: 8
    name: NVIDIA H100 80GB HBM3       # the whole name as the driver says it; * and ? stand for more
    memory_mib_min: 81000
    link: NV18                        # every pair that `links` does not name
    links: {0-1: NV4, 2-3: NV4}
    pcie: {generation: 5, width: 16}
    mig: false                        # and so ecc, persistence, open_kernel_module
    nvswitches: 4
    numa: {0: [0, 1, 2, 3], 1: [4, 5, 6, 7]}
    nics: {mlx5_0: {near: [0, 1], class: PIX, rate_gbps: 200, link_layer: InfiniBand}}

A link is NV (NVLink), NV18 (NVLink with that many lanes at least), XGMI, or one of PIX, PXB, PHB, NODE and
SYS: that near or nearer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    INTERCONNECTS,
    LINK_CLASSES,
    LinkClass,
)

Pair = tuple[int, int]

PCIE_CLASSES = tuple(kind for kind in LINK_CLASSES if kind not in INTERCONNECTS)


class ExpectationError(ValueError):
    """Everything that is wrong with an expectation, each message with host, field, value and remedy."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


@dataclass(frozen=True)
class Wish:
    """How near two devices are to be: `kind` or nearer, over NVLink with `lanes` lanes at least."""

    kind: LinkClass
    lanes: int = 0

    def met(self, kind: LinkClass, lanes: int = 0) -> bool:
        if self.kind in INTERCONNECTS:
            return kind == self.kind and lanes >= self.lanes
        return LINK_CLASSES.index(kind) <= LINK_CLASSES.index(self.kind)

    def __str__(self) -> str:
        return f"{self.kind}{self.lanes or ''}{'' if self.kind in INTERCONNECTS else ' or nearer'}"


@dataclass(frozen=True)
class NicWish:
    near: tuple[int, ...] = ()
    way: Wish | None = None
    rate_gbps: float | None = None
    link_layer: str | None = None


@dataclass(frozen=True)
class Expectation:
    """Empty, it expects nothing: then only what no host should have is found."""

    count: int | None = None
    name: str | None = None
    memory_mib_min: int | None = None
    link: Wish | None = None
    links: Mapping[Pair, Wish] = field(default_factory=dict)
    generation: int | None = None
    width: int | None = None
    mig: bool | None = None
    ecc: bool | None = None
    persistence: bool | None = None
    open_kernel_module: bool | None = None
    nvswitches: int | None = None
    numa: Mapping[int, int] = field(default_factory=dict)
    """GPU index -> NUMA node."""
    nics: Mapping[str, NicWish] = field(default_factory=dict)

    def named(self, name: str) -> bool:
        """A part of a name is not enough: "NVIDIA A10" is no "NVIDIA A100-SXM4-80GB"."""
        return self.name is None or name == self.name or fnmatchcase(name, self.name)

    @property
    def indices(self) -> dict[str, set[int]]:
        """Field -> the GPUs that it names."""
        near = {f"nics.{name}.near": set(nic.near) for name, nic in self.nics.items()}
        return {"links": {end for pair in self.links for end in pair}, "numa": set(self.numa), **near}

    def pairs(self, gpus: Collection[int]) -> dict[Pair, Wish]:
        """What is expected of each pair of these GPUs."""
        every = dict.fromkeys(combinations(sorted(gpus), 2), self.link) if self.link else {}
        known = {pair: wish for pair, wish in self.links.items() if set(pair) <= set(gpus)}
        return {pair: wish for pair, wish in {**every, **known}.items() if wish}


Rule = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and what is said of one that will not."""


def _whole(least: int) -> Rule:
    return lambda value: type(value) is int and value >= least, f"no whole number from {least} up"


def _one_of(known: Collection[Any]) -> Rule:
    return lambda value: type(value) is not bool and value in known, f"none of {_list(known)}"


def _list(values: Collection[Any]) -> str:
    return ", ".join(map(str, values))


TEXT: Rule = (lambda value: isinstance(value, str) and value != ""), "no text"
SWITCH: Rule = (lambda value: type(value) is bool), "neither true nor false"
RATE: Rule = (lambda value: type(value) in (int, float) and value > 0), "no rate in Gb/s"

FIELDS: Mapping[str, Rule] = {
    "count": _whole(0),
    "name": TEXT,
    "memory_mib_min": _whole(1),
    "mig": SWITCH,
    "ecc": SWITCH,
    "persistence": SWITCH,
    "open_kernel_module": SWITCH,
    "nvswitches": _whole(0),
}
PCIE: Mapping[str, Rule] = {"generation": _one_of(range(1, 8)), "width": _one_of((1, 2, 4, 8, 16, 32))}
NIC: Mapping[str, Rule] = {"rate_gbps": RATE, "link_layer": _one_of(("InfiniBand", "Ethernet"))}


def read(data: Mapping[str, Any], where: str) -> Expectation:
    """`where` begins each message: the host, and the variable.

    Raises:
        ExpectationError: a field that is unknown, of another type, or contradicts another.
    """
    reader = _Reader(where)
    top = reader.mapping(data, "all of it")
    pcie = reader.mapping(top.get("pcie"), "pcie")
    expected = Expectation(
        **reader.values(top, "", FIELDS, besides=("link", "links", "pcie", "numa", "nics")),
        **reader.values(pcie, "pcie.", PCIE),
        link=reader.wish(top.get("link"), "link"),
        links=reader.links(top.get("links")),
        numa=reader.numa(top.get("numa")),
        nics={str(key): reader.nic(key, nic) for key, nic in reader.mapping(top.get("nics"), "nics").items()},
    )
    reader.within(expected)
    if reader.problems:
        raise ExpectationError(reader.problems)
    return expected


class _Reader:
    """Reads on after a mistake, so that all of them are said at once."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[str] = []

    def wrong(self, place: str, value: Any, asked: str) -> None:
        self.problems.append(f"{self.where}: {place}: {value!r} is {asked}")

    def mapping(self, data: Any, place: str) -> Mapping[Any, Any]:
        if data is None or isinstance(data, Mapping):
            return data or {}
        self.wrong(place, data, "no mapping: write {key: value}")
        return {}

    def values(
        self, data: Mapping[Any, Any], place: str, rules: Mapping[str, Rule], besides: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Those that will do; a null is as good as nothing."""
        found = {}
        for key, value in data.items():
            if key not in rules and key not in besides:
                self.wrong(f"{place}{key}", value, f"of no known field: use {_list([*rules, *besides])}")
            elif key in rules and value is not None:
                fits, asked = rules[key]
                if fits(value):
                    found[key] = value
                else:
                    self.wrong(f"{place}{key}", value, asked)
        return found

    def wish(self, value: Any, place: str, known: Sequence[str] = LINK_CLASSES) -> Wish | None:
        if value is None:
            return None
        found = re.fullmatch(r"(NV)([1-9]\d?)|([A-Z]+)", value) if isinstance(value, str) else None
        kind = next((kind for kind in LINK_CLASSES if found and kind in (found[1], found[3])), None)
        if found is None or kind is None or kind not in known:
            self.wrong(place, value, f"no class of links: use {_list(known)}")
            return None
        return Wish(kind, int(found[2] or 0))

    def links(self, data: Any) -> dict[Pair, Wish]:
        wishes = {}
        for key, value in self.mapping(data, "links").items():
            pair = re.fullmatch(r"(\d+)-(\d+)", str(key))
            if not pair or pair[1] == pair[2]:
                self.wrong("links", key, "no pair of GPUs: write 0-1")
                continue
            low, high = sorted((int(pair[1]), int(pair[2])))
            if (low, high) in wishes:
                self.wrong("links", key, "there twice: name each pair once")
            if wish := self.wish(value, f"links.{key}"):
                wishes[low, high] = wish
        return wishes

    def gpus(self, value: Any, place: str) -> tuple[int, ...]:
        if isinstance(value, list | tuple) and all(type(gpu) is int and gpu >= 0 for gpu in value):
            return tuple(value)
        self.wrong(place, value, "no list of GPU indices: write [0, 1]")
        return ()

    def numa(self, data: Any) -> dict[int, int]:
        nodes: dict[int, int] = {}
        for key, value in self.mapping(data, "numa").items():
            if not re.fullmatch(r"\d+", str(key)):  # a key that went through JSON is a text
                self.wrong("numa", key, "no number of a NUMA node")
                continue
            for gpu in self.gpus(value, f"numa.{key}"):
                if nodes.setdefault(gpu, int(key)) != int(key):
                    self.wrong(f"numa.{key}", gpu, f"a GPU of node {nodes[gpu]} already: name it once")
        return nodes

    def nic(self, name: Any, data: Any) -> NicWish:
        place = f"nics.{name}"
        found = self.mapping(data, place)
        if ("near" in found) != ("class" in found):
            self.wrong(place, dict(found), "half of a place: near and class go together")
        return NicWish(
            **self.values(found, f"{place}.", NIC, besides=("near", "class")),
            near=self.gpus(found["near"], f"{place}.near") if "near" in found else (),
            way=self.wish(found.get("class"), f"{place}.class", PCIE_CLASSES),
        )

    def within(self, expected: Expectation) -> None:
        """No GPU is named beyond the count."""
        if expected.count is None:
            return
        for place, gpus in expected.indices.items():
            for gpu in sorted(gpus):
                if gpu >= expected.count:
                    self.wrong(place, gpu, f"no index of {expected.count} GPUs, which begin at 0")
