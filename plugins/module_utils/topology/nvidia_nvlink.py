# SPDX-License-Identifier: GPL-3.0-or-later
"""`nvidia-smi nvlink -s`: how many NVLinks of each GPU are up."""

from __future__ import annotations

import re

from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import at, failure
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_list import GPU

LINK = re.compile(r"Link (\d+): (<inactive>|\d+(?:\.\d+)? GB/s)")
# In place of the links of a GPU whose links are all down (github.com/leptonai/gpud issue 1085, 2025-09).
ALL_DOWN = re.compile(r"NVML: Unable to retrieve NVLink information as all links are inactive", re.IGNORECASE)


def parse(text: str, where: str) -> dict[int, tuple[int, int | None]]:
    """GPU index -> links active and links inactive; the latter is None where the driver only says "all".
    Without a GPU that has NVLink nothing is printed, and the result is empty.
    """
    links: dict[int, dict[int, bool]] = {}
    down: set[int] = set()
    index = -1
    for number, line in enumerate(text.splitlines(), start=1):
        if gpu := GPU.fullmatch(line.strip()):
            index = int(gpu[1])
            if index in links:
                raise at(where, number, 1, f"GPU {index} is listed twice")
            links[index] = {}
        elif links and (link := LINK.fullmatch(line.strip())):
            if int(link[1]) in links[index]:
                raise at(where, number, 1, f"link {link[1]} of GPU {index} is listed twice")
            links[index][int(link[1])] = link[2] != "<inactive>"
        elif links and ALL_DOWN.fullmatch(line.strip()):
            down.add(index)
        elif line.strip():
            column = len(line) - len(line.lstrip()) + 1
            raise failure(text, where) or at(
                where, number, column, f"{line.strip()[:60]!r} is neither a GPU nor a link"
            )
    return {
        gpu: (sum(states.values()), None if gpu in down else len(states) - sum(states.values()))
        for gpu, states in links.items()
    }
