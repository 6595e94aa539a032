# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `model_plan` answers, and what it cannot read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning.answers import answer
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Topology,
    TopologyError,
    to_data,
)

from lab.site import REPOSITORY
from tests.fleets import A10, host, processors

CONFIG = str(REPOSITORY / "inventories/datacentre-70b/models/deepseek-r1-distill-llama-70b/config.json")
WISH = {"engine": "vllm", "engine_version": "0.33.0", "context_tokens": 8192, "sequences": 8}


def asked(*hosts: Topology, **changes: Any) -> dict[str, Any]:
    question: dict[str, Any] = {
        "model": "the-model",
        "config": CONFIG,
        "gguf": None,
        "weights": {"precision": "bf16", "total_bytes": 141107412992},
        "wish": WISH,
        "topologies": [to_data(each) for each in hosts],
    }
    return answer(**{**question, **changes})


def test_a_plan_is_plain_data_and_there_is_no_refusal() -> None:
    found = asked(host("gpu1"))
    assert found["refusal"] is None
    assert found["plan"]["replicas"][0]["shares"] == ({"host": "gpu1", "gpus": (0, 1, 2, 3)},)
    assert json.loads(json.dumps(found))["plan"]["replicas"][0]["serving"]["tensor_parallel"] == 4
    assert [row[0] for row in found["table"]] == ["host", "gpu1"]


def test_a_gguf_file_says_what_the_model_is_and_how_large(tmp_path: Path) -> None:
    """The lab's golden model, on a host without GPUs: its file has 5.7 MB, whatever the declaration says."""
    path = tmp_path / "golden.gguf"
    golden = REPOSITORY / "roles/bundle/files/golden_model.py"
    subprocess.run([sys.executable, str(golden), str(path)], check=True)
    found = asked(
        processors("core1", 8),
        config=None,
        gguf=str(path),
        weights={"precision": "gguf", "total_bytes": 10**12},
        wish={**WISH, "engine": "llama_cpp", "context_tokens": 4096, "sequences": 2},
    )
    [replica] = found["plan"]["replicas"]
    assert replica["shares"] == ({"host": "core1", "gpus": ()},)
    assert replica["memory"]["weights"] == pytest.approx(5_715_552 / 2**30, rel=0.02)


def test_a_refusal_is_an_answer_with_its_message() -> None:
    found = asked(host("gpu1", 1, A10))
    assert found["plan"] is None
    refusal = found["refusal"]
    assert refusal["message"] == f"{refusal['why']}; {refusal['remedy']}"
    assert "131.4 GiB" in refusal["why"]


def test_hosts_that_are_no_topology_are_an_error_that_names_the_field() -> None:
    with pytest.raises(TopologyError, match=r"topology: hostname is not known"):
        asked(topologies=[{"hostname": "gpu1"}])


def test_a_config_that_is_no_json_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"hidden_size": ')
    with pytest.raises(PlanError, match=rf"{path}: it is no JSON"):
        asked(host("gpu1"), config=str(path))


def test_a_config_without_heads_is_an_error_that_names_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "llama", "hidden_size": 4096}))
    with pytest.raises(PlanError, match=rf"^{path}: num_attention_heads"):
        asked(host("gpu1"), config=str(path))


def test_a_config_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asked(host("gpu1"), config=str(tmp_path / "config.json"))


def test_weights_of_no_known_precision_are_an_error() -> None:
    with pytest.raises(PlanError, match=r"weights\.precision: 'int5' is none of"):
        asked(host("gpu1"), weights={"precision": "int5"})
