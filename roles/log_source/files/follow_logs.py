#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends what is appended to log files to the journal, whole lines, through rotations and restarts.

follow_logs.py PATTERN…: the files, without their rotated names. How far each was sent lies in
$STATE_DIRECTORY. A kill between sending and remembering sends at most READ_BYTES again, and loses nothing.
"""

from __future__ import annotations

import glob
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import follow

JOURNAL = "/run/systemd/journal/socket"
READ_BYTES = 262144
# A host that has nothing to say says so: silence then means that something is broken.
HEARTBEAT_SECONDS = 3600


class Journal:
    """Blocks when journald is behind, and waits when it is away: neither loses a line."""

    def __init__(self, path: str = JOURNAL) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(self, message: bytes, path: str) -> None:
        while True:
            try:
                self._socket.sendto(follow.datagram(message, path), self._path)
                return
            except (ConnectionRefusedError, FileNotFoundError):
                time.sleep(0.2)


class Positions:
    """How far each file was sent, over restarts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[follow.Position]] = {}
        if path.exists():
            for base, kept in json.loads(path.read_text()).items():
                self._known[base] = [follow.Position(i, o, bytes.fromhex(head)) for i, o, head in kept]

    def of(self, base: Path) -> list[follow.Position]:
        return self._known.get(str(base), [])

    def keep(self, base: Path, positions: list[follow.Position]) -> None:
        if positions == self.of(base):
            return
        self._known[str(base)] = positions
        kept = {
            name: [(p.inode, p.offset, p.head.hex()) for p in known] for name, known in self._known.items()
        }
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(kept))
        draft.replace(self._path)


def series(base: Path) -> list[Path]:
    """A log and its rotated files that are not compressed, the oldest first."""
    rotated = [p for p in base.parent.glob(glob.escape(base.name) + ".*") if re.fullmatch(r"\.\d+", p.suffix)]
    rotated.sort(key=lambda path: -int(path.suffix[1:]))
    return [*rotated, base]


def send_rest(
    stream: BinaryIO, base: Path, known: Sequence[follow.Position], journal: Journal
) -> Iterator[follow.Position]:
    """Sends what is new in one file, and says after each piece how far it came."""
    status = os.fstat(stream.fileno())

    def head() -> bytes:
        return os.pread(stream.fileno(), follow.HEAD_BYTES, 0)

    offset = follow.start(follow.LogFile(status.st_ino, status.st_size, head()), known)
    while True:
        data = os.pread(stream.fileno(), READ_BYTES, offset)
        length = follow.whole_lines(data, len(data) == READ_BYTES)
        for message in follow.messages(data[:length]):
            journal.send(message, str(base))
        offset += length
        yield follow.Position.of(follow.LogFile(status.st_ino, offset, head()), offset)
        if not length:
            return


def read_on(base: Path, journal: Journal, positions: Positions) -> None:
    known = positions.of(base)
    for path in series(base):
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            continue  # rotated a moment ago: it is found under its next name in a second
        with stream:
            for reached in send_rest(stream, base, known, journal):
                known = follow.remembered(known, reached)
                positions.keep(base, known)


def main(patterns: Sequence[str]) -> None:
    journal, positions = Journal(), Positions(Path(os.environ["STATE_DIRECTORY"]) / "positions.json")
    heartbeat = 0.0
    while True:
        logs = sorted({path for pattern in patterns for path in Path("/").glob(pattern.removeprefix("/"))})
        if time.monotonic() - heartbeat > HEARTBEAT_SECONDS or not heartbeat:
            heartbeat = time.monotonic()
            journal.send(f"following {len(logs)} files".encode(), "")
        for log in logs:
            read_on(log, journal, positions)
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1:])
