# SPDX-License-Identifier: GPL-3.0-or-later
"""What the outputs of nvidia-smi say together. Where two of them contradict each other, what they cannot both
be right about is left out, and a sentence in `unread` names both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Link, Nic
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import (
    NO_NAME,
    at,
    failure,
    pci_address,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_list import Listed
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_topo import Matrix, Near
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_xml import Log

XML, MATRIX, NVLINK, LIST = "nvidia-smi -q -x", "nvidia-smi topo -m", "nvidia-smi nvlink -s", "nvidia-smi -L"
COMPUTE_CAP = "nvidia-smi --query-gpu=index,pci.bus_id,compute_cap --format=csv,noheader"

Source = TypeVar("Source")


@dataclass(frozen=True)
class Capability:
    pci: str
    capability: str | None


@dataclass(frozen=True)
class Parts:
    """NVIDIA's part of a Topology."""

    gpus: tuple[Gpu, ...] = ()
    links: tuple[Link, ...] = ()
    nics: tuple[Nic, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    unread: tuple[str, ...] = ()


def compute_capabilities(text: str, where: str = COMPUTE_CAP) -> dict[int, Capability]:
    """GPU index -> compute capability. Old drivers do not know the field, which is no error.

    Raises:
        TopologyError: a line of another form; says which.
    """
    found: dict[int, Capability] = {}
    if re.match(r'Field "compute_cap" is not a valid field', text.lstrip()):
        return found
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        row = re.fullmatch(r"(\d+), *([0-9A-Fa-f:.]+), *(\d+\.\d+|\[?N/A\]?)", line.strip())
        if not row or int(row[1]) in found:
            wrong = f"{line.strip()[:60]!r} is not index, PCI address and capability of one more GPU"
            raise failure(text, where) or at(where, number, 1, wrong)
        capability = None if "N/A" in row[3] else row[3]
        found[int(row[1])] = Capability(pci_address(row[2], where), capability)
    return found


def assemble(
    *,
    log: Log | None = None,
    matrix: Matrix | None = None,
    nvlinks: Mapping[int, tuple[int, int | None]] | None = None,
    capabilities: Mapping[int, Capability] | None = None,
    listed: Mapping[int, Listed] | None = None,
) -> Parts:
    """One host's GPUs out of what could be read of it. Which GPUs there are, the log says; without one the
    list, and without that the matrix, which has no names.
    """
    found = _gpus(log, matrix, listed)
    first = XML if log is not None else LIST if listed is not None else MATRIX
    unread = [*log.notes] if log else []

    def taken(name: str, source: Mapping[int, Source] | None) -> Mapping[int, Source]:
        # Of NVLink nothing is printed for a GPU that has none.
        if source is None or set(source) == set(found) or (name == NVLINK and set(source) <= set(found)):
            return source or {}
        unread.append(
            f"{first} has {_count(found)} and {name} has {_count(source)}: which is which cannot be told, "
            "and nothing is taken from the latter; run both again on a host at rest"
        )
        return {}

    near = taken(MATRIX, {each.index: each for each in matrix.gpus} if matrix else None)
    matrix = matrix if near else None
    nvlinks = taken(NVLINK, nvlinks)
    capabilities = taken(COMPUTE_CAP, capabilities)
    listed = taken(LIST, listed)
    lanes = dict.fromkeys(found, 0)
    for link in matrix.links if matrix else ():
        lanes.update({end: max(lanes[end], link.lanes) for end in (link.a, link.b)})
    gpus = []
    for index, gpu in found.items():
        gpu = _with_near(gpu, near.get(index))
        gpu, said = _with_capability(gpu, capabilities.get(index))
        unread += said
        gpu, said = _with_nvlinks(gpu, nvlinks.get(index), lanes[index])
        unread += said
        gpu, said = _with_mig(gpu, log.mig_counts[index] if log else None, listed.get(index))
        unread += said
        gpus.append(gpu)
    return Parts(
        gpus=tuple(gpus),
        links=matrix.links if matrix else (),
        nics=matrix.nics if matrix else (),
        driver=log.driver if log else None,
        cuda=log.cuda if log else None,
        unread=tuple(unread),
    )


def _gpus(log: Log | None, matrix: Matrix | None, listed: Mapping[int, Listed] | None) -> dict[int, Gpu]:
    if log is not None:
        return {gpu.index: gpu for gpu in log.gpus}
    if listed is not None:
        return {index: Gpu(index, "nvidia", gpu.name, uuid=gpu.uuid) for index, gpu in listed.items()}
    if matrix is not None:
        return {near.index: Gpu(near.index, "nvidia", NO_NAME) for near in matrix.gpus}
    return {}


def _count(indices: Collection[int]) -> str:
    return f"{len(indices)} GPU{'' if len(indices) == 1 else 's'} ({', '.join(map(str, sorted(indices)))})"


def _with_near(gpu: Gpu, near: Near | None) -> Gpu:
    if near is None:
        return gpu
    # An affinity of several nodes ("0,2-8", where GPUs bring nodes of their own) names no single one.
    node = int(near.numa) if near.numa and near.numa.isdigit() else None
    return replace(gpu, cpu_affinity=near.cpus, numa_node=node)


def _with_capability(gpu: Gpu, said: Capability | None) -> tuple[Gpu, list[str]]:
    if said is None:
        return gpu, []
    if gpu.pci not in (None, said.pci):
        return gpu, [
            f"GPU {gpu.index} is {gpu.pci} in {XML} and {said.pci} in {COMPUTE_CAP}: the latter is not taken"
        ]
    return replace(gpu, pci=said.pci, compute_capability=said.capability), []


def _with_nvlinks(gpu: Gpu, said: tuple[int, int | None] | None, lanes: int) -> tuple[Gpu, list[str]]:
    if said is None:
        return gpu, []
    active, inactive = said
    # Links that are listed as down stay in the matrix; one that is not listed was cut off.
    if inactive is not None and active + inactive < lanes:
        return gpu, [
            f"GPU {gpu.index} has {active + inactive} NVLinks in {NVLINK} and {lanes} to one other GPU in "
            f"{MATRIX}: the former is cut off and not taken"
        ]
    return replace(gpu, nvlinks_active=active, nvlinks_inactive=inactive), []


def _with_mig(gpu: Gpu, count: int | None, listed: Listed | None) -> tuple[Gpu, list[str]]:
    profiles = listed.mig_instances if listed else ()
    if count is None or count == len(profiles):
        return replace(gpu, mig_instances=profiles), []
    if listed is None:
        return gpu, [f"GPU {gpu.index} has {count} MIG instances, whose profiles only {LIST} names"]
    return gpu, [f"GPU {gpu.index} has {count} MIG instances in {XML} and {len(profiles)} in {LIST}"]
