# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a systemd unit runs with the files that are there now, and what brings it there if not.

A handler is forgotten when a run dies between the change and the handler. So what a unit has read is written
down after it has read it; whoever looks later sees the difference, however it came about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

RECORDS = Path("/var/lib/stronghold/units")

Refresh = Literal["reload", "restart"]


@dataclass(frozen=True)
class Files:
    """What there is to read: a digest of names and contents, and one of the times of their last changes."""

    content: str
    times: str


@dataclass(frozen=True)
class Record:
    """What a unit has read, and when: `moment` differs after each start and each reload."""

    files: Files
    moment: str

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Record | None:
        """None for a record that is not there or not whole."""
        try:
            data = json.loads(text)
            return cls(Files(**data["files"]), str(data["moment"]))
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Unit:
    """What systemd says of a unit."""

    active: bool
    enabled: bool
    stale_definition: bool  # the unit file on disk is newer than what systemd has loaded
    moment: str
    starting: bool = False


def look(paths: Iterable[Path]) -> Files:
    """A folder stands for all files below it; a missing file is a content of its own."""
    content, times = sha256(), sha256()
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])}
    for path in sorted(files):
        data = path.read_bytes() if path.is_file() else b"missing"
        content.update(f"{path}\0{len(data)}\0".encode() + data)
        times.update(f"{path}\0{path.stat().st_ctime_ns if path.exists() else 0}\0".encode())
    return Files(content.hexdigest(), times.hexdigest())


def has_read(unit: Unit, record: Record | None, files: Files) -> bool:
    """Whether the running unit knows the present files.

    It does when it once read the same and has not read since, or has read since and nobody has touched them
    meanwhile. Somebody who changed a file, reloaded the unit and put the file back is found out.
    """
    if record is None or record.files.content != files.content:
        return False
    return record.moment == unit.moment or record.files.times == files.times


def record_path(unit: str, paths: Iterable[Path], root: Path = RECORDS) -> Path:
    """One record for each set of files: two roles may each care for their own files of one unit."""
    names = "\n".join(sorted(map(str, paths)))
    return root / f"{unit}.{sha256(names.encode()).hexdigest()[:12]}"


def commands(name: str, unit: Unit, record: Record | None, files: Files, refresh: Refresh) -> list[list[str]]:
    """The systemctl calls that are needed, in order; none when the unit is as it must be."""
    needed = []
    if unit.stale_definition:
        needed.append(["daemon-reload"])
    if not unit.enabled:
        needed.append(["enable", name])
    if not unit.active:
        # `start` would join an attempt that goes on, with files that were there before.
        other = unit.starting and (record is None or record.files != files)
        needed.append(["restart" if other else "start", name])
    elif not has_read(unit, record, files):
        # A stale definition takes effect at a start only.
        needed.append(["restart" if unit.stale_definition else refresh, name])
    return needed
