# SPDX-License-Identifier: GPL-3.0-or-later
"""KV cache tokens that vLLM has printed at its start, against what is computed here and what packages from
PyPI make of the same model, card and settings.

A peer's own code runs, in an environment of its own. Where it would ask a hub for the model's weights, it is
told what the engine has logged of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.site.table import text_table

from tests.bench import engine_logs

PEERS = {"llm-d-planner": "0.3.3", "hf-mem": "0.5.6"}
NOT_GIVEN = "not given"

# Of cards that a log names in short, what they are sold with; llm-d-planner's catalogue has the same figures.
SOLD_GB = {
    "NVIDIA A800": 80, "NVIDIA H100": 80, "NVIDIA H100 NVL": 94, "NVIDIA H200": 141, "NVIDIA GH200 120GB": 96,
    "NVIDIA GB10": 128, "NVIDIA L4": 24, "NVIDIA L40S": 48, "NVIDIA GeForce RTX 3090": 24,
    "NVIDIA GeForce RTX 4070 Laptop GPU": 8, "NVIDIA GeForce RTX 4090": 24,
    "NVIDIA GeForce RTX 5080 and RTX 5070 Ti": 16, "Tesla T4": 16, "NVIDIA V100": 32,
    "AMD Instinct MI300X": 192,
}  # fmt: skip


def case(record: Mapping[str, Any], weights_gib: float) -> dict[str, Any] | None:
    """A log as the peers are asked about it: with the weights that the engine itself has logged, where it
    has, so that they answer for their memory arithmetic alone. None where the log does not name its card.
    """
    options, name = record["options"], record["card"]["name"] or ""
    said = re.search(r"(\d+) ?GB\b", name)
    sold = SOLD_GB.get(name) or (int(said[1]) if said else None)
    if sold is None:
        return None
    context = options["max_model_len"] or record["model"]["config"].get("max_position_embeddings") or 8192
    ranks = (options["tensor_parallel_size"] or 1) * (options["pipeline_parallel_size"] or 1)
    logged = record["seen"]["model_loading_gib"] or record["seen"]["weights_gib_in_profile"] or weights_gib
    return {
        "config": record["model"]["config"],
        "parameters": {"BF16": int(logged * ranks * 2**30 / 2)},
        "tensor_parallel": options["tensor_parallel_size"] or 1,
        "pipeline_parallel": options["pipeline_parallel_size"] or 1,
        "utilization": options["gpu_memory_utilization"] or 0.9,
        "context": context,
        "memory_gb": sold,
    }


def compare() -> list[dict[str, Any]]:
    """For each log that says how many tokens its cache has: what is seen, and what each makes of it. Where it
    does not say how much memory there was, nothing can be computed.
    """
    logs = [log for log in engine_logs.load() if log.seen["kv_cache_tokens"]]
    ours = {log.name: engine_logs.memory(log) for log in logs}
    asked = {log.name: made for log in logs if (made := case(log.record, ours[log.name].weights))}
    answers = dict(zip(asked, ask_peers(list(asked.values())), strict=True))
    return [
        {
            "log": log.name,
            "seen": log.seen["kv_cache_tokens"],
            "ours": ours[log.name].kv_tokens if log.has_budget else None,
            "peers": answers.get(
                log.name, {peer: {"error": "the card's size is not known"} for peer in PEERS}
            ),
        }
        for log in logs
    ]


def rows(compared: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    found = []
    for each in compared:
        peer = each["peers"]["llm-d-planner"].get("kv_tokens")
        cache = each["peers"]["hf-mem"].get("cache_bytes_per_token")
        found.append(
            [
                each["log"],
                f"{each['seen']:,}",
                NOT_GIVEN if each["ours"] is None else f"{each['ours']:,}",
                percent(error(each["ours"], each["seen"])),
                NOT_GIVEN if peer is None else f"{peer:,}",
                percent(error(peer, each["seen"])),
                NOT_GIVEN if cache is None else f"{cache / 1024:.0f} KiB a token",
            ]
        )
    return found


TOKENS: dict[str, Callable[[Mapping[str, Any]], int | None]] = {
    "ours": lambda each: each["ours"],
    "llm-d-planner": lambda each: each["peers"]["llm-d-planner"].get("kv_tokens"),
}


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:+.1%}"


def error(predicted: float | None, seen: float) -> float | None:
    """How far off, as a share of what was seen; None where nothing was predicted."""
    return None if predicted is None else predicted / seen - 1


def summary(errors: Sequence[float | None]) -> dict[str, Any]:
    """How many answers there are, how many within 15 %, and the middle one by size."""
    given = sorted(abs(each) for each in errors if each is not None)
    return {
        "logs": len(errors),
        "answered": len(given),
        "within_15_percent": sum(each <= 0.15 for each in given),
        "median": given[len(given) // 2] if given else None,
        "worst": given[-1] if given else None,
    }


def compare_and_show() -> dict[str, Any]:
    compared = compare()
    header = ["log", "seen", "ours", "error", "llm-d-planner", "error", "hf-mem"]
    print("\nKV cache in tokens, as vLLM has printed it", "", sep="\n")
    print(text_table(header, rows(compared)))
    both = [each for each in compared if each["ours"] and "kv_tokens" in each["peers"]["llm-d-planner"]]
    totals = {
        f"{name}{where}": summary([error(tokens(each), each["seen"]) for each in cases])
        for where, cases in (("", compared), (", where both answer", both))
        for name, tokens in TOKENS.items()
    }
    print("", text_table(*summary_table(totals)), sep="\n")
    print(
        "\nllm-d-planner is told the weights that the engine has logged, and what the card is sold with."
        "\nhf-mem knows weights and cache of a model and no card: how many tokens fit is not given."
    )
    return {"cases": compared, "summary": totals, "peers": PEERS}


def summary_table(totals: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    header = ["", "logs", "answered", "within 15 %", "median", "worst"]
    return header, [
        [
            name,
            *(str(total[key]) for key in ("logs", "answered", "within_15_percent")),
            *(NOT_GIVEN if total[key] is None else f"{total[key]:.1%}" for key in ("median", "worst")),
        ]
        for name, total in totals.items()
    ]


def ask_peers(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Installs the peers into an environment that is gone afterwards, and runs `planner_peers.py` in it."""
    with tempfile.TemporaryDirectory() as folder:
        print("\nPeers are installed: " + ", ".join(f"{name} {PEERS[name]}" for name in PEERS), flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder) / "bin/python")
        wanted = [f"{name}=={version}" for name, version in PEERS.items()]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        program = [python, "-I", str(Path(__file__).with_name("planner_peers.py"))]
        answer = subprocess.run(program, input=json.dumps(cases), capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found
