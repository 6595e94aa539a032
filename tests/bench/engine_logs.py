# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorded start-up logs of vLLM, and what is computed for the same start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning import cards, engine
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    Device,
    Memory,
    Outcome,
    Precision,
    Serving,
    Weights,
)

FOLDER = Path(__file__).parents[1] / "fixtures/engine_logs"

PRECISIONS: dict[str, Precision] = {
    "awq": "int4",
    "awq_marlin": "int4",
    "gptq": "int4",
    "gptq_marlin": "int4",
    "fp8": "fp8",
    "gguf": "gguf",
    "modelopt_fp4": "nvfp4",
    "mxfp4": "mxfp4",
}
DTYPES: dict[str | None, Precision] = {"float16": "fp16", "float32": "fp32"}

NAMES = {
    "NVIDIA A100 40GB": "NVIDIA A100-SXM4-40GB",
    "NVIDIA A100 80GB": "NVIDIA A100-SXM4-80GB",
    "NVIDIA A800": "NVIDIA A800-SXM4-80GB",
    "NVIDIA H100": "NVIDIA H100 80GB HBM3",
    "NVIDIA H100 80GB": "NVIDIA H100 80GB HBM3",
    "NVIDIA V100": "Tesla V100-SXM2-16GB",
}
"""As the drivers say what reporters shorten."""


@dataclass(frozen=True)
class Log:
    """One recorded start."""

    name: str
    record: dict[str, Any]

    @property
    def outcome(self) -> str:
        return str(self.record["outcome"])

    @property
    def seen(self) -> dict[str, Any]:
        return dict(self.record["seen"])

    @property
    def has_budget(self) -> bool:
        """It says how much memory there was: in GiB, or by a card that the table has. A GB10's is the
        host's."""
        card = self.record["card"]
        return bool(card["total_gib"] or cards.card(NAMES.get(card["name"], card["name"] or "")))

    @property
    def cuts_by_experts(self) -> bool:
        """Which the planner does not do."""
        return bool((self.record["options"].get("other") or {}).get("enable_expert_parallel"))

    @property
    def architecture(self) -> Architecture:
        return read_config(self.record["model"]["config"], self.name)

    @property
    def weights(self) -> Weights:
        options, config = self.record["options"], self.record["model"]["config"]
        quantised = config.get("quantization_config") or {}
        method = options.get("quantization") or quantised.get("quant_method")
        precision = DTYPES.get(options.get("dtype") or config.get("torch_dtype"), "bf16")
        if method == "compressed-tensors":
            bits = quantised.get("bits")
            precision = "int4" if bits == 4 else "fp8" if "fp8" in self.name else "int8"
        elif method:
            precision = PRECISIONS[method]
        size = None
        if precision == "gguf":  # Q8_0: a scale of 2 bytes for 32 weights of one
            size = round(self.record["seen"]["model_loading_gib"] * 2**30)
        return Weights(precision, size, quantised.get("group_size"))

    @property
    def device(self) -> Device:
        card = self.record["card"]
        name = card["name"] or "unknown"
        known = cards.card(NAMES.get(name, name))
        total = card["total_gib"] or (known.usable_gib if known else 79.1)
        vendor = "amd" if name.startswith("AMD") else "nvidia"
        return Device(
            known.name if known else name, vendor, total, capability=known.capability if known else None
        )

    @property
    def serving(self) -> Serving:
        options = self.record["options"]
        kv = options.get("kv_cache_dtype")
        return Serving(
            "vllm",
            self.record["engine"]["version"] or ("0.10.0" if self.record["engine"]["v1"] else "0.6.0"),
            options["tensor_parallel_size"],
            options["pipeline_parallel_size"],
            options.get("gpu_memory_utilization"),
            options.get("max_model_len"),
            options.get("max_num_seqs"),
            options.get("max_num_batched_tokens"),
            "fp8" if kv and kv.startswith("fp8") else "auto",
            bool(options.get("enforce_eager")),
        )


def load() -> list[Log]:
    return [Log(path.stem, json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))]


def predicted(log: Log) -> Outcome:
    return engine.predict(log.architecture, log.weights, log.device, log.serving)


def memory(log: Log) -> Memory:
    """Also of a start that the planner would not make, such as one that cuts by experts."""
    return engine.memory(log.architecture, log.weights, log.device, log.serving)
