# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose the folders of the data are, before a store is let at them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RECORD = Path("/var/lib/stronghold/objects/drives.json")
_FORMAT = Path(".minio.sys/format.json")
# What mkfs leaves behind, and what a store makes of itself.
_NOTHING = frozenset(("lost+found",))


@dataclass(frozen=True)
class Drive:
    """One folder as it is. `deployment` is the id of the store in it, "" if it holds none."""

    path: str
    on_root: bool
    entries: tuple[str, ...] = ()
    deployment: str = ""


@dataclass(frozen=True)
class Record:
    """What this host took: the folders, and the id of the store in them, "" until one was made."""

    taken: tuple[str, ...] = ()
    deployment: str = ""

    @staticmethod
    def load(path: Path) -> Record:
        if not path.exists():
            return Record()
        read = json.loads(path.read_text())
        return Record(tuple(read["taken"]), read["deployment"])

    def save(self, path: Path) -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self)) + "\n")
        draft.replace(path)


def look(path: str, root: Path = Path("/")) -> Drive:
    """A folder that is not there yet counts as empty, on the file system of the nearest one that is."""
    folder = Path(path)
    there = next(each for each in (folder, *folder.parents) if each.exists())
    on_root = there.stat().st_dev == root.stat().st_dev
    if there != folder:
        return Drive(path, on_root)
    entries = tuple(sorted(each.name for each in folder.iterdir() if each.name not in _NOTHING))
    return Drive(path, on_root, entries, _deployment(folder / _FORMAT))


def _deployment(format_file: Path) -> str:
    try:
        return str(json.loads(format_file.read_text())["id"])
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (ValueError, KeyError, TypeError):
        return "unreadable"


def problems(
    drives: Sequence[Drive], record: Record, *, allow_root_disk: bool, adopt: str, alone: bool
) -> Iterator[str]:
    """What stands against letting the store at the folders: the folder, the rule and the way on."""
    ours = {identity for identity in (record.deployment, adopt) if identity}
    for drive in drives:
        if drive.on_root and not allow_root_disk:
            yield (
                f"{drive.path} is on the root file system, which a full store would bring down: mount a "
                "tier there (stronghold_storage_tiers); labs may say minio_allow_root_disk: true"
            )
        if drive.deployment:
            # Made between taking the folder and writing down the id: ours as well.
            just_made = drive.path in record.taken and not record.deployment
            if drive.deployment not in ours and not just_made:
                yield (
                    f"{drive.path} holds the store {drive.deployment}, and this host knows "
                    f"{' and '.join(sorted(ours)) or 'none'}: take it over with "
                    f"minio_deployment_id: {drive.deployment}, or name another folder in minio_data"
                )
        elif drive.entries and drive.path not in record.taken:
            yield (
                f"{drive.path} holds other things than a store ({', '.join(drive.entries[:3])}): left "
                "as it is; name an empty folder in minio_data"
            )
        elif record.deployment and drive.path in record.taken and alone:
            yield (
                f"{drive.path} is empty, and the store {record.deployment} was in it: not mounted, or lost. "
                f"Mount it or restore it; to begin anew, remove {RECORD}"
            )


def taken(drives: Sequence[Drive], record: Record) -> Record:
    """The record, with these folders and what is in them by now."""
    found = next((drive.deployment for drive in drives if drive.deployment), record.deployment)
    return Record(tuple(sorted({*record.taken, *(drive.path for drive in drives)})), found)
