# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the versions of one lock go together, and with the cards of its hosts: every rule, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.compat import (
    rules_amd,
    rules_driver,
    rules_fabric,
    rules_wheels,
)
from ansible_collections.stronghold.llm.plugins.module_utils.compat.stack import (
    Hardware,
    Stack,
    StackError,
    cards,
    read,
)
from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import Version
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding, in_order
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Topology

LOCK_RULES = (
    rules_driver.cuda_needs_a_driver,
    rules_driver.forward_compatibility_never_goes_back,
    rules_driver.module_compiles_on_the_kernel,
    rules_wheels.vllm_pins_its_torch,
    rules_wheels.torch_has_the_cuda_of_vllm,
    rules_amd.user_space_goes_with_the_driver,
    rules_amd.wheel_for_rocm,
)
"""Of the lock alone."""

CARD_RULES = (
    rules_driver.driver_knows_the_card,
    rules_driver.module_flavour_fits_the_card,
    rules_driver.forward_compatibility_is_for_data_centres,
    rules_driver.image_lets_the_driver_in,
    rules_fabric.driver_knows_the_board,
    rules_fabric.fabric_manager_is_the_drivers,
    rules_fabric.blackwell_boards_need_nvlsm,
    rules_fabric.trays_run_imex,
    rules_wheels.torch_holds_the_card,
    rules_wheels.vllm_holds_the_card,
)
"""Of the lock and one kind of card."""


def check(
    stack: Mapping[str, Any], hardware: Sequence[Hardware], where: str = "the version lock"
) -> list[Finding]:
    """Everything that is known against this lock on these cards, worst first. What the lock does not name is
    not checked. Findings of the lock alone name `where` as their host.

    Raises:
        StackError: the lock cannot be read; names the key.
    """
    lock = read(stack)
    found = [finding for rule in LOCK_RULES for finding in rule(lock, where)]
    found += rules_wheels.vllm_takes_the_python(lock, hardware, where)
    found += rules_wheels.driver_starts_the_wheels(lock, hardware, where)
    kinds: dict[Hardware, list[Finding]] = {}
    for card in hardware:
        kind = replace(card, host="")
        if kind not in kinds:  # a fleet has many hosts, and few kinds
            kinds[kind] = list(_card(lock, kind))
        found += [replace(finding, host=card.host) for finding in kinds[kind]]
    return in_order(found)


def _card(lock: Stack, card: Hardware) -> Iterator[Finding]:
    has_rocm = lock.rocm is not None or lock.rocm_kernel is not None
    if (card.vendor == "nvidia" and lock.for_rocm) or (
        card.vendor == "amd" and lock.driver is not None and not has_rocm
    ):
        yield Finding(
            "refuse",
            card.host,
            "card and lock",
            f"{card.gpu} in a group whose lock is for {'ROCm' if has_rocm else 'CUDA'}",
            "a lock of the card's own vendor",
            "a replica never spans vendors, and neither does a lock",
            "put the host into the other group, or correct the lock",
        )
        return
    if card.vendor == "nvidia" and lock.driver is None:
        yield Finding(
            "note",
            card.host,
            "card and lock",
            f"{card.gpu}, and no driver in the lock",
            "a driver",
            "not in the lock: not checked",
            "lock driver",
        )
    for rule in CARD_RULES:
        yield from rule(lock, card)


def check_locks(locks: Sequence[Mapping[str, Any]], topologies: Sequence[Topology]) -> list[Finding]:
    """Each lock ({group, hosts, stack}) on what was read of its hosts, worst first.

    Raises:
        StackError: a lock that cannot be read; names group and key.
    """
    known = {topology.host: topology for topology in topologies}
    found: list[Finding] = []
    for lock in locks:
        hardware = [card for host in lock["hosts"] if host in known for card in cards(known[host])]
        try:
            found += check(lock["stack"], hardware, f"lock {lock['group']}")
        except StackError as error:
            raise StackError(f"stronghold_stack.accelerators.{lock['group']}: {error}") from error
        found += [_unread(host) for host in lock["hosts"] if host not in known]
    return in_order(found)


def _unread(host: str) -> Finding:
    return Finding(
        "note",
        host,
        "cards and lock",
        "no topology",
        "what gpu_topology_info reads of the host",
        "not read: not checked",
        "gather it, or take the host out of the group",
    )


def newest_that_works(
    stack: Mapping[str, Any], hardware: Sequence[Hardware], component: str = "vllm"
) -> Version | None:
    """The newest wheel of the index that nothing is known against, with the lock's driver on all these cards.

    Raises:
        StackError: the lock cannot be read.
        ValueError: nothing but vllm has an answer.
    """
    if component != "vllm":
        raise ValueError(f"{component}: only vllm has wheels in the matrix that pin the rest")
    return rules_wheels.newest_vllm(read(stack), hardware)
