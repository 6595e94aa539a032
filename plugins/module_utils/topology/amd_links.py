# SPDX-License-Identifier: GPL-3.0-or-later
"""`amd-smi topology --json`: what joins each pair of GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.topology.amd_smi import rows, whole
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError

TOPOLOGY = ("amd-smi", "topology", "--json")

# Each hop between GPUs adds 15 to the weight, and `num_hops` is 1 for any number of them
# (github.com/ROCm/rocm-systems issue 5763 and pull request 7372, 2026-05 and 06).
WEIGHT_OF_HOP = 15


@dataclass(frozen=True)
class Pair:
    """What joins two GPUs, a < b: XGMI, or no more than "PCIE"."""

    a: int
    b: int
    kind: str
    hops: int = 1


def pairs(text: str, where: str) -> tuple[Pair, ...]:
    """Both GPUs of a pair must say the same of it."""
    found = rows(text, where)
    said: dict[tuple[int, int], tuple[str, int]] = {}
    for a, row in found.items():
        for link in _links(row):
            b = link.get("gpu") if isinstance(link, dict) else None
            if type(b) is not int or b not in found:
                raise TopologyError(f"{where}: GPU {a}: links: gpu: {b!r} is no GPU of this host")
            kind, place = str(link.get("link_type")), f"{where}: GPU {a} to {b}"
            weight, hops = whole(link, place, "", "weight"), whole(link, place, "", "num_hops")
            said[a, b] = (kind, hops_of(kind, weight, hops))
    for a, b in combinations(found, 2):
        one, other = said.get((a, b)), said.get((b, a))
        if one is None or one != other:
            raise TopologyError(f"{where}: GPU {a} to {b} is {one}, and GPU {b} to {a} is {other}")
        if one[0] not in ("XGMI", "PCIE", "N/A", "UNKNOWN"):
            raise TopologyError(f"{where}: GPU {a} to {b}: link_type: {one[0]!r} is no link class known here")
    return tuple(
        Pair(min(a, b), max(a, b), *said[a, b])
        for a, b in combinations(found, 2)
        if said[a, b][0] in ("XGMI", "PCIE")
    )


def _links(row: Mapping[str, Any]) -> Iterator[Any]:
    """A list of links; up to ROCm 6.1.0 a table for each property (github.com/ROCm/amdsmi, CHANGELOG.md)."""
    if isinstance(kinds := row.get("link_type"), dict):
        names = {"weight": "weight", "num_hops": "hops", "link_type": "link_type"}
        for column in kinds:
            cells = {key: (row.get(name) or {}).get(column) for key, name in names.items()}
            yield {"gpu": int(column[4:]) if column[4:].isdigit() else column, **cells}
    elif isinstance(links := row.get("links"), list):
        yield from links


def hops_of(kind: str, weight: int | None, hops: int | None) -> int:
    if kind == "XGMI" and weight and weight % WEIGHT_OF_HOP == 0:
        return weight // WEIGHT_OF_HOP
    return hops or 1
