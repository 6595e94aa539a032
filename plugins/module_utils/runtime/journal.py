# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a model server did not start, out of its journal, beside what was planned; standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LAST = 5
"""Lines that are shown where none is an error that we know."""

_PREFIX = re.compile(r"^(?:\([^)]*\) )?(?:(?:ERROR|CRITICAL) \S+ \S+ \[[^\]]*\] )?")
"""What vLLM writes before each line: process, level, date, time, place in its source (0.32.0)."""

_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception)(?:\[\w+\])?: \S")
_POINTER = re.compile(r"root cause|See stack trace")
"""An error of vLLM's that only says that there was another one (v1/engine/utils.py, 0.32.0)."""

_KILLED = re.compile(r"killed by the OOM killer|oom-kill")
"""systemd's words for what the kernel did."""


def why(lines: Sequence[str]) -> str:
    """The last error that says something; else the journal's last lines."""
    said = [_PREFIX.sub("", line.rstrip()) for line in lines if line.strip()]
    errors = [line for line in said if _ERROR.match(line) and not _POINTER.search(line)]
    killed = [line for line in said if _KILLED.search(line)]
    if killed:
        return f"the kernel ended it for want of memory ({killed[0]})"
    return errors[-1] if errors else " / ".join(said[-LAST:]) or "its journal is empty"


def planned(plan: Mapping[str, Any] | None, host: str) -> str:
    """The plan's memory for this host, in one sentence; empty where it has none."""
    for replica in (plan or {}).get("replicas", ()):
        if host in [share["host"] for share in replica["shares"]]:
            memory, serving = replica["memory"], replica["serving"]
            share = serving["gpu_memory_utilization"]
            return (
                f"planned were {memory['budget']:.1f} of {memory['total']:.1f} GiB of {replica['device']}"
                + (f" (gpu_memory_utilization {share:g})" if share else "")
                + f": weights {memory['weights']:.1f}, activations {memory['activations']:.1f}, "
                f"the engine's own {memory['non_torch'] + memory['graphs']:.1f}, KV cache "
                f"{memory['kv_cache']:.1f} GiB, for {serving['max_num_seqs']} sequences of "
                f"{serving['max_model_len']} tokens"
            )
    return ""


def failure(lines: Sequence[str], plan: Mapping[str, Any] | None, model: str, host: str) -> str:
    """The error of a run that could not start the model."""
    parts = [f"{host}: {model}: the engine does not start: {why(lines)}", planned(plan, host)]
    return "; ".join(part for part in parts if part) + "; journalctl --unit stronghold-model has the rest"
