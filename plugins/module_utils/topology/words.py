# SPDX-License-Identifier: GPL-3.0-or-later
"""How findings name devices, and say that something was not checked."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu


def label(gpu: Gpu) -> str:
    return f"GPU {gpu.index} ({gpu.pci or 'PCI address not read'})"


def labels(gpus: Iterable[Gpu]) -> str:
    return ", ".join(map(label, gpus))


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def not_read(host: str, subject: str, expected: str) -> Finding:
    return Finding(
        "note",
        host,
        subject,
        "nothing, for it was not read: not checked",
        expected,
        "what nobody has read may be anything",
        "read the host with its driver running, and as root; or take this out of stronghold_accelerators",
    )
