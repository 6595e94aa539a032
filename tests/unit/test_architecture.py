# SPDX-License-Identifier: GPL-3.0-or-later
"""A config that does not say what it must is refused by file, field and value; what it says is understood."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import divisors
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    from_gguf,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError, Weights

CONFIG: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
    "num_hidden_layers": 28, "num_key_value_heads": 4, "vocab_size": 152064, "sliding_window": 4096,
    "use_sliding_window": False, "max_position_embeddings": 131072,
}  # fmt: skip


def read(**changes: Any) -> Architecture:
    return read_config({**CONFIG, **changes}, "models/x/config.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_attention_heads": None}, "num_attention_heads or n_head is missing"),
        ({"hidden_size": "3584"}, "hidden_size: '3584' is no number of things"),
        ({"num_hidden_layers": -28}, "num_hidden_layers: -28 is no number of things"),
        ({"vocab_size": True}, "vocab_size: True is no number of things"),
        ({"num_key_value_heads": 5}, "num_attention_heads 28 is no multiple of num_key_value_heads 5"),
        ({"hidden_size": 3585}, "hidden_size 3585 is no multiple of num_attention_heads 28"),
        ({"layer_types": ["full_attention"]}, "layer_types does not name 28 layers"),
        ({"layer_types": ["astral"] * 28}, "layer_types: astral is no kind of layer known here"),
        ({"vision_config": 3}, "vision_config: 3 is no object"),
        ({"num_experts": 64}, "num_experts_per_tok .* is missing"),
        ({"quantization_config": {"group_size": "x"}}, "group_size: 'x' is no number of weights"),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_field_and_value(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=f"models/x/config.json.*{said}"):
        read(**changes)


def test_a_list_is_no_config() -> None:
    with pytest.raises(PlanError, match="list, not an object"):
        read_config([], "c")  # type: ignore[arg-type]


def test_a_window_that_is_switched_off_is_none() -> None:
    assert set(read().layers) == {"full"}
    assert set(read(use_sliding_window=True).layers) == {"sliding"}


def test_the_decoder_of_a_model_that_sees_stands_apart() -> None:
    seen = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "spatial_merge_size": 2}
    found = read_config({"model_type": "qwen2_5_vl", "text_config": CONFIG, "vision_config": seen}, "c")
    assert (found.heads, found.vision and found.vision.merge) == (28, 4)


@pytest.mark.parametrize(
    ("changes", "weights", "sizes"),
    [
        ({}, Weights("bf16"), (1, 2, 4)),  # 7, 14 and 28 divide the heads, and not 18,944
        ({"num_attention_heads": 40, "hidden_size": 5120, "num_key_value_heads": 8,
          "intermediate_size": 27648}, Weights("bf16"), (1, 2, 4, 8)),
        # 13,696 / 2 = 6,848 is 53.5 groups of 128 (Qwen1.5-14B).
        ({"num_attention_heads": 32, "hidden_size": 4096, "num_key_value_heads": 32,
          "intermediate_size": 13696}, Weights("int4", group_size=128), (1,)),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, Weights("fp8"),
         (1, 2, 4)),
    ],
)  # fmt: skip
def test_only_sizes_that_divide_heads_and_groups_are_allowed(
    changes: dict[str, Any], weights: Weights, sizes: tuple[int, ...]
) -> None:
    assert divisors.tensor_parallel_sizes(read(**changes), weights, 28) == sizes


def test_a_gguf_header_says_the_same_as_the_config() -> None:
    metadata = {
        "general.architecture": "llama", "llama.block_count": 30, "llama.embedding_length": 576,
        "llama.attention.head_count": 9, "llama.attention.head_count_kv": 3,
        "llama.feed_forward_length": 1536, "llama.context_length": 8192, "tokenizer.ggml.tokens": 49152,
    }  # fmt: skip
    found = from_gguf(metadata, {"token_embd.weight": 1}, "m.gguf")
    assert (found.heads, found.kv_heads, found.head_dim, found.vocabulary) == (9, 3, 64, 49152)
    assert found.tied
    with pytest.raises(PlanError, match=r"m\.gguf: attention\.head_count is missing"):
        from_gguf({**metadata, "llama.attention.head_count": None}, {}, "m.gguf")
    with pytest.raises(PlanError, match=r"general\.architecture is missing"):
        from_gguf({}, {}, "m.gguf")
