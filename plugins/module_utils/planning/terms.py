# SPDX-License-Identifier: GPL-3.0-or-later
"""Where vLLM's memory goes besides weights and cache: one function for each term, each with its source.

Constants are read from the engine's own wheels of the versions named, or calibrated on the start-up logs in
tests/fixtures/engine_logs, and then say on how many.
"""

from __future__ import annotations

from math import log2

from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import GIB, Device
from ansible_collections.stronghold.llm.plugins.module_utils.planning.versions import version_numbers

SORTING_BYTES = 38
"""Of a logit, while the sampler sorts all of them: values, indices, probabilities and their sums.
Calibrated on eleven logs of 0.6 to 0.16, which lie between 35 and 40."""

SELECTING_BYTES, SELECTING_GIB = 14, 0.19
"""The same, and what is added to it, once a Triton kernel selects instead (topk_topp_sampler.py in
vllm/v1/sample/ops, from the wheel of 0.17.0 on; 0.16.0 has none). Calibrated on REPORT, with the default of
1024 sequences: 2.21 GiB for Qwen's 151,936 words, 3.62 for Gemma's 256,000, 1.89, 2.87, 1.52 and 0.85 for
others, all within 0.05."""

# REPORT: llm-d-incubation/llm-d-planner, docs/accuracy/vllm-v0.19.0-accuracy-report.md and
# accuracy/accuracy_report.md (part 2, vLLM 0.15.0 to 0.19.0): 58 starts on an H100.

PICTURE, FRAMES = 16384, 24576
"""Tokens of the largest picture, and frames of the longest video."""


def is_large(device: Device, version: str) -> bool:
    """Cards that get the engine's larger defaults: 70 GiB and more, but no A100 (vllm/engine/arg_utils.py of
    0.8.5 to 0.33.0; 0.8.5 made no exception of the A100), and no GB10 (0.33.0, and not 0.30.0). 0.8.0 knows
    the H100 and the H200 by name.
    """
    release, name = version_numbers(version), device.name.upper()
    if device.vendor == "cpu" or device.usable_gib < 70:
        return False
    if release < (0, 8, 5):
        return "H100" in name or "H200" in name
    if device.capability == "12.1" and release >= (0, 33, 0):
        return False
    return "A100" not in name or release == (0, 8, 5)


def utilisation(version: str) -> float:
    """Default share of the card (vllm/config/cache.py: 0.9 in the wheel of 0.19.0, 0.92 in that of
    0.20.0)."""
    return 0.92 if version_numbers(version) >= (0, 20, 0) else 0.9


def sequences(version: str, device: Device, ranks: int = 1) -> int:
    """Default max_num_seqs of the API server (vllm/engine/arg_utils.py): 1024 on large cards from 0.8.5 on,
    256 else. 0.8.0 has 1024 on every card that its new engine runs on, and that is compute capability 8.0
    and more. A CPU has 128 for each rank (0.10.2 to 0.33.0).
    """
    release = version_numbers(version)
    if device.vendor == "cpu":
        return 128 * ranks if release >= (0, 10, 2) else 256
    if (0, 8, 0) <= release < (0, 8, 5):
        return 256 if device.capability in ("7.0", "7.5") else 1024
    return 1024 if is_large(device, version) and release >= (0, 8, 5) else 256


def batched_tokens(version: str, device: Device, max_model_len: int, ranks: int = 1) -> int:
    """Default max_num_batched_tokens of the API server (vllm/engine/arg_utils.py). Before 0.8 a prompt was
    not cut in chunks up to 32,768 tokens, so a step had to hold the longest one. Cards of 160 GiB and more
    have a step of their own in 0.30.0, and not in 0.27.0; a CPU has 2048 for each rank.
    """
    release = version_numbers(version)
    if release < (0, 8, 0):
        return max(2048, max_model_len) if max_model_len <= 32768 else 2048
    if device.vendor == "cpu":
        return 2048 * (ranks if release >= (0, 10, 2) else 1)
    if device.usable_gib >= 160 and release >= (0, 30, 0):
        return 16384
    return 8192 if is_large(device, version) else 2048


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
    logits = running * architecture.vocabulary
    if version_numbers(version) >= (0, 17, 0):
        return SELECTING_GIB + logits * SELECTING_BYTES / GIB
    return logits * SORTING_BYTES / GIB


def vision_peak(architecture: Architecture, tp: int) -> float:
    """GiB while one picture of the largest size is looked at: 16,384 tokens of it (Qwen's max_pixels)."""
    seen = architecture.vision
    if seen is None or seen.merge == 1:
        return 0.0
    return PICTURE * seen.merge * 2 * (2 * seen.intermediate / tp + 6 * seen.hidden) / GIB


def encoder_cache(architecture: Architecture, version: str, max_model_len: int) -> float:
    """GiB of what has been seen, which the profiling run holds while it runs the decoder and samples
    (profile_run in vllm/v1/worker/gpu_model_runner.py of 0.11.0): for each token the hidden state, and once
    more for each deepstack level. The engine before 0.8 keeps nothing of it.

    Of Qwen3-VL, 0.11.0 to 0.12.0 hold the longest video instead of one picture: 24,576 frames give a token
    for two, and each counts as 12.5 with its time beside it, 153,600 together (get_max_video_tokens in
    vllm/model_executor/models/qwen3_vl.py, which 0.13.0 has no more; the budget that one log prints).
    """
    seen, release = architecture.vision, version_numbers(version)
    if seen is None or seen.merge == 1 or release < (0, 8, 0):
        return 0.0
    tokens = PICTURE
    if seen.deepstack and (0, 11, 0) <= release < (0, 13, 0):
        tokens = max(tokens, int(12.5 * min(FRAMES // 2, max_model_len)))
    return tokens * architecture.hidden * (1 + seen.deepstack) * 2 / GIB


def non_torch(device: Device, tp: int, version: str) -> float:
    """GiB outside of the framework: context, NCCL or RCCL and its buffers.

    0.01 to 0.35 on one card (nine logs), 0.13 up to 0.17.0 and 0.25 from 0.18.0 on in REPORT; 0.1 to 0.25 on
    several over PCIe (four logs). Between cards joined by NVLink or XGMI 0.9 for each rank before 0.8 (7.16
    with eight, one log), and since then 2.08 with two and 2.17 with four (REPORT; one log with two MI300X,
    one with four H100). From 0.11.0 on the engine looks at the memory after it has set NCCL up
    (vllm/v1/worker/gpu_worker.py) instead of before, and counts as much: the buffers come with first use.
    """
    joined = device.capability in ("7.0", "8.0", "9.0", "10.0", "10.3") or device.vendor == "amd"
    release = version_numbers(version)
    if tp == 1 or not joined:
        return 0.25 if release >= (0, 18, 0) else 0.15
    if release < (0, 8, 0):
        return 0.9 * tp
    return 2.0 + 0.08 * log2(tp)


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
    if version_numbers(version) < (0, 8, 0):
        into = latent.query_rank or architecture.hidden
        return layers * heads * latent.rank * (into + architecture.hidden) * bytes_each / GIB
    return layers * heads * latent.rank * (latent.nope + latent.value) * 2 / GIB


def graphs(architecture: Architecture, version: str, eager: bool) -> float:
    """GiB of CUDA graphs inside the budget. They are counted since 0.20.0
    (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS in vllm/envs.py: off in 0.19.0, on in 0.20.0); before, they
    came out of what the share leaves free. Captured were 0.2 to 0.4 GiB for 24 layers (nine logs).
    """
    if eager or version_numbers(version) < (0, 20, 0):
        return 0.0
    return 0.016 * len(architecture.layers)
