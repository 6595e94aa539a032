# SPDX-License-Identifier: GPL-3.0-or-later
"""How vLLM is started, from what the site declares and what was planned; standard library only.

start = vllm(model, plan, "gpu1", "/srv/models/m/0123456789abcdef", "/run/stronghold-model/api.sock")

Nothing that decides about memory is left to the engine's own defaults, which differ from version to version.
Whether the installed version knows an argument is for its own parser to say (roles/model_runtime,
files/serve_vllm.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Precision of plain weights -> what is computed in. Of quantised ones config.json says it."""

KV_DTYPES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp8": "fp8"}
"""The planner's word -> vLLM's (CacheDType in vllm/config/cache.py; 0.32.0)."""

_SAYS = "the role says it itself: leave it out"
_CODE = "it would run code that no digest vouches for: leave it out"
_PROMPTS = "what clients write would stand in the journal: leave it out"
_NETWORK = "the server has a socket, and no network: leave it out"
_FIELDS = {
    "max-model-len": "context_tokens",
    "max-num-seqs": "slots",
    "max-num-batched-tokens": "max_num_batched_tokens",
    "tensor-parallel-size": "tensor_parallel",
    "pipeline-parallel-size": "pipeline_parallel",
    "gpu-memory-utilization": "gpu_memory_utilization",
    "device-memory-utilization": "gpu_memory_utilization",
    "kv-cache-dtype": "kv_cache",
    "enforce-eager": "enforce_eager",
    "dtype": "dtype",
    "quantization": "quantization",
}
REFUSED = {
    **{name: f"it is planned: say serve.{field} instead" for name, field in _FIELDS.items()},
    **dict.fromkeys(("config", "help", "model", "served-model-name", "uds"), _SAYS),
    **dict.fromkeys(
        (
            "io-processor-plugin", "logits-processors", "middleware", "model-class-overrides",
            "reasoning-parser-plugin", "scheduler-cls", "tool-parser-plugin", "trust-remote-code",
            "trust-request-chat-template", "trust-request-mm-kwargs", "worker-cls", "worker-extension-cls",
        ),
        _CODE,
    ),
    **dict.fromkeys(("enable-log-deltas", "enable-log-outputs", "enable-log-requests"), _PROMPTS),
    **dict.fromkeys(("grpc", "grpc-port", "host", "otlp-traces-endpoint", "port", "tool-server"), _NETWORK),
    **dict.fromkeys(("api-key", "hf-token"), "a secret does not stand in a command line: leave it out"),
    "allowed-local-media-path": "clients could read files of the server: leave it out",
}  # fmt: skip
"""What a site must not say in `serve.arguments`, and what to do instead."""


class ArgumentsError(ValueError):
    """A declaration or a plan that no engine can be started with; says the way out."""


@dataclass(frozen=True)
class Start:
    """What stands behind `vllm serve`, and the GPUs that it may see, in the order of the ranks."""

    arguments: tuple[str, ...]
    gpus: tuple[int, ...]


def vllm(
    model: Mapping[str, Any], plan: Mapping[str, Any] | None, host: str, folder: str, socket: str
) -> Start:
    """
    `model` is an entry of `stronghold_models`, `plan` what `model_plan` has made of it.

    Raises:
        ArgumentsError: there is no plan for this model as it is declared now, none that this host carries
            alone, or an argument that is not the site's to give.
    """
    replica = _replica(model, plan, host)
    serve = model["serve"]
    wanted = {
        "served-model-name": model["name"],
        "uds": socket,
        **_planned(model, replica["serving"], host),
        **_additional(model, host),
    }
    wanted["dtype"] = serve.get("dtype") or DTYPES.get(model.get("weights", {}).get("precision"), "auto")
    wanted["quantization"] = serve.get("quantization")
    arguments = [folder]
    for name in sorted(wanted):
        arguments += written(name, wanted[name])
    return Start(tuple(arguments), tuple(replica["shares"][0]["gpus"]))


def planned(serving: Mapping[str, Any]) -> dict[str, Any]:
    """A replica's `serving` as vLLM's arguments, by name; `kv_cache` has to be one of KV_DTYPES."""
    return {
        "tensor-parallel-size": serving["tensor_parallel"],
        "pipeline-parallel-size": serving["pipeline_parallel"],
        "gpu-memory-utilization": serving["gpu_memory_utilization"],
        "max-model-len": serving["max_model_len"],
        "max-num-seqs": serving["max_num_seqs"],
        "max-num-batched-tokens": serving["max_num_batched_tokens"],
        "kv-cache-dtype": KV_DTYPES[serving["kv_cache"]],
        "enforce-eager": True if serving["enforce_eager"] else None,
    }


def written(name: str, value: object) -> Iterator[str]:
    """An argument as the command line has it; None leaves it out.

    A flag is true or false, a list is several values, and an object is written as JSON.
    """
    if value is None:
        return
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
    elif isinstance(value, (list, tuple)):
        yield from (f"--{name}", *map(str, value))
    elif isinstance(value, Mapping):
        yield f"--{name}={json.dumps(value, sort_keys=True)}"
    else:
        yield f"--{name}={value}"


def _replica(model: Mapping[str, Any], plan: Mapping[str, Any] | None, host: str) -> Mapping[str, Any]:
    again = "run playbooks/preflight.yml, which plans it"
    if not plan or plan["model"] != model["name"]:
        planned = f"the plan is of {plan['model']}" if plan else "there is no plan"
        raise ArgumentsError(f"{host}: {model['name']}: {planned}: {again}")
    here = [replica for replica in plan["replicas"] if host in [share["host"] for share in replica["shares"]]]
    if not here:
        raise ArgumentsError(
            f"{host}: {model['name']}: the plan places no replica here: {again}, or take the host out of the "
            "model servers"
        )
    if len(here) > 1:
        raise ArgumentsError(
            f"{host}: {model['name']}: the plan places {len(here)} replicas here, and a host serves one: "
            "lower serve.replicas"
        )
    replica: Mapping[str, Any] = here[0]
    if len(replica["shares"]) > 1:
        others = ", ".join(share["host"] for share in replica["shares"] if share["host"] != host)
        raise ArgumentsError(
            f"{host}: {model['name']}: the plan shares a replica with {others}, and the server here has no "
            "network: lower serve.context_tokens or serve.slots until it fits one host"
        )
    return replica


def _planned(model: Mapping[str, Any], serving: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What the planner has decided.

    Raises:
        ArgumentsError: it was decided for another engine or another wish, or left open.
    """
    serve = model["serve"]
    for field, wished, found in (
        ("backend", "vllm", serving["engine"]),
        ("context_tokens", serve.get("context_tokens"), serving["max_model_len"]),
        ("slots", serve.get("slots"), serving["max_num_seqs"]),
    ):
        if wished is None or found is None:
            raise ArgumentsError(
                f"{host}: {model['name']}: serve.{field} is not said, and vLLM's own default may not fit the "
                "memory: say it, and run playbooks/preflight.yml, which plans it"
            )
        if wished != found:
            raise ArgumentsError(
                f"{host}: {model['name']}: serve.{field} is {wished}, planned was {found}: run "
                "playbooks/preflight.yml again"
            )
    if serving["kv_cache"] not in KV_DTYPES:
        raise ArgumentsError(
            f"{host}: {model['name']}: serve.kv_cache: {serving['kv_cache']} is not vLLM's: use one of "
            f"{', '.join(KV_DTYPES)}"
        )
    return planned(serving)


def _additional(model: Mapping[str, Any], host: str) -> dict[str, Any]:
    """The site's own `serve.arguments`; all that it must not say at once."""
    said = {
        str(name).lstrip("-").replace("_", "-"): value
        for name, value in (model["serve"].get("arguments") or {}).items()
    }
    bare = {name: name.split(".")[0].removeprefix("no-") for name in said}
    if problems := [f"{name}: {REFUSED[bare[name]]}" for name in sorted(said) if bare[name] in REFUSED]:
        raise ArgumentsError(f"{host}: {model['name']}: serve.arguments: {'; '.join(problems)}")
    return said
