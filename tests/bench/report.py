# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers for people and for files: percentiles, tables, and the machine that the numbers came from."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.site import REPOSITORY

FOLDER = REPOSITORY / "build/bench"


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: a value that was measured, never one between two."""
    if not values:
        raise ValueError("no value was measured")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def cpu_model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def machine() -> dict[str, Any]:
    """When, on what and of which revision; "-dirty" says that the tree held changes."""
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # of the last minute: above the cores, others were at work too
        "revision": revision or "unknown",
    }


def keep(name: str, measured: Mapping[str, Any]) -> None:
    """Writes build/bench/<name>.json and says on which machine the numbers above it were measured."""
    facts = machine()
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, **measured}, indent=2) + "\n")
    text = "{date}, revision {revision}, {cores} cores of {cpu}, load {load}"
    print("", text.format(**facts), path, sep="\n")
