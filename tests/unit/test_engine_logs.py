# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus of engine logs: each record has the form, and each number in it stands in the log it quotes."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).resolve().parents[1] / "fixtures" / "engine_logs"
FILES = sorted(CORPUS.glob("*.json"))
RECORDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}

OUTCOMES = {"serves", "oom_at_load", "no_room_for_cache", "refused_divisibility", "refused_capability"}
FORM = {
    "engine": {"name", "version", "version_source", "v1"},
    "card": {"name", "name_source", "count", "total_gib", "total_gib_source"},
    "options": {
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "gpu_memory_utilization",
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "kv_cache_dtype",
        "dtype",
        "quantization",
        "enforce_eager",
        "cpu_offload_gb",
        "enable_prefix_caching",
        "speculative",
        "block_size",
        "other",
    },
    "model": {"id", "config", "config_source"},
    "seen": {
        "model_loading_gib",
        "available_kv_gib",
        "kv_cache_tokens",
        "gpu_blocks",
        "max_concurrency",
        "non_torch_gib",
        "activation_peak_gib",
        "graph_capture_gib",
        "weights_gib_in_profile",
        "error",
    },
}
TOP = {"source", "retrieved", "outcome", "log", *FORM}
V0_BLOCK = 16
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
ADDRESS = re.compile(r"(?<![\d.v])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
HARMLESS_ADDRESSES = ("0.0.0.0", "127.0.0.1", "192.0.2.", "198.51.100.", "203.0.113.")

each = pytest.mark.parametrize("name", sorted(RECORDS))


def numbers(text: str) -> set[float]:
    """The numbers written in a text, thousands separators dropped."""
    return {float(found.replace(",", "")) for found in NUMBER.findall(text)}


@each
def test_a_record_that_lost_a_field_or_grew_one(name: str) -> None:
    record = RECORDS[name]
    assert set(record) - {"note"} == TOP
    for part, fields in FORM.items():
        assert set(record[part]) == fields, part
    assert record["outcome"] in OUTCOMES
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["retrieved"])
    assert record["source"]
    assert record["log"]
    assert all(isinstance(line, str) and "\n" not in line for line in record["log"])


@each
def test_a_value_that_does_not_say_where_it_is_from(name: str) -> None:
    record = RECORDS[name]
    engine, card = record["engine"], record["card"]
    assert (engine["version"] is None) == (engine["version_source"] is None)
    assert (card["name"] is None) == (card["name_source"] is None)
    assert (card["total_gib"] is None) == (card["total_gib_source"] is None)
    if card["total_gib"] is not None:
        assert card["total_gib"] in numbers(card["total_gib_source"])
    assert record["model"]["id"]
    assert record["model"]["config_source"]


@each
def test_more_ranks_than_cards_or_a_config_without_a_shape(name: str) -> None:
    record = RECORDS[name]
    options, config = record["options"], record["model"]["config"]
    ranks = options["tensor_parallel_size"] * options["pipeline_parallel_size"]
    assert record["card"]["count"] is None or ranks <= record["card"]["count"]
    text = config.get("text_config", config)
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
        assert isinstance(text[field], int), field


@each
def test_a_number_that_the_log_does_not_print(name: str) -> None:
    seen = RECORDS[name]["seen"]
    log = "\n".join(RECORDS[name]["log"])
    printed = numbers(log)
    for field, value in seen.items():
        if value is None or isinstance(value, str):
            continue
        if field == "kv_cache_tokens" and value not in printed:
            assert seen["gpu_blocks"] is not None
            assert value == seen["gpu_blocks"] * V0_BLOCK
        else:
            assert value in printed, field
    if seen["max_concurrency"] is not None:
        assert numbers(seen["max_concurrency"]) <= printed
    if seen["error"] is not None:
        assert any(seen["error"] in line for line in RECORDS[name]["log"])


@each
def test_an_outcome_without_what_shows_it(name: str) -> None:
    record = RECORDS[name]
    if record["outcome"] == "serves":
        assert record["seen"]["error"] is None
        assert record["seen"]["kv_cache_tokens"] or record["seen"]["available_kv_gib"]
    else:
        assert record["seen"]["error"]


@each
def test_a_trace_of_the_machine_it_ran_on(name: str) -> None:
    text = (CORPUS / f"{name}.json").read_text("utf-8")
    assert "/home/" not in text
    assert "\\u001b" not in text
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w{2,}", text)
    version = RECORDS[name]["engine"]["version"]
    addresses = [found for found in ADDRESS.findall(text) if found != version]
    assert [found for found in addresses if not found.startswith(HARMLESS_ADDRESSES)] == []


def test_a_corpus_too_thin_to_judge_a_memory_model_by() -> None:
    outcomes = Counter(record["outcome"] for record in RECORDS.values())
    assert len(RECORDS) >= 24
    assert outcomes["serves"] >= 20
    for outcome in ("oom_at_load", "no_room_for_cache", "refused_divisibility"):
        assert outcomes[outcome] >= 2, outcome
    whole = [
        record
        for record in RECORDS.values()
        if record["outcome"] == "serves"
        and record["engine"]["version"]
        and record["card"]["name"]
        and record["seen"]["kv_cache_tokens"]
    ]
    assert len(whole) >= 20


def test_a_table_that_lists_other_files_than_there_are() -> None:
    table = (CORPUS / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `([^`]+)\.json`", table, re.M)) == sorted(RECORDS)
