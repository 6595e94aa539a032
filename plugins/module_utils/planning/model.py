# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of planning: what is wished, one way to serve it, and what comes of that; standard library only.

Units are in the names: GiB is 2**30 bytes, MiB is 2**20, GB is 10**9. A rank is one process of the engine and
has one device: a GPU, or the whole of a CPU host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GIB = 2**30
MIB = 2**20

Engine = Literal["vllm", "llama_cpp"]

Precision = Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4", "nvfp4", "mxfp4", "gguf"]
"""What the linear layers' weights are stored in. AWQ and GPTQ of 4 bits are `int4`; `fp8` and `int8` are W8A8
where the card can and weight-only where it cannot; of `gguf` the file itself says what each tensor is."""

KvPrecision = Literal["auto", "bf16", "fp16", "fp8", "q8_0"]
"""`auto`: what activations are computed in."""

Constraint = Literal[
    "hosts", "gpus", "divisibility", "capability", "weights", "kv_cache", "context", "throughput", "topology",
    "engine", "model",
]  # fmt: skip
"""What a refusal is bound by."""


class PlanError(ValueError):
    """A declaration that cannot be planned with; names the model, the field, the value, and what is asked."""


@dataclass(frozen=True)
class Device:
    """What a rank computes with. `usable_gib` is what the engine's framework sees as total (79.19 on a card
    sold with 80), `bandwidth_gb_s` and `power_w` are the vendor's figures, None where there are none.
    """

    name: str
    vendor: Literal["nvidia", "amd", "cpu"]
    usable_gib: float
    bandwidth_gb_s: float | None = None
    power_w: float | None = None
    capability: str | None = None
    """"9.0" or "gfx942"; None for a CPU."""
    source: str = ""


@dataclass(frozen=True)
class Weights:
    """A model's weights as they are stored. `total_bytes` is the sum of the files, where it is known; else
    the architecture's own count stands for it.
    """

    precision: Precision
    total_bytes: int | None = None
    group_size: int | None = None
    """Of INT4 and block-wise FP8: how many weights share a scale; divides what tensor parallel leaves."""


@dataclass(frozen=True)
class Wish:
    """How a model is to be served. What is None is for the planner to choose, or the engine's own default."""

    engine: Engine
    engine_version: str
    context_tokens: int
    """Longest prompt and answer of one sequence together."""
    sequences: int
    """Sequences that run at the same time, on each replica."""
    typical_tokens: int | None = None
    """What a sequence holds on average while it runs; without it, all are planned at full context."""
    replicas: int = 1
    kv_cache: KvPrecision = "auto"
    tokens_per_second: float | None = None
    """Wanted for each sequence while all of them run."""
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool = False


@dataclass(frozen=True)
class Serving:
    """One way to start the engine: what stands on its command line. None is the engine's default."""

    engine: Engine
    version: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    gpu_memory_utilization: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_cache: KvPrecision = "auto"
    enforce_eager: bool = False


@dataclass(frozen=True)
class Memory:
    """Where one rank's memory goes, in GiB: the rank with the least room, where pipeline stages differ.

    weights + activations + non_torch + graphs + kv_cache is what the engine may take, `budget`.
    """

    total: float
    budget: float
    weights: float
    activations: float
    non_torch: float
    graphs: float
    kv_cache: float
    """What is left for the KV cache; negative when even the weights do not fit."""
    kv_bytes_per_token: float
    """On this rank, layers with a window or a state counted at `max_model_len`."""
    kv_tokens: int
    """What the engine prints as its KV cache size; 0 when nothing is left."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a start. `constraint` and `why` are empty when it serves; `memory` is None when the
    engine refuses before it loads.
    """

    serves: bool
    memory: Memory | None
    constraint: Constraint | None = None
    why: str = ""


@dataclass(frozen=True)
class Share:
    """One host's part in a replica: GPUs by index, in the order of the ranks; none on a CPU host."""

    host: str
    gpus: tuple[int, ...]


@dataclass(frozen=True)
class Replica:
    """One running copy of the model, and how it has to be started. Rates and watts are of this replica."""

    shares: tuple[Share, ...]
    device: str
    serving: Serving
    memory: Memory
    tokens_per_second_limit: float | None
    """Upper bound for all sequences together: every step reads the weights and the cache once."""
    tokens_per_second_each: float | None
    power_w: float | None
    """The devices' limit, and no more: host, fans and network are not in it."""
    local: bool
    """Every tensor-parallel group lies in one island of NVLink or XGMI, or has one GPU."""


@dataclass(frozen=True)
class Plan:
    """A model on a fleet. `headroom_gib` is the KV cache beyond what is wished, on the tightest rank."""

    model: str
    replicas: tuple[Replica, ...]
    headroom_gib: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why there is no plan: what binds, in numbers, and the nearest wish that has one (None: none has)."""

    model: str
    constraint: Constraint
    why: str
    nearest: Wish | None = None
    nearest_weights: Precision | None = None
    """Where other weights are a part of the way out."""
    remedy: str = ""
