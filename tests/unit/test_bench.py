# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks make of the events and times that they measure."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.site.table import text_table

from tests.bench import gateway, report
from tests.bench.runs import Phase, Run, Task, merged, phases, pings


def task(name: str, *hosts: str, skipped: tuple[str, ...] = (), action: str = "ansible.builtin.copy") -> Task:
    return Task(name, action, frozenset(hosts), frozenset(skipped), 1.0)


def run(*found: Phase) -> Run:
    return Run(found, sum(phase.seconds for phase in found))


def events(*kinds: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One a second, in the form of ansible.posix.jsonl (constructed)."""
    clock = count()
    return [
        {"_event": f"v2_{kind}", "_timestamp": f"2026-01-01T00:00:{next(clock):02}.500000Z", **content}
        for kind, content in kinds
    ]


def begins(name: str) -> tuple[str, dict[str, Any]]:
    return "playbook_on_task_start", {"task": {"name": name}}


def ends(name: str, how: str, host: str, **result: Any) -> tuple[str, dict[str, Any]]:
    result["action"] = "ansible.builtin.copy"
    return f"runner_on_{how}", {"task": {"name": name}, "hosts": {host: result}}


PLAYED = events(
    ("playbook_on_play_start", {"play": {"name": "On no host"}}),
    ("playbook_on_play_start", {"play": {"name": "Zones"}}),
    begins("Rules are in place"),
    ends("Rules are in place", "ok", "edge1"),
    ends("Rules are in place", "skipped", "core1"),
    begins("Rules hold"),
    ends("Rules hold", "failed", "edge1", msg="a hole"),
    ("playbook_on_stats", {"stats": {}}),
)


def test_a_play_without_tasks_is_no_phase() -> None:
    assert [phase.name for phase in phases(PLAYED)] == ["Zones"]


def test_a_skipped_task_is_not_counted_as_executed() -> None:
    [zones] = phases(PLAYED)
    assert [(found.executed, found.skipped) for found in zones.tasks] == [
        ({"edge1"}, {"core1"}),
        ({"edge1"}, set()),
    ]
    assert run(zones).count("executed") == {"edge1": 2}
    assert run(zones).count("skipped") == {"core1": 1}


def test_a_task_takes_until_the_next_one_starts_and_the_last_one_until_the_end() -> None:
    [zones] = phases(PLAYED)
    assert [found.seconds for found in zones.tasks] == [3.0, 2.0]
    assert zones.seconds == 6.0
    assert run(zones).slowest(1) == [(zones, zones.tasks[0])]


def test_a_failure_names_host_and_task() -> None:
    [zones] = phases(PLAYED)
    assert zones.failures == ("edge1: Rules hold: a hole",)


def test_there_are_as_many_pings_as_executions_on_the_same_hosts_in_the_same_order() -> None:
    ran = run(
        Phase(
            "Baseline", (task("a", "x", "y"), task("b", "x", "y"), task("c", "x"), task("d", "x", "y")), 4.0
        ),
        Phase("Zones", (task("e", "x", "y"), task("f", skipped=("x",))), 2.0),
    )
    plays = pings(ran, "executed")
    assert [(play["name"], play["hosts"], len(play["tasks"])) for play in plays] == [
        ("Baseline", ["x", "y"], 2),
        ("Baseline", ["x"], 1),
        ("Baseline", ["x", "y"], 1),
        ("Zones", ["x", "y"], 1),
    ]
    assert sum(len(play["hosts"]) * len(play["tasks"]) for play in plays) == sum(
        ran.count("executed").values()
    )


def test_what_the_controller_does_by_itself_is_not_pinged_for_those_that_a_host_hears_of() -> None:
    said = task("b", "x", action="stronghold.llm.claim")
    ran = run(Phase("Zones", (task("a", "x"), said), 2.0))
    assert [len(play["tasks"]) for play in pings(ran, "executed")] == [2]
    assert [len(play["tasks"]) for play in pings(ran, "heard")] == [1]
    assert ran.count("heard") == {"x": 1}


def test_the_controller_is_pinged_without_ssh_and_as_itself() -> None:
    ran = run(Phase("Preflight", (task("a", "localhost"), task("b", "core1")), 2.0))
    [here, there] = pings(ran, "executed")
    assert here["connection"] == "local"
    assert "become" not in here
    assert there["become"]
    assert "connection" not in there


def test_the_plays_of_one_phase_are_added_up() -> None:
    ran = run(Phase("Zones", (task("a", "x", "y"),), 1.5), Phase("Zones", (task("b", "x"),), 2.0))
    [zones] = merged(ran).values()
    assert (zones.name, zones.count("executed"), zones.seconds) == ("Zones", 3, 3.5)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 50, 2.0),
        (list(range(1, 301)), 99, 297),
        ([7.0], 99, 7.0),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(
    values: list[float], percent: float, expected: float
) -> None:
    assert report.percentile(values, percent) == expected


def test_no_measurement_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no value was measured"):
        report.percentile([], 50)


def test_a_table_keeps_numbers_under_each_other() -> None:
    assert text_table(["host", "tasks"], [["edge1", "7"], ["a", "120"]]).splitlines() == [
        "host   tasks",
        "-----  -----",
        "edge1      7",
        "a        120",
    ]


def test_the_processor_is_named_as_the_kernel_names_it() -> None:
    assert report.cpu_model("processor\t: 0\nmodel name\t: AMD EPYC 9R14\n") == "AMD EPYC 9R14"


def test_what_the_gateway_adds_is_the_difference_of_the_percentiles() -> None:
    compared = gateway.compare({"socket": [1.0, 2.0], "endpoint": [3.0, 5.0], "gateway": [7.0, 11.0]})
    assert compared["endpoint_adds"] == {"p50": 2.0, "p99": 3.0}
    assert compared["waf_adds"] == {"p50": 4.0, "p99": 6.0}
    assert compared["gateway_adds"] == {"p50": 6.0, "p99": 9.0}


def test_a_new_body_differs_inside_and_outside_of_its_prompt_and_keeps_its_size() -> None:
    one, other = (json.loads(gateway.body(1000, number)) for number in (1, 2))
    assert one["seed"] != other["seed"]
    texts = [request["messages"][0]["content"] for request in (one, other)]
    assert texts[0][-8:] != texts[1][-8:]
    assert [len(text) for text in texts] == [1000, 1000]
