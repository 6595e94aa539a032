# SPDX-License-Identifier: GPL-3.0-or-later
"""How each pair of GPUs is joined, against what is expected of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import (
    Expectation,
    Pair,
    Wish,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    INTERCONNECTS,
    Gpu,
    Link,
    Topology,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.words import label, labels, not_read


def findings(found: Topology, gpus: Sequence[Gpu], expected: Expectation) -> Iterator[Finding]:
    """A finding for each pair; a GPU that is joined to no other as it should be is one finding by itself."""
    by_index = {gpu.index: gpu for gpu in gpus}
    links = {(link.a, link.b): link for link in found.links}
    wishes = expected.pairs(by_index)
    wrong = {pair: wish for pair, wish in wishes.items() if pair in links and not _met(links[pair], wish)}
    for gpu in gpus:
        own = [pair for pair in wishes if gpu.index in pair]
        if len(own) > 1 and all(pair in wrong for pair in own):
            rest = {pair: wish for pair, wish in wishes.items() if pair in own}
            yield _alone(found.host, gpu, by_index, links, rest)
            wishes = {pair: wish for pair, wish in wishes.items() if pair not in rest}
    for pair, wish in wishes.items():
        if pair in wrong:
            ends = " and ".join(label(by_index[end]) for end in pair)
            yield _finding(found.host, ends, kind(links[pair]), [links[pair]], [wish])
    yield from _unread(found.host, by_index, [pair for pair in wishes if pair not in links], wishes)


def kind(link: Link) -> str:
    return f"{link.kind}{link.lanes}" if link.kind == "NV" and link.lanes else link.kind


def _met(link: Link, wish: Wish) -> bool:
    return wish.met(link.kind, link.lanes)


def _alone(
    host: str,
    gpu: Gpu,
    by_index: Mapping[int, Gpu],
    links: Mapping[Pair, Link],
    wishes: Mapping[Pair, Wish],
) -> Finding:
    others: dict[str, list[Gpu]] = {}
    for pair in wishes:
        other = by_index[sum(pair) - gpu.index]
        others.setdefault(kind(links[pair]), []).append(other)
    seen = "; ".join(f"{each} to {labels(far)}" for each, far in others.items())
    return _finding(
        host,
        f"{label(gpu)} and {len(wishes)} others",
        seen,
        [links[pair] for pair in wishes],
        list(wishes.values()),
    )


def _finding(host: str, subject: str, seen: str, links: Sequence[Link], wishes: Sequence[Wish]) -> Finding:
    expected = ", ".join(dict.fromkeys(map(str, wishes)))
    if not any(wish.kind in INTERCONNECTS for wish in wishes):
        rule = "each step farther (PIX, PXB, PHB, NODE, SYS) is slower, and shared with more traffic"
        remedy = (
            "move the cards to slots below one switch or socket, or correct link in stronghold_accelerators"
        )
    elif all(link.kind in INTERCONNECTS for link in links):
        rule = "a tensor-parallel group is as fast as its slowest pair"
        remedy = (
            "look with nvidia-smi nvlink -s and -e which lane is down, reset the GPUs, seat the bridge anew"
        )
    else:
        rule = (
            "tensor parallel exchanges results after every layer, and PCIe carries a small part of what the "
            "GPUs' own links do"
        )
        remedy = (
            "look whether the bridge is seated (nvidia-smi nvlink -s), with NVSwitches whether "
            "nvidia-fabricmanager runs, on AMD whether amd-smi xgmi shows errors; or correct link"
        )
    return Finding("refuse", host, subject, seen, expected, rule, remedy)


def _unread(
    host: str, by_index: Mapping[int, Gpu], pairs: Iterable[Pair], wishes: Mapping[Pair, Wish]
) -> Iterator[Finding]:
    alike: dict[str, list[str]] = {}
    for a, b in pairs:
        alike.setdefault(str(wishes[a, b]), []).append(f"{a} and {b}")
    for expected, ends in alike.items():
        yield not_read(host, f"links of GPUs {', '.join(ends)}", expected)
