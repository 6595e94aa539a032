# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's command line, from the plan's `serving`; every argument is one that vLLM 0.33.0 knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import ManifestError

MODEL = "/models"
TLS = "/etc/stronghold/tls"
PROGRAMS = "/usr/local/lib/stronghold"

MASTER_PORT = 29501
"""Where the ranks of a group meet: the engine's own default."""

# The plan's field -> the argument. What the plan leaves open is the engine's own default.
_ARGUMENTS = {
    "tensor_parallel": "--tensor-parallel-size",
    "pipeline_parallel": "--pipeline-parallel-size",
    "gpu_memory_utilization": "--gpu-memory-utilization",
    "max_model_len": "--max-model-len",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
}
_KV_CACHE = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp8": "fp8"}


def arguments(name: str, serving: Mapping[str, Any]) -> tuple[str, ...]:
    """Of every rank.

    Raises:
        ManifestError: another engine, or a cache that vLLM does not have.
    """
    if serving["engine"] != "vllm":
        raise ManifestError(
            f"{name}: its engine is {serving['engine']}, and pods run vLLM only: set serve.backend to vllm "
            "in stronghold_models, or serve it on the host with the role model_runtime"
        )
    if serving["kv_cache"] not in _KV_CACHE:
        raise ManifestError(
            f"{name}: its KV cache is {serving['kv_cache']}, which vLLM does not have: set serve.kv_cache to "
            f"one of {', '.join(_KV_CACHE)}"
        )
    found = [
        f"{argument}={serving[field]}"
        for field, argument in _ARGUMENTS.items()
        if serving.get(field) is not None
    ]
    found.append(f"--kv-cache-dtype={_KV_CACHE[serving['kv_cache']]}")
    if serving.get("enforce_eager"):
        found.append("--enforce-eager")
    return tuple(found)


def endpoint(model: str, port: int) -> tuple[str, ...]:
    """Of the rank that answers: under this name, on every address of the pod, to certified callers only."""
    return (
        f"--served-model-name={model}",
        "--host=::",
        f"--port={port}",
        f"--ssl-certfile={TLS}/tls.crt",
        f"--ssl-keyfile={TLS}/tls.key",
        f"--ssl-ca-certs={TLS}/ca.crt",
        "--ssl-cert-reqs=2",  # ssl.CERT_REQUIRED
        "--enable-ssl-refresh",
    )


def group(size: int) -> tuple[str, ...]:
    """Of each rank of a replica that spans hosts. Kubernetes puts in what LeaderWorkerSet says of the pod."""
    return (
        "--distributed-executor-backend=mp",
        f"--nnodes={size}",
        "--node-rank=$(LWS_WORKER_INDEX)",
        "--master-addr=$(LWS_LEADER_ADDRESS)",
        f"--master-port={MASTER_PORT}",
    )
