# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM is started as it was planned, and in no other way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.runtime.arguments import ArgumentsError, vllm

FOLDER = "/srv/models/m/0123456789abcdef"
SOCKET = "/run/stronghold-model/api.sock"
SERVING = {
    "engine": "vllm",
    "version": "0.33.0",
    "tensor_parallel": 4,
    "pipeline_parallel": 1,
    "gpu_memory_utilization": 0.92,
    "max_model_len": 65536,
    "max_num_seqs": 128,
    "max_num_batched_tokens": None,
    "kv_cache": "auto",
    "enforce_eager": False,
}


def model(**serve: Any) -> dict[str, Any]:
    return {
        "name": "m",
        "weights": {"precision": "bf16"},
        "serve": {"backend": "vllm", "context_tokens": 65536, "slots": 128, **serve},
    }


def plan(*shares: Mapping[str, Any], **serving: Any) -> dict[str, Any]:
    shared = shares or ({"host": "gpu1", "gpus": [4, 5, 6, 7]},)
    return {"model": "m", "replicas": [{"shares": list(shared), "serving": {**SERVING, **serving}}]}


def started(declared: Mapping[str, Any], planned: Mapping[str, Any] | None, host: str = "gpu1") -> list[str]:
    return list(vllm(declared, planned, host, FOLDER, SOCKET).arguments)


def test_every_decision_of_the_plan_stands_on_the_command_line() -> None:
    start = vllm(model(), plan(), "gpu1", FOLDER, SOCKET)
    assert start.gpus == (4, 5, 6, 7)
    assert start.arguments == (
        FOLDER,
        "--dtype=bfloat16",
        "--gpu-memory-utilization=0.92",
        "--kv-cache-dtype=auto",
        "--max-model-len=65536",
        "--max-num-seqs=128",
        "--pipeline-parallel-size=1",
        "--served-model-name=m",
        "--tensor-parallel-size=4",
        f"--uds={SOCKET}",
    )


@pytest.mark.parametrize(
    ("serve", "serving", "precision", "expected"),
    [
        ({}, {"max_num_batched_tokens": 8192}, "bf16", "--max-num-batched-tokens=8192"),
        ({}, {"enforce_eager": True}, "bf16", "--enforce-eager"),
        ({}, {"kv_cache": "fp8"}, "bf16", "--kv-cache-dtype=fp8"),
        ({}, {"kv_cache": "bf16"}, "bf16", "--kv-cache-dtype=bfloat16"),
        ({}, {}, "fp16", "--dtype=float16"),
        ({}, {}, "int4", "--dtype=auto"),
        ({"dtype": "float16"}, {}, "int4", "--dtype=float16"),
        ({"quantization": "awq_marlin"}, {}, "int4", "--quantization=awq_marlin"),
        ({"arguments": {"enable-prefix-caching": False}}, {}, "bf16", "--no-enable-prefix-caching"),
        ({"arguments": {"--enable_auto_tool_choice": True}}, {}, "bf16", "--enable-auto-tool-choice"),
        ({"arguments": {"tool-call-parser": "hermes"}}, {}, "bf16", "--tool-call-parser=hermes"),
        ({"arguments": {"compilation-config": {"mode": 3}}}, {}, "bf16", '--compilation-config={"mode": 3}'),
        ({"arguments": {"compilation-config.mode": 3}}, {}, "bf16", "--compilation-config.mode=3"),
    ],
)
def test_what_the_site_says_more_of_is_said_to_the_engine(
    serve: dict[str, Any], serving: dict[str, Any], precision: str, expected: str
) -> None:
    declared = {**model(**serve), "weights": {"precision": precision}}
    assert expected in started(declared, plan(**serving))


def test_a_list_is_several_values_of_one_argument() -> None:
    said = started(model(arguments={"cudagraph-capture-sizes": [1, 2]}), plan())
    at = said.index("--cudagraph-capture-sizes")
    assert said[at : at + 3] == ["--cudagraph-capture-sizes", "1", "2"]


def test_processors_have_no_gpus_to_choose_from() -> None:
    assert vllm(model(), plan({"host": "gpu1", "gpus": []}), "gpu1", FOLDER, SOCKET).gpus == ()


@pytest.mark.parametrize(
    ("planned", "why"),
    [
        (None, "gpu1: m: there is no plan: run playbooks/preflight.yml"),
        ({}, "gpu1: m: there is no plan"),
        ({"model": "other", "replicas": []}, "gpu1: m: the plan is of other: run playbooks/preflight.yml"),
        (plan({"host": "gpu2", "gpus": [0]}), "gpu1: m: the plan places no replica here"),
        ({"model": "m", "replicas": plan()["replicas"] * 2}, "gpu1: m: the plan places 2 replicas here"),
        (
            plan({"host": "gpu1", "gpus": [0]}, {"host": "gpu2", "gpus": [0]}),
            "gpu1: m: the plan shares a replica with gpu2",
        ),
        (
            plan(max_model_len=4096),
            "serve.context_tokens is 65536, planned was 4096: run playbooks/preflight",
        ),
        (plan(max_num_seqs=8), "serve.slots is 128, planned was 8"),
        (plan(engine="llama_cpp"), "serve.backend is vllm, planned was llama_cpp"),
        (plan(kv_cache="q8_0"), "serve.kv_cache: q8_0 is not vLLM's: use one of auto, bf16, fp16, fp8"),
    ],
)
def test_what_was_not_planned_for_this_host_and_this_wish_is_not_started(
    planned: dict[str, Any] | None, why: str
) -> None:
    with pytest.raises(ArgumentsError, match=why):
        started(model(), planned)


@pytest.mark.parametrize("field", ["context_tokens", "slots"])
def test_a_context_that_nobody_has_planned_is_never_the_engines_own_default(field: str) -> None:
    declared = model()
    del declared["serve"][field]
    with pytest.raises(ArgumentsError, match=f"gpu1: m: serve.{field} is not said"):
        started(declared, plan())
    planned = {"context_tokens": "max_model_len", "slots": "max_num_seqs"}[field]
    with pytest.raises(ArgumentsError, match=f"serve.{field} is not said"):
        started(model(), plan(**{planned: None}))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("max-model-len", "it is planned: say serve.context_tokens"),
        ("gpu_memory_utilization", "it is planned: say serve.gpu_memory_utilization"),
        ("--device-memory-utilization", "it is planned: say serve.gpu_memory_utilization"),
        ("trust-remote-code", "code that no digest vouches for"),
        ("trust_remote_code", "code that no digest vouches for"),
        ("no-trust-remote-code", "code that no digest vouches for"),
        ("middleware", "code that no digest vouches for"),
        ("enable-log-requests", "would stand in the journal"),
        ("api-key", "a secret does not stand in a command line"),
        ("host", "no network"),
        ("uds", "the role says it itself"),
    ],
)
def test_what_is_not_the_sites_to_say_is_refused_with_the_way_out(name: str, why: str) -> None:
    with pytest.raises(ArgumentsError, match=f"gpu1: m: serve.arguments: .*{why}"):
        started(model(arguments={name: True}), plan())


def test_all_that_must_not_be_said_is_named_at_once() -> None:
    with pytest.raises(ArgumentsError, match=r"api-key: .*; host: "):
        started(model(arguments={"host": "0.0.0.0", "api-key": "x"}), plan())
