# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is asked of whatever fleet: an accepted plan holds when it is computed again, and a refusal's way
out is one.

Nothing of the planner's own arithmetic is used to check it. Weights and cache are counted here as a textbook
does from config.json, without norms, biases and all that the engine needs besides: where there is room for
all of that, there is room for this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import read_config
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    Plan,
    Refusal,
    Replica,
    Weights,
    Wish,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.plan import plan
from ansible_collections.stronghold.llm.plugins.module_utils.planning.refusing import quantised
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Link, LinkClass, Topology
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fleets import A10, A100, H100, MI300X, gpu, processors, with_gpu

GIB = 2**30
EXAMPLES = settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

# What the framework sees, GiB; from the same logs as the planner's table, written down again.
SEEN = {A10: 22.1, A100: 79.3, H100: 79.3, MI300X: 192.0}
BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
ISLANDS: tuple[LinkClass, ...] = ("NV", "XGMI")


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A dense model or a mixture of experts as its config.json describes it, of 1 to some 100 billion
    parameters.
    """
    kv_heads = draw(st.sampled_from([2, 4, 8]))
    heads = kv_heads * draw(st.sampled_from([2, 3, 4, 5, 7, 8]))
    head_dim = draw(st.sampled_from([64, 128]))
    experts = draw(st.none() | st.sampled_from([4, 8, 16]))
    mixture = {"model_type": "mixtral", "num_local_experts": experts, "num_experts_per_tok": 2}
    return {
        **(mixture if experts else {"model_type": "llama"}),
        "hidden_size": heads * head_dim,
        "intermediate_size": 256 * draw(st.integers(8, 112)),
        "num_hidden_layers": draw(st.integers(16, 80)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "vocab_size": draw(st.sampled_from([32000, 128256, 152064])),
        "max_position_embeddings": 131072,
        "tie_word_embeddings": draw(st.booleans()),
        "torch_dtype": "bfloat16",
    }


@st.composite
def hosts(draw: st.DrawFn, name: str) -> Topology:
    """Up to eight cards of one kind in islands of one size, some of them out of service; or none at all."""
    if draw(st.integers(0, 9)) == 0:
        return processors(name, draw(st.sampled_from([64, 512])))
    card = draw(st.sampled_from(sorted(SEEN)))
    count, island = draw(st.integers(1, 8)), draw(st.sampled_from([1, 2, 4, 8]))
    between = draw(st.sampled_from(["PHB", "NODE", "SYS"]))
    inside: LinkClass = "XGMI" if card == MI300X else "NV"
    found = Topology(
        name,
        gpus=tuple(gpu(index, card, numa_node=index // 4) for index in range(count)),
        links=tuple(
            Link(a, b, inside if a // island == b // island else between)
            for a, b in combinations(range(count), 2)
        ),
    )
    if draw(st.integers(0, 4)) == 0:
        found = with_gpu(found, draw(st.integers(0, count - 1)), remapped_rows_failed=True)
    return found


@st.composite
def fleets(draw: st.DrawFn) -> list[Topology]:
    return [draw(hosts(f"gpu{number}")) for number in range(1, draw(st.integers(1, 4)) + 1)]


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    context = 1024 * draw(st.sampled_from([1, 4, 8, 32, 128]))
    return Wish(
        "vllm",
        draw(st.sampled_from(["0.9.2", "0.11.0"])),
        context_tokens=context,
        sequences=draw(st.sampled_from([1, 2, 8, 32, 128, 256])),
        typical_tokens=draw(st.none() | st.integers(1, context)),
        replicas=draw(st.integers(1, 4)),
        kv_cache=draw(st.sampled_from(["auto", "bf16", "fp8"])),
        tokens_per_second=draw(st.none() | st.floats(1, 200)),
        tensor_parallel=draw(st.none() | st.sampled_from([1, 2, 3, 4, 8])),
        pipeline_parallel=draw(st.none() | st.sampled_from([1, 2])),
        gpu_memory_utilization=draw(st.none() | st.sampled_from([0.5, 0.8, 0.95])),
    )


QUESTIONS = {
    "config": configs(),
    "weights": st.sampled_from(sorted(BYTES)).map(Weights),
    "wish": wishes(),
    "fleet": fleets(),
}


def ask(config: Mapping[str, Any], weights: Weights, wish: Wish, fleet: list[Topology]) -> Plan | Refusal:
    return plan("random", read_config(dict(config), "config.json"), weights, wish, fleet)


def weights_gib(config: Mapping[str, Any], weights: Weights) -> float:
    """Of all ranks together, without norms and biases."""
    hidden, attention = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    keys_and_values = 2 * config["num_key_value_heads"] * config["head_dim"]
    experts = config.get("num_local_experts", 1)
    layer = hidden * (2 * attention + keys_and_values) + experts * 3 * hidden * config["intermediate_size"]
    embeddings = (1 if config["tie_word_embeddings"] else 2) * config["vocab_size"] * hidden
    return (config["num_hidden_layers"] * layer * BYTES[weights.precision] + 2 * embeddings) / GIB


def cache_gib(config: Mapping[str, Any], replica: Replica, wish: Wish) -> float:
    """That the wish fills on a rank: its share of heads and of layers, 2 bytes for each number."""
    serving = replica.serving
    size = 1 if serving.kv_cache == "fp8" else 2
    heads = max(1, config["num_key_value_heads"] // serving.tensor_parallel)
    layers = config["num_hidden_layers"] / serving.pipeline_parallel
    tokens = max(wish.sequences * (wish.typical_tokens or wish.context_tokens), wish.context_tokens)
    return tokens * layers * 2 * heads * config["head_dim"] * size / GIB


@EXAMPLES
@given(**QUESTIONS)
def test_an_accepted_plan_has_the_memory_that_it_needs(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology]
) -> None:
    found = ask(config, weights, wish, fleet)
    if isinstance(found, Refusal):
        return
    for replica in found.replicas:
        ranks = replica.serving.tensor_parallel * replica.serving.pipeline_parallel
        share = wish.gpu_memory_utilization or 0.92  # the largest default that any version has
        weights_there = weights_gib(config, weights) / ranks
        wanted = cache_gib(config, replica, wish)
        if replica.device in SEEN:
            assert weights_there + wanted <= SEEN[replica.device] * share
        assert replica.memory.kv_cache >= wanted
        assert replica.memory.weights >= weights_there * 0.999
        assert found.headroom_gib >= 0


@EXAMPLES
@given(**QUESTIONS)
def test_an_accepted_plan_divides_the_model_and_gives_what_was_wished(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology]
) -> None:
    found = ask(config, weights, wish, fleet)
    if isinstance(found, Refusal):
        return
    assert len(found.replicas) == wish.replicas
    for replica in found.replicas:
        size, stages = replica.serving.tensor_parallel, replica.serving.pipeline_parallel
        assert config["num_attention_heads"] % size == 0
        assert config["num_key_value_heads"] % size == 0 or size % config["num_key_value_heads"] == 0
        assert config["intermediate_size"] % size == 0
        assert size == (wish.tensor_parallel or size)
        assert stages == (wish.pipeline_parallel or stages)
        assert replica.serving.max_model_len == wish.context_tokens
        assert replica.serving.max_num_seqs == wish.sequences
        if wish.tokens_per_second and replica.tokens_per_second_each:
            assert replica.tokens_per_second_each >= wish.tokens_per_second


@EXAMPLES
@given(**QUESTIONS)
def test_every_group_is_of_one_kind_on_one_host_and_no_gpu_is_used_twice(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology]
) -> None:
    found = ask(config, weights, wish, fleet)
    if isinstance(found, Refusal):
        return
    machines = {machine.host: machine for machine in fleet}
    used = [
        (share.host, index) for replica in found.replicas for share in replica.shares for index in share.gpus
    ]
    assert len(used) == len(set(used))
    for replica in found.replicas:
        size, stages = replica.serving.tensor_parallel, replica.serving.pipeline_parallel
        names = set()
        for share in replica.shares:
            assert len(share.gpus) % size == 0 or machines[share.host].cpu
            for index in share.gpus:
                [card] = [card for card in machines[share.host].gpus if card.index == index]
                assert not card.remapped_rows_failed
                names.add((card.vendor, card.name))
        assert len(names) <= 1
        assert sum(len(share.gpus) for share in replica.shares) in (size * stages, 0)


@EXAMPLES
@given(**QUESTIONS)
def test_no_group_goes_between_sockets_while_an_island_has_room_for_it(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology]
) -> None:
    found = ask(config, weights, wish, fleet)
    if isinstance(found, Refusal):
        return
    free = {(machine.host, card.index) for machine in fleet for card in machine.gpus}
    free -= {
        (share.host, index) for replica in found.replicas for share in replica.shares for index in share.gpus
    }
    machines = {machine.host: machine for machine in fleet}
    for replica in found.replicas:
        size = replica.serving.tensor_parallel
        for share in replica.shares:
            machine = machines[share.host]
            for start in range(0, len(share.gpus), size):
                group = share.gpus[start : start + size]
                kinds = {link.kind for a, b in combinations(group, 2) if (link := machine.link(a, b))}
                far = not kinds <= set(ISLANDS)
                assert not (far and replica.local)
                if "SYS" in kinds:
                    assert not any(len(island) >= size for island in free_islands(machine, free)), (
                        "an island of the same host had room"
                    )


def free_islands(machine: Topology, free: set[tuple[str, int]]) -> list[list[int]]:
    """GPUs that are in service, unused, and joined by NVLink or XGMI, all with all."""
    left = [
        card.index
        for card in machine.gpus
        if (machine.host, card.index) in free and not card.remapped_rows_failed
    ]
    found = []
    while left:
        joined = [
            index
            for index in left
            if index == left[0] or getattr(machine.link(left[0], index), "kind", None) in ISLANDS
        ]
        found.append(joined)
        left = [index for index in left if index not in joined]
    return found


@EXAMPLES
@given(**QUESTIONS)
def test_the_way_out_of_every_refusal_is_accepted(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology]
) -> None:
    found = ask(config, weights, wish, fleet)
    if isinstance(found, Plan):
        return
    assert found.why
    assert found.remedy
    if found.nearest:
        stored = quantised(weights, found.nearest_weights) if found.nearest_weights else weights
        assert isinstance(ask(config, stored, found.nearest, fleet), Plan)
        assert (found.nearest, found.nearest_weights) != (wish, None)
    else:
        assert found.nearest_weights is None


@EXAMPLES
@given(**QUESTIONS, order=st.randoms(use_true_random=False))
def test_the_same_hosts_in_any_order_have_the_same_plan(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology], order: Any
) -> None:
    mixed = list(fleet)
    order.shuffle(mixed)
    assert ask(config, weights, wish, fleet) == ask(config, weights, wish, mixed)


@EXAMPLES
@given(**QUESTIONS, more=hosts("gpu0") | hosts("gpu2x") | hosts("gpu9"))
def test_a_further_host_never_turns_a_plan_into_a_refusal(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology], more: Topology
) -> None:
    if isinstance(ask(config, weights, wish, fleet), Plan):
        assert isinstance(ask(config, weights, wish, [*fleet, more]), Plan)


@EXAMPLES
@given(**QUESTIONS)
def test_less_is_never_refused_where_more_is_granted(
    config: dict[str, Any], weights: Weights, wish: Wish, fleet: list[Topology]
) -> None:
    if isinstance(ask(config, weights, wish, fleet), Plan):
        less = replace(wish, sequences=max(1, wish.sequences // 2), tokens_per_second=None)
        assert isinstance(ask(config, weights, less, fleet), Plan)
