# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module runs commands on volumes: alone on its host, and never with a secret among the arguments."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import Refusal
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import Run

LOCK = Path("/run/stronghold/luks.lock")


def runner(run_command: Callable[..., tuple[int, str, str]], *locks: int) -> Run:
    """A module's way to run commands; they inherit the locks, so one that outlives its module is seen."""

    def run(command: Sequence[str], data: str) -> tuple[int, str, str]:
        try:
            return run_command(
                list(command),
                data=data,
                binary_data=True,
                pass_fds=list(locks),
                environ_update={"LC_ALL": "C"},
                handle_exceptions=False,
            )
        except OSError as error:
            return 127, "", str(error)

    return run


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """One run at a time, also after one was killed and left a format behind that goes on."""
    LOCK.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(
                "another run works on this host's volumes, or a command of a killed one still does (fuser "
                f"-v {LOCK}): run again when it has ended"
            ) from None
        yield file.fileno()
