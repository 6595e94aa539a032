# SPDX-License-Identifier: GPL-3.0-or-later
"""A GGUF header says the same as a config, and one that cannot be is refused by key and value."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Latent, from_gguf
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError

GGUF: dict[str, Any] = {
    "general.architecture": "llama", "llama.block_count": 30, "llama.embedding_length": 576,
    "llama.attention.head_count": 9, "llama.attention.head_count_kv": 3,
    "llama.feed_forward_length": 1536, "llama.context_length": 8192, "tokenizer.ggml.tokens": 49152,
}  # fmt: skip


def test_a_gguf_header_says_the_same_as_the_config() -> None:
    found = from_gguf(GGUF, {"token_embd.weight": 1}, "m.gguf")
    assert (found.heads, found.kv_heads, found.head_dim, found.vocabulary) == (9, 3, 64, 49152)
    assert found.tied
    with pytest.raises(PlanError, match=r"m\.gguf: attention\.head_count is missing"):
        from_gguf({**GGUF, "llama.attention.head_count": None}, {}, "m.gguf")
    with pytest.raises(PlanError, match=r"general\.architecture is missing"):
        from_gguf({}, {}, "m.gguf")


def test_latent_attention_is_read_from_older_and_newer_files() -> None:
    """DeepSeek-V3: a head of 128 + 64 and values of 128, over 512 + 64 that are kept."""
    common = {"llama.attention.kv_lora_rank": 512, "llama.rope.dimension_count": 64}
    older = {"llama.attention.key_length": 192, "llama.attention.value_length": 128}
    newer = {"llama.attention.key_length": 576, "llama.attention.value_length": 512,
             "llama.attention.key_length_mla": 192, "llama.attention.value_length_mla": 128}  # fmt: skip
    for lengths in (older, newer):
        assert from_gguf({**GGUF, **common, **lengths}, {}, "m.gguf").latent == Latent(512, 64, 128, 128)


def test_sizes_that_differ_from_layer_to_layer_are_the_largest_and_never_their_number() -> None:
    each = {"llama.attention.head_count_kv": (3,) * 29 + (1,), "llama.feed_forward_length": (1536,) * 30}
    found = from_gguf({**GGUF, **each}, {}, "m.gguf")
    assert (found.kv_heads, found.intermediate) == (3, 1536)
    assert found.notes == (
        "m.gguf: attention.head_count_kv differs between layers: planned with the largest",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention.head_count_kv": (3,) * 40}, "attention.head_count_kv: 40 numbers for 30 layers"),
        ({"attention.head_count_kv": (3.5,) * 30}, "attention.head_count_kv: 3.5 is no number of things"),
        ({"attention.head_count_kv": (-3,) * 30}, "attention.head_count_kv: -3 is no number of things"),
        ({"attention.head_count_kv": 5000 * "x"}, "attention.head_count_kv: 'x.* is no number of things"),
        ({"embedding_length": 577}, "embedding_length 577 is no multiple of attention.head_count 9"),
        ({"block_count": 10**9}, "block_count: 1000000000 layers are more than any model has"),
        ({"attention.head_count_kv": 4}, "head_count 9 is no multiple of attention.head_count_kv 4"),
        ({"expert_count": 8, "expert_used_count": 2, "leading_dense_block_count": 31}, "31 .* has 30 layers"),
        ({"attention.kv_lora_rank": 512, "rope.dimension_count": 64}, "attention.key_length is missing"),
        ({"attention.kv_lora_rank": 512, "rope.dimension_count": 64, "attention.key_length": 32},
         "attention.key_length: 32 .* rope.dimension_count 64"),
    ],
)  # fmt: skip
def test_a_gguf_header_that_cannot_be_is_refused_by_key_and_value(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=f"m.gguf.*{said}"):
        from_gguf({**GGUF, **{f"llama.{key}": value for key, value in changes.items()}}, {}, "m.gguf")
