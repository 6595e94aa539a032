# SPDX-License-Identifier: GPL-3.0-or-later
"""What ZFS says of its pools, read from `zpool status -j` and `zfs get -j` of OpenZFS 2.3."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# OpenZFS writes the disk's first partition, which it made itself, where it was given the disk.
_PART = re.compile(r"-part1$")
_IMPORTABLE = re.compile(r"^\s+pool: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Disk:
    """`path` below /dev/disk/by-id; errors are counted since the last `zpool clear`."""

    path: str
    state: str
    read_errors: int
    write_errors: int
    checksum_errors: int


@dataclass(frozen=True)
class Pool:
    """`layouts` has one word for each part that data is spread over: one, in a pool that we made."""

    name: str
    state: str
    layouts: tuple[str, ...]
    disks: tuple[Disk, ...]
    spares: tuple[str, ...]
    lost_files: int

    @property
    def errors(self) -> dict[str, dict[str, int]]:
        """Disk -> its errors by kind, of those that have some."""
        kinds = ("read_errors", "write_errors", "checksum_errors")
        found = {
            disk.path: {kind: getattr(disk, kind) for kind in kinds if getattr(disk, kind)}
            for disk in self.disks
        }
        return {path: errors for path, errors in found.items() if errors}


def pools(status: str) -> dict[str, Pool]:
    """Every pool in the output of `zpool status -j --json-int`; none in an empty one."""
    data = json.loads(status) if status.strip() else {}
    return {name: _pool(name, pool) for name, pool in data.get("pools", {}).items()}


def importable(listing: str) -> set[str]:
    """Names in the output of `zpool import` without a name, which has no JSON."""
    return set(_IMPORTABLE.findall(listing))


def properties(listing: str, dataset: str) -> dict[str, str]:
    """Property -> value, from `zfs get -j` or `zpool get -j`."""
    data = json.loads(listing)
    found = (data.get("datasets") or data.get("pools") or {})[dataset]["properties"]
    return {name: str(entry["value"]) for name, entry in found.items()}


def _pool(name: str, data: Mapping[str, Any]) -> Pool:
    root = data["vdevs"][name]
    parts = list(root.get("vdevs", {}).values())
    layouts = [_layout(part) for part in parts]
    # A stripe has its disks side by side, without a part that holds them.
    if set(layouts) == {"stripe"}:
        layouts = ["stripe"]
    return Pool(
        name=name,
        state=str(data["state"]),
        layouts=tuple(layouts),
        disks=tuple(disk for part in parts for disk in _disks(part)),
        spares=tuple(_path(spare) for spare in data.get("spares", {}).values()),
        lost_files=int(data.get("error_count", 0)),
    )


def _layout(part: Mapping[str, Any]) -> str:
    """zpool names a part raidz1-0: its layout and its number."""
    return "stripe" if part["vdev_type"] == "disk" else str(part["name"]).rpartition("-")[0]


def _disks(part: Mapping[str, Any]) -> Iterator[Disk]:
    if "vdevs" in part:
        inner = list(part["vdevs"].values())
        # One that is being replaced, or that a spare stands in for, comes first and keeps its place.
        for each in inner[:1] if part["vdev_type"] in ("spare", "replacing") else inner:
            yield from _disks(each)
        return
    errors = (int(part.get(kind, 0)) for kind in ("read_errors", "write_errors", "checksum_errors"))
    yield Disk(_path(part), str(part["state"]), *errors)


def _path(disk: Mapping[str, Any]) -> str:
    """Where a disk that is gone has no path of its own, zpool says where it was."""
    path = str(disk.get("path") or disk.get("was") or disk["name"])
    return _PART.sub("", path if path.startswith("/") else f"/dev/disk/by-id/{path}")
