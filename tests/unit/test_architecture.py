# SPDX-License-Identifier: GPL-3.0-or-later
"""A config that does not say what it must is refused by file, field and value; what it says is understood."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import divisors, parameters
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError, Weights

CONFIG: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
    "num_hidden_layers": 28, "num_key_value_heads": 4, "vocab_size": 152064, "sliding_window": 4096,
    "use_sliding_window": False, "max_position_embeddings": 131072,
}  # fmt: skip

MIXTURE = {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 768}


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
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000 layers are more than any model has"),
        ({"hidden_size": 10**30}, "hidden_size: 1.* is no number of things"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings: 'false' is neither true nor false"),
        ({"use_sliding_window": 1}, "use_sliding_window: 1 is neither true nor false"),
        ({"use_sliding_window": True, "sliding_window": True}, "sliding_window: True is no number"),
        ({"layer_types": ["sliding_attention"] * 28, "sliding_window": None}, "sliding_window is missing"),
        ({**MIXTURE, "first_k_dense_replace": 29}, "first_k_dense_replace: 29 .* has 28 layers"),
        ({**MIXTURE, "num_experts_per_tok": 65}, "num_experts_per_tok: 65 .* of 64 experts"),
        ({**MIXTURE, "mlp_only_layers": [28]}, r"mlp_only_layers: \[28\] .* of 28 layers"),
        ({**MIXTURE, "mlp_only_layers": 3}, "mlp_only_layers: 3 .* of 28 layers"),
        ({**MIXTURE, "moe_layer_freq": [1, 1]}, r"moe_layer_freq: \[1, 1\] .* of 28 layers"),
        ({"hybrid_override_pattern": "M*"}, "hybrid_override_pattern: .* of 28 layers"),
        ({"rope_scaling": 3}, "rope_scaling: 3 is no object"),
        ({"rope_scaling": {"type": "linear", "factor": "8"}}, "rope_scaling: factor: '8' is no factor"),
        ({"rope_scaling": {"type": "linear", "factor": -1}}, "rope_scaling: factor: -1 is no factor"),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_field_and_value(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=f"models/x/config.json.*{said}"):
        read(**changes)


def test_a_list_is_no_config() -> None:
    with pytest.raises(PlanError, match="list, not an object"):
        read_config([], "c")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        ({}, 28),
        ({"decoder_sparse_step": 2}, 14),  # the second, fourth ... layer
        ({"mlp_only_layers": [0, 1, 27]}, 25),
        ({"decoder_sparse_step": 2, "mlp_only_layers": [0, 1, 27]}, 12),  # of these 0 had none anyway
        ({"first_k_dense_replace": 3}, 25),
        ({"moe_layer_freq": [0] + [1] * 27}, 27),
        ({"interleave_moe_layer_step": 2}, 14),
        ({"moe_layer_freq": 2, "first_k_dense_replace": 1}, 13),  # 2, 4, ... 26
    ],
)
def test_experts_are_counted_in_the_layers_that_have_them(changes: dict[str, Any], layers: int) -> None:
    found = read(**{**MIXTURE, **changes})
    assert found.experts
    assert found.experts.layers == layers
    assert found.dense_layers == 28 - layers


def test_a_mixture_whose_layers_are_all_dense_is_none() -> None:
    assert read(**MIXTURE, mlp_only_layers=list(range(28))).experts is None


@pytest.mark.parametrize("kind", ["qwen2", "llama", "gemma3_text", "deepseek_v3", "qwen3_vl_moe_text"])
def test_a_known_kind_is_taken_without_a_word(kind: str) -> None:
    assert read(model_type=kind).notes == ()


def test_an_unknown_kind_is_said_to_be_a_guess() -> None:
    assert read(model_type="hyena").notes == (
        "models/x/config.json: model_type hyena is not known: taken for a dense decoder",
    )
    assert "taken for a mixture of experts" in read(model_type="hyena", **MIXTURE).notes[0]
    assert "names no model_type" in read(model_type=None).notes[0]


@pytest.mark.parametrize(
    ("changes", "now", "before"),
    [
        ({}, 131072, 131072),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072, 131072),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, 131072, 131072),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [16]}}, 131072, 131072),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 524288, 524288),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, 262144, 262144),
        ({"max_position_embeddings": 32768,
          "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}},
         32768, 131072),
        # DeepSeek-V3: the longest is named as it is after stretching.
        ({"max_position_embeddings": 163840,
          "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}},
         163840, 163840),
        ({"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0},
                              "sliding_attention": {"rope_type": "default"}}}, 1048576, 1048576),
        # Gemma 3 names its 131,072 as they are after stretching.
        ({"model_type": "gemma3_text", "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
         131072, 131072),
    ],
)  # fmt: skip
def test_the_longest_sequence_is_what_stretched_positions_reach(
    changes: dict[str, Any], now: int, before: int
) -> None:
    found = read(**changes)
    assert (found.longest("0.33.0"), found.longest("0.21.0")) == (now, before)
    assert found.context == now
    # What is between them is not known: what both accept.
    assert found.longest("0.27.0") == min(now, before)


def test_gemma_2_sees_all_in_every_second_layer_and_has_no_head_of_its_own() -> None:
    found = read(model_type="gemma2", use_sliding_window=None)
    assert found.layers == ("sliding", "full") * 14
    assert found.tied
    assert not read(model_type="gemma2", tie_word_embeddings=False).tied


JUNK: list[Any] = [
    True, False, 0, -1, 1, 7, 10**30, 1.5, float("nan"), "", "x", [], [1], ["a"], [[]], [None], {}, {"a": 1},
    {"type": "yarn", "factor": None}, "M*",
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_in_any_field_is_read_or_refused_and_nothing_else(junk: Any) -> None:
    whole = {**CONFIG, **MIXTURE, "text_config": {}, "vision_config": {"depth": 2, "hidden_size": 64},
             "rope_scaling": {}, "layer_types": None, "mlp_only_layers": [], "moe_layer_freq": 1,
             "quantization_config": {}, "head_dim": 128, "kv_lora_rank": None, "n_shared_experts": 1,
             "first_k_dense_replace": 0, "hybrid_override_pattern": None, "full_attention_interval": None,
             "tie_word_embeddings": None, "multi_query": None, "model_type": "qwen2"}  # fmt: skip
    for field in whole:
        try:
            found = read_config({**whole, field: junk}, "c")
        except PlanError:
            continue
        assert list(divisors.problems(found, Weights("bf16"), 1)) == []
        assert hash(found)


GEMMA = {  # text_config of gemma-3-4b-it, all there is
    "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
}  # fmt: skip


def test_what_gemma_leaves_out_is_what_its_family_has() -> None:
    found = read_config({"model_type": "gemma3", "text_config": GEMMA}, "c")
    assert (found.heads, found.kv_heads, found.head_dim, found.vocabulary) == (8, 4, 256, 262208)
    assert found.tied
    assert (found.window, found.context) == (1024, 131072)
    assert [place for place, kind in enumerate(found.layers) if kind == "full"] == [5, 11, 17, 23, 29]
    # 3.88 billion parameters without the part that sees: table 1 of "Gemma 3 Technical Report",
    # arXiv 2503.19786 (675 million of embedding, 3,209 of the rest).
    assert parameters.total(found) / 1e6 == pytest.approx(675 + 3209, rel=0.01)


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


@pytest.mark.parametrize(
    ("changes", "ranks", "said"),
    [
        ({"num_attention_heads": 24, "num_key_value_heads": 4, "intermediate_size": 18432,
          "head_dim": 128, "vocab_size": 153600}, 6,
         "4 key and value heads neither divide 6 ranks nor are divided by them"),
        ({"num_key_value_heads": 28, "intermediate_size": 18816}, 7,
         "a vocabulary of 152064 is not divisible by 7 ranks"),
        ({"num_key_value_heads": 28, "vocab_size": 448 * 300}, 7,
         "an intermediate size of 18944 is not divisible by 7 ranks"),
        ({**MIXTURE, "shared_expert_intermediate_size": 5633}, 2,
         "an shared expert intermediate size of 5633 is not divisible by 2 ranks"),
    ],
)  # fmt: skip
def test_each_size_that_ranks_do_not_divide_is_named(changes: dict[str, Any], ranks: int, said: str) -> None:
    """Each of these is the only thing in the way."""
    assert list(divisors.problems(read(**changes), Weights("bf16"), ranks)) == [said]
