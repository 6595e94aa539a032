# SPDX-License-Identifier: GPL-3.0-or-later
"""A file on its way to the hot tier: parts that arrive in any order, and survive a kill or a power cut.

Beside the sparse ``<name>.partial`` lies the journal ``<name>.json`` of finished parts. A part stands in the
journal only after its bytes are on the disk. The SHA-256 follows the finished parts in order and reads them
back from the file: what is hashed is what lies there, parts of an earlier run included, and when the last
part has come only little is left to read.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.models.sources import CHUNK, Stamp


@dataclass(frozen=True)
class Part:
    """`length` bytes from `offset` on."""

    index: int
    offset: int
    length: int

    def __str__(self) -> str:
        return f"part {self.index} (bytes {self.offset} to {self.offset + self.length - 1})"


class CorruptError(Exception):
    """Bytes that are not the declared ones; names the part where it is known."""


def parts(size: int, part_bytes: int) -> list[Part]:
    """`size` bytes cut into parts of `part_bytes`; the last one may be shorter."""
    offsets = range(0, size, part_bytes)
    return [Part(index, offset, min(part_bytes, size - offset)) for index, offset in enumerate(offsets)]


class Partial:
    def __init__(self, path: Path, stamp: Stamp, part_bytes: int) -> None:
        """Takes up what an earlier run left for the same `stamp` and part size, or begins anew."""
        self._path = path.with_name(path.name + ".partial")
        self._journal = path.with_name(path.name + ".json")
        self._parts = parts(stamp.size, part_bytes)
        self._known = {"etag": stamp.etag, "size": stamp.size, "part_bytes": part_bytes}
        self._done = self._read_journal()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._done:
            self._journal.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, stamp.size)
        self._writing, self._hashing = threading.Lock(), threading.Lock()
        self._sha256, self._hashed = hashlib.sha256(), 0

    @property
    def missing(self) -> list[Part]:
        return [part for part in self._parts if part.index not in self._done]

    @property
    def have(self) -> int:
        """Bytes of the finished parts."""
        return sum(part.length for part in self._parts if part.index in self._done)

    def write(self, part: Part, chunks: Iterable[bytes], sha256: str = "") -> None:
        """One part; nothing of it counts unless it is whole and, where `sha256` is known, right."""
        digest, end = hashlib.sha256(), part.offset
        for chunk in chunks:
            if end + len(chunk) > part.offset + part.length:
                raise CorruptError(f"{part}: more bytes came than were asked for")
            os.pwrite(self._file, chunk, end)
            digest.update(chunk)
            end += len(chunk)
        if end != part.offset + part.length:
            raise EOFError(f"{part}: the line broke {part.offset + part.length - end} bytes before its end")
        if sha256 and digest.hexdigest() != sha256:
            raise CorruptError(f"{part}: sha256 is {digest.hexdigest()}, when it was archived {sha256}")
        os.fdatasync(self._file)
        with self._writing:
            self._done.add(part.index)
            self._write_journal()
        if self._hashing.acquire(blocking=False):  # else another thread is at it, or `finish` will be
            try:
                self._hash_on()
            finally:
                self._hashing.release()

    def finish(self, sha256: str, target: Path) -> None:
        """All parts are there: the whole is checked, and only then has its name."""
        self._hash_on()
        if (actual := self._sha256.hexdigest()) != sha256:
            self.drop()  # a part of something else would never come right
            raise CorruptError(f"sha256 is {actual}, declared {sha256}")
        os.fchmod(self._file, 0o444)
        os.fsync(self._file)
        os.close(self._file)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.rename(target)
        sync_folder(target.parent)
        self._journal.unlink(missing_ok=True)

    def drop(self) -> None:
        os.close(self._file)
        self._journal.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _hash_on(self) -> None:
        while self._hashed < len(self._parts) and self._hashed in self._done:
            part = self._parts[self._hashed]
            for offset in range(part.offset, part.offset + part.length, CHUNK):
                length = min(CHUNK, part.offset + part.length - offset)
                self._sha256.update(os.pread(self._file, length, offset))
            self._hashed += 1

    def _read_journal(self) -> set[int]:
        try:
            journal = json.loads(self._journal.read_text())
            done = set(journal.pop("done"))
            whole = journal == self._known and self._path.stat().st_size == self._known["size"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()
        return done & set(range(len(self._parts))) if whole else set()

    def _write_journal(self) -> None:
        write_whole(self._journal, json.dumps({**self._known, "done": sorted(self._done)}))


def write_whole(path: Path, text: str) -> None:
    """The file is as it was or as it shall be, whatever happens."""
    new = path.with_name(path.name + ".new")
    with new.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.rename(path)


def sync_folder(folder: Path) -> None:
    """A rename is on the disk once its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
