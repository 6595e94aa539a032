# SPDX-License-Identifier: GPL-3.0-or-later
"""`nvidia-smi -L`: each GPU's name, and the profiles of its MIG instances, which no other output names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import at, failure, refuse

GPU = re.compile(r"GPU (\d+): (.+?) \(UUID: ([^)]+)\)")
# A compute instance that is smaller than its GPU instance is written 1c.3g.40gb.
MIG = re.compile(r"MIG ((?:\d+c\.)?\d+g\.\d+gb\S*) +Device +\d+: \(UUID: [^)]+\)")


@dataclass(frozen=True)
class Listed:
    name: str
    uuid: str | None = None
    """None where a paste has it blackened."""
    mig_instances: tuple[str, ...] = ()


def parse(text: str, where: str) -> dict[int, Listed]:
    """GPU index -> what is listed of it."""
    found: dict[int, Listed] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if gpu := GPU.fullmatch(line.strip()):
            if int(gpu[1]) in found:
                raise at(where, number, 1, f"GPU {gpu[1]} is listed twice")
            found[int(gpu[1])] = Listed(gpu[2], gpu[3] if gpu[3].startswith("GPU-") else None)
        elif found and (mig := MIG.fullmatch(line.strip())):
            index, last = found.popitem()
            found[index] = Listed(last.name, last.uuid, (*last.mig_instances, mig[1]))
        elif line.strip():
            column = len(line) - len(line.lstrip()) + 1
            raise failure(text, where) or at(
                where, number, column, f"{line.strip()[:60]!r} is neither a GPU nor a MIG instance"
            )
    if not found:
        raise refuse(text, where, "list of GPUs")
    return found
