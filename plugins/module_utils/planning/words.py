# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and refusals as rows and sentences, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Plan, Refusal, Replica
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Topology

HEADER = ["host", "found", "plan", "headroom"]


def named(names: Sequence[str], limit: int = 3) -> str:
    """All of a few, the first of many."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def message(refusal: Refusal) -> str:
    """A refusal in one line: model, what binds, what to do."""
    said = f"{refusal.why}; {refusal.remedy}"
    return said if said.startswith(refusal.model) else f"{refusal.model}: {said}"


def table(found: Plan | Refusal, fleet: Sequence[Topology]) -> list[list[str]]:
    """A row for each host, in the order of their names, under a header."""
    rows = {
        topology.host: [
            topology.host,
            hardware(topology),
            "refused" if isinstance(found, Refusal) else "-",
            "",
        ]
        for topology in sorted(fleet, key=lambda topology: topology.host)
    }
    if isinstance(found, Plan):
        for host, replicas in _by_host(found).items():
            rows[host][2] = "; ".join(_place(host, replica) for replica in replicas)
            rows[host][3] = f"{found.headroom_gib:.1f} GiB"
    return [HEADER, *rows.values()]


def hardware(topology: Topology) -> str:
    """What a host computes with, as in "8x NVIDIA H100 80GB HBM3, NV"."""
    if not topology.gpus:
        memory = topology.cpu.memory_mib if topology.cpu else None
        size = f", {round(memory / 1024, 1):g} GiB" if memory else ", memory not read"
        return f"{topology.cpu.name if topology.cpu else 'processors not read'}{size}"
    cards = Counter(gpu.name for gpu in topology.gpus)
    kinds = Counter(link.kind for link in topology.links)
    joined = f", {'/'.join(sorted(kinds))}" if kinds else ""
    return " and ".join(f"{count}x {name}" for name, count in cards.items()) + joined


def _by_host(plan: Plan) -> dict[str, list[Replica]]:
    found: dict[str, list[Replica]] = {}
    for replica in plan.replicas:
        for share in replica.shares:
            found.setdefault(share.host, []).append(replica)
    return found


def _place(host: str, replica: Replica) -> str:
    return ", ".join(_parts(host, replica))


def _parts(host: str, replica: Replica) -> Iterator[str]:
    serving = replica.serving
    gpus = [gpu for share in replica.shares if share.host == host for gpu in share.gpus]
    if gpus:
        yield f"TP {serving.tensor_parallel}" + (
            f" x PP {serving.pipeline_parallel}" if serving.pipeline_parallel > 1 else ""
        )
        yield f"GPU {','.join(map(str, gpus))}"
    else:
        yield "processors"
    yield f"{replica.memory.kv_cache:.1f} GiB of KV cache each, {replica.memory.kv_tokens} tokens"
    if replica.tokens_per_second_limit:
        yield f"up to {replica.tokens_per_second_limit:.0f} tokens/s"
    if replica.power_w:
        yield f"{replica.power_w:.0f} W"
