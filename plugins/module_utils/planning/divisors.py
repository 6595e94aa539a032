# SPDX-License-Identifier: GPL-3.0-or-later
"""What vLLM refuses before it loads anything: sizes that ranks do not divide, weights that a card cannot
compute."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Device, Precision, Weights
from ansible_collections.stronghold.llm.plugins.module_utils.planning.parameters import padded_vocabulary
from ansible_collections.stronghold.llm.plugins.module_utils.planning.versions import version_numbers

LEAST_CAPABILITY: dict[Precision, tuple[int, int]] = {
    "bf16": (8, 0),
    "fp8": (8, 0),
    "nvfp4": (8, 0),
    "mxfp4": (8, 0),
    "int8": (7, 5),
    "int4": (7, 5),
}
"""Of NVIDIA cards. FP8 weights are widened before each product below 8.9; INT4 is AWQ's and Marlin's 7.5.
Source: vLLM documentation, "Supported Hardware" of quantisation, 2026-11; for bfloat16 the engine's own
refusal."""


def problems(architecture: Architecture, weights: Weights, tp: int) -> Iterator[str]:
    """Why this many ranks cannot share the model, a sentence each."""
    a = architecture
    if a.heads % tp:
        yield f"{a.heads} attention heads are not divisible by {tp} ranks"
    if not a.latent and a.kv_heads % tp and tp % a.kv_heads:
        yield f"{a.kv_heads} key and value heads neither divide {tp} ranks nor are divided by them"
    if padded_vocabulary(a) % tp:
        yield f"a vocabulary of {padded_vocabulary(a)} is not divisible by {tp} ranks"
    sizes = {"intermediate": a.intermediate if a.dense_layers else 0}
    if a.experts:
        sizes |= {
            "expert intermediate": a.experts.intermediate,
            "shared expert intermediate": a.experts.shared,
        }
    block = _block(a, weights)
    for name, size in sizes.items():
        if size % tp:
            yield f"an {name} size of {size} is not divisible by {tp} ranks"
        elif size and block and tp > 1 and size // tp % block:
            yield (
                f"an {name} size of {size} leaves {size // tp} to each of {tp} ranks, which blocks of "
                f"{block} weights with one scale do not divide"
            )


def _block(architecture: Architecture, weights: Weights) -> int | None:
    """Weights along a cut side that share a scale. FP8 has blocks only where the config says so."""
    if weights.precision == "int4":
        return weights.group_size or architecture.block or 128
    if weights.precision == "fp8":
        return weights.group_size or architecture.block
    return None


@lru_cache(maxsize=1024)
def tensor_parallel_sizes(architecture: Architecture, weights: Weights, limit: int) -> tuple[int, ...]:
    """All sizes up to `limit` that the model can be cut into."""
    return tuple(size for size in range(1, limit + 1) if not any(problems(architecture, weights, size)))


def least_capability(precision: Precision, version: str) -> tuple[int, int] | None:
    """Of FP8 8.0 up to 0.13.0 and 7.5 from 0.14.0 on (get_min_capability in
    vllm/model_executor/layers/quantization/fp8.py).
    """
    if precision == "fp8" and version_numbers(version) >= (0, 14, 0):
        return 7, 5
    return LEAST_CAPABILITY.get(precision)


def capability_problem(weights: Weights, device: Device, version: str) -> str | None:
    """Why this card cannot compute with these weights."""
    least = least_capability(weights.precision, version)
    if device.vendor != "nvidia" or device.capability is None or least is None:
        return None
    major, _, minor = device.capability.partition(".")
    if (int(major), int(minor or 0)) >= least:
        return None
    return (
        f"{weights.precision} needs compute capability {least[0]}.{least[1]}, and {device.name} has "
        f"{device.capability}"
    )
