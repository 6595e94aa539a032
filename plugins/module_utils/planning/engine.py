# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a start: whether the engine serves, and where a rank's memory goes.

vLLM takes a share of the card, runs the model once as wide as it may get, and gives the cache what is left:

    cache = total x utilisation - weights - peak of activations - memory outside the framework - graphs

On a CPU some versions take a cache of one size instead (see cpu.py).

llama.cpp maps the file, allocates the cache for all slots at full context at once, and a buffer for
computing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ansible_collections.stronghold.llm.plugins.module_utils.planning import (
    cache,
    cpu,
    divisors,
    parameters,
    terms,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    GIB,
    Constraint,
    Device,
    Memory,
    Outcome,
    Serving,
    Weights,
)

SYSTEM_GIB = 1.0
"""Of a host's memory, for all that is not the engine; a tenth of large ones, half of tiny ones at most."""

UBATCH = 512
"""Tokens that llama.cpp computes at once (`n_ubatch`, its default)."""


def tensor_parallel_sizes(architecture: Architecture, weights: Weights, limit: int) -> tuple[int, ...]:
    """All sizes up to `limit` that the model can be cut into."""
    return divisors.tensor_parallel_sizes(architecture, weights, limit)


def weight_bytes(architecture: Architecture, weights: Weights) -> float:
    """Of the whole model, once."""
    return parameters.weight_bytes(architecture, weights)


def sequence_kv_bytes(architecture: Architecture, serving: Serving, tokens: int) -> float:
    """That a rank holds for one sequence of this many tokens."""
    return cache.sequence_bytes(architecture, serving, tokens)


def read_bytes(architecture: Architecture, weights: Weights, serving: Serving, batch: float) -> float:
    """Weights that a rank reads for a step of `batch` tokens: of a mixture, not all experts."""
    return parameters.read_bytes(
        architecture, weights, serving.tensor_parallel, serving.pipeline_parallel, batch
    )


def start_problem(
    architecture: Architecture, weights: Weights, device: Device, serving: Serving
) -> tuple[Constraint, str] | None:
    """Why the engine refuses before it loads anything: what binds, and a sentence."""
    if serving.engine == "llama_cpp":
        if weights.precision == "gguf":
            return None
        return "engine", f"llama.cpp reads GGUF, and the weights are {weights.precision}"
    longest = architecture.longest(serving.version)
    if longest and serving.max_model_len and serving.max_model_len > longest:
        return "context", f"the model was made for {longest} tokens, and {serving.max_model_len} are wished"
    if cannot := divisors.capability_problem(weights, device, serving.version):
        return "capability", cannot
    found = next(divisors.problems(architecture, weights, serving.tensor_parallel), None)
    return ("divisibility", found) if found else None


def _longest(architecture: Architecture, serving: Serving) -> int | None:
    return architecture.longest(serving.version) if serving.engine == "vllm" else architecture.context


def memory(architecture: Architecture, weights: Weights, device: Device, serving: Serving) -> Memory:
    """Where the fullest rank's memory goes, whether or not the engine would start."""
    if serving.engine == "llama_cpp":
        return _llama_cpp(architecture, weights, device, serving)
    return _vllm(architecture, weights, device, serving)


@lru_cache(maxsize=65536)
def predict(architecture: Architecture, weights: Weights, device: Device, serving: Serving) -> Outcome:
    """What becomes of this start."""
    if found := start_problem(architecture, weights, device, serving):
        return Outcome(False, None, *found)
    there = memory(architecture, weights, device, serving)
    if there.weights + there.non_torch > there.total:
        return Outcome(
            False,
            there,
            "weights",
            f"{there.weights:.1f} GiB of weights on each, and {there.total:.1f} GiB is all it has",
        )
    if there.kv_cache <= 0:
        rest = there.activations + there.non_torch + there.graphs
        return Outcome(
            False,
            there,
            "kv_cache",
            f"of {there.budget:.1f} GiB that the engine may take, {there.weights:.1f} are weights and "
            f"{rest:.1f} the engine's own: nothing is left for a cache",
        )
    if there.budget > there.total:
        return Outcome(
            False,
            there,
            "kv_cache",
            f"the engine takes {there.kv_cache:.1f} GiB for its cache by itself, and {there.budget:.1f} GiB "
            f"with the weights, of {there.total:.1f} GiB",
        )
    if length := serving.max_model_len or _longest(architecture, serving):
        longest = there.kv_bytes_per_token * length / GIB
        if longest > there.kv_cache:
            return Outcome(
                False,
                there,
                "context",
                f"one sequence of {length} tokens fills {longest:.1f} GiB of KV cache, and "
                f"{there.kv_cache:.1f} GiB are left for it on each",
            )
    return Outcome(True, there)


def _vllm(architecture: Architecture, weights: Weights, device: Device, serving: Serving) -> Memory:
    version, tp, pp = serving.version, serving.tensor_parallel, serving.pipeline_parallel
    length = serving.max_model_len or _longest(architecture, serving) or 4096
    batch = serving.max_num_batched_tokens or terms.batched_tokens(version, device, length, tp * pp)
    running = serving.max_num_seqs or terms.sequences(version, device, tp * pp)
    decoding = max(
        terms.forward_peak(architecture, batch, tp), terms.sampler_peak(architecture, running, version)
    )
    activations = max(
        decoding + terms.encoder_cache(architecture, version, length), terms.vision_peak(architecture, tp)
    )
    held = (
        parameters.rank_bytes(architecture, weights, tp, pp) / GIB
        + terms.absorbed(architecture, version, tp, parameters.bytes_per_weight(weights)) / pp
    )
    budget = device.usable_gib * (serving.gpu_memory_utilization or terms.utilisation(version))
    if device.vendor == "cpu":
        non_torch, graphs = cpu.RESIDENT_GIB, 0.0
        fixed = cpu.fixed_cache(version, device.usable_gib)
        if fixed is not None:
            budget = held + activations + non_torch + fixed
    else:
        non_torch = terms.non_torch(device, tp, version)
        graphs = terms.graphs(architecture, version, serving.enforce_eager)
    return _memory(
        architecture,
        replace(serving, max_num_batched_tokens=batch),  # a window is held with what one step adds to it
        total=device.usable_gib,
        budget=budget,
        weights=held,
        activations=activations,
        non_torch=non_torch,
        graphs=graphs,
    )


def _llama_cpp(architecture: Architecture, weights: Weights, device: Device, serving: Serving) -> Memory:
    """The compute buffer holds the logits of a batch in 32 bits and a few states of it; as measured with
    SmolLM2-135M, 0.1 GiB, within a tenth.
    """
    total = device.usable_gib
    reserve = min(total / 2, max(SYSTEM_GIB, total / 10)) if device.vendor == "cpu" else total / 10
    values = architecture.vocabulary + 8 * architecture.hidden + 3 * architecture.intermediate
    return _memory(
        architecture,
        serving,
        total=total,
        budget=total - reserve,
        weights=parameters.weight_bytes(architecture, weights) / GIB,
        activations=UBATCH * 4 * values / GIB,
        non_torch=0.1,
        graphs=0.0,
    )


def _memory(
    architecture: Architecture,
    serving: Serving,
    *,
    total: float,
    budget: float,
    weights: float,
    activations: float,
    non_torch: float,
    graphs: float,
) -> Memory:
    left = budget - weights - activations - non_torch - graphs
    laid_out = cache.layout(architecture, serving)
    held = serving.max_model_len or _longest(architecture, serving) or 4096
    return Memory(
        total=total,
        budget=budget,
        weights=weights,
        activations=activations,
        non_torch=non_torch,
        graphs=graphs,
        kv_cache=left,
        kv_bytes_per_token=laid_out.blocks(held) * laid_out.block_bytes / held,
        kv_tokens=laid_out.tokens(left * GIB),
    )
