# SPDX-License-Identifier: GPL-3.0-or-later
"""Where vLLM's memory goes besides weights and cache: one function for each term, each with its source.

Constants are read from the engine's own wheels of the versions named, or calibrated on the start-up logs in
tests/fixtures/engine_logs, and then say on how many.
"""

from __future__ import annotations

from functools import lru_cache
from math import log2

from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import GIB, Device, PlanError

Release = tuple[int, int, int]

SORTING_BYTES = 38
"""Of a logit, while the sampler sorts all of them: values, indices, probabilities and their sums.
Calibrated on eleven logs of 0.6 to 0.16, which lie between 35 and 40."""

SELECTING_BYTES = 24
"""The same once a Triton kernel selects instead (vllm/v1/sample/ops/topk_topp_sampler.py, from the wheel of
0.17.0 on; 0.16.0 has none). Calibrated on one log of 0.19."""


@lru_cache(maxsize=256)
def release(version: str) -> Release:
    """ "0.10.1.1" -> (0, 10, 1).

    Raises:
        PlanError: no version.
    """
    parts = version.removeprefix("v").split("+")[0].split(".")
    digits = [part for part in parts[:3] if part.isdigit()]
    if len(digits) < 2:
        raise PlanError(f"engine_version: {version!r} is no version such as 0.33.0: lock one")
    numbers = [int(part) for part in digits] + [0]
    return numbers[0], numbers[1], numbers[2]


def is_large(device: Device) -> bool:
    """Cards that get the engine's larger defaults: 70 GiB and more, but no A100 (vllm/engine/arg_utils.py of
    0.8.5 to 0.33.0).
    """
    return device.usable_gib >= 70 and device.vendor != "cpu" and "A100" not in device.name.upper()


def utilisation(version: str) -> float:
    """Default share of the card (vllm/config/cache.py: 0.9 in the wheel of 0.19.0, 0.92 in that of
    0.20.0)."""
    return 0.92 if release(version) >= (0, 20, 0) else 0.9


def sequences(version: str, device: Device) -> int:
    """Default max_num_seqs (vllm/engine/arg_utils.py: 1024 on large cards from 0.8.5 on, 256 else)."""
    return 1024 if is_large(device) and release(version) >= (0, 8, 5) else 256


def batched_tokens(version: str, device: Device, max_model_len: int) -> int:
    """Default max_num_batched_tokens of the API server (vllm/engine/arg_utils.py). Before 0.8 a prompt was
    not cut in chunks up to 32,768 tokens, so a step had to hold the longest one.
    """
    if release(version) < (0, 8, 0):
        return max(2048, max_model_len) if max_model_len <= 32768 else 2048
    if device.usable_gib >= 160 and release(version) >= (0, 20, 0):
        return 16384
    return 8192 if is_large(device) else 2048


def forward_peak(architecture: Architecture, tokens: int, tp: int) -> float:
    """GiB of activations while the profiling run goes through the widest layer, in 16 bits.

    Gate, up and their product, and the hidden state three times: 110,592 bytes a token for Llama-3.1-8B, by
    which two logs of the same card with 20,000 and 29,000 tokens differ exactly. A mixture has the hidden
    state once more for each chosen expert.
    """
    a = architecture
    values = 3 * a.intermediate / tp
    if a.experts:
        chosen = a.experts.per_token * (a.hidden + 3 * a.experts.intermediate / tp)
        values = max(values, chosen + 3 * a.experts.shared / tp)
    return tokens * 2 * (values + 3 * a.hidden) / GIB


def sampler_peak(architecture: Architecture, running: int, version: str) -> float:
    """GiB for sampling from the logits of all sequences at once, on every rank: the profiling run does it."""
    each = SELECTING_BYTES if release(version) >= (0, 17, 0) else SORTING_BYTES
    return running * architecture.vocabulary * each / GIB


def vision_peak(architecture: Architecture, tp: int) -> float:
    """GiB while one picture of the largest size is looked at: 16,384 tokens of it (Qwen's max_pixels)."""
    seen = architecture.vision
    if seen is None or seen.merge == 1:
        return 0.0
    return 16384 * seen.merge * 2 * (2 * seen.intermediate / tp + 6 * seen.hidden) / GIB


def non_torch(device: Device, tp: int, version: str) -> float:
    """GiB outside of the framework: context, NCCL or RCCL and its buffers.

    0.01 to 0.35 on one card (nine logs), and 0.1 to 0.25 on several over PCIe (four logs). Between cards
    joined by NVLink or XGMI 0.9 for each rank before 0.8 (7.16 with eight, one log), and about 2 since then
    (one log with two MI300X, one with four H100).
    """
    joined = device.capability in ("7.0", "8.0", "9.0", "10.0", "10.3") or device.vendor == "amd"
    if tp == 1 or not joined:
        return 0.15
    if release(version) < (0, 8, 0):
        return 0.9 * tp
    return 1.0 + 0.4 * log2(tp)


def absorbed(architecture: Architecture, version: str, tp: int, bytes_each: float) -> float:
    """GiB of what latent attention keeps beside its weights, to work in the latent space.

    Before 0.8 the products with the query's and the output's matrices, as wide as the weights: 4.05 GiB a
    rank for DeepSeek-R1 on eight, without which its log is missed by 27 %. Since then only the two parts of
    `kv_b_proj`, widened to 16 bits (vllm/v1/attention/backends/mla/common.py,
    process_weights_after_loading).
    """
    latent = architecture.latent
    if latent is None:
        return 0.0
    heads, layers = architecture.heads / tp, len(architecture.layers)
    if release(version) < (0, 8, 0):
        into = latent.query_rank or architecture.hidden
        return layers * heads * latent.rank * (into + architecture.hidden) * bytes_each / GIB
    return layers * heads * latent.rank * (latent.nope + latent.value) * 2 / GIB


def graphs(architecture: Architecture, version: str, eager: bool) -> float:
    """GiB of CUDA graphs inside the budget. They are counted since 0.20.0
    (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS in vllm/envs.py: off in 0.19.0, on in 0.20.0); before, they
    came out of what the share leaves free. Captured were 0.2 to 0.4 GiB for 24 layers (nine logs).
    """
    if eager or release(version) < (0, 20, 0):
        return 0.0
    return 0.016 * len(architecture.layers)
