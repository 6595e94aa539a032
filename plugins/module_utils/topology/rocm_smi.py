# SPDX-License-Identifier: GPL-3.0-or-later
"""What the older `rocm-smi` prints: cards in JSON, and the topology in tables of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.topology.amd_links import Pair, hops_of
from ansible_collections.stronghold.llm.plugins.module_utils.topology.amd_smi import (
    NO_NAME,
    address,
    document,
    numa,
    number,
    value,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, TopologyError

CARDS = (
    "rocm-smi", "--showproductname", "--showbus", "--showuniqueid", "--showmaxpower", "--showmeminfo", "vram",
    "--showdriverversion", "--json",
)  # fmt: skip
TOPOLOGY = ("rocm-smi", "--showtopo")

TITLE = re.compile(r"=+ (Weight|Hops|Link Type|Numa Nodes)(?: between two GPUs)? =+")
CELL = re.compile(r"\(Topology\) (Weight|Hops|Link type) between DRM devices (\d+) and (\d+)")
NUMA = re.compile(r"GPU ?\[?(\d+)\]?\s*: \(Topology\) Numa (Node|Affinity): (-?\d+)")


@dataclass(frozen=True)
class Cards:
    gpus: Mapping[int, Gpu]
    driver: str | None
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Tables:
    pairs: tuple[Pair, ...]
    numa: Mapping[int, int | None]


def cards(text: str, where: str) -> Cards:
    """Of the JSON, which also has the topology if that was asked for."""
    found = document(text, where)
    if not isinstance(found, dict):
        raise TopologyError(f"{where}: no object with a card0")
    gpus = {}
    for key, row in found.items():
        if card := re.fullmatch(r"card(\d+)", key):
            gpus[int(card[1])] = _card(int(card[1]), row, f"{where}: {key}")
    if not gpus:
        raise TopologyError(f"{where}: no card is in it, but {', '.join(list(found)[:3]) or 'nothing'}")
    driver = value(found, "system", "Driver version")
    cells: dict[str, dict[tuple[int, int], str]] = {}
    for key, said in (found.get("system") or {}).items():
        if cell := CELL.fullmatch(key):
            a, b = int(cell[2]), int(cell[3])
            cells.setdefault(cell[1].title(), {}).update({(a, b): str(said), (b, a): str(said)})
    pairs = [_pair(a, b, cells, where) for a, b in cells.get("Link Type", {}) if a < b]
    return Cards(dict(sorted(gpus.items())), None if driver is None else str(driver), tuple(pairs))


def _card(index: int, row: Any, place: str) -> Gpu:
    # Keys changed their capitals with the releases: "Card series" of ROCm 6.0 is "Card Series" of 6.1.
    said = {key.lower(): item for key, item in row.items()} if isinstance(row, dict) else {}

    def mib(key: str) -> int | None:
        size = number(value(said, key), "", f"{place}: {key}")
        return None if size is None else int(size) // 2**20

    def whole(key: str) -> int | None:
        found = number(value(said, key), "", f"{place}: {key}")
        return None if found is None else int(found)

    return Gpu(
        index=index,
        vendor="amd",
        name=value(said, "card series") or NO_NAME,
        pci=address(value(said, "pci bus"), place),
        uuid=value(said, "unique id"),
        memory_mib=mib("vram total memory (b)"),
        memory_used_mib=mib("vram total used memory (b)"),
        compute_capability=value(said, "gfx version"),
        numa_node=numa(whole("(topology) numa affinity"), whole("(topology) numa node")),
        power_limit_w=number(value(said, "max graphics package power (w)"), "W", f"{place}: power"),
    )


def tables(text: str, where: str) -> Tables:
    """Of `rocm-smi --showtopo`."""
    cells: dict[str, dict[tuple[int, int], str]] = {}
    nodes: dict[int, dict[str, int]] = {}
    table = ""
    columns: list[int] = []
    for count, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if title := TITLE.fullmatch(line.strip()):
            table, columns = title[1], []
            cells[table] = {}
        elif line.strip().startswith("="):
            table = ""
        elif table == "Numa Nodes" and words:
            node = NUMA.fullmatch(line.strip())
            if not node:
                raise TopologyError(f"{where}: line {count}: {line.strip()[:60]!r} is no NUMA node of a GPU")
            nodes.setdefault(int(node[1]), {})[node[2]] = int(node[3])
        elif table and words and not columns:
            columns = [_gpu(word, where, count) for word in words]
        elif table and words:
            if len(words) != len(columns) + 1:
                wrong = f"the row of {words[0]} has {len(words) - 1} cells, not {len(columns)}"
                raise TopologyError(f"{where}: line {count}: {wrong}")
            row = _gpu(words[0], where, count)
            cells[table].update(
                {(row, column): word for column, word in zip(columns, words[1:], strict=True)}
            )
    if not cells.get("Link Type"):
        raise TopologyError(f"{where}: line 1: no table of links between GPUs is here: {text.strip()[:60]!r}")
    gpus = sorted({row for row, _ in cells["Link Type"]} | {column for _, column in cells["Link Type"]})
    return Tables(
        pairs=tuple(_pair(a, b, cells, where) for a, b in combinations(gpus, 2)),
        numa={gpu: numa(said.get("Affinity"), said.get("Node")) for gpu, said in nodes.items()},
    )


def _gpu(word: str, where: str, line: int) -> int:
    found = re.fullmatch(r"GPU(\d+)", word)
    if not found:
        raise TopologyError(f"{where}: line {line}: {word!r} is no GPU")
    return int(found[1])


def _pair(a: int, b: int, cells: Mapping[str, Mapping[tuple[int, int], str]], where: str) -> Pair:
    links = cells["Link Type"]
    kind, back = links.get((a, b)), links.get((b, a))
    if kind != back or kind not in ("XGMI", "PCIE"):
        raise TopologyError(
            f"{where}: Link Type: GPU{a} to GPU{b} is {kind}, and back {back}: not one known link"
        )

    def cell(table: str) -> int | None:
        text = cells.get(table, {}).get((a, b))
        if text is not None and not text.isdigit():
            raise TopologyError(f"{where}: {table}: GPU{a} to GPU{b}: {text!r} is no number")
        return None if text is None else int(text)

    return Pair(a, b, kind, hops_of(kind, cell("Weight"), cell("Hops")))
