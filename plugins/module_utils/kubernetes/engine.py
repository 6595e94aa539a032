# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's command line, from the plan's `serving`; every argument is one that vLLM 0.33.0 knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import ManifestError
from ansible_collections.stronghold.llm.plugins.module_utils.runtime.arguments import (
    KV_DTYPES,
    planned,
    written,
)

MODEL = "/models"
TLS = "/etc/stronghold/tls"
PROGRAMS = "/usr/local/lib/stronghold"

MASTER_PORT = 29501
"""Where the ranks of a group meet: the engine's own default."""


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
    if serving["kv_cache"] not in KV_DTYPES:
        raise ManifestError(
            f"{name}: its KV cache is {serving['kv_cache']}, which vLLM does not have: set serve.kv_cache to "
            f"one of {', '.join(KV_DTYPES)}"
        )
    return tuple(text for each in planned(serving).items() for text in written(*each))


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
