# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters, bytes and cache of known models are those that their makers have published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import cache, parameters
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Serving, Weights

from tests.bench.engine_logs import load

INVENTORIES = Path(__file__).parents[2] / "inventories"
LOGGED = {log.record["model"]["id"]: log.architecture for log in load()}

MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 32000,
}  # fmt: skip
QWEN_72B = {
    "model_type": "qwen2", "hidden_size": 8192, "intermediate_size": 29568, "num_attention_heads": 64,
    "num_hidden_layers": 80, "num_key_value_heads": 8, "vocab_size": 152064,
}  # fmt: skip
LLAMA_405B = {
    "model_type": "llama", "hidden_size": 16384, "intermediate_size": 53248, "num_attention_heads": 128,
    "num_hidden_layers": 126, "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip


def logged(part: str) -> Architecture:
    return next(architecture for name, architecture in LOGGED.items() if part in name.lower())


def declared(site: str, model: str) -> Architecture:
    path = INVENTORIES / site / "models" / model / "config.json"
    return read_config(json.loads(path.read_text()), str(path))


@pytest.mark.parametrize(
    ("architecture", "billions"),
    [
        pytest.param(logged("deepseek-r1"), 671, id="DeepSeek-R1: its model card"),
        pytest.param(read_config(MIXTRAL, "mixtral"), 46.7, id="Mixtral-8x7B: arXiv 2401.04088"),
        pytest.param(read_config(QWEN_72B, "qwen"), 72.7, id="Qwen2.5-72B: its model card"),
        pytest.param(read_config(LLAMA_405B, "llama"), 405.9, id="Llama-3.1-405B: safetensors index"),
        pytest.param(logged("qwen3-30b"), 30.5, id="Qwen3-30B-A3B: its model card"),
        pytest.param(logged("qwen3-235b"), 235, id="Qwen3-235B-A22B: its model card"),
        pytest.param(logged("qwen3-next"), 80, id="Qwen3-Next-80B-A3B: its model card"),
        pytest.param(logged("gpt-oss-120b"), 116.8, id="gpt-oss-120b: arXiv 2508.10925"),
        pytest.param(logged("gpt-oss-20b"), 20.9, id="gpt-oss-20b: arXiv 2508.10925"),
        pytest.param(logged("llama-3.1-8b"), 8.03, id="Llama-3.1-8B: its model card"),
        pytest.param(declared("workstation-7b", "deepseek-r1-distill-qwen-7b"), 7.62, id="Qwen2.5-7B"),
        pytest.param(declared("datacentre-70b", "deepseek-r1-distill-llama-70b"), 70.55, id="Llama-3.3-70B"),
    ],
)
def test_a_model_has_as_many_parameters_as_its_makers_say(
    architecture: Architecture, billions: float
) -> None:
    expected = pytest.approx(billions, rel=0.08 if architecture.method == "mxfp4" else 0.015)
    assert parameters.total(architecture) / 1e9 == expected


@pytest.mark.parametrize(
    ("site", "model", "size"),
    [
        # total_size of model.safetensors.index.json
        ("workstation-7b", "deepseek-r1-distill-qwen-7b", 15231233024),
        ("datacentre-70b", "deepseek-r1-distill-llama-70b", 141107412992),
    ],
)
def test_weights_have_the_bytes_of_the_published_files(site: str, model: str, size: int) -> None:
    architecture = declared(site, model)
    assert parameters.weight_bytes(architecture, Weights("bf16")) == pytest.approx(size, rel=0.001)


@pytest.mark.parametrize(
    ("architecture", "kilobytes"),
    [
        # KV cache per token in BF16: table 1 of "Insights into DeepSeek-V3", arXiv 2505.09343 (2025-05).
        pytest.param(logged("deepseek-r1"), 70.272, id="DeepSeek-V3"),
        pytest.param(read_config(QWEN_72B, "qwen"), 327.680, id="Qwen2.5-72B"),
        pytest.param(read_config(LLAMA_405B, "llama"), 516.096, id="Llama-3.1-405B"),
    ],
)
def test_a_token_takes_as_much_cache_as_is_published(architecture: Architecture, kilobytes: float) -> None:
    layout = cache.layout(architecture, Serving("vllm", "0.33.0"))
    assert layout.block_bytes / layout.block / 1000 == pytest.approx(kilobytes)


def test_latent_attention_is_held_whole_by_every_rank() -> None:
    deepseek = logged("deepseek-r1")
    one, eight = (cache.layout(deepseek, Serving("vllm", "0.33.0", ranks)) for ranks in (1, 8))
    assert one.page == eight.page


def test_ranks_share_large_matrices_and_copy_single_heads() -> None:
    whole = read_config(QWEN_72B, "qwen")
    half, sixteenth = parameters.count(whole, tp=2), parameters.count(whole, tp=16)
    assert half.linear * 2 == parameters.count(whole).linear
    assert sixteenth.linear * 16 > parameters.count(whole).linear


def test_a_step_with_few_tokens_reads_few_experts() -> None:
    mixtral, weights = read_config(MIXTRAL, "mixtral"), Weights("bf16")
    all_of_them = parameters.rank_bytes(mixtral, weights)
    one, many = (parameters.read_bytes(mixtral, weights, 1, 1, batch) for batch in (1, 256))
    # 12.9 billion parameters are active for a token (arXiv 2401.04088).
    assert one / 2e9 == pytest.approx(12.9, rel=0.02)
    assert many == pytest.approx(all_of_them, rel=0.01)


def test_the_size_of_the_files_goes_before_the_precision() -> None:
    architecture: Any = declared("workstation-7b", "deepseek-r1-distill-qwen-7b")
    files = 5_200_000_000
    held = parameters.rank_bytes(architecture, Weights("int4", files))
    assert held == pytest.approx(files, rel=0.01)


def test_shared_experts_are_weights_too() -> None:
    """Of 37 billion parameters that DeepSeek-V3 activates for a token (arXiv 2412.19437), one shared expert
    of 2,048 in each of 58 layers; Qwen1.5-MoE-A2.7B names its four together.
    """
    deepseek = logged("deepseek-r1")
    assert deepseek.experts
    assert parameters.layer(deepseek, 1, mixture=True).shared == 3 * 7168 * 2048
    whole = parameters.total(deepseek)
    without = parameters.total(replace(deepseek, experts=replace(deepseek.experts, shared=0)))
    assert whole - without == 58 * 3 * 7168 * 2048
    qwen = {"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632}  # fmt: skip
    named = read_config({**QWEN_72B, **qwen}, "qwen")
    assert named.experts
    assert named.experts.shared == 5632


def test_blocks_of_fp8_bring_their_scales() -> None:
    """A block of 128 x 128 weights has one of 4 bytes (deepseek-ai/DeepSeek-V3, README_WEIGHTS.md)."""
    block = 128 * 128
    assert parameters.bytes_per_weight(Weights("fp8")) * block == block + 4
    deepseek = logged("deepseek-r1")
    scales = parameters.rank_bytes(deepseek, Weights("fp8")) - parameters.rank_bytes(
        deepseek, Weights("int8")
    )
    assert scales == pytest.approx(4 * parameters.count(deepseek).linear / block, rel=0.01)


def test_scales_of_groups_are_weights_too() -> None:
    """2 bytes and half a one for each group of AWQ and GPTQ, a byte for 16 or 32 weights of NVFP4, MXFP4."""
    each = parameters.bytes_per_weight
    assert each(Weights("int4", group_size=32)) == 0.5 + 2.5 / 32
    assert each(Weights("int4")) == 0.5 + 2.5 / 128
    assert (each(Weights("nvfp4")), each(Weights("mxfp4"))) == (0.5 + 1 / 16, 0.5 + 1 / 32)


def test_the_part_that_sees_is_held_by_every_rank() -> None:
    """Qwen2.5-VL's: 32 layers of 1,280 with 3,420 between."""
    model = next(a for name, a in LOGGED.items() if "qwen2.5-vl-7b" in name.lower())
    assert model.vision
    seen = 32 * (4 * 1280**2 + 3 * 1280 * model.vision.intermediate)
    for ranks in (1, 2):
        blind = parameters.count(replace(model, vision=None), tp=ranks)
        assert parameters.count(model, tp=ranks).total - blind.total == seen
