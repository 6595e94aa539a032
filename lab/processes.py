# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the machine's processes are this lab's, told by their command lines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def commands() -> Iterator[tuple[int, list[str]]]:
    """Every process id with its command line, words apart."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")


def children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def send(number: int, *processes: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
