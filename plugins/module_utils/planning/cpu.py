# SPDX-License-Identifier: GPL-3.0-or-later
"""Where vLLM's memory goes on a host without a GPU. A rank has the whole host here: one NUMA node."""

from __future__ import annotations

from ansible_collections.stronghold.llm.plugins.module_utils.planning.versions import version_numbers

RESIDENT_GIB = 1.0
"""Python, the framework and its libraries in a worker: an estimate, no log has it yet."""


def fixed_cache(version: str, total_gib: float) -> float | None:
    """GiB that the engine takes for its cache whatever the weights are; None: what they leave of a share.

    4 GiB in 0.8.5 to 0.12.0, half the memory of a NUMA node in 0.13.0 to 0.19.0, where
    VLLM_CPU_KVCACHE_SPACE says nothing else (vllm/platforms/cpu.py). From 0.20.0 on the node's memory x
    gpu_memory_utilization, less what the worker holds after it has run the model once
    (vllm/v1/worker/cpu_worker.py, determine_available_memory; also 0.33.0).
    """
    release = version_numbers(version)
    if release < (0, 13, 0):
        return 4.0
    return total_gib / 2 if release < (0, 20, 0) else None
