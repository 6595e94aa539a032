# SPDX-License-Identifier: GPL-3.0-or-later
"""What binds, in numbers; and the nearest wish that has a plan, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import floor
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning import cards, engine
from ansible_collections.stronghold.llm.plugins.module_utils.planning.candidates import Candidate, Question
from ansible_collections.stronghold.llm.plugins.module_utils.planning.choosing import (
    Chosen,
    Failure,
    choose,
    if_there_were_enough,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.fleet import Fleet
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    GIB,
    Constraint,
    Precision,
    Refusal,
    Weights,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.words import counted, named

CONTEXT_STEP = 1024
"""Shorter contexts are looked for in steps of this many tokens."""


def quantised(weights: Weights, precision: Precision) -> Weights:
    """The same model in smaller weights, whose files nobody has counted yet."""
    return weights if weights.precision == precision else Weights(precision)


def refusal(question: Question, fleet: Fleet, failure: Failure) -> Refusal:
    constraint, why = _binding(question, fleet, failure)
    way_out = nearest(question, fleet)
    if way_out is None:
        return Refusal(question.model, constraint, why, remedy=_more(question, fleet))
    other = way_out.weights.precision
    return Refusal(
        question.model,
        constraint,
        why,
        nearest=way_out.wish,
        nearest_weights=other if other != question.weights.precision else None,
        remedy=f"these hosts serve it with {_difference(question, way_out)}",
    )


def _binding(question: Question, fleet: Fleet, failure: Failure) -> tuple[Constraint, str]:
    if failure.constraint:
        return failure.constraint, failure.why
    if failure.options:
        return "gpus", _no_room(question, fleet, failure)
    closest = max(failure.tried, key=_came)
    assert closest.constraint
    if closest.constraint == "weights":
        return "weights", _too_heavy(question, fleet, closest)
    where = f"{closest.ranks}x {closest.device.name} of {_hosts(fleet, closest)}"
    return closest.constraint, f"{where}: {closest.why}"


def _came(tried: Candidate) -> tuple[float, float, int]:
    """How far: the fastest of those that only lack speed, else the one that lacks the least memory."""
    return tried.rates.each if tried.rates else 0.0, tried.headroom_gib, -tried.ranks


def _too_heavy(question: Question, fleet: Fleet, tried: Candidate) -> str:
    total = engine.weight_bytes(question.architecture, question.weights) / GIB
    text = f"{question.model} in {question.weights.precision} needs {total:.1f} GiB of weights"
    where = f"{tried.ranks}x {tried.device.name} of {_hosts(fleet, tried)}"
    return f"{text}; {where} hold {tried.ranks * tried.device.usable_gib:.1f} GiB: {tried.why}"


def _no_room(question: Question, fleet: Fleet, failure: Failure) -> str:
    holds = [
        f"{option.room} on {option.candidate.ranks}x {option.candidate.device.name} each"
        for option in failure.options
        if option.room
    ]
    return f"{question.wish.replicas} replicas are wished; {named(list(fleet.hosts))} have room for " + (
        " and ".join(holds)
    )


def _more(question: Question, fleet: Fleet) -> str:
    """How many cards of the kinds that are there one replica would take."""
    enough = [found for device in fleet.devices if (found := if_there_were_enough(question, device))]
    kinds = [f"{found.ranks}x {found.device.name}" for found in enough]
    if not kinds:
        return "no smaller wish helps, nor more of the same: give it more memory, or take a smaller model"
    return f"no smaller wish helps: one replica would take {' or '.join(kinds)}, or take a smaller model"


def _hosts(fleet: Fleet, tried: Candidate) -> str:
    """The hosts of the first place for this layout."""
    serving = tried.serving
    place = fleet.places(tried.device, serving.tensor_parallel, serving.pipeline_parallel)[0]
    return named(list(dict.fromkeys(stage.host for stage in place.stages)))


def nearest(question: Question, fleet: Fleet) -> Question | None:
    """The first that has a plan. What costs the user least is tried first: another layout, fewer replicas,
    fewer sequences, a shorter context, less speed; all that with an FP8 cache; then with smaller weights.
    """
    for stored in (question, *_smaller_weights(question, fleet)):
        for cached in (stored, *_smaller_cache(stored, fleet)):
            if cached is not question and _has_plan(cached, fleet):
                return cached
            for asked in _simpler(cached):
                for way_out in _ways_out(asked, fleet):
                    return way_out
    return None


def _simpler(question: Question) -> Iterator[Question]:
    """As asked, with a layout of the planner's choice, and as one replica."""
    yield question
    wish = question.wish
    if wish.tensor_parallel or wish.pipeline_parallel:
        wish = replace(wish, tensor_parallel=None, pipeline_parallel=None)
        yield replace(question, wish=wish)
    if wish.replicas > 1:
        yield replace(question, wish=replace(wish, replicas=1))


def _ways_out(question: Question, fleet: Fleet) -> Iterator[Question]:
    wish = question.wish

    def granted(**changes: Any) -> Question | None:
        changed = replace(question, wish=replace(wish, **changes))
        return changed if _has_plan(changed, fleet) else None

    def shorter(steps: int, **changes: Any) -> Question | None:
        context = steps * CONTEXT_STEP
        typical = min(wish.typical_tokens, context) if wish.typical_tokens else None
        return granted(context_tokens=context, typical_tokens=typical, **changes)

    steps = (wish.context_tokens - 1) // CONTEXT_STEP
    tries: tuple[Callable[[], Question | None], ...] = (
        granted,
        lambda: _largest(wish.replicas - 1, lambda count: granted(replicas=count)),
        lambda: _largest(wish.sequences - 1, lambda count: granted(sequences=count)),
        lambda: _largest(steps, shorter),
        lambda: _largest(steps, lambda count: shorter(count, sequences=1)),
        lambda: _slower(question, fleet),
    )
    yield from filter(None, (attempt() for attempt in tries))


def _largest(most: int, granted: Callable[[int], Question | None]) -> Question | None:
    """The answer for the largest number up to `most` that is granted, as all smaller ones are."""
    best = granted(1) if most >= 1 else None
    low, high = 1, most
    while best and low < high:
        middle = (low + high + 1) // 2
        found = granted(middle)
        if found:
            best, low = found, middle
        else:
            high = middle - 1
    return best


def _slower(question: Question, fleet: Fleet) -> Question | None:
    """The speed that bandwidth allows, in whole tokens where it is more than one."""
    failure = choose(question, fleet) if question.wish.tokens_per_second else None
    if not isinstance(failure, Failure):
        return None
    for speed in sorted({tried.rates.each for tried in failure.tried if tried.rates}, reverse=True):
        rounded = floor(speed) if speed >= 1 else floor(speed * 100) / 100
        slower = replace(question, wish=replace(question.wish, tokens_per_second=rounded or None))
        if _has_plan(slower, fleet):
            return slower
    return None


def _smaller_weights(question: Question, fleet: Fleet) -> Iterator[Question]:
    stored = question.weights.precision
    if question.wish.engine != "vllm":
        return  # another GGUF file is another file, which only the user can name
    if stored in ("fp32", "bf16", "fp16") and any(map(cards.computes_fp8, fleet.devices)):
        yield replace(question, weights=quantised(question.weights, "fp8"))
    if stored in ("fp32", "bf16", "fp16", "fp8", "int8"):
        yield replace(question, weights=quantised(question.weights, "int4"))


def _smaller_cache(question: Question, fleet: Fleet) -> Iterator[Question]:
    if question.wish.kv_cache in ("fp8", "q8_0"):
        return
    if question.wish.engine == "llama_cpp":
        yield replace(question, wish=replace(question.wish, kv_cache="q8_0"))
    elif any(map(cards.computes_fp8, fleet.devices)):
        yield replace(question, wish=replace(question.wish, kv_cache="fp8"))


def _has_plan(question: Question, fleet: Fleet) -> bool:
    return isinstance(choose(question, fleet), Chosen)


def _difference(asked: Question, found: Question) -> str:
    """What is to be given up, for people."""
    old, new = asked.wish, found.wish
    parts = [
        (found.weights.precision != asked.weights.precision, f"weights in {found.weights.precision}"),
        (new.kv_cache != old.kv_cache, f"an {new.kv_cache} KV cache"),
        (
            (new.tensor_parallel, new.pipeline_parallel) != (old.tensor_parallel, old.pipeline_parallel),
            "tensor and pipeline parallel sizes left to the planner",
        ),
        (new.replicas != old.replicas, f"{counted(new.replicas, 'replica')} instead of {old.replicas}"),
        (new.sequences != old.sequences, f"{counted(new.sequences, 'sequence')} instead of {old.sequences}"),
        (
            new.context_tokens != old.context_tokens,
            f"{new.context_tokens} tokens of context instead of {old.context_tokens}",
        ),
        (
            new.tokens_per_second != old.tokens_per_second,
            f"{new.tokens_per_second or 'no promise of'} tokens/s instead of {old.tokens_per_second or 0:g}",
        ),
    ]
    return ", ".join(text for changed, text in parts if changed)
