# SPDX-License-Identifier: GPL-3.0-or-later
"""What configs leave out because it is their family's default, and which families are known."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma": {"tie_word_embeddings": True, "head_dim": 256},
    "gemma2": {"tie_word_embeddings": True, "head_dim": 256, "sliding_window_pattern": 2},
    "gemma3": {
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
        "vocab_size": 262208,
    },
    "gpt2": {"tie_word_embeddings": True},
    "gpt_bigcode": {"tie_word_embeddings": True},
    "starcoder2": {"tie_word_embeddings": True},
}
"""Source: huggingface/transformers, src/transformers/models, <family>/configuration_<family>.py, 2026-11."""
DEFAULTS["gemma3_text"] = DEFAULTS["gemma3"]

KNOWN = {
    *DEFAULTS, "deepseek_v2", "deepseek_v3", "glm4_moe", "gpt_oss", "granite", "kimi_k2", "llama",
    "llama4", "llama4_text", "llava", "llava_next", "minimax_m2", "mistral", "mistral3", "mixtral",
    "nemotron_h", "olmo2", "phi", "phi3", "qwen2", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_moe", "qwen2_vl",
    "qwen2_vl_text", "qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl", "qwen3_vl_moe", "qwen3_vl_moe_text",
    "qwen3_vl_text",
}  # fmt: skip
"""Model types whose fields and layers are read here as they are meant."""


def guess(kind: str, mixture: bool, where: str) -> tuple[str, ...]:
    """What is to be said of a family that is not known."""
    taken = f"taken for a {'mixture of experts' if mixture else 'dense decoder'}"
    if not kind:
        return (f"{where} names no model_type: {taken}",)
    return () if kind in KNOWN else (f"{where}: model_type {kind} is not known: {taken}",)
