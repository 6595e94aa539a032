# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done next with each journal file on its way from the warm tier to the object store.

A file is written (`active`), closed, packed (compressed, as it stays while the store is away), stored, and
only then removed. Each step can be seen in the files and in the store, nothing else is remembered: a run
that was killed anywhere is gone on with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

# systemd.io, JOURNAL_FILE_FORMAT: little-endian, the offsets of what is read here.
MAGIC = b"LPKSHHRH"
HEADER_BYTES = 208
STATE, SEQNUM_ID, HEAD_SEQNUM, HEAD_REALTIME, TAIL_REALTIME = 16, 72, 168, 184, 192
ARCHIVED = 2
# As journald names a file that it closes: @seqnum_id-first_seqnum-first_microsecond, or, found damaged,
# @microsecond-random and a tilde.
CLOSED = re.compile(
    r".+@(?:[0-9a-f]{32}-[0-9a-f]{16}-(?P<first>[0-9a-f]{16})\.journal"
    r"|(?P<damaged>[0-9a-f]{16})-[0-9a-f]{16}\.journal~)"
)


class Step(Enum):
    KEEP = "keep"
    CLOSE = "close"
    PACK = "pack"
    STORE = "store"
    REMOVE = "remove"


@dataclass(frozen=True)
class Header:
    """Of a journal file: its sequence, and the first and last entry's microsecond since 1970 (0: no entry).

    archived: its writer has closed it for good.
    """

    archived: bool
    seqnum_id: str
    head_seqnum: int
    head_usec: int
    tail_usec: int

    @classmethod
    def read(cls, data: bytes) -> Header | None:
        """None for what is not a journal file, or not one yet."""
        if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
            return None
        head_seqnum, head_usec, tail_usec = (
            int.from_bytes(data[at : at + 8], "little") for at in (HEAD_SEQNUM, HEAD_REALTIME, TAIL_REALTIME)
        )
        archived = data[STATE] == ARCHIVED
        return cls(archived, data[SEQNUM_ID : SEQNUM_ID + 16].hex(), head_seqnum, head_usec, tail_usec)

    def closed_name(self, host: str) -> str:
        return f"{host}@{self.seqnum_id}-{self.head_seqnum:016x}-{self.head_usec:016x}.journal"


@dataclass(frozen=True)
class Digest:
    size: int
    sha256: str


@dataclass(frozen=True)
class JournalFile:
    """One file of a host, by its name before it is packed.

    size: bytes as it was written, 0 when only the packed one is left. age: seconds since its first entry
    (active) or since its last one (closed). packed: its compressed form. stored: what the store gives back.
    """

    host: str
    name: str
    size: int
    active: bool
    age: float
    packed: Digest | None = None
    stored: Digest | None = None

    @property
    def key(self) -> str:
        return key(self.host, self.name)


@dataclass(frozen=True)
class Rules:
    """close_after, archive_after: seconds. pressed: the warm tier is short of space, no age is waited for."""

    close_after: float
    archive_after: float
    pressed: bool = False


def key(host: str, name: str) -> str:
    """host/year/month/file.zst, by the file's first entry: the same whenever it is asked for."""
    match = CLOSED.fullmatch(name)
    if not match:
        raise ValueError(f"{host}/{name} is not the name of a closed journal file")
    first = datetime.fromtimestamp(int(match["first"] or match["damaged"], 16) / 1_000_000, UTC)
    return f"{host}/{first:%Y}/{first:%m}/{name}.zst"


def next_step(file: JournalFile, rules: Rules) -> Step:
    """REMOVE is said for nothing but a packed file that the store has given back, byte for byte."""
    if file.active:
        return Step.CLOSE if file.age >= rules.close_after else Step.KEEP
    if file.size:
        # Packed already, and still here: a run was killed in between, and it is packed again.
        due = rules.pressed or file.packed is not None or file.age >= rules.archive_after
        return Step.PACK if due else Step.KEEP
    return Step.REMOVE if file.stored == file.packed else Step.STORE


def shut(free_bytes: int, keep_free_bytes: int, shut_now: bool) -> bool:
    """Whether nothing more may be received. It opens again at twice the room, not at the first byte."""
    return free_bytes < keep_free_bytes * (2 if shut_now else 1)


def in_order(files: Iterable[JournalFile]) -> list[JournalFile]:
    """The oldest first, and what only has to be stored before all else."""
    return sorted(files, key=lambda file: (file.size > 0, -file.age, file.host, file.name))


@dataclass(frozen=True)
class Report:
    """What a run saw at its end; times in seconds since 1970, 0 for never."""

    waiting: Sequence[JournalFile]
    failures: int
    last_success: float
    free_bytes: int
    size_bytes: int
    receiving: bool
    last_entry: dict[str, float] = field(default_factory=dict)


def metrics(report: Report) -> str:
    """The text that node-exporter reads."""
    closed = [file for file in report.waiting if not file.active]
    sizes = sum(file.size + (file.packed.size if file.packed else 0) for file in report.waiting)
    values = {
        "backlog_files": (
            "Closed journal files on the warm tier that are not in the store yet.",
            len(closed),
        ),
        "warm_bytes": ("Bytes of all journal files on the warm tier.", sizes),
        "oldest_seconds": (
            "Age of the oldest closed file on the warm tier.",
            max((file.age for file in closed), default=0),
        ),
        "failures": ("Files whose step failed in the last run.", report.failures),
        "last_success_timestamp_seconds": ("When a run last ended without a failure.", report.last_success),
        "free_bytes": ("Space left on the warm tier.", report.free_bytes),
        "size_bytes": ("Size of the warm tier.", report.size_bytes),
        "receiving": (
            "1 while journals are received, 0 while the warm tier is too full for more.",
            report.receiving,
        ),
    }
    lines = []
    for name, (meaning, value) in values.items():
        metric = f"stronghold_log_archive_{name}"
        lines += [f"# HELP {metric} {meaning}", f"# TYPE {metric} gauge", f"{metric} {round(value)}"]
    metric = "stronghold_log_archive_last_entry_timestamp_seconds"
    lines += [f"# HELP {metric} When the newest entry of a host was made.", f"# TYPE {metric} gauge"]
    lines += [f'{metric}{{source="{host}"}} {round(at)}' for host, at in sorted(report.last_entry.items())]
    return "\n".join(lines) + "\n"
