# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner's benchmark makes of what it measures."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import from_data, to_data

from tests.bench import planner, planner_logs


def point(hosts: int, seconds: float) -> dict[str, float]:
    return {
        "hosts": hosts,
        "read_seconds": seconds,
        "plan_seconds": seconds,
        "refuse_seconds": 0.5,
        "peak_mb": 61.7,
    }


def test_a_host_that_costs_as_much_in_a_large_fleet_as_in_a_small_one_is_linear() -> None:
    points = [point(10, 0.1), point(100, 1.0), point(1000, 30.0)]
    assert planner.against_linear(points, "read_seconds") == pytest.approx([1.0, 1.0, 3.0])
    assert [row[-1] for row in planner.curve_rows(points)] == ["1.00", "1.00", "3.00"]
    assert planner.curve_rows(points)[0] == ["10", "0.100", "0.100", "0.500", "62", "1.00"]


def test_the_fleet_of_the_benchmark_is_what_the_module_could_be_given() -> None:
    hosts = list(planner.fleet(20))
    assert [from_data(to_data(host)) for host in hosts] == hosts
    assert len({host.host for host in hosts}) == 20
    assert len({gpu.uuid for host in hosts for gpu in host.gpus}) == 160


def record(**changes: Any) -> dict[str, Any]:
    options = {
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": None,
        "gpu_memory_utilization": None,
        "max_model_len": None,
    }
    return {
        "card": {"name": "NVIDIA L40S"},
        "options": options,
        "model": {"config": {"max_position_embeddings": 4096}},
        "seen": {"model_loading_gib": 10.0, "weights_gib_in_profile": None},
        **changes,
    }


def test_a_peer_is_told_the_weights_of_all_ranks_as_the_engine_logged_them() -> None:
    asked = planner_logs.case(record(), 99.0)
    assert asked
    assert asked["parameters"] == {"BF16": 10 * 2**30}
    assert (asked["memory_gb"], asked["context"], asked["utilization"]) == (48, 4096, 0.9)


def test_weights_that_were_not_logged_are_those_that_are_predicted() -> None:
    asked = planner_logs.case(record(seen={"model_loading_gib": None, "weights_gib_in_profile": None}), 3.0)
    assert asked
    assert asked["parameters"] == {"BF16": 3 * 2**30}


def test_a_card_is_sold_with_what_its_name_says() -> None:
    asked = planner_logs.case(record(card={"name": "NVIDIA A100 40GB"}), 1.0)
    assert asked
    assert asked["memory_gb"] == 40


def test_a_log_without_a_card_is_not_asked_about() -> None:
    assert planner_logs.case(record(card={"name": None}), 1.0) is None


def test_what_is_not_given_counts_as_no_answer_and_not_as_a_right_one() -> None:
    errors = [planner_logs.error(110, 100), planner_logs.error(80, 100), planner_logs.error(None, 100)]
    assert planner_logs.summary(errors) == {
        "logs": 3,
        "answered": 2,
        "within_15_percent": 1,
        "median": pytest.approx(0.2),
        "worst": pytest.approx(0.2),
    }
    assert planner_logs.summary([None])["median"] is None


def test_a_row_says_what_each_gives_and_what_it_does_not() -> None:
    compared = {
        "log": "a",
        "seen": 1000,
        "ours": 1050,
        "peers": {"llm-d-planner": {"error": "KeyError"}, "hf-mem": {"cache_bytes_per_token": 131072.0}},
    }
    assert planner_logs.rows([compared]) == [
        ["a", "1,000", "1,050", "+5.0%", "not given", "", "128 KiB a token"]
    ]


def test_the_summary_of_a_peer_that_answers_nothing_has_no_errors() -> None:
    _, [row] = planner_logs.summary_table({"peer": planner_logs.summary([None, None])})
    assert row == ["peer", "2", "0", "0", "not given", "not given"]
