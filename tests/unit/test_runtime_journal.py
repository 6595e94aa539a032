# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever's model does not start reads the engine's own message and the plan's numbers, not a stack trace."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.filter.runtime import start_failure
from ansible_collections.stronghold.llm.plugins.module_utils.runtime.journal import planned, why

# vLLM 0.32.0's own form of a line; the messages are those of its source, the numbers constructed.
NO_ROOM = (
    "ValueError: Available memory on node 0 (12.1/23.54 GiB) on startup is less than desired CPU memory "
    "utilization (0.95, 22.36 GiB)."
)
START = [
    "(APIServer pid=16070) INFO 11-25 15:04:23 [model.py:2152] Using max model len 2048",
    "(Worker pid=16685) ERROR 11-25 15:05:01 [multiproc_executor.py:780] Traceback (most recent call last):",
    f"(Worker pid=16685) ERROR 11-25 15:05:01 [multiproc_executor.py:780] {NO_ROOM}",
    "(EngineCore pid=16447) ERROR 11-25 15:05:02 [core.py:1100] Exception: WorkerProc initialization failed "
    "due to an exception in a background process. See stack trace for root cause.",
    "(APIServer pid=16070) RuntimeError: Engine core initialization failed. See root cause above. Failed "
    "core proc(s): {}",
    "stronghold-model.service: Main process exited, code=exited, status=1/FAILURE",
    "stronghold-model.service: Failed with result 'exit-code'.",
]
CARD = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.25 GiB. GPU 1 has a total capacity of "
    "93.02 GiB of which 1.18 GiB is free."
)  # of tests/fixtures/engine_logs/h100-nvlx2_llama-4-scout_bf16_tp2_oom.json
KILLED = "stronghold-model.service: A process of this unit has been killed by the OOM killer."
WEIGHTS = "/srv/models/m/0123456789abcdef: model.safetensors: sha256 is 00, declared 11"
PLAN: dict[str, Any] = {
    "replicas": [
        {
            "device": "AMD EPYC",
            "memory": {
                "total": 23.54,
                "budget": 3.53,
                "weights": 0.25,
                "activations": 0.2,
                "non_torch": 1.0,
                "graphs": 0.0,
                "kv_cache": 2.08,
            },
            "serving": {"gpu_memory_utilization": 0.15, "max_num_seqs": 16, "max_model_len": 2048},
            "shares": [{"host": "core1", "gpus": []}],
        }
    ]
}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (START, NO_ROOM),
        (["(VllmWorker rank=1 pid=254) " + CARD, "Failed with result 'exit-code'."], CARD),
        ([*START, KILLED], f"the kernel ended it for want of memory ({KILLED})"),
        # An older start said something else.
        (["(APIServer pid=1) ValueError: an older one", *START], NO_ROOM),
        ([WEIGHTS, "Failed with result 'exit-code'."], f"{WEIGHTS} / Failed with result 'exit-code'."),
        ([], "its journal is empty"),
    ],
    ids=["no room", "card", "kernel", "older", "weights", "nothing"],
)
def test_the_error_that_says_something_is_found(lines: list[str], said: str) -> None:
    assert why(lines) == said


def test_the_plans_numbers_stand_beside_it() -> None:
    assert start_failure(START, PLAN, "smollm2-vllm", "core1") == (
        f"core1: smollm2-vllm: the engine does not start: {NO_ROOM}; planned were 3.5 of 23.5 GiB of AMD "
        "EPYC (gpu_memory_utilization 0.15): weights 0.2, activations 0.2, the engine's own 1.0, KV cache "
        "2.1 GiB, for 16 sequences of 2048 tokens; journalctl --unit stronghold-model has the rest"
    )


@pytest.mark.parametrize("plan", [None, {}, {"replicas": []}, PLAN])
def test_a_host_that_no_plan_is_about_has_no_numbers(plan: dict[str, Any] | None) -> None:
    assert planned(plan, "core2") == ""
