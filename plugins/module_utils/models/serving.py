# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folders of models are in use, asked of the system itself and not of the declaration.

A folder is in use when a unit that systemd has loaded names it (also one that is to start later), or when a
process names it, holds a file of it open, or has one mapped. Open files are compared by device and inode: a
container sees them under another path.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


class UnknownError(Exception):
    """It cannot be said what is in use; nothing may be taken away then."""


def loaded_units() -> str:
    """All that systemd knows of all loaded services."""
    command = ["systemctl", "show", "--all", "--no-pager", "*.service"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise UnknownError(f"systemd does not say which units use a model: {error}") from error


def in_use(folders: Iterable[Path], units: str) -> dict[Path, str]:
    """Folder -> who uses it; a folder that nobody uses is not in it.

    Raises:
        UnknownError: a process cannot be looked into.
    """
    folders = list(folders)
    found = _named_by_units(folders, units)
    owners: dict[tuple[int, int], Path] = {}
    for folder in folders:
        for path in (folder, *folder.rglob("*")) if folder.exists() else ():
            status = path.lstat()
            owners[status.st_dev, status.st_ino] = folder
    for process in PROC.iterdir():
        if process.name.isdecimal() and process.name != str(os.getpid()):
            try:
                used = _used_by_process(process, folders, owners)
            except (FileNotFoundError, ProcessLookupError):  # it has ended
                continue
            except PermissionError as error:
                raise UnknownError(f"process {process.name} cannot be looked into: {error}") from error
            for folder, how in used.items():
                found.setdefault(folder, f"process {process.name} {how}")
    return found


def _named_by_units(folders: Iterable[Path], units: str) -> dict[Path, str]:
    found = {}
    for unit in units.split("\n\n"):
        lines = unit.splitlines()
        name = next((line.removeprefix("Id=") for line in lines if line.startswith("Id=")), "a unit")
        for folder in folders:
            if str(folder) in unit:
                found[folder] = f"{name} names it"
    return found


def _used_by_process(
    process: Path, folders: Iterable[Path], owners: dict[tuple[int, int], Path]
) -> dict[Path, str]:
    found = {}
    said = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
    for folder in folders:
        if os.fsencode(folder) in said:
            found[folder] = "names it"
    handles = [process / "cwd", process / "root", *(process / "fd").iterdir()]
    inodes = {inode for _, inode in owners}
    for line in (process / "maps").read_text(errors="replace").splitlines():
        area, _, _, _, inode, *_ = line.split(maxsplit=5)
        if int(inode) in inodes:  # the device in it is not always the one that stat names: ask the map itself
            handles.append(process / "map_files" / _plain(area))
    for handle in handles:
        try:
            status = handle.stat()
        except (FileNotFoundError, ProcessLookupError):  # closed meanwhile
            continue
        if folder_of := owners.get((status.st_dev, status.st_ino)):
            found.setdefault(folder_of, "has a file of it open")
    return found


def _plain(area: str) -> str:
    """``maps`` pads addresses with zeros; ``map_files`` does not."""
    return "-".join(f"{int(address, 16):x}" for address in area.split("-"))
