# SPDX-License-Identifier: GPL-3.0-or-later
"""A model on a fleet: a plan that the engine will start with, or a refusal that says what to change.

found = plan("llama-3.1-70b", read_config(config, "config.json"), Weights("bf16"), wish, topologies)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from ansible_collections.stronghold.llm.plugins.module_utils.planning import cards, placement
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.candidates import Candidate, Question
from ansible_collections.stronghold.llm.plugins.module_utils.planning.choosing import Chosen, choose
from ansible_collections.stronghold.llm.plugins.module_utils.planning.fleet import Fleet, Place, power_w
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    Plan,
    PlanError,
    Refusal,
    Replica,
    Share,
    Weights,
    Wish,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.refusing import refusal
from ansible_collections.stronghold.llm.plugins.module_utils.planning.words import counted, named
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Topology


def plan(
    model: str, architecture: Architecture, weights: Weights, wish: Wish, fleet: Sequence[Topology]
) -> Plan | Refusal:
    """Where each replica goes and how it is started; or what binds, and the nearest wish that has a plan.

    The same hosts in another order make the same plan, and a further host never takes one away.

    Raises:
        PlanError: a wish that nothing could grant (no sequence, more typical tokens than context), or two
            hosts of one name.
    """
    _check(model, wish)
    question = Question(model, architecture, weights, wish)
    site = Fleet(fleet)
    chosen = choose(question, site)
    if not isinstance(chosen, Chosen):
        return refusal(question, site, chosen)
    return Plan(
        model=model,
        replicas=tuple(_replica(place, candidate, site) for place, candidate in chosen.replicas),
        headroom_gib=min(candidate.headroom_gib for _, candidate in chosen.replicas),
        notes=tuple(_notes(question, chosen, site)),
    )


def _check(model: str, wish: Wish) -> None:
    for name in ("context_tokens", "sequences", "replicas", "typical_tokens", "tensor_parallel",
                 "pipeline_parallel", "max_num_batched_tokens"):  # fmt: skip
        value = getattr(wish, name)
        if value is not None and value < 1:
            raise PlanError(f"{model}: wish.{name}: {value} is asked for: it is 1 or more")
    if (wish.typical_tokens or 0) > wish.context_tokens:
        raise PlanError(
            f"{model}: wish.typical_tokens: {wish.typical_tokens} is more than context_tokens "
            f"({wish.context_tokens}): a sequence holds its context at the most"
        )
    share = wish.gpu_memory_utilization
    if share is not None and not 0 < share <= 1:
        raise PlanError(f"{model}: wish.gpu_memory_utilization: {share} is asked for: it is above 0, up to 1")
    if wish.tokens_per_second is not None and wish.tokens_per_second <= 0:
        raise PlanError(
            f"{model}: wish.tokens_per_second: {wish.tokens_per_second} is asked for: it is above 0"
        )


def _replica(place: Place, candidate: Candidate, site: Fleet) -> Replica:
    assert candidate.memory  # a chosen one serves
    limits = [power_w(site.sample(stage.host), stage.group) for stage in place.stages]
    return Replica(
        shares=tuple(
            Share(host, tuple(gpu for stage in stages for gpu in stage.group.gpus))
            for host, stages in groupby(place.stages, key=lambda stage: stage.host)
        ),
        device=candidate.device.name,
        serving=candidate.serving,
        memory=candidate.memory,
        tokens_per_second_limit=candidate.rates.together if candidate.rates else None,
        tokens_per_second_each=candidate.rates.each if candidate.rates else None,
        power_w=None if None in limits else sum(limit for limit in limits if limit),
        local=place.local,
    )


def _notes(question: Question, chosen: Chosen, site: Fleet) -> Iterator[str]:
    """What is as it should be only if somebody has thought of it."""
    yield from question.architecture.notes
    candidates = {candidate.device.name: candidate for _, candidate in chosen.replicas}
    for device in (candidate.device for candidate in candidates.values()):
        if question.weights.precision == "fp8" and device.vendor != "cpu" and not cards.computes_fp8(device):
            yield (
                f"{device.name} ({device.capability or 'capability unknown'}) does not multiply in FP8: the "
                "weights are FP8 in memory only (W8A16), which saves memory and no computing"
            )
        if device.bandwidth_gb_s is None:
            yield f"{device.name}: its memory bandwidth is not known, so tokens/s were not checked"
    yield from _distances(place for place, _ in chosen.replicas)
    yield from _crossings((place for place, _ in chosen.replicas), site)
    yield from _left_out(site)


def _distances(places: Iterable[Place]) -> Iterator[str]:
    far = Counter(stage.group.link for place in places for stage in place.stages if not stage.group.local)
    for link, count in sorted(far.items(), key=str):
        way = link or "links that were not read"
        groups = counted(count, "tensor-parallel group")
        yield f"{groups} over {way}: no NVLink or XGMI island there has room"


def _crossings(places: Iterable[Place], site: Fleet) -> Iterator[str]:
    over = [place for place in places if not place.one_host]
    ways = dict.fromkeys(_way(stage.host, stage.group, site) for place in over for stage in place.stages)
    if over:
        replicas = counted(len(over), "replica")
        yield f"{replicas} with stages on several hosts, which talk by {named(list(ways))}"


def _way(host: str, group: placement.Group, site: Fleet) -> str:
    cards_near = [nic for nic in site.sample(host).nics if nic.name in group.nics]
    if not cards_near:
        return f"a network of {host} that was not read"
    nic = max(cards_near, key=lambda each: (each.rate_gbps or 0, each.name))
    rate = f", {nic.rate_gbps:g} Gb/s" if nic.rate_gbps else ""
    return f"{nic.name} of {host} ({nic.link_layer or 'link layer unknown'}{rate})"


def _left_out(site: Fleet) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for host in site.hosts:
        for gpu in site.sample(host).gpus:
            if why := placement.why_unusable(gpu):
                reasons.setdefault(why, []).append(f"GPU {gpu.index} of {host}")
    for why, gpus in reasons.items():
        yield f"not used: {named(gpus)}: {why}"
