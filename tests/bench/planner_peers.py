# SPDX-License-Identifier: GPL-3.0-or-later
"""What packages from PyPI make of a model on a card. Runs in their environment and imports nothing of ours;
`python -I`, or `planner` would be the benchmark beside this file.

One JSON document in, one out. In: a list of cases, each with `config` (the model's config.json), `parameters`
(data type, as safetensors names it -> how many), `tensor_parallel`, `pipeline_parallel`, `utilization`,
`context` and `memory_gb` (what the card is sold with, as llm-d-planner's own catalogue has it). Out: for each
case and peer what it gives, or why it gives nothing.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from types import SimpleNamespace
from typing import Any


def llm_d_planner(case: dict[str, Any]) -> dict[str, Any]:
    """Its `allocatable_kv_cache_memory` for all ranks together over its bytes for a token, as its own
    `max_concurrent_requests` divides them. (`total_kv_cache_blocks` divides the same memory by one rank's
    bytes, which is as many times too much as there are ranks.)

    The hub is asked for one thing only, the number of parameters; here it is told.
    """
    from planner import capacity_planner as peer

    config = namespace(case["config"])
    peer.model_params_by_dtype = lambda *_, **__: case["parameters"]
    with contextlib.redirect_stdout(sys.stderr):
        room = peer.allocatable_kv_cache_memory(
            "local",
            config,
            case["memory_gb"],
            case["utilization"],
            tp=case["tensor_parallel"],
            pp=case["pipeline_parallel"],
            max_model_len=case["context"],
        )
        token = peer.KVCacheDetail("local", config).per_token_memory_bytes
    return {"kv_tokens": int(room * 2**30 / token), "kv_gib": room}


def hf_mem(case: dict[str, Any]) -> dict[str, Any]:
    """The weights' bytes and the cache's for one sequence at full context: it knows of no card."""
    from hf_mem import safetensors as peer

    config = {**case["config"], **case["config"].get("text_config", {})}
    header = {
        f"all in {dtype}": {"dtype": dtype, "shape": [count]} for dtype, count in case["parameters"].items()
    }
    metadata = peer.parse_safetensors_metadata({"Transformer": header})
    dtype = peer.resolve_kv_cache_dtype(config, None, metadata, "local")
    cache = peer.compute_safetensors_kv_cache_size(config, dtype, case["context"])
    return {"weights_gib": metadata.bytes_count / 2**30, "cache_bytes_per_token": cache / case["context"]}


def namespace(config: dict[str, Any]) -> SimpleNamespace:
    """As transformers' AutoConfig has it: attributes, and dicts only where the file means a dict."""
    nested = {
        name: namespace(value) if name in ("text_config", "vision_config") else value
        for name, value in config.items()
    }
    return SimpleNamespace(**nested)


PEERS = {"llm-d-planner": llm_d_planner, "hf-mem": hf_mem}


def tried(peer: Any, case: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(peer(case))
    except Exception as error:  # a peer's own, of any kind: it is what it gives
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    cases = json.load(sys.stdin)
    json.dump([{name: tried(peer, case) for name, peer in PEERS.items()} for case in cases], sys.stdout)
