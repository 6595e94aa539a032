# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and refusals: what is placed where, what binds, and the way out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import placement
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.fleet import Fleet
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    Plan,
    PlanError,
    Refusal,
    Weights,
    Wish,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.plan import plan
from ansible_collections.stronghold.llm.plugins.module_utils.planning.reading import read_weights, read_wish
from ansible_collections.stronghold.llm.plugins.module_utils.planning.refusing import quantised
from ansible_collections.stronghold.llm.plugins.module_utils.planning.words import (
    HEADER,
    counted,
    message,
    table,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Nic, Topology, Way

from lab.site import REPOSITORY
from tests.fleets import A10, A100, H100, MI300X, bridged, gpu, host, links, processors, with_gpu

VERSION = "0.11.0"
MI210 = "AMD Instinct MI210"
BF16 = Weights("bf16")


def model(inventory: str, name: str) -> Architecture:
    path = REPOSITORY / "inventories" / inventory / "models" / name / "config.json"
    return read_config(json.loads(path.read_text()), str(path))


QWEN_7B = model("workstation-7b", "deepseek-r1-distill-qwen-7b")
LLAMA_70B = model("datacentre-70b", "deepseek-r1-distill-llama-70b")
MIXTRAL = read_config(
    {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "num_attention_heads": 32,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "num_local_experts": 8,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 32000,
    },
    "Mixtral-8x7B's config.json",
)


def wish(context: int = 8192, sequences: int = 8, **more: Any) -> Wish:
    return Wish("vllm", VERSION, context, sequences, **more)


def planned(architecture: Architecture, asked: Wish, *hosts: Topology, weights: Weights = BF16) -> Plan:
    found = plan("the-model", architecture, weights, asked, hosts)
    assert isinstance(found, Plan), found
    return found


def refused(architecture: Architecture, asked: Wish, *hosts: Topology, weights: Weights = BF16) -> Refusal:
    found = plan("the-model", architecture, weights, asked, hosts)
    assert isinstance(found, Refusal), found
    if found.nearest:
        smaller = quantised(weights, found.nearest_weights) if found.nearest_weights else weights
        assert isinstance(plan("the-model", architecture, smaller, found.nearest, hosts), Plan)
    return found


def sizes(found: Plan) -> set[tuple[int, int]]:
    return {(each.serving.tensor_parallel, each.serving.pipeline_parallel) for each in found.replicas}


# Layouts


def test_the_smallest_group_that_serves_the_wish_is_taken() -> None:
    assert sizes(planned(QWEN_7B, wish(), host("gpu1"))) == {(1, 1)}
    assert sizes(planned(LLAMA_70B, wish(), host("gpu1"))) == {(4, 1)}


def test_more_sequences_take_more_gpus() -> None:
    assert sizes(planned(LLAMA_70B, wish(32768, 64, typical_tokens=16384), host("gpu1"))) == {(8, 1)}


def test_speed_takes_more_gpus_too() -> None:
    [one] = planned(QWEN_7B, wish(), host("gpu1")).replicas
    assert one.tokens_per_second_each
    [fast] = planned(QWEN_7B, wish(tokens_per_second=one.tokens_per_second_each + 1), host("gpu1")).replicas
    assert fast.serving.tensor_parallel == 2
    assert fast.tokens_per_second_each
    assert fast.tokens_per_second_each > one.tokens_per_second_each


def test_seven_billion_parameters_on_two_a10_take_both() -> None:
    found = planned(QWEN_7B, wish(32768, 8), host("gpu1", 2, A10, "PHB"))
    assert sizes(found) == {(2, 1)}
    assert found.headroom_gib > 0
    assert any("PHB" in note for note in found.notes)
    assert not found.replicas[0].local


def test_twenty_eight_heads_are_never_divided_by_eight() -> None:
    found = refused(QWEN_7B, wish(tensor_parallel=8), host("gpu1"))
    assert found.constraint == "divisibility"
    assert "tensor parallel 8" in found.why
    assert found.nearest == wish()


def test_a_wished_layout_is_kept() -> None:
    found = planned(QWEN_7B, wish(tensor_parallel=2, pipeline_parallel=2), host("gpu1"))
    assert sizes(found) == {(2, 2)}
    assert [share.gpus for share in found.replicas[0].shares] == [(0, 1, 2, 3)]


def test_a_wished_group_that_no_host_has_is_refused_by_name() -> None:
    found = refused(LLAMA_70B, wish(tensor_parallel=4), host("gpu1", 2), host("gpu2", 2))
    assert found.constraint == "gpus"
    assert "tensor parallel 4" in found.why


def test_a_wished_number_of_stages_that_nothing_has_is_refused_by_name() -> None:
    asked = wish(tensor_parallel=2, pipeline_parallel=4)
    found = refused(QWEN_7B, asked, host("gpu1", 2, A10, "PHB"))
    assert found.constraint == "gpus"
    assert "4 stages" in found.why


def test_the_share_of_the_card_is_written_down_also_where_it_is_the_default() -> None:
    for version, share in (("0.11.0", 0.9), ("0.33.0", 0.92)):
        [replica] = planned(QWEN_7B, replace(wish(), engine_version=version), host("gpu1")).replicas
        assert replica.serving.gpu_memory_utilization == share


# Places


def test_groups_stay_on_their_bridge() -> None:
    machine = bridged("gpu1", [(0, 3), (1, 2)], "NVIDIA A100 80GB PCIe", "SYS")
    found = planned(QWEN_7B, wish(tensor_parallel=2, replicas=2), machine)
    assert [replica.shares[0].gpus for replica in found.replicas] == [(0, 3), (1, 2)]
    assert all(replica.local for replica in found.replicas)
    assert not found.notes


def test_a_local_group_on_another_host_goes_before_a_far_one_here() -> None:
    far, near = host("gpu1", 4, A10, "SYS"), bridged("gpu2", [(0, 1), (2, 3)], A10, "SYS")
    found = planned(QWEN_7B, wish(32768, 8, replicas=2), far, near)
    assert [replica.shares[0].host for replica in found.replicas] == ["gpu2", "gpu2"]


def test_replicas_go_to_as_many_hosts_as_there_are() -> None:
    found = planned(LLAMA_70B, wish(replicas=2), host("gpu1"), host("gpu2"))
    assert [replica.shares[0].host for replica in found.replicas] == ["gpu1", "gpu2"]


def test_no_gpu_has_two_replicas() -> None:
    found = planned(QWEN_7B, wish(replicas=16), host("gpu1"), host("gpu2"))
    taken = [
        (share.host, gpu) for replica in found.replicas for share in replica.shares for gpu in share.gpus
    ]
    assert len(taken) == len(set(taken)) == 16


def test_a_replica_is_never_of_two_vendors() -> None:
    found = planned(LLAMA_70B, wish(replicas=2), host("gpu1"), host("gpu2", 8, MI300X, "XGMI"))
    assert {(replica.device, replica.shares[0].host) for replica in found.replicas} == {
        (H100, "gpu1"),
        (MI300X, "gpu2"),
    }
    nvidia_and_amd = replace(host("gpu1", 2), gpus=(gpu(0, H100), gpu(1, MI210)), links=links((0, 1), "PHB"))
    assert refused(LLAMA_70B, wish(), nvidia_and_amd).constraint == "weights"


def test_tensor_parallel_does_not_leave_a_host_and_stages_may() -> None:
    pair = [host(f"gpu{number}", 2, nics=["mlx5_0"]) for number in (1, 2)]
    found = planned(LLAMA_70B, wish(), *pair)
    assert sizes(found) == {(2, 2)}
    assert [(share.host, share.gpus) for share in found.replicas[0].shares] == [
        ("gpu1", (0, 1)),
        ("gpu2", (0, 1)),
    ]
    [note] = found.notes
    assert "mlx5_0 of gpu1 (InfiniBand, 200 Gb/s)" in note


def test_of_several_network_cards_the_fastest_is_named() -> None:
    def pair(name: str) -> Topology:
        near = tuple(Way(index, "NODE") for index in range(2))
        nics = (Nic("mlx5_0", rate_gbps=400.0, near=near), Nic("mlx5_9", rate_gbps=25.0, near=near))
        return replace(host(name, 2), nics=nics)

    [note] = planned(LLAMA_70B, wish(), pair("gpu1"), pair("gpu2")).notes
    assert "mlx5_0 of gpu1 (link layer unknown, 400 Gb/s)" in note


def test_stages_on_hosts_without_a_known_network_are_said_to_be() -> None:
    found = planned(LLAMA_70B, wish(), host("gpu1", 2), host("gpu2", 2))
    assert any("a network of gpu1 that was not read" in note for note in found.notes)


def test_stages_are_not_spread_over_hosts_while_one_host_serves() -> None:
    found = planned(LLAMA_70B, wish(), host("gpu1", 2), host("gpu2", 2), host("gpu3"))
    assert [share.host for share in found.replicas[0].shares] == ["gpu3"]


def test_a_replica_within_a_host_goes_before_one_over_two() -> None:
    asked = wish(tensor_parallel=1, pipeline_parallel=2, replicas=2)
    found = planned(QWEN_7B, asked, host("gpu1", 1), host("gpu2", 1), host("gpu3", 4))
    assert [[share.host for share in replica.shares] for replica in found.replicas] == [["gpu3"], ["gpu3"]]


def test_stages_within_one_host_go_before_larger_groups_on_two() -> None:
    """With one head of keys and values a larger group repeats the cache on every rank, and stages divide it:
    four stages in one host do what two groups of four on two hosts do.
    """
    one_head = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "max_position_embeddings": 131072,
        "num_attention_heads": 64,
        "num_hidden_layers": 80,
        "num_key_value_heads": 1,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 128256,
    }
    architecture = read_config(one_head, "config.json")
    found = planned(architecture, wish(32768, 72), host("gpu1", 4, A100), host("gpu2", 4, A100))
    assert sizes(found) == {(1, 4)}
    assert len(found.replicas[0].shares) == 1


def test_kinds_of_cards_add_up_and_each_gives_all_the_room_that_it_has() -> None:
    """Two hosts of H100 have room for four groups of four, or for five replicas of three stages."""
    hosts = [host("gpu1"), host("gpu2"), host("gpu3", 8, A100)]
    found = planned(LLAMA_70B, wish(replicas=7), *hosts)
    assert sorted(replica.device for replica in found.replicas) == [A100] * 2 + [H100] * 5


def test_cards_that_differ_in_their_power_limit_alone_work_together() -> None:
    slow = host("gpu1", 2)
    for index in range(2):
        slow = with_gpu(slow, index, power_limit_w=500.0)
    [replica] = planned(LLAMA_70B, wish(), slow, host("gpu2", 2)).replicas
    assert [share.host for share in replica.shares] == ["gpu1", "gpu2"]
    assert replica.power_w == 2 * 500 + 2 * 700


def test_a_gpu_that_waits_for_a_reset_is_left_out_and_named() -> None:
    machine = with_gpu(host("gpu1"), 5, remapped_rows_pending=True)
    found = planned(LLAMA_70B, wish(replicas=1), machine)
    assert 5 not in found.replicas[0].shares[0].gpus
    assert any("GPU 5 of gpu1" in note for note in found.notes)
    assert refused(LLAMA_70B, wish(tensor_parallel=8), machine).constraint == "gpus"


def test_a_mig_instance_is_planned_with_its_own_memory() -> None:
    machine = with_gpu(host("gpu1", 1, A100), 0, mig=True, mig_instances=("3g.40gb",))
    [replica] = planned(QWEN_7B, wish(), machine).replicas
    assert replica.memory.total < 40
    assert "MIG 3g.40gb" in replica.device


# Figures


def test_watts_are_the_limits_of_the_gpus_that_are_used() -> None:
    machine = with_gpu(host("gpu1"), 1, power_limit_w=500.0)
    [replica] = planned(LLAMA_70B, wish(), machine).replicas
    assert replica.power_w == 700 + 500 + 700 + 700


def test_watts_that_nobody_knows_are_not_counted_as_none() -> None:
    [replica] = planned(QWEN_7B, wish(), Topology("gpu1", gpus=(gpu(0, "NVIDIA X9", 81920),))).replicas
    assert replica.power_w is None
    assert replica.tokens_per_second_limit is None


def test_an_unknown_bandwidth_is_said_and_no_speed_is_promised() -> None:
    machine = Topology("gpu1", gpus=(gpu(0, "NVIDIA X9", 81920),))
    found = planned(QWEN_7B, wish(tokens_per_second=1e6), machine)
    assert any("bandwidth is not known" in note for note in found.notes)


def test_one_sequence_on_one_h100_is_bound_by_reading_the_weights() -> None:
    """15.2 GB of which the embedding's 1.1 are looked up and not read: 3,352 / 14.1 = 237 tokens/s, less for
    the cache.
    """
    [replica] = planned(QWEN_7B, wish(8192, 1, typical_tokens=16), host("gpu1", 1)).replicas
    assert replica.tokens_per_second_each == pytest.approx(237, rel=0.02)
    assert replica.tokens_per_second_limit == replica.tokens_per_second_each


def test_more_sequences_are_faster_together_and_slower_each() -> None:
    [few] = planned(QWEN_7B, wish(8192, 1), host("gpu1", 1)).replicas
    [many] = planned(QWEN_7B, wish(8192, 32), host("gpu1", 1)).replicas
    assert few.tokens_per_second_limit
    assert few.tokens_per_second_each
    assert many.tokens_per_second_limit
    assert many.tokens_per_second_each
    assert many.tokens_per_second_limit > few.tokens_per_second_limit
    assert many.tokens_per_second_each < few.tokens_per_second_each


def test_of_experts_only_those_that_a_batch_touches_are_read() -> None:
    """One sequence reads two of Mixtral's eight experts, many read all."""
    machine = host("gpu1", 2)
    [one] = planned(MIXTRAL, wish(4096, 1, typical_tokens=16), machine).replicas
    [many] = planned(MIXTRAL, wish(4096, 64, typical_tokens=16), machine).replicas
    assert one.tokens_per_second_each
    assert many.tokens_per_second_each
    assert one.tokens_per_second_each / many.tokens_per_second_each == pytest.approx(46.4 / 12.6, rel=0.05)


def test_stages_in_series_make_no_token_faster() -> None:
    machine = host("gpu1", 2)
    [one] = planned(QWEN_7B, wish(8192, 1), machine).replicas
    [two] = planned(QWEN_7B, wish(8192, 1, pipeline_parallel=2, tensor_parallel=1), machine).replicas
    assert one.tokens_per_second_each
    assert two.tokens_per_second_each
    assert two.tokens_per_second_each <= one.tokens_per_second_each * 1.1


def test_between_stages_a_token_waits_for_the_cache_of_its_own_batch_alone() -> None:
    """32 sequences of 0.47 GB: one rank reads 14.1 + 15.0 GB a step; of two stages each reads half of the
    weights and, for half of the sequences, half of the cache, twice in turn.
    """
    machine = host("gpu1", 2)
    [one] = planned(QWEN_7B, wish(8192, 32), machine).replicas
    [two] = planned(QWEN_7B, wish(8192, 32, pipeline_parallel=2, tensor_parallel=1), machine).replicas
    assert one.tokens_per_second_each == pytest.approx(3352 / (14.1 + 15.0), rel=0.05)
    assert two.tokens_per_second_each == pytest.approx(3352 / (14.1 + 7.5), rel=0.05)


def test_headroom_is_what_the_wish_leaves_of_the_cache() -> None:
    found = planned(QWEN_7B, wish(8192, 8), host("gpu1", 1))
    per_token = 28 * 2 * 4 * 128 * 2
    wanted = 8 * 8192 * per_token / 2**30
    assert found.headroom_gib == pytest.approx(found.replicas[0].memory.kv_cache - wanted, rel=0.01)


def test_headroom_counts_one_sequence_that_grows_to_full_context() -> None:
    found = planned(QWEN_7B, wish(32768, 2, typical_tokens=16), host("gpu1", 1))
    wanted = 32768 * 28 * 2 * 4 * 128 * 2 / 2**30
    assert found.headroom_gib == pytest.approx(found.replicas[0].memory.kv_cache - wanted, rel=0.01)


def test_headroom_is_that_of_the_tightest_replica() -> None:
    found = planned(QWEN_7B, wish(replicas=2), host("gpu1", 1), host("gpu2", 1, A10))
    spare = [replica.memory.kv_cache for replica in found.replicas]
    assert found.headroom_gib < min(spare)
    assert max(spare) > 2 * min(spare)


# Precisions


def test_an_fp8_cache_has_half_the_bytes() -> None:
    [plain] = planned(QWEN_7B, wish(), host("gpu1", 1)).replicas
    [small] = planned(QWEN_7B, wish(kv_cache="fp8"), host("gpu1", 1)).replicas
    assert small.memory.kv_bytes_per_token == pytest.approx(plain.memory.kv_bytes_per_token / 2)


def test_fp8_weights_on_ampere_are_said_to_be_memory_only() -> None:
    [note] = planned(LLAMA_70B, wish(), host("gpu1", 8, A100), weights=Weights("fp8")).notes
    assert "W8A16" in note
    assert not planned(LLAMA_70B, wish(), host("gpu1"), weights=Weights("fp8")).notes


@pytest.mark.parametrize(("card", "smaller"), [(H100, "fp8"), (A100, "int4")])
def test_smaller_weights_are_fp8_where_the_card_computes_it(card: str, smaller: str) -> None:
    found = refused(LLAMA_70B, wish(4096, 1), host("gpu1", 1, card))
    assert found.constraint == "weights"
    if card == A100:
        assert found.nearest_weights == smaller
    else:
        two = refused(LLAMA_70B, wish(4096, 1), host("gpu1", 1, "NVIDIA H200"))
        assert two.nearest_weights == smaller


# Refusals


def test_a_model_that_is_too_large_is_refused_with_hosts_cards_and_gib() -> None:
    found = refused(LLAMA_70B, wish(), host("gpu1", 2, A10, "PHB"))
    assert found.constraint == "weights"
    for part in ("the-model in bf16 needs 131.4 GiB", "2x NVIDIA A10", "gpu1", "44.1 GiB"):
        assert part in found.why
    assert found.nearest_weights == "int4"


def test_fewer_sequences_are_the_first_way_out() -> None:
    asked = wish(32768, 64)
    found = refused(QWEN_7B, asked, host("gpu1", 2, A10, "PHB"))
    assert found.constraint == "kv_cache"
    assert found.nearest
    assert 1 <= found.nearest.sequences < 64
    assert found.nearest == replace(asked, sequences=found.nearest.sequences)
    assert isinstance(
        plan(
            "m",
            QWEN_7B,
            BF16,
            replace(asked, sequences=found.nearest.sequences + 1),
            [host("gpu1", 2, A10, "PHB")],
        ),
        Refusal,
    )
    assert f"{found.nearest.sequences} sequences instead of 64" in found.remedy


def test_a_shorter_context_is_the_second() -> None:
    asked = wish(131072, 1)
    found = refused(QWEN_7B, asked, host("gpu1", 1, A10))
    assert found.constraint in ("context", "kv_cache")
    assert found.nearest
    assert found.nearest.sequences == 1
    assert found.nearest.context_tokens < 131072
    assert found.nearest.context_tokens % 1024 == 0
    assert found.nearest_weights is None


def test_a_shorter_context_also_bounds_what_sequences_hold() -> None:
    found = refused(QWEN_7B, wish(131072, 1, typical_tokens=130000), host("gpu1", 1, A10))
    assert found.nearest
    assert found.nearest.typical_tokens == found.nearest.context_tokens


def test_a_sequence_that_has_no_room_at_full_length_is_a_matter_of_context() -> None:
    found = refused(QWEN_7B, wish(131072, 1, typical_tokens=1000), host("gpu1", 1, A10))
    assert found.constraint == "context"


def test_what_comes_closest_is_spoken_of() -> None:
    found = refused(LLAMA_70B, wish(32768, 512), host("gpu1", 1, A10), host("gpu2"))
    assert found.constraint == "kv_cache"
    assert "8x NVIDIA H100" in found.why


def test_too_many_replicas_are_refused_with_how_many_there_is_room_for() -> None:
    found = refused(LLAMA_70B, wish(replicas=9), host("gpu1"), host("gpu2"))
    assert found.constraint == "gpus"
    assert "9 replicas are wished" in found.why
    assert found.nearest
    assert 4 <= found.nearest.replicas < 9


def test_a_speed_that_bandwidth_does_not_give_is_refused_and_what_it_gives_is_named() -> None:
    found = refused(LLAMA_70B, wish(8192, 1, tokens_per_second=5000.0), host("gpu1"))
    assert found.constraint == "throughput"
    assert found.nearest
    assert found.nearest.tokens_per_second
    assert found.nearest.tokens_per_second < 5000
    fastest = re.search(r"gives each ([\d.]+) tokens/s at the most", found.why)
    assert fastest
    assert int(float(fastest[1])) == found.nearest.tokens_per_second


def test_a_remedy_says_how_many_cards_it_would_take() -> None:
    found = refused(LLAMA_70B, wish(), host("gpu1", 1, A10))
    said = re.search(r"one replica would take (\d+)x NVIDIA A10", found.remedy)
    assert said
    assert 131.4 / 22 < int(said[1]) <= 16  # as many as hold the weights, and a few for the rest


def test_no_host_at_all_is_a_refusal() -> None:
    assert refused(QWEN_7B, wish()).constraint == "hosts"


def test_hosts_on_which_nothing_computes_are_a_refusal() -> None:
    found = refused(QWEN_7B, wish(), Topology("gpu1"))
    assert found.constraint == "gpus"
    assert "gpu1" in found.why


def test_the_line_for_people_has_model_reason_and_remedy() -> None:
    found = refused(LLAMA_70B, wish(), host("gpu1", 2, A10, "PHB"))
    assert message(found) == f"{found.why}; {found.remedy}"  # which begins with the model's name already
    found = refused(QWEN_7B, wish(tensor_parallel=8), host("gpu1"))
    assert message(found) == f"the-model: {found.why}; {found.remedy}"


# Hosts without GPUs


def test_a_host_without_gpus_is_one_rank() -> None:
    asked = Wish("llama_cpp", "0.4.0", 4096, 2)
    found = planned(
        QWEN_7B, asked, processors("core1", 64), weights=Weights("gguf", total_bytes=4_683_073_184)
    )
    [replica] = found.replicas
    assert replica.shares[0].host == "core1"
    assert replica.shares[0].gpus == ()
    assert replica.device == "AMD EPYC 9354"
    assert replica.tokens_per_second_limit is None


def test_processors_are_not_joined_over_hosts() -> None:
    asked, stored = Wish("llama_cpp", "0.4.0", 4096, 2), Weights("gguf", total_bytes=100 * 2**30)
    found = refused(LLAMA_70B, asked, processors("core1", 64), processors("core2", 64), weights=stored)
    assert found.constraint == "weights"
    assert "1x AMD EPYC 9354 of core1" in found.why


def test_processors_are_not_joined_over_hosts_when_stages_are_wished_either() -> None:
    found = refused(QWEN_7B, wish(pipeline_parallel=2), processors("core1", 512), processors("core2", 512))
    assert found.constraint == "gpus"


# The same answer for the same question


def test_the_order_of_hosts_makes_no_difference() -> None:
    hosts = [host("gpu3", 4), host("gpu1", 8, A100), bridged("gpu2", [(0, 1)], A10, "SYS"), host("gpu4", 4)]
    asked = wish(replicas=5)
    assert planned(QWEN_7B, asked, *hosts) == planned(QWEN_7B, asked, *reversed(hosts))


@pytest.mark.parametrize(
    "changes",
    [
        {"remapped_rows_pending": True},
        {"remapped_rows_failed": True},
        {"mig": True},
        {"mig_instances": ("1g.10gb",)},
        {"power_limit_w": 500.0},
        {"memory_mib": 40960},
        {"name": A100},
        {"compute_capability": "9.1"},
        {"numa_node": 7},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_hosts_that_differ_in_what_a_plan_depends_on_are_not_taken_for_alike(changes: dict[str, Any]) -> None:
    one, other = host("gpu1"), with_gpu(host("gpu2"), 3, **changes)
    assert Fleet([one, other]).sample("gpu2") is other


def test_hosts_that_differ_in_links_network_cards_or_processors_are_not_taken_for_alike() -> None:
    one = host("gpu1")
    for other in (host("gpu2", kind="SYS"), host("gpu2", nics=["mlx5_0"])):
        assert Fleet([one, other]).sample("gpu2") is other
    assert (
        Fleet([processors("core1", 64), processors("core2", 128)]).sample("core2").cpu
        != processors("", 64).cpu
    )


def test_hosts_that_differ_in_names_and_serials_alone_are_alike() -> None:
    one, other = host("gpu1"), with_gpu(host("gpu2"), 3, uuid="GPU-1", pci="0000:1b:00.0", memory_used_mib=5)
    assert Fleet([other, one]).sample("gpu2") is one


def test_hosts_of_one_shape_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def counted(topology: Topology, size: int) -> tuple[placement.Group, ...]:
        nonlocal looked
        looked += 1
        return groups(topology, size)

    groups = placement.groups
    monkeypatch.setattr(placement, "groups", counted)
    planned(LLAMA_70B, wish(replicas=300), *(host(f"gpu{number}") for number in range(300)))
    assert looked <= 8


# What cannot be planned with


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sequences": 0}, "wish.sequences"),
        ({"context_tokens": -1}, "wish.context_tokens"),
        ({"replicas": 0}, "wish.replicas"),
        ({"typical_tokens": 9000}, "wish.typical_tokens"),
        ({"tensor_parallel": 0}, "wish.tensor_parallel"),
        ({"gpu_memory_utilization": 1.5}, "wish.gpu_memory_utilization"),
        ({"tokens_per_second": 0.0}, "wish.tokens_per_second"),
    ],
)
def test_a_wish_that_nothing_could_grant_is_an_error_that_names_the_field(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(PlanError, match=field):
        plan("the-model", QWEN_7B, BF16, replace(wish(), **changes), [host("gpu1")])


def test_two_hosts_of_one_name_are_an_error() -> None:
    with pytest.raises(PlanError, match="gpu1 is there twice"):
        plan("the-model", QWEN_7B, BF16, wish(), [host("gpu1"), host("gpu1", 2)])


def test_a_wish_is_read_from_plain_data() -> None:
    data = {"engine": "vllm", "engine_version": VERSION, "context_tokens": 8192, "sequences": 8}
    assert read_wish({**data, "tokens_per_second": 20}) == wish(tokens_per_second=20.0)
    assert read_weights({"precision": "bf16", "total_bytes": None}) == BF16


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sequences": "8"}, "wish.sequences: '8' is no int"),
        ({"sequences": True}, "wish.sequences: True is no int"),
        ({"engine": "sglang"}, "wish.engine: 'sglang' is none of vllm, llama_cpp"),
        ({"kv_cache": "int3"}, "wish.kv_cache"),
        ({"slots": 8}, "wish: slots is not known"),
    ],
)
def test_a_wish_that_cannot_be_read_is_an_error_that_names_field_and_value(
    changes: dict[str, Any], says: str
) -> None:
    data = {"engine": "vllm", "engine_version": VERSION, "context_tokens": 8192, "sequences": 8}
    with pytest.raises(PlanError, match=says):
        read_wish({**data, **changes})


def test_a_wish_without_its_context_is_an_error() -> None:
    with pytest.raises(PlanError, match="context_tokens, sequences is missing"):
        read_wish({"engine": "vllm", "engine_version": VERSION})


# For people


def test_the_table_has_a_row_for_each_host_with_what_was_found_and_planned() -> None:
    hosts = [host("gpu2"), host("gpu1"), processors("core1", 64)]
    found = planned(LLAMA_70B, wish(), *hosts)
    header, *rows = table(found, hosts)
    assert header == HEADER
    assert [row[0] for row in rows] == ["core1", "gpu1", "gpu2"]
    assert rows[0][1:] == ["AMD EPYC 9354, 64 GiB", "-", ""]
    assert rows[1][1] == "8x NVIDIA H100 80GB HBM3, NV"
    assert rows[1][2].startswith("TP 4, GPU 0,1,2,3, ")
    assert "2800 W" in rows[1][2]
    assert rows[1][3] == f"{found.headroom_gib:.1f} GiB"
    assert rows[2][2] == "-"


def test_each_host_of_a_replica_has_its_own_gpus_in_its_row() -> None:
    hosts = [host("gpu1", 2), with_gpu(host("gpu2", 3), 0, remapped_rows_failed=True)]
    rows = table(planned(LLAMA_70B, wish(), *hosts), hosts)[1:]
    assert [row[2].split(", ")[:2] for row in rows] == [
        ["TP 2 x PP 2", "GPU 0,1"],
        ["TP 2 x PP 2", "GPU 1,2"],
    ]


def test_one_is_not_written_as_many() -> None:
    assert (counted(1, "replica"), counted(2, "replica")) == ("1 replica", "2 replicas")


def test_the_table_of_a_refusal_says_so_for_each_host() -> None:
    hosts = [host("gpu1", 2, A10, "PHB")]
    assert [row[2] for row in table(refused(LLAMA_70B, wish(), *hosts), hosts)[1:]] == ["refused"]
