# SPDX-License-Identifier: GPL-3.0-or-later
"""What each layer of a decoder is: it attends, to all or within a window, has a state, or has experts."""

from __future__ import annotations

from ansible_collections.stronghold.llm.plugins.module_utils.planning.fields import Fields
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError
from ansible_collections.stronghold.llm.plugins.module_utils.planning.shapes import (
    Experts,
    Latent,
    LayerKind,
    State,
)

KINDS: dict[str, LayerKind] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "full",
    "linear_attention": "state",
    "mamba": "state",
    "attention": "full",
}
"""As `layer_types` names them."""


def experts(of: Fields, count: int) -> Experts | None:
    """None where there are none, or where no layer has any."""
    number = of.maybe("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
    if number is None:
        return None
    having = _mixtures(of, count)
    if not having:
        return None
    size = of.whole("moe_intermediate_size", "intermediate_size")
    shared = (of.maybe("n_shared_experts") or 0) * (of.maybe("moe_shared_expert_intermediate_size") or size)
    chosen = of.whole("num_experts_per_tok", "moe_topk", "num_experts_per_token")
    if chosen > number:
        raise of.problem("num_experts_per_tok", f"({chosen}) of {number} experts cannot be: correct it")
    return Experts(number, chosen, size, having, of.maybe("shared_expert_intermediate_size") or shared)


def _mixtures(of: Fields, count: int) -> int:
    """How many layers have experts.

    Qwen counts its steps from 1 and names exceptions, Llama 4 counts so too, and DeepSeek counts from 0
    after the first dense ones (huggingface/transformers, models/qwen3_moe, models/llama4 and
    models/deepseek_v3, the decoder layer's choice of its feed-forward part).
    """
    if pattern := of.values.get("hybrid_override_pattern"):
        return str(pattern).count("E")
    first = of.maybe("first_k_dense_replace") or 0
    if first > count:
        raise of.problem("first_k_dense_replace", f"cannot be where the model has {count} layers: correct it")
    dense = of.values.get("mlp_only_layers") or []
    if not isinstance(dense, list) or any(type(at) is not int or not 0 <= at < count for at in dense):
        raise of.problem("mlp_only_layers", f"does not number some of {count} layers: correct it")
    each = of.values.get("moe_layer_freq")
    if isinstance(each, list):
        if len(each) != count or not set(each) <= {0, 1}:
            raise of.problem("moe_layer_freq", f"does not say 0 or 1 for each of {count} layers: correct it")
        return sum(each)
    every = of.maybe("moe_layer_freq") or 1
    step = of.maybe("decoder_sparse_step", "interleave_moe_layer_step") or 1
    return sum(
        at >= first and at % every == 0 and (at + 1) % step == 0 and at not in dense for at in range(count)
    )


def layers(of: Fields, count: int) -> tuple[LayerKind, ...]:
    if pattern := of.values.get("hybrid_override_pattern"):
        if not isinstance(pattern, str) or len(pattern) != count or not set("M*") & set(pattern):
            raise of.problem("hybrid_override_pattern", f"is no pattern of {count} layers: correct it")
        # Nemotron-H: M has a state, * attends, E and - are feed-forward layers, which remember nothing.
        return tuple("state" if letter == "M" else "full" for letter in pattern if letter in "M*")
    named = of.values.get("layer_types")
    if named is not None:
        if not isinstance(named, list) or len(named) != count:
            raise PlanError(f"{of.where}: layer_types does not name {count} layers, as num_hidden_layers has")
        if unknown := sorted({str(name) for name in named} - set(KINDS)):
            raise PlanError(f"{of.where}: layer_types: {', '.join(unknown)} is no kind of layer known here")
        return tuple(KINDS[str(name)] for name in named)
    if every := of.maybe("full_attention_interval"):
        return tuple("full" if (place + 1) % every == 0 else "state" for place in range(count))
    # Qwen2 names a window in every config, and says beside it that there is none.
    if of.values.get("sliding_window") is None or not of.flag("use_sliding_window", True):
        return same("full", count)
    if every := of.maybe("sliding_window_pattern", "_sliding_window_pattern"):
        return tuple("full" if (place + 1) % every == 0 else "sliding" for place in range(count))
    return same("sliding", count)


def same(kind: LayerKind, count: int) -> tuple[LayerKind, ...]:
    return (kind,) * count


def latent(of: Fields) -> Latent | None:
    rank = of.maybe("kv_lora_rank")
    if rank is None:
        return None
    return Latent(
        rank,
        of.whole("qk_rope_head_dim"),
        of.whole("qk_nope_head_dim"),
        of.whole("v_head_dim"),
        of.maybe("q_lora_rank"),
    )


def state(of: Fields) -> State:
    hidden = of.whole("hidden_size", "n_embd")
    if heads := of.maybe("linear_num_value_heads"):  # Qwen3-Next: gated delta net
        size = of.whole("linear_value_head_dim")
        keys = of.whole("linear_num_key_heads") * of.whole("linear_key_head_dim")
        values = heads * size
        mixed = 2 * keys + values
        return State(
            mixed * (of.whole("linear_conv_kernel_dim") - 1),
            heads * of.whole("linear_key_head_dim") * size,
            hidden * (mixed + values + 2 * heads) + values * hidden,
        )
    heads, size, states = of.whole("mamba_num_heads"), of.whole("mamba_head_dim"), of.whole("ssm_state_size")
    mixed = heads * size + 2 * of.whole("n_groups") * states
    return State(
        mixed * (of.whole("conv_kernel") - 1),
        heads * size * states,
        hidden * (mixed + heads * size + heads) + heads * size * hidden,
    )
