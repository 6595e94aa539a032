#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""State of the host's ZFS pools for Prometheus (a text file for the node exporter), by a timer.

The declared pools are the arguments: one that is not in use is told of, which ZFS would not do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

TARGET = Path("/var/lib/prometheus/node-exporter/stronghold_zfs.prom")
HELP = {
    "up": "Whether the declared pool is in use.",
    "online": "Whether all of the pool's disks are there and whole.",
    "disks": "Disks with data and parity.",
    "disks_faulty": "Of these the ones that are gone, given up, or give too many errors.",
    "read_errors": "Reads that a disk has failed, since zpool clear.",
    "write_errors": "Writes that a disk has failed, since zpool clear.",
    "checksum_errors": "Blocks that a disk has given otherwise than they were written, since zpool clear.",
    "lost_files": "Places where data was lost: more than parity could mend.",
    "collected_timestamp_seconds": "When this was written.",
}
ERRORS = ("read_errors", "write_errors", "checksum_errors")

Sample = tuple[str, dict[str, str], float]


def samples(status: Mapping[str, Any], declared: Iterable[str]) -> Iterator[Sample]:
    """From `zpool status -j --json-int`; all but the time."""
    pools = status.get("pools", {})
    for name in sorted({*pools, *declared}):
        yield "up", {"pool": name}, float(name in pools)
    for name, pool in sorted(pools.items()):
        disks = list(_disks(pool["vdevs"][name]))
        yield "online", {"pool": name}, float(pool["state"] == "ONLINE")
        yield "disks", {"pool": name}, len(disks)
        yield "disks_faulty", {"pool": name}, sum(disk["state"] != "ONLINE" for disk in disks)
        yield "lost_files", {"pool": name}, int(pool.get("error_count", 0))
        for disk in disks:
            for kind in ERRORS:
                yield kind, {"pool": name, "disk": str(disk["name"])}, int(disk.get(kind, 0))


def _disks(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inner = list(part.get("vdevs", {}).values())
    # One that is being replaced, or that a spare stands in for, comes first and keeps its place.
    for each in inner[:1] if part["vdev_type"] in ("spare", "replacing") else inner:
        yield from _disks(each)
    if not inner:
        yield part


def text(found: Iterable[Sample]) -> str:
    """Prometheus' text format; samples of one name stand together."""
    found = list(found)
    lines = []
    for name, meaning in HELP.items():
        lines += [f"# HELP stronghold_zfs_{name} {meaning}", f"# TYPE stronghold_zfs_{name} gauge"]
        for labels, value in ((labels, value) for each, labels, value in found if each == name):
            inside = ",".join(f'{key}="{label}"' for key, label in labels.items())
            lines.append(f"stronghold_zfs_{name}{{{inside}}} {value:.10g}")
    return "".join(f"{line}\n" for line in lines)


def main(declared: list[str]) -> None:
    command = ["zpool", "status", "-j", "--json-int"]
    status = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout or "{}")
    now: Sample = ("collected_timestamp_seconds", {}, time.time())
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    draft = TARGET.with_suffix(".new")
    draft.write_text(text([*samples(status, declared), now]))
    draft.chmod(0o644)
    draft.replace(TARGET)


if __name__ == "__main__":
    main(sys.argv[1:])
