# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files below /sys and /proc are read, and how a recording holds them: in lines of ``path:content``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError

FILES = (
    "/opt/rocm/.info/version",
    "/proc/cmdline",
    "/proc/cpuinfo",
    "/proc/driver/nvidia/version",
    "/proc/driver/nvidia-nvswitch/devices/*",
    "/proc/driver/nvidia-nvswitch/devices/*/*",
    "/proc/meminfo",
    "/proc/sys/kernel/osrelease",
    "/sys/devices/system/node/node*/cpulist",
    "/sys/devices/system/node/node*/meminfo",
)
# Below the real path of each PCI device, for it names the bridges above the device.
PCI_FILES = (
    "class",
    "current_compute_partition",
    "current_link_speed",
    "current_link_width",
    "infiniband/*/ports/*/link_layer",
    "infiniband/*/ports/*/rate",
    "infiniband/*/ports/*/state",
    "iommu_group/type",
    "max_link_speed",
    "max_link_width",
    "numa_node",
    "vendor",
)
BINARY = ("config", "vpd")
"""Read when asked for only: they need root, wake a sleeping device, and are large."""

# PCI addresses have colons too, so a line is cut after the name of a file that is read here.
NAMES = "|".join(sorted({name.rpartition("/")[2] for name in (*FILES, *PCI_FILES, *BINARY)} - {"*"}))
SWITCH = r"nvidia-nvswitch/devices/[0-9a-fA-F]+:[0-9a-fA-F]+:[0-9a-fA-F.]+(?:/[^/:]+)?"
LINE = re.compile(rf"(/.*?/(?:{NAMES}|{SWITCH})):(.*)")
# All that is asked of long files, and of the kernel's command line, which may hold what is nobody's business.
KEPT = {
    "cpuinfo": re.compile(
        r"^(?:processor|model name|physical id|core id|CPU implementer|CPU part)\b.*", re.M
    ),
    "flags": re.compile(r"^(?:flags|Features)\b.*", re.M),
    "meminfo": re.compile(r".*MemTotal.*"),
    "cmdline": re.compile(r"\S*iommu\S*"),
}


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    """Those that fit, in order; a `*` also stands for slashes."""
    return sorted(path for path in paths if fnmatchcase(path, pattern))


def kept(name: str, text: str) -> str:
    """What is asked of a file of this name."""
    if name not in KEPT:
        return text
    lines = KEPT[name].findall(text)
    if name == "cpuinfo":
        lines += KEPT["flags"].findall(text)[:1]  # 256 processors have as many of them, all alike
    return (" " if name == "cmdline" else "\n").join(lines)


def written(texts: Mapping[str, str]) -> str:
    """As `grep -H .` prints them."""
    return "".join(f"{path}:{line}\n" for path in sorted(texts) for line in texts[path].splitlines())


def parse(text: str, where: str) -> dict[str, str]:
    """Path -> content.

    Raises:
        TopologyError: a line without a path; says which.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if row := LINE.fullmatch(line):
            found.setdefault(row[1], []).append(row[2])
        # Another file than those read here is no mistake, nor is grep's word that a file is no text.
        elif line.strip() and not re.match(r"/[^:]+:|(grep: |Binary file )", line):
            raise TopologyError(f"{where}: line {number}: {line[:60]!r} is not path:content")
    return {path: "\n".join(lines) for path, lines in found.items()}
