# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels of vLLM and torch against each other, the driver and the cards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.compat import data_engines, data_nvidia, matrix
from ansible_collections.stronghold.llm.plugins.module_utils.compat.matrix import (
    Capability,
    TorchWheel,
    VllmWheel,
)
from ansible_collections.stronghold.llm.plugins.module_utils.compat.rules_driver import unknown
from ansible_collections.stronghold.llm.plugins.module_utils.compat.stack import Hardware, Stack
from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import Version
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding

VLLM: Any = data_engines.VLLM
BUILDS: Any = data_engines.VLLM_BUILDS
TORCH: Any = data_engines.TORCH
PYTHONS: Any = data_engines.VLLM_PYTHONS
MAJORS: Any = data_nvidia.CUDA_MAJORS


def starts(cuda: Version, driver: Version) -> bool:
    """Whether programs of this CUDA start at all. An unknown major is not said to."""
    minimum = matrix.minimum_driver(cuda)
    return minimum is not None and driver >= minimum


def lacks_attention(wheel: VllmWheel, driver: Version, card: Capability) -> bool:
    """FlashAttention 2 is there as PTX for this card, and the driver is older than the CUDA that made it.
    Cards before Ampere never use it.
    """
    if card < (8, 0) or matrix.holds(wheel.attention, card) or wheel.attention_ptx is None:
        return False
    own = matrix.toolkit_driver(wheel.cuda)
    return own is not None and driver < own


def takes(wheel: VllmWheel, python: Version | None) -> bool:
    """Whether the wheel can be installed for this Python, if it is known."""
    return python is None or wheel.python[0] <= python < wheel.python[1]


def works(
    wheel: VllmWheel, driver: Version, cards: Iterable[Hardware], python: Version | None = None
) -> bool:
    """Whether nothing is known against this wheel, with the torch that it pins, on all the cards."""
    torch = matrix.torch_wheel(wheel.torch)
    if torch is None or not starts(wheel.cuda, driver) or not starts(torch.cuda, driver):
        return False
    if not takes(wheel, python):
        return False
    for card in cards:
        capability = card.capability
        if card.vendor != "nvidia" or capability is None:
            continue
        held = matrix.holds(wheel.capabilities, capability)
        held = held and torch.capabilities is not None and matrix.holds(torch.capabilities, capability)
        if not held or lacks_attention(wheel, driver, capability) or (card.is_arm and not torch.on_arm):
            return False
    return True


def newest_vllm(stack: Stack, cards: Iterable[Hardware]) -> Version | None:
    driver, cards = stack.user_driver, list(cards)
    if driver is None:
        return None
    wheels = matrix.vllm_wheels()
    return next((wheel.version for wheel in wheels if works(wheel, driver, cards, stack.python)), None)


def _instead(stack: Stack, cards: Iterable[Hardware]) -> str:
    newest = newest_vllm(stack, cards)
    return f"vllm {newest}, the newest whose wheel works here" if newest else "a build of your own"


def _torch(stack: Stack) -> TorchWheel | None:
    """The torch that will be there: the lock's, else the one that vLLM pins."""
    wheel = matrix.vllm_wheel(stack.vllm) if stack.vllm else None
    version = stack.torch or (wheel.torch if wheel else None)
    return matrix.torch_wheel(version) if version else None


def vllm_pins_its_torch(stack: Stack, host: str) -> Iterator[Finding]:
    if stack.vllm is None or stack.for_rocm:
        return
    wheel = matrix.vllm_wheel(stack.vllm)
    if wheel is None:
        yield unknown(host, "vllm", f"vllm {stack.vllm}", VLLM["source"])
    elif stack.torch and not stack.torch.same_release(wheel.torch):
        yield Finding(
            "refuse",
            host,
            "vllm and torch",
            f"torch {stack.torch} with vllm {stack.vllm}",
            f"torch {wheel.torch}",
            "the wheel pins this torch, and its kernels are compiled against it",
            f"lock torch: {wheel.torch}",
            f"{VLLM['source']} ({VLLM['checked']})",
        )


def vllm_takes_the_python(stack: Stack, cards: Iterable[Hardware], host: str) -> Iterator[Finding]:
    wheel = matrix.vllm_wheel(stack.vllm) if stack.vllm and not stack.for_rocm else None
    if wheel and stack.python and not takes(wheel, stack.python):
        yield Finding(
            "refuse",
            host,
            "python and vllm",
            f"Python {stack.python} with vllm {stack.vllm}",
            f"Python {wheel.python[0]} or newer, older than {wheel.python[1]}",
            "the wheel is installed for no other",
            f"lock another Python, or {_instead(stack, cards)}",
            f"{PYTHONS['source']} ({PYTHONS['checked']})",
        )


def torch_has_the_cuda_of_vllm(stack: Stack, host: str) -> Iterator[Finding]:
    """Both load one libcudart: the majors are one."""
    wheel = matrix.vllm_wheel(stack.vllm) if stack.vllm and not stack.for_rocm else None
    torch = matrix.torch_wheel(stack.torch) if stack.torch else None
    if wheel and torch and wheel.cuda.branch != torch.cuda.branch:
        yield Finding(
            "refuse",
            host,
            "vllm and torch",
            f"torch {stack.torch}, built for CUDA {torch.cuda}",
            f"a torch for CUDA {wheel.cuda.branch}",
            f"vllm {stack.vllm} loads libcudart.so.{wheel.cuda.branch}, which this torch does not bring",
            f"lock torch: {wheel.torch}, or a build of vllm for CUDA {torch.cuda.branch}",
            data_engines.TORCH_MAJOR_SOURCE,
        )


def driver_starts_the_wheels(stack: Stack, cards: Iterable[Hardware], host: str) -> Iterator[Finding]:
    """Wheels bring their own CUDA, whatever toolkit is on the host."""
    driver = stack.user_driver
    if driver is None:
        return
    wheel = matrix.vllm_wheel(stack.vllm) if stack.vllm else None
    torch = matrix.torch_wheel(stack.torch) if stack.torch else None
    if stack.torch and torch is None:
        yield unknown(host, "driver and torch", f"torch {stack.torch}", TORCH["source"])
    told = {wheel.cuda.branch} if wheel else set()
    if wheel:
        yield from _too_old(stack, driver, f"vllm {stack.vllm}", wheel.cuda, cards, host)
    if torch and torch.cuda.branch not in told:
        yield from _too_old(stack, driver, f"torch {stack.torch}", torch.cuda, cards, host)


def _too_old(
    stack: Stack, driver: Version, what: str, cuda: Version, cards: Iterable[Hardware], host: str
) -> Iterator[Finding]:
    minimum = matrix.minimum_driver(cuda)
    if minimum is None:
        yield unknown(host, "driver and wheel", f"{what}, built for CUDA {cuda}", MAJORS["source"])
    elif driver < minimum:
        compat = f" under compat package {stack.cuda_compat}" if stack.cuda_compat else ""
        yield Finding(
            "refuse",
            host,
            f"driver and {what.split()[0]}",
            f"driver {stack.driver}{compat} with {what}",
            f"driver {minimum} or newer",
            f"the wheel is built for CUDA {cuda}, which needs driver {minimum.branch} or newer",
            f"lock driver {minimum} or newer, or {_instead(stack, cards)}",
            f"{BUILDS['source']}; {MAJORS['source']}",
        )


def torch_holds_the_card(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """Builds of torch hold native code for some compute capabilities and no PTX for others."""
    if card.vendor != "nvidia" or card.capability is None or stack.for_rocm:
        return
    torch = _torch(stack)
    if torch is None:
        return
    version = torch.version
    if torch.capabilities is None:
        yield unknown(card.host, "card and torch", f"torch {version} for CUDA {torch.cuda}", TORCH["source"])
    elif not matrix.holds(torch.capabilities, card.capability):
        yield Finding(
            "refuse",
            card.host,
            "card and torch",
            f"torch {version} for {card.gpu}, compute capability {_text(card.capability)}",
            f"a card of {', '.join(map(_text, torch.capabilities))}",
            f"torch {version} for CUDA {torch.cuda} holds no code for this card",
            f"lock {_instead(stack, [card])}; or a build of torch for another CUDA that holds it",
            torch.source,
        )
    if card.is_arm and not torch.on_arm:
        yield Finding(
            "warn",
            card.host,
            "host and torch",
            f"torch {version} on {card.platform}, an aarch64 host",
            f"torch {version}+cu{torch.cuda.minor.replace('.', '')}, of PyTorch's own index",
            "the wheel of the package index for aarch64 has no CUDA before torch 2.11",
            "name the build in the lock",
            f"{TORCH['source']} ({TORCH['checked']})",
        )


def vllm_holds_the_card(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """vLLM's own kernels, and FlashAttention 2, which most cards have as PTX only."""
    wheel = matrix.vllm_wheel(stack.vllm) if stack.vllm and not stack.for_rocm else None
    if wheel is None or card.vendor != "nvidia" or card.capability is None:
        return
    if not matrix.holds(wheel.capabilities, card.capability):
        yield Finding(
            "refuse",
            card.host,
            "card and vllm",
            f"vllm {stack.vllm} for {card.gpu}, compute capability {_text(card.capability)}",
            f"a card of {', '.join(map(_text, wheel.capabilities))}",
            "the wheel holds no code for this card",
            f"lock {_instead(stack, [card])}",
            f"{BUILDS['source']} ({BUILDS['checked']})",
        )
        return
    driver, own = stack.user_driver, matrix.toolkit_driver(wheel.cuda)
    if driver and starts(wheel.cuda, driver) and lacks_attention(wheel, driver, card.capability):
        yield Finding(
            "warn",
            card.host,
            "driver and vllm",
            f"driver {driver} with vllm {stack.vllm} for {card.gpu}",
            f"driver {own} or newer",
            f"FlashAttention 2 for this card is PTX of CUDA {wheel.cuda}, which an older driver does not "
            "compile: a model that uses it stops with 'PTX was compiled with an unsupported toolchain'",
            f"lock driver {own} or newer, or {_instead(stack, [card])}",
            data_engines.ATTENTION_SOURCE,
        )


def _text(card: Capability) -> str:
    return f"{card[0]}.{card[1]}"
