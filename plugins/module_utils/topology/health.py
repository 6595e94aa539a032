# SPDX-License-Identifier: GPL-3.0-or-later
"""What no host should have, whatever its inventory expects: lost GPUs, broken memory, dead links, detours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import Expectation
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    INTERCONNECTS,
    Gpu,
    Topology,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.words import (
    label,
    labels,
    not_read,
    plural,
)

MEMORY = "docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt, Error Recovery and Response Flags, read 2026-11"
FABRIC = "docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide, read 2026-11"
NCCL = (
    "docs.nvidia.com/deeplearning/nccl/user-guide, troubleshooting, PCI Access Control Services, read 2026-11"
)

READY = "Completed"
HOPPER = 9.0
"""The first compute capability whose driver says how the fabric is."""


def silent(gpus: Sequence[Gpu]) -> list[Gpu]:
    """In the list, and without an answer where others answer: what nvidia-smi calls lost."""
    mute = [gpu for gpu in gpus if gpu.memory_mib is None]
    return mute if len(mute) < len(gpus) else []


def lost(found: Topology, mute: Sequence[Gpu]) -> Iterator[Finding]:
    for gpu in mute:
        yield Finding(
            "refuse",
            found.host,
            label(gpu),
            "in the driver's list, but without an answer",
            "an answer, as of the other GPUs",
            "a GPU that is lost serves nothing, and processes that touch it hang",
            "look for its address in the kernel's log (NVRM: Xid), reset it, or switch the host off and on",
        )


def findings(found: Topology, gpus: Sequence[Gpu], expected: Expectation) -> Iterator[Finding]:
    for gpu in gpus:
        yield from _memory(found.host, gpu)
        yield from _width(found.host, gpu, expected)
        yield from _lanes(found.host, gpu, gpus)
    yield from _fabric(found, gpus, expected)
    if _peers_by_pcie(found, gpus, expected):
        yield from _detours(found)
    for sentence in found.unread:
        yield Finding(
            "note",
            found.host,
            "what was read",
            sentence,
            "all of it",
            "what was not read was not checked",
            "read the host again, with its driver running and as root",
        )


def _memory(host: str, gpu: Gpu) -> Iterator[Finding]:
    if gpu.remapped_rows_failed:
        yield Finding(
            "refuse",
            host,
            f"{label(gpu)}: memory rows",
            "a row that could not be replaced",
            "every broken row replaced",
            "its spare rows ran out, and the next error in that place costs the process and its answers",
            "have the card replaced",
            MEMORY,
        )
    if gpu.remapped_rows_pending:
        yield Finding(
            "warn",
            host,
            f"{label(gpu)}: memory rows",
            "a row or page that waits to be replaced",
            "every broken row replaced",
            "until the GPU is reset it works around that place, and is left out of plans",
            f"stop what runs on it, then nvidia-smi -i {gpu.index} -r, or restart the host",
            MEMORY,
        )
    if gpu.ecc_uncorrected:
        yield Finding(
            "warn",
            host,
            f"{label(gpu)}: ECC",
            f"{plural(gpu.ecc_uncorrected, 'uncorrected error')} over its life",
            "none",
            "each ended a process or cost a page; a count that grows announces more",
            "keep the count and look again; have the card replaced if it grows",
            MEMORY,
        )


def _width(host: str, gpu: Gpu, expected: Expectation) -> Iterator[Finding]:
    now, most = gpu.pcie.width, gpu.pcie.width_max
    if expected.width is None and now is not None and most is not None and now < most:
        yield Finding(
            "warn",
            host,
            f"{label(gpu)}: PCIe width",
            f"x{now}",
            f"x{most}, as card and slot reach together",
            "lanes are never lowered to save power: missing ones are a bad contact",
            "seat the card and its riser anew, and look for AER errors in the kernel's log",
        )


def _lanes(host: str, gpu: Gpu, gpus: Sequence[Gpu]) -> Iterator[Finding]:
    active, inactive = gpu.nvlinks_active, gpu.nvlinks_inactive
    if not active or not inactive:
        return
    others = [each.nvlinks_inactive for each in gpus if each.name == gpu.name and each.nvlinks_active]
    alike = all(each == inactive for each in others)  # bridges may leave some unused on every card
    yield Finding(
        "warn" if alike else "refuse",
        host,
        f"{label(gpu)}: NVLinks",
        f"{active} active and {inactive} inactive",
        f"all {active + inactive} active",
        "a tensor-parallel group is as fast as its slowest pair",
        f"nvidia-smi nvlink -i {gpu.index} -s and -e say which; reset the GPU, seat bridge or board anew",
    )


def _fabric(found: Topology, gpus: Sequence[Gpu], expected: Expectation) -> Iterator[Finding]:
    linked = {end for link in found.links if link.kind == "NV" for end in (link.a, link.b)}
    for gpu in gpus:
        state = gpu.fabric_state
        if state not in (None, READY) and (found.nvswitches or gpu.index in linked):
            yield Finding(
                "refuse" if found.nvswitches else "warn",
                found.host,
                f"{label(gpu)}: NVLink fabric",
                str(state),
                READY,
                "before the fabric is set up, CUDA does not start on these GPUs or has no NVLink",
                "start nvidia-fabricmanager of the driver's version (GB200: nvidia-imex), and read its log",
                FABRIC,
            )
    mute = [gpu for gpu in gpus if gpu.fabric_state is None and _has_fabric(gpu)]
    if expected.nvswitches and mute:
        yield not_read(found.host, f"{labels(mute)}: NVLink fabric", READY)


def _has_fabric(gpu: Gpu) -> bool:
    return gpu.vendor == "nvidia" and float(gpu.compute_capability or HOPPER) >= HOPPER


def _peers_by_pcie(found: Topology, gpus: Sequence[Gpu], expected: Expectation) -> bool:
    """Whether anything is to go from GPU to GPU, or to a network card, by PCIe."""
    if any(wish.near for wish in expected.nics.values()):
        return True
    joined = sum(1 for link in found.links if link.kind in INTERCONNECTS)
    return joined < len(gpus) * (len(gpus) - 1) // 2


def _detours(found: Topology) -> Iterator[Finding]:
    if found.acs_redirect:
        yield Finding(
            "warn",
            found.host,
            "PCI bridges above GPUs",
            f"ACS redirects at {', '.join(found.acs_redirect)}",
            "no redirection",
            "what a GPU sends another, or a network card, goes up to the processor and back: slow, or stuck",
            "switch ACS off in the firmware's setup, or at each start with setpci; not where guests run",
            NCCL,
        )
    if found.iommu == "translated":
        yield Finding(
            "warn",
            found.host,
            "IOMMU",
            "translated",
            "passthrough or off",
            "what goes between GPUs, or to a network card, is translated on its way by the processor",
            "put iommu=pt on the kernel's command line and restart",
            NCCL,
        )
