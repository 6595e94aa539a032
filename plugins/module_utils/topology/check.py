# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's topology against what its inventory expects: each difference is a finding of its own.

`refuse` is what no plan survives, `warn` what costs speed or announces trouble, and `note` what could not be
checked, for silence would look like agreement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.topology import (
    check_gpus,
    check_links,
    check_nics,
    health,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import Expectation
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Topology
from ansible_collections.stronghold.llm.plugins.module_utils.topology.words import labels, not_read, plural


def check(found: Topology, expected: Expectation | None = None) -> list[Finding]:
    """Without an expectation only what no host should have: lost GPUs, broken memory, dead links, detours."""
    expected = expected or Expectation()
    silent = health.silent(found.gpus)
    gpus = [gpu for gpu in found.gpus if gpu not in silent]
    findings = [*_count(found, expected), *_absent(found, expected)]
    if _one_is_missing(found, expected) and _by_index(expected):
        findings.append(_unplaced(found))
        near = {name: replace(nic, near=(), way=None) for name, nic in expected.nics.items()}
        expected = replace(expected, links={}, numa={}, nics=near)
    return [
        *findings,
        *health.lost(found, silent),
        *check_gpus.findings(found.host, gpus, expected),
        *check_links.findings(found, gpus, expected),
        *check_nics.findings(found, expected),
        *_switches(found, expected),
        *_kernel_module(found, expected),
        *health.findings(found, gpus, expected),
    ]


def _one_is_missing(found: Topology, expected: Expectation) -> bool:
    return expected.count is not None and len(found.gpus) < expected.count


def _by_index(expected: Expectation) -> bool:
    return any(expected.indices.values())


def _unplaced(found: Topology) -> Finding:
    return Finding(
        "note",
        found.host,
        "what is expected of single GPUs (links, numa, near)",
        "not checked",
        "the GPUs that the inventory numbers",
        "the driver numbers the GPUs that it sees, so while one is missing a number may mean another GPU",
        "bring back the missing GPU, and check again",
    )


def _count(found: Topology, expected: Expectation) -> Iterator[Finding]:
    seen, board, wanted = len(found.gpus), _held(found), expected.count
    if wanted is not None and seen < wanted:
        yield _missing(found, expected, wanted)
    elif board is not None and seen < board and (seen or wanted):
        yield Finding(
            "warn" if wanted else "refuse",
            found.host,
            "GPUs",
            f"{seen} that the driver sees ({labels(found.gpus)})",
            f"{board}, as the PCI bus holds{_unseen(found)}",
            "a GPU that its driver gave up on also disturbs the others",
            _REVIVE,
        )
    elif wanted is not None and seen > wanted:
        yield Finding(
            "warn",
            found.host,
            "GPUs",
            f"{seen} ({labels(found.gpus)})",
            str(wanted),
            "the plan is made for what is there, the site was declared for less",
            "correct count in stronghold_accelerators",
        )


def _absent(found: Topology, expected: Expectation) -> Iterator[Finding]:
    """Where no count says how many there are to be, what is expected of a GPU says that it is to be there."""
    if expected.count is not None:
        return
    named = set().union(*expected.indices.values()) - {gpu.index for gpu in found.gpus}
    of_any = replace(expected, nics={}, open_kernel_module=None) != Expectation()
    if named or (of_any and not found.gpus):
        yield Finding(
            "refuse",
            found.host,
            "GPUs",
            labels(found.gpus) or "none",
            ", ".join(f"GPU {index}" for index in sorted(named)) or "one at least",
            "the inventory says how this GPU should be, so it should be there",
            "look for it with lspci and in the kernel's log, or correct stronghold_accelerators",
        )


_REVIVE = (
    "compare these addresses with lspci, look for the missing one's in the kernel's log (NVRM: Xid, amdgpu), "
    "and restart the host with power off in between"
)


def _held(found: Topology) -> int | None:
    """How many GPUs the bus holds. Partitions of one card are several GPUs at one address."""
    if found.board is None or any(gpu.mig and gpu.vendor == "amd" for gpu in found.gpus):
        return None
    return len(found.board)


def _unseen(found: Topology) -> str:
    """The addresses of those that the driver does not see."""
    unseen = sorted(set(found.board or ()) - {gpu.pci for gpu in found.gpus})
    known = all(gpu.pci for gpu in found.gpus)
    return f": {', '.join(unseen)}" if unseen and known else ""


def _missing(found: Topology, expected: Expectation, wanted: int) -> Finding:
    seen, board = len(found.gpus), _held(found)
    if board is None:
        rule = "what the PCI bus holds was not read"
        remedy = "compare these addresses with lspci: a card that is not there either is off the bus"
    elif seen < board and not found.driver:
        rule = f"the PCI bus holds {board}, and no driver is loaded for them"
        remedy = "install the driver that stronghold_stack names, and load it"
    elif seen < board:
        rule = f"the PCI bus holds {board}, so the driver does not see {board - seen} of them{_unseen(found)}"
        remedy = _REVIVE
    else:
        rule = f"the PCI bus holds no more than {board}, so {wanted - board} is no longer on it"
        remedy = (
            "look for the empty address among these, seat the card and its power cables anew, or replace it"
        )
    return Finding(
        "refuse",
        found.host,
        "GPUs",
        f"{seen} of {wanted}"
        + (f": {labels(found.gpus)}" if seen else "")
        + _short_nodes(found.gpus, expected),
        plural(wanted, "GPU"),
        rule,
        remedy,
    )


def _short_nodes(gpus: Sequence[Gpu], expected: Expectation) -> str:
    """Where it is missing: the nodes that have fewer GPUs than they should."""
    if not expected.numa or any(gpu.numa_node is None for gpu in gpus):
        return ""
    wanted, seen = Counter(expected.numa.values()), Counter(gpu.numa_node for gpu in gpus)
    short = [
        f"NUMA node {node} has {seen[node]} of {count}"
        for node, count in sorted(wanted.items())
        if seen[node] < count
    ]
    return "".join(f"; {each}" for each in short)


def _switches(found: Topology, expected: Expectation) -> Iterator[Finding]:
    seen, wanted = len(found.nvswitches), expected.nvswitches
    if wanted is None or seen == wanted:
        return
    if not seen and found.board is None:
        yield not_read(found.host, "NVSwitches", str(wanted))
        return
    yield Finding(
        "refuse" if seen < wanted else "warn",
        found.host,
        "NVSwitches",
        f"{seen} ({', '.join(found.nvswitches)})" if seen else "none",
        str(wanted),
        "each NVSwitch carries its part of the lanes between all GPUs",
        "look for the missing one with lspci, and in the kernel's log (SXid); or correct nvswitches",
    )


def _kernel_module(found: Topology, expected: Expectation) -> Iterator[Finding]:
    if expected.open_kernel_module is None:
        return
    wanted = "open" if expected.open_kernel_module else "proprietary"
    if found.kernel_module is None:
        yield not_read(found.host, "kernel module", wanted)
    elif found.kernel_module != wanted:
        yield Finding(
            "warn",
            found.host,
            "kernel module",
            found.kernel_module,
            wanted,
            "generations of GPUs differ in which of the two they need",
            f"install the {wanted} flavour of driver {found.driver or 'and kernel module'}, and restart",
        )
