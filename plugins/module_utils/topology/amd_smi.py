# SPDX-License-Identifier: GPL-3.0-or-later
"""What `amd-smi … --json` prints: a list with an object for each GPU, since version 26 (ROCm 7) of some
commands below "gpu_data". Numbers come bare, or with a unit; what is not known is "N/A".

Field names: github.com/ROCm/amdsmi, amdsmi_cli/amdsmi_commands.py of ROCm 6.3 (2024-10), and CHANGELOG.md of
github.com/ROCm/rocm-systems, projects/amdsmi, for "gpu_data", "ppt0" and "accelerator_partition".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Pcie, TopologyError

STATIC = ("amd-smi", "static", "--json")
LIST = ("amd-smi", "list", "--json")
METRIC = ("amd-smi", "metric", "--mem-usage", "--ecc", "--json")
VERSION = ("amd-smi", "version", "--json")

NO_NAME = "AMD GPU (name not recorded)"
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
WHOLE = "SPX"
"""The compute partition that is none: the other modes are to AMD what MIG is to NVIDIA."""


def document(text: str, where: str) -> Any:
    """The JSON, after warnings that stand before it."""
    lines = text.splitlines(keepends=True)
    start = next((place for place, line in enumerate(lines) if line.startswith(("[", "{"))), None)
    if start is None:
        raise TopologyError(f"{where}: line 1: no JSON is here: {text.strip()[:60]!r}")
    try:
        return json.loads("".join(lines[start:]))
    except json.JSONDecodeError as error:
        line = start + error.lineno
        raise TopologyError(
            f"{where}: line {line}, column {error.colno}: the JSON is cut off or damaged"
        ) from None


def rows(text: str, where: str) -> dict[int, Mapping[str, Any]]:
    """GPU index -> its object."""
    found = document(text, where)
    if isinstance(found, dict):
        found = found.get("gpu_data")
    if not isinstance(found, list):
        raise TopologyError(f"{where}: neither a list of GPUs nor one below gpu_data")
    gpus: dict[int, Mapping[str, Any]] = {}
    for place, row in enumerate(found):
        if not isinstance(row, dict):
            raise TopologyError(f"{where}: entry {place} is no object")
        index = row.get("gpu")
        if index is None and "cpu" in row:
            continue  # with AMD's CPU driver loaded, sockets are in the same list
        if type(index) is not int or index in gpus:
            raise TopologyError(f"{where}: entry {place}: gpu: {index!r} is no index, or there twice")
        gpus[index] = row
    return gpus


def gpus(text: str, where: str) -> tuple[dict[int, Gpu], str | None]:
    """Of `amd-smi static`: GPU index -> GPU, and the driver's version."""
    found, driver = {}, None
    for index, row in rows(text, where).items():
        place = f"{where}: GPU {index}"
        partition = value(row, "partition", "accelerator_partition") or value(
            row, "partition", "compute_partition"
        )
        found[index] = Gpu(
            index=index,
            vendor="amd",
            name=value(row, "asic", "market_name") or NO_NAME,
            pci=address(value(row, "bus", "bdf"), place),
            memory_mib=whole(row, place, "MB", "vram", "size"),
            compute_capability=value(row, "asic", "target_graphics_version"),
            numa_node=numa(whole(row, place, "", "numa", "affinity"), whole(row, place, "", "numa", "node")),
            pcie=Pcie(
                generation_max=whole(row, place, "Gen", "bus", "pcie_interface_version"),
                width_max=whole(row, place, "", "bus", "max_pcie_width"),
            ),
            ecc=_ecc(row),
            mig=None if partition is None else partition != WHOLE,
            mig_instances=() if partition in (None, WHOLE) else (str(partition),),
            power_limit_w=_power(row, place),
        )
        driver = driver or value(row, "driver", "version")
    return found, driver


def listed(text: str, where: str) -> dict[int, tuple[str | None, str | None]]:
    """Of `amd-smi list`: GPU index -> PCI address and UUID."""
    return {
        index: (address(value(row, "bdf"), f"{where}: GPU {index}"), value(row, "uuid"))
        for index, row in rows(text, where).items()
    }


def metrics(text: str, where: str) -> dict[int, tuple[int | None, int | None]]:
    """Of `amd-smi metric`: GPU index -> MiB in use, and uncorrectable errors."""
    return {
        index: (
            whole(row, f"{where}: GPU {index}", "MB", "mem_usage", "used_vram"),
            whole(row, f"{where}: GPU {index}", "", "ecc", "total_uncorrectable_count"),
        )
        for index, row in rows(text, where).items()
    }


def rocm(text: str, where: str) -> str | None:
    """Of `amd-smi version`: ROCm's version."""
    found = document(text, where)
    first = found[0] if isinstance(found, list) and found else found
    if not isinstance(first, dict):
        raise TopologyError(f"{where}: no object with rocm_version")
    said = value(first, "rocm_version")
    return str(said) if said else None


def value(row: Any, *path: str) -> Any:
    """What stands there; None for "N/A", an empty text, or nothing at all."""
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return None if row in ("N/A", "") else row


def address(text: str | None, place: str) -> str | None:
    if text is None:
        return None
    if not ADDRESS.fullmatch(text.lower()):
        raise TopologyError(f"{place}: {text!r} is no PCI address such as 0000:c1:00.0")
    return text.lower()


def numa(affinity: int | None, node: int | None) -> int | None:
    """The kernel's node where firmware gave one, else that of the compute driver; -1 is none."""
    return next((number for number in (affinity, node) if number is not None and number >= 0), None)


def number(said: Any, unit: str, place: str) -> float | None:
    """750, "750", "750 W", "Gen 5", {"value": 750, "unit": "W"}"""
    if isinstance(said, dict):
        if said.get("unit", unit) != unit:
            raise TopologyError(f"{place}: {said!r} is not in {unit}")
        said = value(said, "value")
    if said is None or type(said) in (int, float):
        return said if said is None else float(said)
    found = (
        re.fullmatch(rf"(?:{unit} )?(-?\d+(?:\.\d+)?)(?: ?{unit})?", said) if isinstance(said, str) else None
    )
    if not found:
        raise TopologyError(f"{place}: {said!r} is no number" + (f" of {unit}" if unit else ""))
    return float(found[1])


def whole(row: Any, place: str, unit: str, *path: str) -> int | None:
    found = number(value(row, *path), unit, f"{place}: {'.'.join(path)}")
    return None if found is None else int(found)


def _power(row: Any, place: str) -> float | None:
    # One limit up to ROCm 7.1, then one for each of two time scales, of which the first is the lasting one.
    paths = (("limit", "ppt0", "socket_power_limit"), ("limit", "socket_power"))
    found = (number(value(row, *path), "W", f"{place}: {'.'.join(path)}") for path in paths)
    return next((limit for limit in found if limit is not None), None)


def _ecc(row: Any) -> bool | None:
    state = value(row, "ras", "ecc_block_state", "UMC")  # the memory controller's
    return None if state is None else state == "ENABLED"
