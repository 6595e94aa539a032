# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model is, from its own config.json or the header of its GGUF file; standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError

LayerKind = Literal["full", "sliding", "state"]
"""What a layer remembers of a sequence: every token, those in its window, or a state of one size."""

KINDS: dict[str, LayerKind] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "full",
    "linear_attention": "state",
    "mamba": "state",
    "attention": "full",
}
"""As `layer_types` names them."""


@dataclass(frozen=True)
class Experts:
    """Of a mixture of experts. `shared` is the intermediate size of all shared experts together."""

    count: int
    per_token: int
    intermediate: int
    layers: int
    shared: int = 0


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention: what is kept of a token is `rank` + `rope` values, for all heads."""

    rank: int
    rope: int
    nope: int
    value: int
    query_rank: int | None = None


@dataclass(frozen=True)
class State:
    """A layer with a state: values of its convolution and of its recurrence, and its parameters."""

    convolution: int
    recurrence: int
    parameters: int


@dataclass(frozen=True)
class Vision:
    """The part that sees. `merge` patches become one token."""

    layers: int
    hidden: int
    intermediate: int
    merge: int = 1


@dataclass(frozen=True)
class Architecture:
    """A decoder. Sizes are numbers of values; `layers` has one entry for each layer."""

    kind: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    """Of layers without experts."""
    vocabulary: int
    layers: tuple[LayerKind, ...]
    tied: bool = False
    """Embedding and head are one matrix."""
    window: int | None = None
    context: int | None = None
    """Longest sequence that the model was made for."""
    experts: Experts | None = None
    latent: Latent | None = None
    state: State | None = None
    vision: Vision | None = None
    extra_layers: int = 0
    """Layers for predicting several tokens: in the files, and not loaded without being asked for."""
    method: str | None = None
    """Of quantisation, as the config names it."""
    block: int | None = None
    """Weights that share a scale, along the sides that tensor parallel cuts."""
    notes: tuple[str, ...] = ()

    @property
    def dense_layers(self) -> int:
        return len(self.layers) - (self.experts.layers if self.experts else 0)


class _Fields:
    """A config's fields, each of them asked for by type."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def whole(self, *names: str) -> int:
        """The first of these that is there: a number from 1 on."""
        found = self.maybe(*names)
        if found is None:
            raise PlanError(
                f"{self.where}: {' or '.join(names)} is missing: give the model's own config.json, whole"
            )
        return found

    def maybe(self, *names: str) -> int | None:
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if type(value) is not int or value < 0:
                raise PlanError(f"{self.where}: {name}: {value!r} is no number of things: correct it")
            if value:
                return value
        return None

    def part(self, name: str) -> Mapping[str, Any]:
        value = self.values.get(name) or {}
        if not isinstance(value, Mapping):
            raise PlanError(f"{self.where}: {name}: {value!r} is no object: correct it")
        return value


def read_config(config: Mapping[str, Any], where: str) -> Architecture:
    """
    Raises:
        PlanError: a field that is missing, of another type, or that does not go with another; names file,
            field and value.
    """
    if not isinstance(config, Mapping):
        raise PlanError(f"{where}: {type(config).__name__}, not an object: give the model's own config.json")
    outer = _Fields(config, where)
    # Models that also see or hear keep the decoder's fields apart.
    text = outer.part("text_config") or outer.part("llm_config")
    of = _Fields({**config, **text}, where)
    kind = str(of.values.get("model_type") or "")
    heads, hidden = of.whole("num_attention_heads", "n_head"), of.whole("hidden_size", "n_embd")
    head_dim = of.maybe("head_dim")
    if head_dim is None and hidden % heads:
        raise PlanError(f"{where}: hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    kv_heads = of.maybe("num_key_value_heads") or (1 if of.values.get("multi_query") else heads)
    if heads % kv_heads:
        raise PlanError(
            f"{where}: num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}"
        )
    count = of.whole("num_hidden_layers", "n_layer")
    experts = _experts(of, count)
    layers = _layers(of, count)
    quantisation = outer.part("quantization_config") or of.part("quantization_config")
    return Architecture(
        kind=kind,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim or hidden // heads,
        intermediate=_intermediate(of, hidden, experts),
        vocabulary=of.whole("vocab_size"),
        layers=layers,
        tied=bool(of.values.get("tie_word_embeddings", False)),
        window=of.maybe("sliding_window") if "sliding" in layers else None,
        context=of.maybe("max_position_embeddings", "n_positions"),
        experts=experts,
        latent=_latent(of),
        state=_state(of) if "state" in layers else None,
        vision=_vision(_Fields(outer.part("vision_config"), f"{where}: vision_config")),
        extra_layers=of.maybe("num_nextn_predict_layers") or 0,
        method=str(quantisation["quant_method"]) if "quant_method" in quantisation else None,
        block=_block(quantisation, where),
        notes=() if kind else (f"{where} names no model_type: taken for a dense decoder",),
    )


def _intermediate(of: _Fields, hidden: int, experts: Experts | None) -> int:
    """Mixtures name it only where some layers have no experts, GPT-2's kin not where it is four times
    wider."""
    found = of.maybe("intermediate_size", "ffn_hidden_size", "n_inner")
    if found is None and experts is None:
        return 4 * hidden if "n_embd" in of.values else of.whole("intermediate_size")
    return found or 0


def _experts(of: _Fields, count: int) -> Experts | None:
    number = of.maybe("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
    if number is None:
        return None
    size = of.whole("moe_intermediate_size", "intermediate_size")
    shared = (of.maybe("n_shared_experts") or 0) * (of.maybe("moe_shared_expert_intermediate_size") or size)
    first = of.maybe("first_k_dense_replace") or 0
    step = of.maybe("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step") or 1
    pattern = of.values.get("hybrid_override_pattern")
    return Experts(
        number,
        of.whole("num_experts_per_tok", "moe_topk", "num_experts_per_token"),
        size,
        str(pattern).count("E") if pattern else (count - first) // step,
        of.maybe("shared_expert_intermediate_size") or shared,
    )


def _layers(of: _Fields, count: int) -> tuple[LayerKind, ...]:
    if pattern := of.values.get("hybrid_override_pattern"):
        # Nemotron-H: M has a state, * attends, E and - are feed-forward layers, which remember nothing.
        return tuple("state" if letter == "M" else "full" for letter in str(pattern) if letter in "M*")
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
    if of.values.get("sliding_window") is None or of.values.get("use_sliding_window") is False:
        return _same("full", count)
    if every := of.maybe("sliding_window_pattern") or (
        2 if of.values.get("model_type") == "gemma2" else None
    ):
        return tuple("full" if (place + 1) % every == 0 else "sliding" for place in range(count))
    return _same("sliding", count)


def _same(kind: LayerKind, count: int) -> tuple[LayerKind, ...]:
    return (kind,) * count


def _latent(of: _Fields) -> Latent | None:
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


def _state(of: _Fields) -> State:
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


def _vision(of: _Fields) -> Vision | None:
    layers, hidden = of.maybe("depth", "num_hidden_layers", "layers"), of.maybe("hidden_size", "width")
    if layers is None or hidden is None:
        return None
    wide = of.maybe("intermediate_size") or 4 * hidden
    return Vision(layers, hidden, wide, (of.maybe("spatial_merge_size") or 1) ** 2)


def _block(quantisation: Mapping[str, Any], where: str) -> int | None:
    block = quantisation.get("weight_block_size")
    if isinstance(block, list) and block and all(type(side) is int and side > 0 for side in block):
        return int(block[0])
    size = quantisation.get("group_size")
    if size is None or size == -1:
        return None
    if type(size) is not int or size < 1:
        raise PlanError(f"{where}: quantization_config.group_size: {size!r} is no number of weights")
    return size


def from_gguf(metadata: Mapping[str, Any], tensors: Mapping[str, int], where: str) -> Architecture:
    """From a GGUF header. Names: github.com/ggml-org/ggml, docs/gguf.md.

    Raises:
        PlanError: a key that is missing or of another type.
    """
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str):
        raise PlanError(f"{where}: general.architecture is missing: the file says not what it is")
    of = _Fields({key.removeprefix(f"{kind}."): value for key, value in metadata.items()}, where)
    words = metadata.get("tokenizer.ggml.tokens")
    count, number, heads = of.whole("block_count"), of.maybe("expert_count"), of.whole("attention.head_count")
    rank, key = of.maybe("attention.kv_lora_rank"), of.maybe("attention.key_length")
    rope = of.maybe("rope.dimension_count") or 0
    experts = latent = None
    if number:
        experts = Experts(
            number,
            of.whole("expert_used_count"),
            of.whole("expert_feed_forward_length", "feed_forward_length"),
            count - (of.maybe("leading_dense_block_count") or 0),
        )
    if rank:
        latent = Latent(rank, rope, (key or 0) - rope, of.maybe("attention.value_length") or 0)
    return Architecture(
        kind=kind,
        hidden=of.whole("embedding_length"),
        heads=heads,
        kv_heads=of.maybe("attention.head_count_kv") or heads,
        head_dim=key or of.whole("embedding_length") // heads,
        intermediate=of.maybe("feed_forward_length") or 0,
        vocabulary=of.maybe("vocab_size") or (words if isinstance(words, int) else of.whole("vocab_size")),
        layers=_same("full", count),
        tied="output.weight" not in tensors,
        context=of.maybe("context_length"),
        experts=experts,
        latent=latent,
        method="gguf",
    )
