# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of ansible-playbook did and how long it took, read from the events of ansible.posix.jsonl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from lab.site import REPOSITORY

# What became of a task on a host, from how its event is called.
OUTCOMES = {
    "v2_runner_on_ok": "executed",
    "v2_runner_on_failed": "executed",
    "v2_runner_on_unreachable": "executed",
    "v2_runner_on_skipped": "skipped",
}
# What the controller does by itself: no host hears of it.
CONTROLLER = {
    *(f"ansible.builtin.{name}" for name in ("assert", "debug", "fail", "include_role", "include_tasks")),
    *(f"ansible.builtin.{name}" for name in ("include_vars", "meta", "set_fact", "validate_argument_spec")),
    "stronghold.llm.claim",
}
BROKEN = ("v2_runner_on_failed", "v2_runner_on_unreachable")
STARTS = ("v2_playbook_on_task_start", "v2_playbook_on_handler_task_start")
CLOSES = ("v2_playbook_on_play_start", "v2_playbook_on_stats")


@dataclass(frozen=True)
class Task:
    """One task of a run; `seconds` pass until the next one starts, whatever they are spent on."""

    name: str
    action: str
    executed: frozenset[str]
    skipped: frozenset[str]
    seconds: float

    @property
    def heard(self) -> frozenset[str]:
        """The hosts that had something to do for it."""
        return frozenset() if self.action in CONTROLLER else self.executed


@dataclass(frozen=True)
class Phase:
    """One play of a run."""

    name: str
    tasks: tuple[Task, ...]
    seconds: float
    failures: tuple[str, ...] = ()

    def count(self, what: str) -> int:
        """Tasks times the hosts where they were `executed`, `heard` or `skipped`."""
        return sum(len(getattr(task, what)) for task in self.tasks)


@dataclass(frozen=True)
class Run:
    """`seconds` is the wall time of the command, with its start and end; the phases lie within."""

    phases: tuple[Phase, ...]
    seconds: float

    def count(self, what: str) -> dict[str, int]:
        """Host -> tasks that were `executed`, `heard` or `skipped` there."""
        tasks = (task for phase in self.phases for task in phase.tasks)
        return dict(Counter(host for task in tasks for host in getattr(task, what)))

    def slowest(self, number: int) -> list[tuple[Phase, Task]]:
        tasks = [(phase, task) for phase in self.phases for task in phase.tasks]
        return sorted(tasks, key=lambda found: found[1].seconds, reverse=True)[:number]


def phases(events: Iterable[dict[str, Any]]) -> Iterator[Phase]:
    """Each phase as soon as it is over. A play that had no task to run is none."""
    play: list[dict[str, Any]] = []
    for event in events:
        if event["_event"] in CLOSES:
            yield from _phase(play, _when(event))
            play = []
        play.append(event)


def _phase(events: Sequence[dict[str, Any]], end: float) -> Iterator[Phase]:
    starts = [place for place, event in enumerate(events) if event["_event"] in STARTS]
    if not starts:
        return
    parts = [events[start:following] for start, following in pairwise([*starts, len(events)])]
    ends = [*(_when(part[0]) for part in parts[1:]), end]
    tasks = tuple(_task(part, until) for part, until in zip(parts, ends, strict=True))
    failures = tuple(text for event in events for text in _failures(event))
    yield Phase(events[0]["play"]["name"], tasks, end - _when(events[0]), failures)


def _task(events: Sequence[dict[str, Any]], end: float) -> Task:
    action, hosts = "", {"executed": set[str](), "skipped": set[str]()}
    for event in events:
        if outcome := OUTCOMES.get(event["_event"]):
            hosts[outcome].update(event["hosts"])
            action = next(iter(event["hosts"].values()))["action"]
    executed, skipped = map(frozenset, hosts.values())
    return Task(events[0]["task"]["name"], action, executed, skipped, end - _when(events[0]))


def _failures(event: dict[str, Any]) -> Iterator[str]:
    if event["_event"] in BROKEN:
        for host, result in event["hosts"].items():
            yield f"{host}: {event['task']['name']}: {result.get('msg', 'failed')}"


def _when(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["_timestamp"]).timestamp()


def pings(run: Run, what: str) -> list[dict[str, Any]]:
    """A playbook that pings, once for each task of the run, the hosts where it was `executed` or `heard`.

    A play's name is its phase's; neighbours with the same hosts share one, and a phase may need several.
    """
    plays = []
    for phase in run.phases:
        for hosts, same in groupby(filter(None, (getattr(task, what) for task in phase.tasks))):
            way = {"connection": "local"} if hosts == {"localhost"} else {"become": True}
            plays.append(
                {
                    "name": phase.name,
                    "hosts": sorted(hosts),
                    **way,
                    "gather_facts": False,
                    "tasks": [{"name": "Ping", "ansible.builtin.ping": {}} for _ in same],
                }
            )
    return plays


def merged(run: Run) -> dict[str, Phase]:
    """Phase name -> all plays of that name as one."""
    found: dict[str, Phase] = {}
    for phase in run.phases:
        had = found.get(phase.name, Phase(phase.name, (), 0.0))
        found[phase.name] = replace(had, tasks=had.tasks + phase.tasks, seconds=had.seconds + phase.seconds)
    return found


def play(*arguments: str) -> Run:
    """ansible-playbook against the lab, a line for each phase; a run that fails ends the benchmark."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/lab", *arguments]
    # Unbuffered, or a phase would show long after its end.
    events = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl", "PYTHONUNBUFFERED": "1"}
    found = []
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=REPOSITORY, env={**os.environ, **events}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        # Other callbacks say a word too, which is no JSON.
        for phase in phases(json.loads(line) for line in process.stdout if line.startswith("{")):
            print(f"  {phase.seconds:6.1f} s  {phase.name}", flush=True)
            found.append(phase)
    seconds = time.monotonic() - began
    if process.returncode:
        reasons = "".join(f"\n  - {reason}" for phase in found for reason in phase.failures)
        raise SystemExit(f"ansible-playbook {' '.join(arguments)} failed:{reasons}")
    return Run(tuple(found), seconds)
