# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to serve a model on one kind of device, held against the wish."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.planning import decoding, engine, terms
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.decoding import Rates
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    GIB,
    Constraint,
    Device,
    Memory,
    Serving,
    Weights,
    Wish,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.words import counted


@dataclass(frozen=True)
class Question:
    """What is asked of a fleet."""

    model: str
    architecture: Architecture
    weights: Weights
    wish: Wish


@dataclass(frozen=True)
class Candidate:
    """What comes of one layout on one kind of device, and what it fails at, if it does."""

    device: Device
    serving: Serving
    memory: Memory | None
    """None where the engine would not even load."""
    wanted_gib: float
    """KV cache that the wish fills on the rank with the least room."""
    rates: Rates | None
    """None where nobody knows the device's bandwidth."""
    constraint: Constraint | None = None
    why: str = ""

    @property
    def ranks(self) -> int:
        return self.serving.tensor_parallel * self.serving.pipeline_parallel

    @property
    def headroom_gib(self) -> float:
        return self.memory.kv_cache - self.wanted_gib if self.memory else float("-inf")


def candidate(question: Question, device: Device, tensor_parallel: int, pipeline_parallel: int) -> Candidate:
    wish, architecture = question.wish, question.architecture
    serving = Serving(
        engine=wish.engine,
        version=wish.engine_version,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        gpu_memory_utilization=_utilization(wish),
        max_model_len=wish.context_tokens,
        max_num_seqs=wish.sequences,
        max_num_batched_tokens=wish.max_num_batched_tokens,
        kv_cache=wish.kv_cache,
        enforce_eager=wish.enforce_eager,
    )
    outcome = engine.predict(architecture, question.weights, device, serving)
    held = wish.typical_tokens or wish.context_tokens
    typical = engine.sequence_kv_bytes(architecture, serving, held)
    longest = engine.sequence_kv_bytes(architecture, serving, wish.context_tokens)
    wanted = max(wish.sequences * typical, longest) / GIB
    if not outcome.serves or outcome.memory is None:
        return Candidate(
            device, serving, outcome.memory, wanted, None, outcome.constraint or "engine", outcome.why
        )
    rates = decoding.rates(question.architecture, question.weights, device, serving, typical)
    constraint, why = _unmet(wish, held, outcome.memory, wanted, rates)
    return Candidate(device, serving, outcome.memory, wanted, rates, constraint, why)


def _utilization(wish: Wish) -> float | None:
    """Written down in the plan also where it is the engine's default, which another version would change."""
    return wish.gpu_memory_utilization or (
        terms.utilisation(wish.engine_version) if wish.engine == "vllm" else None
    )


def _unmet(
    wish: Wish, held: int, memory: Memory, wanted: float, rates: Rates | None
) -> tuple[Constraint | None, str]:
    """What the wish asks for beyond a start."""
    sequences = counted(wish.sequences, "sequence")
    if wanted > memory.kv_cache:
        return "kv_cache", (
            f"{sequences} of {held} tokens fill {wanted:.1f} GiB of KV cache, and {memory.kv_cache:.1f} GiB "
            "are left for it on each"
        )
    if wish.tokens_per_second and rates and rates.each < wish.tokens_per_second:
        return "throughput", (
            f"with {sequences} at a time, memory bandwidth gives each {rates.each:.1f} tokens/s at the most, "
            f"and {wish.tokens_per_second:g} are wished"
        )
    return None, ""
