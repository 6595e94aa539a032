# SPDX-License-Identifier: GPL-3.0-or-later
"""Where to read on in log files that are rotated while they are read.

A file is known by how it begins, not by its name or inode: renaming keeps its inode, `copytruncate` does not
keep that either. Every file of a rotation is looked at again, as a server writes on into a renamed one until
it is told to open its log anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The first line of a log has a time in it: this much of it is one file's own.
HEAD_BYTES = 256
# More than any rotation leaves uncompressed, and few enough to be written each second.
REMEMBERED = 64
# A datagram to journald may have some 200 KiB; a longer line goes in pieces.
PIECE_BYTES = 32768


@dataclass(frozen=True)
class LogFile:
    """A file as it lies there: its inode, size in bytes, and first HEAD_BYTES."""

    inode: int
    size: int
    head: bytes


@dataclass(frozen=True)
class Position:
    """How far a file was sent, in bytes, and how it began."""

    inode: int
    offset: int
    head: bytes

    @classmethod
    def of(cls, file: LogFile, offset: int) -> Position:
        return cls(file.inode, offset, file.head[: min(offset, HEAD_BYTES)])


def start(file: LogFile, known: Sequence[Position]) -> int:
    """The offset to read on from: 0 for a file that was never seen.

    Of two positions that fit, the file's own inode wins, then the earlier one: a line twice, not never.
    """
    fitting = [
        position
        for position in known
        if 0 < position.offset <= file.size and file.head.startswith(position.head)
    ]
    fitting.sort(key=lambda position: (position.inode != file.inode, position.offset))
    return fitting[0].offset if fitting else 0


def remembered(known: Sequence[Position], reached: Position) -> list[Position]:
    """The positions with a newer one. The last REMEMBERED are kept, also of files that are not there now: one
    that is renamed while it is looked for is found again under its next name.
    """
    others = [position for position in known if position.inode != reached.inode]
    return [*others, *([reached] if reached.offset else [])][-REMEMBERED:]


def whole_lines(data: bytes, full: bool) -> int:
    """How many bytes of what was read may be sent: up to the last line's end.

    `full` says that as much was read as is read at once; a line that fills all of it is sent as it is.
    """
    end = data.rfind(b"\n") + 1
    return end or (len(data) if full else 0)


def messages(data: bytes) -> list[bytes]:
    """The lines without their ends; empty ones say nothing, long ones come in pieces."""
    return [
        line[at : at + PIECE_BYTES] for line in data.split(b"\n") for at in range(0, len(line), PIECE_BYTES)
    ]


def datagram(message: bytes, path: str) -> bytes:
    """One entry in journald's native protocol (systemd.io, JOURNAL_NATIVE_PROTOCOL), which takes any byte."""
    fields = f"PRIORITY=6\nSYSLOG_IDENTIFIER=log-follow\nLOG_FILE={path}\n".encode()
    return fields + b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n"
