# SPDX-License-Identifier: GPL-3.0-or-later
"""The host around its GPUs: processors, memory, NUMA nodes, kernel, and NVIDIA's kernel module."""

from __future__ import annotations

import re
from typing import Literal

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Cpu,
    NumaNode,
    TopologyError,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Source

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
MODULE = "/proc/driver/nvidia/version"
LSCPU = ("lscpu",)


def kernel(source: Source) -> str | None:
    return source.read("/proc/sys/kernel/osrelease")


def cpu(source: Source) -> Cpu | None:
    text = source.read("/proc/cpuinfo")
    if text is None:
        return None
    rows = [
        (key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in text.splitlines())
    ]
    threads = sum(1 for key, _ in rows if key == "processor")
    if not threads:
        raise TopologyError(f"{source.where('/proc/cpuinfo')}: {text[:60]!r} names no processor")
    # A core's number counts within its socket. Arm says neither, and virtual machines not always.
    sockets, cores, socket = set(), set(), "0"
    for key, value in rows:
        if key == "physical id":
            socket = value
            sockets.add(value)
        elif key == "core id":
            cores.add((socket, value))
    values = dict(reversed(rows))
    flags = (values.get("flags") or values.get("Features") or "").split()
    return Cpu(
        name=values.get("model name")
        or f"CPU implementer {values.get('CPU implementer', '?')} part {values.get('CPU part', '?')}",
        sockets=len(sockets) or None,
        cores=len(cores) or None,
        threads=threads,
        memory_mib=_memory(source, "/proc/meminfo"),
        flags=tuple(flag for flag in FLAGS if flag in flags),
    )


def numa(source: Source) -> tuple[NumaNode, ...]:
    """A node without processors is there too: memory of GPUs is one on GH200, or of CXL."""
    folder = "/sys/devices/system/node/node"
    paths = source.glob(f"{folder}[0-9]*/cpulist") + source.glob(f"{folder}[0-9]*/meminfo")
    indices = sorted({int(path.removeprefix(folder).split("/")[0]) for path in paths})
    return tuple(
        NumaNode(
            index, source.read(f"{folder}{index}/cpulist") or "", _memory(source, f"{folder}{index}/meminfo")
        )
        for index in indices
    )


def lscpu(text: str, where: str) -> tuple[Cpu | None, tuple[NumaNode, ...]]:
    """What a recording without /proc says of processors and nodes; a paste of some lines says what it has."""
    rows = {key.strip(): said.strip() for key, _, said in (line.partition(":") for line in text.splitlines())}
    nodes = {
        int(row[1]): said for key, said in rows.items() if (row := re.fullmatch(r"NUMA node(\d+) CPU.*", key))
    }

    def count(key: str) -> int | None:
        if (said := rows.get(key, "")) and not said.isdigit():
            raise TopologyError(f"{where}: {key}: {said[:60]!r} is no number")
        return int(said) if said else None

    threads, sockets, cores = count("CPU(s)"), count("Socket(s)"), count("Core(s) per socket")
    if threads is None and not nodes:
        raise TopologyError(f"{where}: line 1: neither CPU(s) nor a NUMA node is here: {text.strip()[:60]!r}")
    cpu = Cpu(
        name=rows.get("Model name", "processor (name not recorded)"),
        sockets=sockets,
        cores=sockets * cores if sockets and cores else None,
        threads=threads,
        flags=tuple(flag for flag in FLAGS if flag in rows.get("Flags", "").split()),
    )
    return cpu if threads else None, tuple(NumaNode(index, nodes[index]) for index in sorted(nodes))


def _memory(source: Source, path: str) -> int | None:
    text = source.read(path)
    if text is None:
        return None
    found = re.search(r"MemTotal: *(\d+) kB", text)
    if not found:
        raise TopologyError(f"{source.where(path)}: {text[:60]!r} has no MemTotal in kB")
    return int(found[1]) // 1024


def nvidia_module(source: Source) -> tuple[Literal["open", "proprietary"] | None, str | None]:
    """Which of NVIDIA's two kernel modules is loaded, and its version."""
    text = source.read(MODULE)
    if text is None:
        return None, None
    found = re.search(r"Kernel Module(?: for \S+)? +(\d+\.\d+(?:\.\d+)?)\b", text)
    if not found:
        raise TopologyError(
            f"{source.where(MODULE)}: {text.splitlines()[0][:60]!r} names no version of a kernel module"
        )
    return "open" if "Open Kernel Module" in text else "proprietary", found[1]
