# SPDX-License-Identifier: GPL-3.0-or-later
"""The time of the first and of the second converge, and of the second against pings.

The second converge changes nothing, so it is the price of looking. A ping is the least that a task can cost:
as many of them, on the same hosts and in the same order, are measured in the same run. Once for all tasks,
and once for those that a host hears of: an include, an assertion or a claim is the controller's business. A
loop counts as one task.
"""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.stronghold.llm.plugins.module_utils.site.table import text_table

from tests.bench import labs, report
from tests.bench.runs import Run, merged, pings, play

SLOWEST = 12
COUNTS = ("executed", "heard", "skipped")


def measure() -> dict[str, Any]:
    with labs.a_lab() as bare:
        bundle = labs.bundle()
        labs.step("First converge")
        first = play("site.yml")
        labs.step("Second converge")
        second = play("site.yml")
        labs.step("As many pings as tasks")
        pinged = _ping(second, "executed")
        labs.step("As many pings as tasks that a host hears of")
        heard = _ping(second, "heard")
    runs = {"bundle": bundle, "first": first, "second": second, "ping": pinged, "ping_heard": heard}
    return {
        "bare": bare,
        "seconds": {name: run.seconds for name, run in runs.items()},
        "ratio": second.seconds / pinged.seconds,
        "ratio_heard": second.seconds / heard.seconds,
        "hosts": {name: _hosts(runs[name]) for name in ("first", "second")},
        "phases": _phases(first, second, pinged, heard),
        "slowest": [
            {"phase": phase.name, "task": task.name, "hosts": len(task.executed), "seconds": task.seconds}
            for phase, task in second.slowest(SLOWEST)
        ],
    }


def _ping(run: Run, what: str) -> Run:
    report.FOLDER.mkdir(parents=True, exist_ok=True)
    book = report.FOLDER / f"ping_{what}.yml"
    book.write_text(yaml.safe_dump(pings(run, what), sort_keys=False))
    return play(str(book))


def _hosts(run: Run) -> dict[str, dict[str, int]]:
    counts = {what: run.count(what) for what in COUNTS}
    hosts = sorted(set().union(*counts.values()))
    return {host: {what: counts[what].get(host, 0) for what in COUNTS} for host in hosts}


def _phases(first: Run, second: Run, pinged: Run, heard: Run) -> list[dict[str, Any]]:
    """Of each phase of the second converge: tasks times hosts, and seconds in each run."""
    others = {"first": merged(first), "ping": merged(pinged), "ping_heard": merged(heard)}
    found = []
    for name, phase in merged(second).items():
        seconds = {run: phases[name].seconds if name in phases else 0.0 for run, phases in others.items()}
        counts = {what: phase.count(what) for what in COUNTS}
        found.append({"phase": name, **counts, "second": phase.seconds, **seconds})
    return found


def ratio(seconds: float, floor: float) -> str:
    return f"{seconds / floor:.2f}" if floor else "-"


def show(measured: dict[str, Any]) -> None:
    seconds = measured["seconds"]
    labs.step("Wall time")
    where = "bare hosts" if measured["bare"] else "hosts as they were found"
    names = {
        "bundle": "bundle, what was not collected yet",
        "first": f"first converge, {where}",
        "second": "second converge",
        "ping": "as many pings as it has tasks",
        "ping_heard": "as many as it has tasks that a host hears of",
    }
    rows = [
        [text, f"{seconds[name]:.1f}", ratio(seconds["second"], seconds[name]) if "ping" in name else ""]
        for name, text in names.items()
    ]
    print(text_table(["", "seconds", "second / this"], rows))

    labs.step("Tasks of a host")
    runs = measured["hosts"]
    rows = [
        [host, *(str(run[host][what]) if host in run else "0" for run in runs.values() for what in COUNTS)]
        for host in runs["second"]
    ]
    print(text_table(["host", *(f"{run}: {what}" for run in runs for what in COUNTS)], rows))

    labs.step("Phases: tasks times hosts of the second converge, and seconds")
    rows = [
        [
            phase["phase"].partition(",")[0],
            *(str(phase[what]) for what in COUNTS),
            *(f"{phase[run]:.1f}" for run in ("first", "second", "ping", "ping_heard")),
            ratio(phase["second"], phase["ping"]),
            ratio(phase["second"], phase["ping_heard"]),
        ]
        for phase in measured["phases"]
    ]
    header = ["phase", *COUNTS, "first", "second", "ping", "ping heard", "ratio", "ratio heard"]
    print(text_table(header, rows))

    labs.step("The slowest tasks of the second converge")
    rows = [
        [f"{slow['phase'].partition(':')[0]}: {slow['task']}", str(slow["hosts"]), f"{slow['seconds']:.2f}"]
        for slow in measured["slowest"]
    ]
    print(text_table(["task", "hosts", "seconds"], rows))


def main() -> None:
    measured = measure()
    show(measured)
    report.keep("converge", measured)


if __name__ == "__main__":
    main()
