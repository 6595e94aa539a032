# SPDX-License-Identifier: GPL-3.0-or-later
"""How many parameters a model has, and how many bytes of them each rank holds.

Tensor parallel cuts every large matrix, but not what latent attention projects down to, which every rank
holds whole; of key and value heads a rank holds one at least. The embedding and the head stay in 16 bits
where the layers are quantised (the `ignore` or `modules_to_not_convert` of such configs; GGUF files say it
themselves).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Weights

VOCABULARY_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this (vllm/model_executor/layers/vocab_parallel_embedding.py)."""

MXFP4_PADDING = 256
"""vLLM pads what a rank has of an MXFP4 expert's intermediate size to a multiple of this: 64.4 GiB for the
60.8 of gpt-oss-120b (vllm/model_executor/layers/quantization/mxfp4.py; three logs)."""


@dataclass(frozen=True)
class Layer:
    """Parameters of one layer on one rank. `experts` are all routed ones together."""

    attention: float
    dense: float
    experts: float
    shared: float
    plain: float
    """Norms and routers, never quantised."""


def bytes_per_weight(weights: Weights) -> float:
    """Of a linear layer, its scales included.

    FP8 blocks of 128 x 128 have a scale of 4 bytes (deepseek-ai/DeepSeek-V3, README_WEIGHTS.md); AWQ and
    GPTQ have a scale of 2 bytes and a zero of half a byte for each group; NVFP4 a byte for 16 weights,
    MXFP4 for 32 (OCP Microscaling Formats 1.0, 2023-09).
    """
    group = weights.group_size or 128
    return {
        "fp32": 4.0,
        "bf16": 2.0,
        "fp16": 2.0,
        "fp8": 1.0 + 4 / 128**2,
        "int8": 1.0,
        "int4": 0.5 + 2.5 / group,
        "nvfp4": 0.5 + 1 / 16,
        "mxfp4": 0.5 + 1 / 32,
        "gguf": 0.5 + 2.0 / 32,  # Q4_0 and Q4_K; the file's own size goes before it
    }[weights.precision]


def _attention(architecture: Architecture, tp: int) -> float:
    a = architecture
    if latent := a.latent:
        per_head = latent.nope + latent.rope
        heads = a.heads / tp
        if latent.query_rank:
            query = a.hidden * latent.query_rank + latent.query_rank * heads * per_head
        else:
            query = a.hidden * heads * per_head
        down = a.hidden * (latent.rank + latent.rope)
        up = latent.rank * heads * (latent.nope + latent.value)
        return query + down + up + heads * latent.value * a.hidden
    gates = a.heads if a.kind == "qwen3_next" else 0  # it gates what attention gives, by as many values
    key_value = max(1.0, a.kv_heads / tp)
    return a.hidden * a.head_dim * ((2 * a.heads + gates) / tp + 2 * key_value)


def _matrices(architecture: Architecture) -> int:
    """Of a feed-forward layer: a gate, up and down, or without the gate."""
    return 2 if architecture.kind in ("gpt_bigcode", "starcoder2", "gpt2", "nemotron_h", "phi") else 3


@lru_cache(maxsize=4096)
def layer(architecture: Architecture, tp: int, kind: str = "full", mixture: bool = False) -> Layer:
    """One layer of this kind, with experts or without."""
    a, matrices = architecture, _matrices(architecture)
    attention = a.state.parameters / tp if kind == "state" and a.state else _attention(a, tp)
    experts = a.experts
    if mixture and experts:
        size = experts.intermediate / tp
        if a.method == "mxfp4":
            size = -(-size // MXFP4_PADDING) * MXFP4_PADDING
        routed = matrices * a.hidden * size * experts.count
        shared = matrices * a.hidden * experts.shared / tp
        return Layer(attention, 0.0, routed, shared, a.hidden * (experts.count + 2))
    return Layer(attention, matrices * a.hidden * a.intermediate / tp, 0.0, 0.0, 2 * a.hidden)


def padded_vocabulary(architecture: Architecture) -> int:
    return -(-architecture.vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING


@dataclass(frozen=True)
class Count:
    """Parameters on one rank: `linear` ones are quantised, `embedding` (with the head) and `plain` ones not.
    `experts` are those of `linear` that belong to routed experts, `unmixed` those of attention.
    """

    linear: float
    experts: float
    attention: float
    embedding: float
    plain: float
    kept: float = 0.0
    """Share of attention's that stays in 16 bits all the same."""

    @property
    def total(self) -> float:
        return self.linear + self.embedding + self.plain


@lru_cache(maxsize=4096)
def count(architecture: Architecture, tp: int = 1, pp: int = 1) -> Count:
    """Of the stage with the most layers. vLLM divides layers evenly, the first stage has the embedding and
    the last the head (vllm/distributed/utils.py, get_pp_indices).
    """
    a = architecture
    number = len(a.layers) if a.kind != "nemotron_h" or not a.experts else len(a.layers) + a.experts.layers
    share = -(-number // pp) / number
    states = a.layers.count("state")
    full = len(a.layers) - states
    mixtures = a.experts.layers if a.experts else 0
    plain_layer, mixed = layer(a, tp), layer(a, tp, mixture=True)
    state = layer(a, tp, "state")
    attention = full * plain_layer.attention + states * (state.attention if states else 0)
    dense = max(0, len(a.layers) - mixtures) * plain_layer.dense if a.kind != "nemotron_h" else 0.0
    experts = mixtures * mixed.experts
    shared = mixtures * mixed.shared
    matrices = 1 if a.tied or pp > 1 else 2
    return Count(
        linear=share * (attention + dense + experts + shared),
        experts=share * experts,
        attention=share * attention,
        embedding=matrices * padded_vocabulary(a) * a.hidden / tp,
        plain=share * (mixtures * mixed.plain + (len(a.layers) - mixtures) * plain_layer.plain) + _vision(a),
        kept=_kept(a, states * state.attention / attention if states else 0.0),
    )


def _kept(architecture: Architecture, of_states: float) -> float:
    """MXFP4 is a format of experts: attention stays in 16 bits (openai/gpt-oss, modules_to_not_convert).
    Layers with a state stay so too where the weights have four bits (the `ignore` of such files; one log).
    """
    return 1.0 if architecture.method == "mxfp4" else of_states if architecture.block != 128 else 0.0


def _vision(architecture: Architecture) -> float:
    """The part that sees, which is in 16 bits; a rank that holds it whole is what is planned for."""
    seen = architecture.vision
    return seen.layers * (4 * seen.hidden**2 + 3 * seen.hidden * seen.intermediate) if seen else 0.0


def total(architecture: Architecture) -> int:
    """All parameters of the decoder, as model cards count them."""
    found = count(architecture)
    unpadded = (1 if architecture.tied else 2) * architecture.vocabulary * architecture.hidden
    return round(found.linear + found.plain - _vision(architecture) + unpadded)


def plain_bytes(weights: Weights) -> int:
    """Of a parameter that is not quantised."""
    return 4 if weights.precision == "fp32" else 2


@lru_cache(maxsize=4096)
def _linear_bytes(architecture: Architecture, precision: str, group: int | None, size: int | None) -> float:
    """Bytes of a linear parameter: what the files leave for them, or else what the precision has.

    Files with layers that are not loaded say nothing of the others.
    """
    weights = Weights(precision, size, group)  # type: ignore[arg-type]
    whole = count(architecture)
    if size is None or architecture.extra_layers:
        return bytes_per_weight(weights)
    if precision == "gguf":
        return size / whole.total
    left = size - plain_bytes(weights) * (whole.embedding + whole.plain)
    return max(left / whole.linear, 0.25)


def rank_bytes(architecture: Architecture, weights: Weights, tp: int = 1, pp: int = 1) -> float:
    """Bytes of weights on the fullest rank."""
    return read_bytes(architecture, weights, tp, pp, batch=None)


def read_bytes(architecture: Architecture, weights: Weights, tp: int, pp: int, batch: float | None) -> float:
    """Bytes of weights that a step with `batch` tokens reads on a rank; None: all of them.

    Of routed experts those that at least one token chooses, if all are chosen equally often:
    1 - (1 - chosen / all) ** batch. Of the embedding a step reads a row for each token, which is nothing.
    """
    found = count(architecture, tp, pp)
    linear = _linear_bytes(architecture, weights.precision, weights.group_size, weights.total_bytes)
    plain = linear if weights.precision == "gguf" else float(plain_bytes(weights))
    attention = found.attention
    experts, embedding = found.experts, found.embedding
    if batch is not None:
        embedding /= 1 if architecture.tied else 2
        if mixture := architecture.experts:
            experts *= 1 - (1 - min(1.0, mixture.per_token / mixture.count)) ** batch
    of_attention = linear * (1 - found.kept) + plain * found.kept
    rest = found.linear - found.experts - attention
    return linear * (rest + experts) + of_attention * attention + plain * (embedding + found.plain)


def weight_bytes(architecture: Architecture, weights: Weights) -> float:
    """Of the whole model, once."""
    if weights.total_bytes and not architecture.extra_layers:
        return float(weights.total_bytes)
    return rank_bytes(architecture, weights)
