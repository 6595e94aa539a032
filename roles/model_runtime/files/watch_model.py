#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""watch_model.py CONFIG STATE METRICS TIMEOUT SILENCES: a look at the model server, by a timer.

A server that hangs still answers /health, so it is asked a real question. One that gives no answer within
TIMEOUT seconds, and computes nothing for others meanwhile, is silent; after SILENCES in a row, all of the
same start, the unit is restarted. While it is being started it is not asked: the unit has a limit for that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import model_socket

UNIT = "stronghold-model.service"
QUESTION = "Say hello in one short sentence."
MICRO = 1e-6

HELP = {
    "serving": ("gauge", "Whether the last question was answered, or others were while it waited."),
    "starting": ("gauge", "Whether the unit is being started, or waits to be tried again."),
    "answer_seconds": ("gauge", "How long the last answer to the watchdog took."),
    "watchdog_silences": ("gauge", "Questions in a row that got no answer."),
    "watchdog_restarts_total": ("counter", "Restarts by the watchdog since the host was installed."),
    "start_seconds": ("gauge", "From the beginning of the last start until this phase was over."),
    "watched_timestamp_seconds": ("gauge", "When this was written."),
}


@dataclass(frozen=True)
class State:
    """What is kept from look to look."""

    invocation: str = ""
    silences: int = 0
    restarts: int = 0

    @classmethod
    def load(cls, path: Path) -> State:
        """A new one where there is none, or none that is whole."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return cls()


@dataclass(frozen=True)
class Look:
    """What was seen: systemd's word for the unit, its answer, whether it worked for others meanwhile."""

    active: str
    invocation: str
    answer: model_socket.Answer | None = None
    works: bool = False

    @property
    def serves(self) -> bool:
        return self.works or (self.answer is not None and self.answer.status == 200)

    @property
    def silent(self) -> bool:
        """Whether a restart may help: a question that is refused (4xx) has been read, and would be again."""
        return not self.works and self.answer is not None and not 200 <= self.answer.status < 500


def judge(state: State, look: Look, limit: int) -> tuple[State, bool]:
    """What is to be kept, and whether to restart."""
    if not look.silent:
        return replace(state, invocation=look.invocation, silences=0), False
    before = state.silences if state.invocation == look.invocation else 0
    if before + 1 < limit:
        return replace(state, invocation=look.invocation, silences=before + 1), False
    return State(look.invocation, 0, state.restarts + 1), True


def shown() -> dict[str, str]:
    """Of the unit: what systemd says."""
    wanted = "ActiveState,InvocationID,ConditionTimestampMonotonic,ExecMainStartTimestampMonotonic"
    done = subprocess.run(
        ["systemctl", "show", f"--property={wanted}", UNIT], capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def look(unit: Mapping[str, str], path: str, model: str, timeout: float) -> Look:
    seen = Look(unit["ActiveState"], unit["InvocationID"])
    if seen.active != "active":
        return seen
    before = model_socket.progress(path)
    answer = model_socket.ask(path, model, QUESTION, tokens=1, timeout=timeout)
    works = False
    if answer.status != 200:
        after = model_socket.progress(path)
        works = None not in (before, after) and after > before
    return replace(seen, answer=answer, works=works)


def phases(unit: Mapping[str, str], reached: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Each phase of the last start with the seconds from its beginning to the end of the phase.

    systemd checks a unit's conditions when it begins with a start; what ran then until the program was
    executed is the check of the weights.
    """
    begin = int(unit["ConditionTimestampMonotonic"] or 0) * MICRO
    executed = int(unit["ExecMainStartTimestampMonotonic"] or 0) * MICRO
    if not begin or executed < begin:
        return
    yield "weights_verified", executed - begin
    names = {"bound": "program_loaded", "listening": "engine_loaded", "ready": "ready"}
    for step, name in names.items():
        if reached.get(step, 0) >= executed:  # else of a start before
            yield name, reached[step] - begin


def metrics(state: State, seen: Look, unit: Mapping[str, str], reached: Mapping[str, float]) -> str:
    values: list[tuple[str, str, float]] = [
        ("serving", "", seen.serves),
        ("starting", "", seen.active in ("activating", "reloading", "deactivating")),
        ("watchdog_silences", "", state.silences),
        ("watchdog_restarts_total", "", state.restarts),
        *(("start_seconds", f'{{phase="{name}"}}', seconds) for name, seconds in phases(unit, reached)),
        ("watched_timestamp_seconds", "", time.time()),
    ]
    if seen.answer is not None and seen.answer.status == 200:
        values.append(("answer_seconds", "", seen.answer.seconds))
    lines = []
    for name, (kind, text) in HELP.items():
        lines += [f"# HELP stronghold_model_{name} {text}", f"# TYPE stronghold_model_{name} {kind}"]
        lines += [f"stronghold_model_{of}{labels} {value:.15g}" for of, labels, value in values if of == name]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Whole, or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)


def read(path: Path) -> dict[str, float]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def main(config: str, kept: str, told: str, timeout: str, limit: str) -> None:
    served = json.loads(Path(config).read_text())
    unit = shown()
    seen = look(unit, served["socket"], served["model"], float(timeout))
    state, restart = judge(State.load(Path(kept)), seen, int(limit))
    if seen.answer is not None and not seen.serves:
        print(f"{UNIT}: no answer within {timeout} s: {seen.answer.status} {seen.answer.text[:200]}")
    # Somebody else may have restarted it while it was asked; then the new start is to be given its time.
    if restart and shown()["InvocationID"] == seen.invocation:
        print(f"{UNIT}: {limit} questions in a row without an answer, and no work for others: restarting it")
        subprocess.run(["systemctl", "restart", "--no-block", UNIT], check=True)
    elif restart:
        state = replace(state, restarts=state.restarts - 1)
    write(Path(kept), json.dumps(asdict(state)) + "\n")
    write(Path(told), metrics(state, seen, unit, read(Path(served["socket"]).with_name("start.json"))))


if __name__ == "__main__":
    main(*sys.argv[1:])
