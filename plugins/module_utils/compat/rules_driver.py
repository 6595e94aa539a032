# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's driver against CUDA, forward compatibility, images, cards and the kernel: a function, a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.compat import data_nvidia, matrix, requirement
from ansible_collections.stronghold.llm.plugins.module_utils.compat.data_nvidia import (
    FORWARD_ERRORS,
    FORWARD_SOURCE,
    REQUIRE_SOURCE,
)
from ansible_collections.stronghold.llm.plugins.module_utils.compat.stack import Hardware, Stack, is_gaming
from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import parse
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding

FLAVOURS: Any = data_nvidia.FLAVOURS
MAJORS: Any = data_nvidia.CUDA_MAJORS
TOOLKITS: Any = data_nvidia.CUDA_TOOLKITS
CARDS: Any = data_nvidia.CARDS
KERNELS: Any = data_nvidia.KERNELS
FORWARD: Any = data_nvidia.FORWARD_BRANCHES


def unknown(host: str, subject: str, found: str, source: str = "") -> Finding:
    """What is neither refused nor good."""
    return Finding(
        "note",
        host,
        subject,
        found,
        "a version in the matrix",
        "not in the matrix: not checked",
        "look it up, and add it with its source (docs/compatibility.md)",
        source,
    )


def cuda_needs_a_driver(stack: Stack, host: str) -> Iterator[Finding]:
    """Each CUDA major has a minimum. Within a major newer minors start too, but the driver does not compile
    their PTX.
    """
    driver = stack.user_driver
    if stack.cuda is None or driver is None:
        return
    minimum, own = matrix.minimum_driver(stack.cuda), matrix.toolkit_driver(stack.cuda)
    if minimum is None:
        yield unknown(host, "driver and CUDA", f"CUDA {stack.cuda}", MAJORS["source"])
    elif driver < minimum:
        yield Finding(
            "refuse",
            host,
            "driver and CUDA",
            f"driver {driver} with CUDA {stack.cuda}",
            f"driver {minimum} or newer",
            f"programs of CUDA {stack.cuda.branch} start with driver {minimum.branch} or newer only",
            f"lock driver {minimum} or newer, or an older CUDA",
            MAJORS["source"],
        )
    elif own is None:
        yield unknown(host, "driver and CUDA", f"CUDA {stack.cuda}", TOOLKITS["source"])
    elif driver < own:
        yield Finding(
            "note",
            host,
            "driver and CUDA",
            f"driver {driver} with CUDA {stack.cuda}",
            f"driver {own} or newer to lack nothing",
            "minor-version compatibility: programs start, but PTX of a newer CUDA is not compiled",
            f"lock driver {own} where something ships PTX alone",
            TOOLKITS["source"],
        )


def forward_compatibility_never_goes_back(stack: Stack, host: str) -> Iterator[Finding]:
    """A compat package is newer than the host's driver, and starts from some branches only."""
    compat, driver = stack.cuda_compat, stack.driver
    if compat is None or driver is None:
        return
    subject, found = "driver and compat package", f"compat package {compat} on driver {driver}"
    if compat < driver and not compat.same_release(driver):
        yield Finding(
            "refuse",
            host,
            subject,
            found,
            f"a package newer than driver {driver}, or none",
            "a libcuda older than the kernel module does not start (CUDA error 803)",
            "take the package away: the driver serves newer CUDA than it by itself",
            f"{FORWARD_SOURCE}; {FORWARD_ERRORS['older']}",
        )
    elif compat.branch == driver.branch:
        yield Finding(
            "note",
            host,
            subject,
            found,
            "none",
            "the driver serves this CUDA by itself",
            "take the package away",
            FORWARD_SOURCE,
        )
    else:
        cuda = matrix.served_cuda(compat)
        branches = matrix.forward_branches(cuda) if cuda and matrix.is_known_branch(compat) else None
        if branches is None:
            yield unknown(host, subject, f"compat package {compat}", FORWARD["source"])
        elif driver.branch not in branches:
            yield Finding(
                "refuse",
                host,
                subject,
                found,
                f"a driver of branch {', '.join(map(str, branches))}",
                f"the package of CUDA {cuda} is made for these base branches only",
                "lock a driver of one of them, or one that serves this CUDA by itself",
                f"{FORWARD['source']}; {FORWARD_SOURCE}",
            )


def forward_compatibility_is_for_data_centres(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """GeForce cards answer error 804; of RTX cards only some in certified servers are supported."""
    if stack.cuda_compat is None or card.vendor != "nvidia" or card.data_centre:
        return
    yield Finding(
        "refuse" if is_gaming(card) else "warn",
        card.host,
        "card and compat package",
        f"{card.gpu} with compat package {stack.cuda_compat}",
        "a data-centre card",
        "it is for data-centre cards, and a few RTX cards in certified servers (CUDA error 804)",
        "take the package away, and lock a driver that serves this CUDA",
        f"{FORWARD_SOURCE}; {FORWARD_ERRORS['card']}",
    )


def image_lets_the_driver_in(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """What the container toolkit decides when a container of the image starts."""
    if not stack.image_require_cuda or stack.driver is None or card.vendor != "nvidia":
        return
    arch = card.capability
    versions = {
        "cuda": matrix.served_cuda(stack.driver),
        "driver": stack.driver,
        "arch": parse(f"{arch[0]}.{arch[1]}") if arch else None,
    }
    if requirement.is_met(stack.image_require_cuda, versions, _brands(card)):
        return
    if not matrix.is_known_branch(stack.driver):
        yield unknown(card.host, "driver and image", f"driver {stack.driver}", TOOLKITS["source"])
        return
    yield Finding(
        "refuse",
        card.host,
        "driver and image",
        f"driver {stack.driver}, which serves CUDA {versions['cuda']}, for {card.gpu}",
        f"one alternative of {stack.image_require_cuda[:120]}",
        "NVIDIA_REQUIRE_CUDA is a list of branches, and the container toolkit starts no container outside it",
        "lock a driver of a listed branch or one that serves the image's CUDA, or an older image",
        REQUIRE_SOURCE,
    )


def _brands(card: Hardware) -> frozenset[str]:
    """Names that drivers give to the brand of such a card; which one depends on the driver."""
    if "GeForce" in card.gpu:
        return frozenset({"geforce", "geforcertx"})
    if is_gaming(card):
        return frozenset({"titan", "titanrtx"})
    if card.data_centre:
        return frozenset({"tesla", "nvidia"})
    return frozenset({"nvidiartx", "quadrortx", "quadro", "nvidia"})


def module_flavour_fits_the_card(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """Up to Volta proprietary only, Turing to Hopper either, GH200 and since Blackwell open only."""
    if stack.driver is None or card.capability is None or card.vendor != "nvidia":
        return
    open_only = card.platform in FLAVOURS["open_only_platforms"] or card.capability >= (
        matrix.capability(FLAVOURS["open_only_from"]) or ()
    )
    old = card.capability < (matrix.capability(FLAVOURS["open_from"]) or ())
    wanted = "open" if open_only else "proprietary" if old else None
    if old and stack.driver.branch > FLAVOURS["old_cards_last_branch"]:
        yield Finding(
            "refuse",
            card.host,
            "card and driver",
            f"driver {stack.driver} for {card.gpu}",
            f"a driver of branch {FLAVOURS['old_cards_last_branch']} or older",
            "Maxwell, Pascal and Volta end with that branch",
            f"lock branch {FLAVOURS['old_cards_last_branch']}",
            FLAVOURS["old_cards_source"],
        )
    elif wanted and stack.driver_flavour is None:
        yield Finding(
            "note",
            card.host,
            "card and kernel module",
            f"{card.gpu}, and no driver_flavour in the lock",
            wanted,
            f"this card runs with the {wanted} module only",
            f"lock driver_flavour: {wanted}",
            FLAVOURS["source"],
        )
    elif wanted and stack.driver_flavour != wanted:
        yield Finding(
            "refuse",
            card.host,
            "card and kernel module",
            f"the {stack.driver_flavour} module for {card.gpu}",
            wanted,
            "GH200 and Blackwell run with the open module only"
            if open_only
            else "the open module needs a GSP, which came with Turing",
            f"lock driver_flavour: {wanted}",
            FLAVOURS["source"],
        )


def driver_knows_the_card(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """A card is known from some driver on, whatever CUDA is used."""
    if card.vendor != "nvidia" or stack.driver is None:
        return
    if card.capability is None:
        yield unknown(card.host, "card and driver", f"{card.gpu} without a compute capability")
        return
    first = matrix.first_driver(card.capability)
    if first and stack.driver < first:
        yield Finding(
            "refuse",
            card.host,
            "card and driver",
            f"driver {stack.driver} for {card.gpu}",
            f"driver {first} or newer",
            f"older drivers do not know compute capability {card.capability[0]}.{card.capability[1]}",
            f"lock driver {first} or newer",
            CARDS["source"],
        )
    elif first is None and card.capability >= (10, 0):
        yield unknown(card.host, "card and driver", f"{card.gpu}, {card.capability}", CARDS["source"])


def module_compiles_on_the_kernel(stack: Stack, host: str) -> Iterator[Finding]:
    if stack.kernel is None or stack.driver is None:
        return
    for bad in KERNELS:
        same = stack.driver.release == parse(bad["driver"]).release
        revision = stack.driver.rest.lstrip("-")
        packaged = stack.driver_source in (None, bad["driver_source"])
        if (
            not same
            or revision not in bad["revisions"]
            or not packaged
            or stack.driver_flavour != bad["flavour"]
        ):
            continue
        kernels = [parse(kernel) for kernel in bad["kernels"]]
        seen = any(stack.kernel.release == kernel.release for kernel in kernels)
        series = stack.kernel.release[:2] == kernels[0].release[:2] and stack.kernel >= kernels[0]
        if seen or series:
            yield Finding(
                "refuse" if seen and stack.driver_source else "warn",
                host,
                "kernel and driver",
                f"the {bad['flavour']} module {stack.driver} on kernel {stack.kernel}",
                f"a kernel before {kernels[0]}, or a newer driver",
                bad["why"],
                "lock the driver of NVIDIA's own repository, or an older kernel",
                f"{bad['source']} ({bad['checked']})",
            )
