# SPDX-License-Identifier: GPL-3.0-or-later
"""Each term is that of the engine's version: its defaults, what it counts, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import (
    cache,
    divisors,
    engine,
    terms,
    versions,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    GIB,
    Device,
    PlanError,
    Serving,
    Weights,
)

from tests.bench.engine_logs import load

H100 = Device("NVIDIA H100 80GB HBM3", "nvidia", 79.11, capability="9.0")
H200 = Device("NVIDIA H200", "nvidia", 139.8, capability="9.0")
B200 = Device("NVIDIA B200", "nvidia", 178.35, capability="10.0")
A100 = Device("NVIDIA A100-SXM4-80GB", "nvidia", 79.25, capability="8.0")
L40S = Device("NVIDIA L40S", "nvidia", 44.4, capability="8.9")
T4 = Device("Tesla T4", "nvidia", 14.58, capability="7.5")
GB10 = Device("NVIDIA GB10", "nvidia", 119.7, capability="12.1")
CPU = Device("AMD EPYC", "cpu", 256.0)
SERVING = Serving("vllm", "0.33.0", tensor_parallel=4, max_model_len=32768)


def dense(hidden: int, intermediate: int, heads: int, kv_heads: int, layers: int, words: int) -> Architecture:
    return read_config(
        {
            "model_type": "llama",
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "num_hidden_layers": layers,
            "vocab_size": words,
            "max_position_embeddings": 131072,
            "head_dim": 128,
        },
        "llama",
    )


LLAMA_8B = dense(4096, 14336, 32, 8, 32, 128256)
QWEN_7B = dense(3584, 18944, 28, 4, 28, 152064)
QWEN3_14B = dense(5120, 17408, 40, 8, 40, 151936)
PHI_4 = dense(5120, 17920, 40, 10, 40, 100352)
LLAMA = dense(8192, 28672, 64, 8, 80, 128256)
HYBRID = replace(LLAMA, layers=("sliding",) * 20 + ("full",) * 28, window=1024, kv_heads=8, context=32768)


def test_graphs_come_out_of_the_budget_from_the_version_on_that_counts_them() -> None:
    now, before = (
        engine.memory(LLAMA, Weights("bf16"), H100, replace(SERVING, version=version))
        for version in ("0.20.0", "0.19.0")
    )
    assert (before.graphs, before.budget) == (0, pytest.approx(0.9 * 79.11))
    assert now.graphs > 1
    assert now.budget == pytest.approx(0.92 * 79.11)


def test_more_ranks_than_key_value_heads_copy_them() -> None:
    eight, sixteen = (cache.layer_bytes(LLAMA, replace(SERVING, tensor_parallel=ranks)) for ranks in (8, 16))
    assert eight == sixteen == 2 * 128 * 2


def test_a_stretched_context_is_accepted_by_the_version_that_stretches() -> None:
    stretched = replace(LLAMA, context=32768, yarn_context=131072)
    serving = replace(SERVING, max_model_len=65536)
    before, now = (
        engine.start_problem(stretched, Weights("bf16"), H100, replace(serving, version=version))
        for version in ("0.21.0", "0.33.0")
    )
    assert before is None
    assert now == ("context", "the model was made for 32768 tokens, and 65536 are wished")


@pytest.mark.parametrize(
    ("version", "device", "sequences", "tokens"),
    [
        ("0.7.3", H100, 256, 4096),
        ("0.8.0", L40S, 1024, 2048),
        ("0.8.0", A100, 1024, 2048),
        ("0.8.0", H100, 1024, 8192),
        ("0.8.0", T4, 256, 2048),
        ("0.8.5", L40S, 256, 2048),
        ("0.8.5", A100, 1024, 8192),
        ("0.9.0", A100, 256, 2048),
        ("0.13.0", H200, 1024, 8192),
        ("0.27.0", B200, 1024, 8192),
        ("0.30.0", B200, 1024, 16384),
        ("0.33.0", H200, 1024, 8192),
        ("0.30.0", GB10, 1024, 8192),
        ("0.33.0", GB10, 256, 2048),
        ("0.9.2", CPU, 256, 2048),
        ("0.33.0", CPU, 256, 4096),  # for two ranks
    ],
)
def test_defaults_are_those_of_the_version_and_the_card(
    version: str, device: Device, sequences: int, tokens: int
) -> None:
    assert terms.sequences(version, device, 2) == sequences
    assert terms.batched_tokens(version, device, 4096, 2) == tokens


def test_fp8_is_computed_on_turing_from_the_version_on_that_can() -> None:
    assert divisors.capability_problem(Weights("fp8"), T4, "0.13.0")
    assert divisors.capability_problem(Weights("fp8"), T4, "0.14.0") is None


@pytest.mark.parametrize(
    ("version", "groups", "depth"),
    [
        ("0.9.0", 1, 48),  # every layer remembers everything
        ("0.9.2", 3, 20),
        ("0.17.0", 3, 20),
        ("0.18.0", 2, 28),  # 28 is less than half more than 20, so the 20 are padded
    ],
)
def test_layers_are_grouped_as_the_version_does_it(version: str, groups: int, depth: int) -> None:
    found = cache.layout(HYBRID, replace(SERVING, version=version))
    assert (len(found.groups), found.depth) == (groups, depth)


def test_tokens_are_those_of_whole_sequences_from_the_version_on_that_counts_so() -> None:
    before, now = (
        cache.layout(HYBRID, replace(SERVING, version=version)) for version in ("0.20.0", "0.21.0")
    )
    left = 10_000 * before.block_bytes
    # A sequence of 32,768 has 2,048 blocks that remember all, and 192 + 1 of a window of 1,024 + 2,048.
    assert before.tokens(left) == 10_000 // 2 * 16
    assert now.tokens(left) == int(10_000 / (2048 + 193) * 32768)


def seeing(name: str) -> Architecture:
    return next(log.architecture for log in load() if log.name.startswith(name))


def test_a_video_is_held_as_long_as_the_version_does_it() -> None:
    """The budget of 153,600 tokens is what the log of 0.11.0 prints, and 16,384 what that of 0.13.0 does."""
    model = seeing("rtx3090x4_qwen3-vl")
    a_token = 2048 * 4 * 2 / GIB
    assert terms.encoder_cache(model, "0.11.0", 65536) == 153600 * a_token
    assert terms.encoder_cache(model, "0.11.0", 4096) == 51200 * a_token
    assert terms.encoder_cache(model, "0.10.2", 65536) == 16384 * a_token
    assert terms.encoder_cache(model, "0.13.0", 65536) == 16384 * a_token
    assert terms.encoder_cache(model, "0.7.3", 65536) == 0
    assert terms.encoder_cache(LLAMA, "0.11.0", 65536) == 0


def test_a_large_picture_is_looked_at_before_the_decoder_runs() -> None:
    model, serving = seeing("l4x2_qwen2.5-vl-7b"), replace(SERVING, tensor_parallel=1)
    found = engine.memory(model, Weights("bf16"), H100, replace(serving, max_num_seqs=1, version="0.10.2",
                                                                max_num_batched_tokens=64))  # fmt: skip
    # 65,536 patches, gate and up and six hidden states of 16 bits.
    assert found.activations == pytest.approx(65536 * 2 * (2 * 3420 + 6 * 1280) / GIB)


def test_a_kernel_that_selects_takes_less_than_one_that_sorts() -> None:
    before, now = (terms.sampler_peak(LLAMA, 1024, version) for version in ("0.16.0", "0.17.0"))
    assert before == 1024 * 128256 * 38 / GIB
    assert now == 0.19 + 1024 * 128256 * 14 / GIB


@pytest.mark.parametrize(
    ("model", "version", "tp", "activations", "non_torch", "cache_gib"),
    [
        # llm-d-incubation/llm-d-planner, accuracy/accuracy_report.md: an H100 of 79.19 GiB, a share of 0.95.
        pytest.param(LLAMA_8B, "0.19.0", 1, 1.89, 0.25, 58.11, id="Llama-3.1-8B"),
        pytest.param(LLAMA_8B, "0.19.0", 2, 1.89, 2.07, None, id="Llama-3.1-8B on two"),
        pytest.param(LLAMA_8B, "0.19.0", 4, 1.89, 2.13, None, id="Llama-3.1-8B on four"),
        pytest.param(QWEN_7B, "0.19.0", 1, 2.21, 0.24, 58.53, id="Qwen2.5-7B"),
        pytest.param(QWEN_7B, "0.19.0", 4, 2.21, 2.13, None, id="Qwen2.5-7B on four"),
        pytest.param(QWEN3_14B, "0.16.0", 1, 5.64, 0.13, 41.94, id="Qwen3-14B, 0.16.0"),
        pytest.param(QWEN3_14B, "0.17.0", 1, 2.23, 0.13, 45.34, id="Qwen3-14B, 0.17.0"),
        pytest.param(QWEN3_14B, "0.18.0", 1, 2.23, 0.25, 45.23, id="Qwen3-14B, 0.18.0"),
        pytest.param(PHI_4, "0.19.0", 1, 1.52, 0.25, None, id="phi-4"),
    ],
)
def test_terms_are_those_of_a_public_report(
    model: Architecture, version: str, tp: int, activations: float, non_torch: float, cache_gib: float | None
) -> None:
    card = replace(H100, usable_gib=79.19)
    serving = Serving("vllm", version, tp, gpu_memory_utilization=0.95, max_model_len=8192)
    found = engine.memory(model, Weights("bf16"), card, serving)
    assert found.activations == pytest.approx(activations, abs=0.15)
    assert found.non_torch == pytest.approx(non_torch, abs=0.05)
    if cache_gib is not None:
        assert found.kv_cache == pytest.approx(cache_gib, rel=0.01)


def test_a_window_is_held_with_the_step_that_the_card_has() -> None:
    """8,192 tokens on an H100 and 2,048 on an L40S, where nobody says how many."""
    large, small = (
        engine.memory(HYBRID, Weights("bf16"), card, SERVING).kv_bytes_per_token for card in (H100, L40S)
    )
    layout = cache.layout(HYBRID, SERVING)
    assert (large - small) * 32768 == (8192 - 2048) / 16 * layout.block_bytes


@pytest.mark.parametrize("version", ["", "new", "3", "x.y.z"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(PlanError, match="is no version such as"):
        versions.version_numbers(version)


def test_bfloat16_is_refused_where_the_card_has_none() -> None:
    v100 = Device("Tesla V100-SXM2-32GB", "nvidia", 31.73, capability="7.0")
    serving = replace(SERVING, tensor_parallel=8)
    assert engine.predict(LLAMA, Weights("bf16"), v100, serving).constraint == "capability"
    assert engine.predict(LLAMA, Weights("fp16"), v100, serving).constraint != "capability"


def test_llama_cpp_reads_gguf_only_and_gives_each_slot_its_own_context() -> None:
    host = Device("AMD EPYC", "cpu", 256.0)
    serving = Serving("llama_cpp", "2026.10.11549", max_model_len=4096, max_num_seqs=2)
    assert engine.predict(LLAMA, Weights("bf16"), host, serving).constraint == "engine"
    assert engine.predict(LLAMA, Weights("gguf", 42 * GIB), host, serving).serves
    # 320 KiB a token (DeepSeek's table in arXiv 2505.09343 has 327.68 KB for the same shape, Qwen2.5-72B).
    assert engine.sequence_kv_bytes(LLAMA, serving, 4096) == 4096 * 327680
