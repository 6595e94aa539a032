# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: which files cross the air gap, and the digest that each must have."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

SCHEMA = 1
NAME = "manifest.json"
SIGNATURE = "manifest.json.asc"

_DIGEST = re.compile(r"[0-9a-f]{64}")
# Letters that need no quoting in a shell, a URL path or a log. `%` is there
# because apt writes an epoch's colon as %3a in the names of the files it keeps.
_SAFE_PATH = re.compile(r"[A-Za-z0-9._+~%@=,/-]+")


class BundleError(Exception):
    """Something about a bundle that a person has to mend; the text says what and how."""


@dataclass(frozen=True)
class Entry:
    """One file of the tree: its path below the root, its sha256 in hex, its size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Debian:
    """What the Debian part of the bundle was resolved for."""

    suite: str
    architecture: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The whole tree. `inputs` is the sha256 of the declaration that the tree answers."""

    created: str
    inputs: str
    debian: Debian
    files: tuple[Entry, ...]

    def dump(self) -> bytes:
        """The manifest as the bytes that are signed: stable, one key order, ends in a newline."""
        return (json.dumps({"schema": SCHEMA} | asdict(self), indent=1, sort_keys=True) + "\n").encode()

    def same_content(self, other: Manifest) -> bool:
        """True when only the time of writing differs."""
        return (self.inputs, self.debian, self.files) == (other.inputs, other.debian, other.files)


def blob_path(sha256: str) -> str:
    """Where the bundle keeps a file of this digest."""
    return f"blobs/sha256/{sha256}"


def blobs(bundle: Path) -> list[Path]:
    """Everything that lies where the bundle keeps its files."""
    folder = bundle / blob_path("")
    return list(folder.iterdir()) if folder.is_dir() else []


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(raw: bytes) -> Manifest:
    """Read a manifest, trusting nothing in it: even a signed one must not leave its folder."""
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise BundleError(f"{NAME} is not whole JSON ({error}): it was cut short or damaged") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise BundleError(f"{NAME} is not of schema {SCHEMA}: it was written by another release")
    try:
        debian = data["debian"]
        manifest = Manifest(
            created=str(data["created"]),
            inputs=str(data["inputs"]),
            debian=Debian(
                str(debian["suite"]), str(debian["architecture"]), tuple(map(str, debian["packages"]))
            ),
            files=tuple(Entry(str(f["path"]), str(f["sha256"]), int(f["size"])) for f in data["files"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{NAME} lacks a field or has one of another kind: {error!r}") from error
    check_entries(manifest.files)
    return manifest


def check_entries(entries: Iterable[Entry]) -> None:
    """Refuse a tree that could not be laid out below one folder, file by file."""
    entries = tuple(entries)
    paths = [entry.path for entry in entries]
    if paths != sorted(set(paths)):
        raise BundleError(f"{NAME}: its paths are not sorted, or one is there twice")
    parents: set[str] = set()
    for entry in entries:
        parts = entry.path.split("/")
        if not _SAFE_PATH.fullmatch(entry.path) or any(part in ("", ".", "..") for part in parts):
            raise BundleError(f"{NAME}: the path {entry.path!r} is not a plain path below the bundle's root")
        if not _DIGEST.fullmatch(entry.sha256) or entry.size < 0:
            raise BundleError(f"{NAME}: {entry.path} has no sha256 digest and size")
        parents.update(str(parent) for parent in PurePosixPath(entry.path).parents)
    if both := sorted(parents.intersection(paths)):
        raise BundleError(f"{NAME}: {both[0]} is both a file and a folder")
