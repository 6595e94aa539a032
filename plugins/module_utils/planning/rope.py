# SPDX-License-Identifier: GPL-3.0-or-later
"""The longest sequence that a model's positions reach, stretched or not; standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning.fields import Fields
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError

LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "max_seq_len")

YARN = ("yarn", "deepseek_yarn")
ALREADY = ("llama3", "longrope", "su", "deepseek_llama_scaling")
"""Ways to stretch after which max_position_embeddings names the whole length."""


def longest(of: Fields) -> tuple[int | None, int | None]:
    """As 0.33.0 has it, and as the versions have it that multiply what YaRN stretches; None: the same.

    Linear and dynamic stretching multiply what the config names, for every version; Gemma 3 names what is
    reached. Source: _get_and_verify_max_len in vllm/config/model.py of 0.11.0, 0.21.0 and 0.33.0.
    """
    named = of.maybe(*LENGTHS)
    kind = str(of.values.get("model_type") or "")
    if named is None or kind.startswith("gemma3"):
        return named, None
    now, before = float(named), None
    for part in _parts(of):
        way = part.values.get("rope_type") or part.values.get("type")
        if way in ALREADY:
            continue
        if way in YARN:
            before = (part.maybe("original_max_position_embeddings") or named) * _factor(part)
        else:
            now = max(now, named * _factor(part))
    return int(now), None if before is None else int(before)


def _parts(of: Fields) -> Iterator[Fields]:
    """One for all layers, or one for each kind of them."""
    for name in ("rope_scaling", "rope_parameters"):
        found = of.part(name)
        for part in [found, *found.values()]:
            if isinstance(part, Mapping):
                yield Fields(part, f"{of.where}: {name}")


def _factor(part: Fields) -> float:
    value: Any = part.values.get("factor")
    if value is None:
        return 1.0
    if type(value) not in (int, float) or not 1 <= value <= 2**20:
        raise PlanError(f"{part.where}: factor: {value!r} is no factor from 1 on: correct it")
    return float(value)
