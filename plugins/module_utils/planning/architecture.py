# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model is, from its own config.json or the header of its GGUF file; standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning import families, layers, rope
from ansible_collections.stronghold.llm.plugins.module_utils.planning.fields import Fields
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError
from ansible_collections.stronghold.llm.plugins.module_utils.planning.shapes import (
    Architecture,
    Experts,
    Latent,
    LayerKind,
    State,
    Vision,
)

__all__ = [
    "Architecture", "Experts", "Latent", "LayerKind", "State", "Vision", "from_gguf", "read_config",
]  # fmt: skip


def read_config(config: Mapping[str, Any], where: str) -> Architecture:
    """
    Raises:
        PlanError: a field that is missing, of another type, or that does not go with another; names file,
            field and value.
    """
    if not isinstance(config, Mapping):
        raise PlanError(f"{where}: {type(config).__name__}, not an object: give the model's own config.json")
    outer = Fields(config, where)
    # Models that also see or hear keep the decoder's fields apart.
    text = outer.part("text_config") or outer.part("llm_config")
    kind = str(text.get("model_type") or config.get("model_type") or "")
    given = {name: value for name, value in {**config, **text}.items() if value is not None}
    of = Fields({**families.DEFAULTS.get(kind, {}), **given}, where)
    heads, hidden = of.whole("num_attention_heads", "n_head"), of.whole("hidden_size", "n_embd")
    head_dim = of.maybe("head_dim")
    if head_dim is None and hidden % heads:
        raise PlanError(f"{where}: hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    kv_heads = of.maybe("num_key_value_heads") or (1 if of.flag("multi_query", False) else heads)
    if heads % kv_heads:
        raise PlanError(
            f"{where}: num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}"
        )
    count = of.layers("num_hidden_layers", "n_layer")
    experts = layers.experts(of, count)
    kinds = layers.layers(of, count)
    context, yarn_context = rope.longest(of)
    quantisation = outer.part("quantization_config") or of.part("quantization_config")
    return Architecture(
        kind=kind,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim or hidden // heads,
        intermediate=_intermediate(of, hidden, experts),
        vocabulary=of.whole("vocab_size"),
        layers=kinds,
        tied=of.flag("tie_word_embeddings", False),
        window=of.whole("sliding_window") if "sliding" in kinds else None,
        context=context,
        experts=experts,
        latent=layers.latent(of),
        state=layers.state(of) if "state" in kinds else None,
        vision=_vision(Fields(outer.part("vision_config"), f"{where}: vision_config")),
        extra_layers=of.maybe("num_nextn_predict_layers") or 0,
        method=str(quantisation["quant_method"]) if "quant_method" in quantisation else None,
        block=_block(quantisation, where),
        notes=families.guess(kind, experts is not None, where),
        yarn_context=yarn_context,
    )


def _intermediate(of: Fields, hidden: int, experts: Experts | None) -> int:
    """Mixtures name it only where some layers have no experts, GPT-2's kin not where it is four times
    wider."""
    found = of.maybe("intermediate_size", "ffn_hidden_size", "n_inner")
    if found is None and experts is None:
        return 4 * hidden if "n_embd" in of.values else of.whole("intermediate_size")
    return found or 0


def _vision(of: Fields) -> Vision | None:
    layers, hidden = of.maybe("depth", "num_hidden_layers", "layers"), of.maybe("hidden_size", "width")
    if layers is None or hidden is None:
        return None
    wide = of.maybe("intermediate_size") or 4 * hidden
    deep = of.values.get("deepstack_visual_indexes") or []
    if not isinstance(deep, list):
        raise of.problem("deepstack_visual_indexes", "is no list of layers: correct it")
    return Vision(layers, hidden, wide, (of.maybe("spatial_merge_size") or 1) ** 2, len(deep))


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
        PlanError: a key that is missing, of another type, or that does not go with another.
    """
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str):
        raise PlanError(f"{where}: general.architecture is missing: the file says not what it is")
    own = {key.removeprefix(f"{kind}."): value for key, value in metadata.items()}
    count = Fields(own, where).layers("block_count")
    of, notes = _largest(own, count, where)
    words = metadata.get("tokenizer.ggml.tokens")
    number, heads = of.maybe("expert_count"), of.whole("attention.head_count")
    kv_heads = of.maybe("attention.head_count_kv") or heads
    hidden = of.whole("embedding_length")
    rank, key = of.maybe("attention.kv_lora_rank"), of.maybe("attention.key_length")
    turned = of.maybe("rope.dimension_count") or 0
    experts = latent = None
    if number:
        first = of.maybe("leading_dense_block_count") or 0
        if first > count:
            raise of.problem("leading_dense_block_count", f"cannot be where the model has {count} layers")
        experts = Experts(
            number,
            of.whole("expert_used_count"),
            of.whole("expert_feed_forward_length", "feed_forward_length"),
            count - first,
        )
    if rank:
        # Newer files name a head's own sizes apart from those of the latent space.
        own_key = of.whole("attention.key_length_mla", "attention.key_length")
        if own_key <= turned:
            raise of.problem("attention.key_length", f"is no more than rope.dimension_count {turned}")
        value = of.whole("attention.value_length_mla", "attention.value_length")
        latent = Latent(rank, turned, own_key - turned, value)
    elif heads % kv_heads:
        raise PlanError(
            f"{where}: attention.head_count {heads} is no multiple of attention.head_count_kv {kv_heads}"
        )
    if key is None and hidden % heads:
        raise PlanError(
            f"{where}: embedding_length {hidden} is no multiple of attention.head_count {heads}: the file is "
            "damaged"
        )
    return Architecture(
        kind=kind,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=key or hidden // heads,
        intermediate=of.maybe("feed_forward_length") or 0,
        vocabulary=of.maybe("vocab_size") or (words if isinstance(words, int) else of.whole("vocab_size")),
        layers=layers.same("full", count),
        tied="output.weight" not in tensors,
        context=of.maybe("context_length"),
        experts=experts,
        latent=latent,
        method="gguf",
        notes=notes,
    )


def _largest(own: Mapping[str, Any], count: int, where: str) -> tuple[Fields, tuple[str, ...]]:
    """Keys that have a number for each layer, as docs/gguf.md allows, with the largest instead."""
    of, found, notes = Fields(own, where), dict(own), []
    for name in ("attention.head_count", "attention.head_count_kv", "feed_forward_length"):
        each = own.get(name)
        if not isinstance(each, tuple):
            continue
        if len(each) != count:
            raise PlanError(f"{where}: {name}: {len(each)} numbers for {count} layers: the file is damaged")
        found[name] = max(of.number(name, value) for value in each)
        if len(set(each)) > 1:
            notes.append(f"{where}: {name} differs between layers: planned with the largest")
    return Fields(found, where), tuple(notes)
