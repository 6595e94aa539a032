# SPDX-License-Identifier: GPL-3.0-or-later
"""How the host's commands are run: a function that the module gives, or a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# Arguments and standard input; exit status, standard output and standard error.
Run = Callable[[Sequence[str], str], tuple[int, str, str]]


class CommandError(Exception):
    """A command that had to succeed did not; the message is its first word and what it said."""


def must(run: Run, *command: str, data: str = "") -> str:
    code, out, error = run(command, data)
    if code:
        raise CommandError(f"{command[0]} says: {error.strip() or f'exit status {code}'}")
    return out


def may(run: Run, *command: str) -> str:
    """What it printed, or nothing if it failed."""
    code, out, _ = run(command, "")
    return "" if code else out


def first_line(error: str) -> str:
    return error.strip().partition("\n")[0]
