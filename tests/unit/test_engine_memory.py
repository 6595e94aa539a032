# SPDX-License-Identifier: GPL-3.0-or-later
"""What is computed of a start is what the engine has said of it: 45 public logs, each with its source."""

from __future__ import annotations

from collections import Counter

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import cache
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import GIB

from tests.bench.engine_logs import Log, load, memory, predicted

LOGS = {log.name: log for log in load()}

OUTCOMES = {
    "serves": {None},
    "oom_at_load": {"weights"},
    "no_room_for_cache": {"kv_cache", "context"},
    "refused_divisibility": {"divisibility"},
    "refused_capability": {"capability"},
}

SIZED = [log for log in LOGS.values() if log.has_budget and log.seen["kv_cache_tokens"]]
ENDED = [
    log for log in LOGS.values() if (log.has_budget or "refused" in log.outcome) and not log.cuts_by_experts
]
LOADED = [log for log in LOGS.values() if log.seen["model_loading_gib"] or log.seen["weights_gib_in_profile"]]


def named(log: Log) -> str:
    return log.name


def test_enough_logs_are_held_against_it() -> None:
    assert len(SIZED) >= 20
    assert Counter(log.outcome for log in ENDED).keys() == OUTCOMES.keys()


@pytest.mark.parametrize("log", SIZED, ids=named)
def test_cache_tokens_are_what_the_engine_printed_within_15_percent(log: Log) -> None:
    assert memory(log).kv_tokens == pytest.approx(log.seen["kv_cache_tokens"], rel=0.15)


@pytest.mark.parametrize("log", ENDED, ids=named)
def test_the_start_ends_as_it_ended(log: Log) -> None:
    assert predicted(log).constraint in OUTCOMES[log.outcome]


@pytest.mark.parametrize("log", LOADED, ids=named)
def test_weights_on_a_rank_are_what_the_engine_loaded_within_10_percent(log: Log) -> None:
    seen = log.seen["model_loading_gib"] or log.seen["weights_gib_in_profile"]
    assert memory(log).weights == pytest.approx(seen, rel=0.10)


@pytest.mark.parametrize(
    "name",
    [
        "card-unknown_gemma-3-1b_bf16_tp1_v0.13.0",
        "gb10x1_mistral-7b_gptq_tp1_v0.11.0",
        "gb10x1_qwen3-30b-a3b_fp8_kvfp8_tp1_v0.13.0",
        "gh200x8_qwen3-30b-a3b_bf16_tp4_pp2_v0.10.1",
        "h200x8_deepseek-r1_fp8_tp8_v0.7.3",
        "l40sx2_qwen3-next-80b-a3b_int4_kvfp8_tp2_v0.13.0",
        "l40sx8_qwen3-235b-a22b_fp8_tp8_v0.10.2",
        "rtx3090x4_qwen3-vl-30b-a3b_bf16_tp4_v0.11.0",
        "t4x1_qwen2.5-1.5b_fp16_tp1_v0.7.2",
    ],
)
def test_the_cache_is_laid_out_as_the_engine_does_it(name: str) -> None:
    """Tokens from the GiB that the log itself says: windows, states, latent and copied heads, FP8; no
    budget in between.
    """
    log = LOGS[name]
    tokens = cache.layout(log.architecture, log.serving).tokens(log.seen["available_kv_gib"] * GIB)
    assert tokens == pytest.approx(log.seen["kv_cache_tokens"], rel=0.003)
