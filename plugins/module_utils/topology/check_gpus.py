# SPDX-License-Identifier: GPL-3.0-or-later
"""Each GPU by itself against what is expected of it: model, memory, modes, PCIe and NUMA node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import eq, ge
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding, Severity
from ansible_collections.stronghold.llm.plugins.module_utils.topology.amd_smi import NO_NAME as AMD_NO_NAME
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import Expectation
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import (
    NO_NAME as NVIDIA_NO_NAME,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.words import label, labels, not_read

# MIG is of A100 and A30 (8.0), Hopper and Blackwell; others answer N/A, which is off
# (docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-gpus.html, 2026-11).
WITHOUT_MIG = ("3.", "5.", "6.", "7.", "8.6", "8.7", "8.9")


@dataclass(frozen=True)
class Fact:
    """One thing that a GPU has and an inventory may expect; None is not read, or not expected."""

    subject: str
    severity: Severity
    read: Callable[[Gpu], Any]
    wanted: Callable[[Expectation, Gpu], Any]
    holds: Callable[[Any, Any], bool]
    words: Callable[[Any], str]
    rule: str
    remedy: Callable[[Gpu, Any], str]


def findings(host: str, gpus: Sequence[Gpu], expected: Expectation) -> Iterator[Finding]:
    for fact in FACTS:
        unread = []
        for gpu in gpus:
            wanted, seen = fact.wanted(expected, gpu), fact.read(gpu)
            if wanted is None:
                continue
            if seen is None:
                unread.append((gpu, fact.words(wanted)))
            elif not fact.holds(seen, wanted):
                yield Finding(
                    fact.severity,
                    host,
                    f"{label(gpu)}: {fact.subject}",
                    fact.words(seen),
                    fact.words(wanted),
                    fact.rule,
                    fact.remedy(gpu, wanted),
                )
        for words in dict.fromkeys(words for _, words in unread):
            alike = [gpu for gpu, each in unread if each == words]
            yield not_read(host, f"{labels(alike)}: {fact.subject}", words)
    yield from _generations(host, gpus, expected)


def _name(gpu: Gpu) -> str | None:
    return None if gpu.name in (NVIDIA_NO_NAME, AMD_NO_NAME) else gpu.name


def _mig(gpu: Gpu) -> bool | None:
    if gpu.mig is None and gpu.vendor == "nvidia" and (gpu.compute_capability or "").startswith(WITHOUT_MIG):
        return False
    return gpu.mig


def _mode(option: str, partition: bool = False) -> Callable[[Gpu, bool], str]:
    """The command that sets it."""

    def remedy(gpu: Gpu, wanted: bool) -> str:
        if gpu.vendor == "nvidia":
            return f"nvidia-smi -i {gpu.index} {option} {int(wanted)}, and restart; or correct the inventory"
        way = "the compute partition, SPX for none" if partition else "it"
        return f"set {way} with amd-smi set, and restart; or correct the inventory"

    return remedy


def _on(value: bool) -> str:
    return "on" if value else "off"


def _declared(field: str, what: str) -> Callable[[Gpu, Any], str]:
    return lambda gpu, wanted: f"{what}, or correct {field} in stronghold_accelerators"


def _slot(gpu: Gpu, wanted: int) -> str:
    if gpu.pcie.width_max is not None and gpu.pcie.width_max < wanted:
        return (
            f"card and slot reach x{gpu.pcie.width_max} together: move the card to a slot of x{wanted}, "
            "or let the firmware not divide the slot (bifurcation)"
        )
    return "seat the card and its riser anew, look for bent pins, and for AER errors in the kernel's log"


FACTS = (
    Fact(
        "model", "refuse", _name, lambda expected, gpu: expected.name,
        lambda name, wanted: Expectation(name=wanted).named(name), str,
        "memory, precision and speed of the plan are those of the declared card",
        _declared("name", "put the declared card in its place"),
    ),
    Fact(
        "memory", "refuse", lambda gpu: gpu.memory_mib, lambda expected, gpu: expected.memory_mib_min, ge,
        lambda mib: f"{mib} MiB",
        "weights and KV cache are planned into the declared memory",
        _declared("memory_mib_min", "look whether ECC, a MIG instance or a smaller card takes it"),
    ),
    Fact(
        "MIG", "refuse", _mig, lambda expected, gpu: expected.mig, eq, _on,
        "a divided GPU has the memory of its instances only, and they have no peer-to-peer",
        _mode("-mig", partition=True),
    ),
    Fact(
        "ECC", "warn", lambda gpu: gpu.ecc, lambda expected, gpu: expected.ecc, eq, _on,
        "without ECC a flipped bit in the weights changes answers, and nobody is told",
        _mode("-e"),
    ),
    Fact(
        "persistence mode", "warn", lambda gpu: gpu.persistence, lambda expected, gpu: expected.persistence,
        eq, _on,
        "without it the driver lets go of an idle GPU, and its next user waits and finds settings gone",
        lambda _, wanted: f"{'enable' if wanted else 'disable'} nvidia-persistenced; or correct persistence",
    ),
    Fact(
        "PCIe width", "refuse", lambda gpu: gpu.pcie.width, lambda expected, gpu: expected.width, ge,
        lambda width: f"x{width}",
        "lanes are never lowered to save power: missing ones are a bad contact or the wrong slot",
        _slot,
    ),
    Fact(
        "NUMA node", "refuse", lambda gpu: gpu.numa_node, lambda expected, gpu: expected.numa.get(gpu.index),
        eq, str,
        "processes are bound to the processors of the declared node, from where this GPU is the far one",
        _declared("numa", "move the card to a slot of the declared socket"),
    ),
)  # fmt: skip


def _generations(host: str, gpus: Sequence[Gpu], expected: Expectation) -> Iterator[Finding]:
    """An idle card lowers its generation; what counts is how far it may rise."""
    wanted = expected.generation
    for gpu in gpus if wanted is not None else ():
        now, most = gpu.pcie.generation, gpu.pcie.generation_max
        assert wanted is not None
        if now is not None and now >= wanted:
            continue
        subject = f"{label(gpu)}: PCIe generation"
        if most is not None and most < wanted:
            yield Finding(
                "warn",
                host,
                subject,
                f"{most} at most of card and slot together",
                str(wanted),
                "each generation down halves what PCIe carries",
                "raise the slot's speed in the firmware's setup, or use a riser made for this generation",
            )
        elif now is None:
            yield not_read(host, subject, str(wanted))
        else:
            rest = "not read" if most is None else str(most)
            yield Finding(
                "note" if most is not None else "warn",
                host,
                subject,
                f"{now} now, {rest} at most",
                str(wanted),
                "an idle card lowers its generation to save power, and raises it under load",
                "read it again under load",
            )
