# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of docs/sizing.md, as the planner computes them: `python -m tests.sizing` prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ansible_collections.stronghold.llm.plugins.module_utils.planning import parameters
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    Plan,
    Precision,
    Refusal,
    Weights,
    Wish,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.plan import plan
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Topology

from lab.site import REPOSITORY
from tests import fleets
from tests.bench.engine_logs import load

A10, A100, H100, H200 = fleets.A10, fleets.A100, fleets.H100, "NVIDIA H200"
MEMORY_MIB = {H200: 143771}
WISH = Wish("vllm", "0.33.0", context_tokens=32768, sequences=16, typical_tokens=8192)


def inventory(site: str, model: str) -> Architecture:
    path = REPOSITORY / "inventories" / site / "models" / model / "config.json"
    return read_config(json.loads(path.read_text()), str(path))


def deepseek() -> Architecture:
    return next(log.architecture for log in load() if "deepseek-r1_fp8_tp8" in log.name)


MODELS = {
    "7B": inventory("workstation-7b", "deepseek-r1-distill-qwen-7b"),
    "32B": inventory("department-32b", "deepseek-r1-distill-qwen-32b-w8a8"),
    "70B": inventory("datacentre-70b", "deepseek-r1-distill-llama-70b"),
    "671B": deepseek(),
}
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp8", "int4")

# Model, precision, cards of a host, hosts.
LAYOUTS: tuple[tuple[str, Precision, str, int, int], ...] = (
    ("7B", "bf16", A10, 1, 1),
    ("7B", "bf16", A10, 2, 1),
    ("32B", "bf16", A100, 4, 1),
    ("32B", "int8", A100, 4, 1),
    ("32B", "int4", A100, 4, 1),
    ("70B", "bf16", H100, 8, 1),
    ("70B", "fp8", H100, 8, 1),
    ("70B", "bf16", A100, 4, 1),
    ("70B", "bf16", A10, 2, 1),
    ("671B", "fp8", H200, 8, 1),
    ("671B", "fp8", H100, 8, 1),
    ("671B", "fp8", H100, 8, 2),
)


def host(name: str, card: str, count: int) -> Topology:
    made = fleets.host(name, count=count, card=card, kind="NODE" if card == A10 else "NV", nics=["mlx5_0"])
    if card not in MEMORY_MIB:
        return made
    return replace(made, gpus=tuple(replace(gpu, memory_mib=MEMORY_MIB[card]) for gpu in made.gpus))


def planned(model: str, precision: Precision, card: str, count: int, hosts: int) -> Plan | Refusal:
    fleet = [host(f"gpu{number + 1}", card, count) for number in range(hosts)]
    return plan(model, MODELS[model], Weights(precision), WISH, fleet)


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def weights() -> list[str]:
    header = ["weights", *(f"{name}" for name in MODELS)]
    rows = (
        [precision.upper(), *(f"{_gigabytes(name, precision):.0f} GB" for name in MODELS)]
        for precision in PRECISIONS
    )
    return table(header, rows)


def _gigabytes(name: str, precision: Precision) -> float:
    return parameters.weight_bytes(MODELS[name], Weights(precision)) / 1e9


def layouts() -> list[str]:
    header = ["model", "cards", "layout", "weights on each", "cache on each", "up to", "cards' watts"]
    return table(header, map(_layout, LAYOUTS))


def _layout(asked: tuple[str, Precision, str, int, int]) -> list[str]:
    model, precision, card, count, hosts = asked
    found = planned(*asked)
    cards = f"{hosts} x {count} x {card}" if hosts > 1 else f"{count} x {card}"
    first = [f"{model} {precision.upper()}", cards.replace("NVIDIA ", "")]
    if isinstance(found, Refusal):
        return [*first, f"refused: {found.constraint}", "", "", "", ""]
    [replica] = found.replicas
    serving, memory = replica.serving, replica.memory
    stages = f", PP {serving.pipeline_parallel}" if serving.pipeline_parallel > 1 else ""
    return [
        *first,
        f"TP {serving.tensor_parallel}{stages}",
        f"{memory.weights:.1f} GiB",
        f"{memory.kv_cache:.1f} GiB, {memory.kv_tokens:,} tokens",
        f"{replica.tokens_per_second_limit or 0:,.0f} tokens/s",
        f"{replica.power_w or 0:,.0f}",
    ]


def refusal() -> str:
    """What the last refused layout is told."""
    found = planned("70B", "bf16", A10, 2, 1)
    assert isinstance(found, Refusal)
    return f"{found.why}; {found.remedy}"


if __name__ == "__main__":
    print("\n".join([*weights(), "", *layouts(), "", refusal()]))
