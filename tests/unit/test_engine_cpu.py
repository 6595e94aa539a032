# SPDX-License-Identifier: GPL-3.0-or-later
"""On a host without a GPU the engine's cache has the size that its version gives it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import engine
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import read_config
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Device, Serving, Weights

CPU = Device("AMD EPYC", "cpu", 256.0)
SERVING = Serving("vllm", "0.33.0", max_model_len=4096)
QWEN_7B = read_config(
    {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "num_hidden_layers": 28,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
    },
    "qwen",
)


@pytest.mark.parametrize(
    ("version", "gib"),
    [("0.8.5", 4), ("0.12.0", 4), ("0.13.0", 128), ("0.19.0", 128)],
)
def test_a_cpu_has_a_cache_of_the_size_that_the_version_takes(version: str, gib: float) -> None:
    serving = replace(SERVING, version=version)
    found = engine.predict(QWEN_7B, Weights("bf16"), CPU, serving)
    assert found.serves
    assert found.memory
    assert found.memory.kv_cache == pytest.approx(gib)


def test_a_cpu_gives_the_cache_what_the_weights_leave_from_the_version_on_that_measures() -> None:
    serving = replace(SERVING, version="0.20.0", gpu_memory_utilization=0.5)
    found = engine.memory(QWEN_7B, Weights("bf16"), CPU, serving)
    assert found.kv_cache == pytest.approx(128 - found.weights - found.activations - 1)
    assert found.graphs == 0


def test_a_cache_of_one_size_that_the_host_has_not_is_refused() -> None:
    host = replace(CPU, usable_gib=30.0)  # half of it, 15.2 GiB of weights and what the engine needs itself
    serving = replace(SERVING, version="0.16.0")
    found = engine.predict(QWEN_7B, Weights("bf16"), host, serving)
    assert found.constraint == "kv_cache"
    assert "takes 15.0 GiB for its cache by itself" in found.why
