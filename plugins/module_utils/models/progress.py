# SPDX-License-Identifier: GPL-3.0-or-later
"""A long copy says how far it is: a module's own output comes only when it ends."""

from __future__ import annotations

import json
import syslog
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

EVERY_SECONDS = 5.0
EVERY_SHARE = 0.05
AT_MOST_EVERY = 1.0  # seconds: a small model passes 5 % many times in one

GIB = 2**30


@dataclass(frozen=True)
class Snapshot:
    """How far a copy is; bytes of this run and of earlier ones, bytes a second of this run alone."""

    model: str
    state: str  # copying, done, failed
    bytes_done: int
    bytes_total: int
    bytes_per_second: int
    seconds_left: int | None

    def __str__(self) -> str:
        share = self.bytes_done / self.bytes_total if self.bytes_total else 1
        left = "" if self.seconds_left is None else f", {self.seconds_left} s left"
        return (
            f"{self.model}: {self.state}, {share:.0%} of {self.bytes_total / GIB:.2f} GiB, "
            f"{self.bytes_per_second / 1e6:.0f} MB/s{left}"
        )


Report = Callable[[Snapshot], None]


class Progress:
    """Counts bytes from many threads and reports every 5 s or 5 %, whichever comes first."""

    def __init__(
        self, model: str, total: int, report: Report, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model, self._total, self._report, self._clock = model, total, report, clock
        self._done = self._before = 0
        self._start = clock()
        self._last_time, self._last_done = float("-inf"), 0
        self._lock = threading.Lock()

    def found(self, count: int) -> None:
        """Bytes that an earlier run has brought."""
        with self._lock:
            self._done += count
            self._before += count

    def add(self, count: int) -> None:
        """Bytes that came; negative for those of a part that has to come again."""
        with self._lock:
            self._done += count
            since = self._clock() - self._last_time
            more = self._done - self._last_done
            if since >= EVERY_SECONDS or (since >= AT_MOST_EVERY and more >= EVERY_SHARE * self._total):
                self._say("copying")

    def end(self, state: str) -> Snapshot:
        with self._lock:
            return self._say(state)

    @property
    def came(self) -> int:
        """Bytes of this run."""
        return self._done - self._before

    def _say(self, state: str) -> Snapshot:
        self._last_time, self._last_done = self._clock(), self._done
        speed = round(self.came / max(self._last_time - self._start, 0.001))
        left = round((self._total - self._done) / speed) if speed and state == "copying" else None
        snapshot = Snapshot(self._model, state, self._done, self._total, speed, left)
        self._report(snapshot)
        return snapshot


def to_file_and_journal(path: Path) -> Report:
    """Writes each snapshot to `path` (JSON) and a line of it to the journal."""
    syslog.openlog("stronghold-model-fetch", 0, syslog.LOG_DAEMON)

    def report(snapshot: Snapshot) -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(asdict(snapshot)) + "\n")
        new.rename(path)
        syslog.syslog(syslog.LOG_INFO, str(snapshot))

    return report
