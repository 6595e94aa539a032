# SPDX-License-Identifier: GPL-3.0-or-later
"""What a version lock of accelerators says, and the cards that it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ansible_collections.stronghold.llm.plugins.module_utils.compat import requirement
from ansible_collections.stronghold.llm.plugins.module_utils.compat.matrix import Capability, capability
from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import (
    Version,
    VersionError,
    parse,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Topology

FLAVOURS = ("open", "proprietary")


class StackError(ValueError):
    """A lock that cannot be read; names the key."""


@dataclass(frozen=True)
class Stack:
    """One lock of `stronghold_stack.accelerators`. None means that the lock does not say."""

    kernel: Version | None = None
    """As `uname -r` says it."""
    driver: Version | None = None
    """NVIDIA's kernel module and the libraries of the same version."""
    driver_flavour: Literal["open", "proprietary"] | None = None
    driver_source: str | None = None
    """Who packaged it: debian, nvidia."""
    fabric_manager: Version | None = None
    nvlsm: Version | None = None
    imex: Version | None = None
    container_toolkit: Version | None = None
    kernel_modules: tuple[str, ...] | None = None
    """Modules that are loaded at boot beside the driver's own."""
    cuda: Version | None = None
    """The toolkit of the user space: of the host, or of the container's image."""
    cuda_compat: Version | None = None
    """The forward-compatibility package, by the driver version that it holds (580.95.05)."""
    image_require_cuda: str | None = None
    """NVIDIA_REQUIRE_CUDA of the container's image."""
    rocm_kernel: Version | None = None
    """The amdgpu driver."""
    rocm: Version | None = None
    """ROCm's user space."""
    torch: Version | None = None
    """Without a local version (+cu130) the wheel of the index."""
    vllm: Version | None = None
    python: Version | None = None
    """The interpreter that the wheels are installed for."""
    model_digests: tuple[str, ...] | None = None

    @property
    def user_driver(self) -> Version | None:
        """The libcuda that programs get."""
        return self.cuda_compat or self.driver

    @property
    def for_rocm(self) -> bool:
        return self.driver is None and (self.rocm is not None or self.rocm_kernel is not None)


TEXTS = ("driver_source", "image_require_cuda")
LISTS = ("kernel_modules", "model_digests")


def read(lock: Mapping[str, Any]) -> Stack:
    """
    Raises:
        StackError: an unknown key, or a value that its key cannot have; with all that is wrong.
    """
    if not isinstance(lock, Mapping):
        raise StackError(f"{lock!r} is no mapping: write component: version")
    known = [field.name for field in fields(Stack)]
    problems = [f"{key}: not known: use {', '.join(known)}" for key in lock if key not in known]
    values: dict[str, Any] = {}
    for key in known:
        if lock.get(key) is None:
            continue
        try:
            values[key] = _value(key, lock[key])
        except ValueError as error:
            problems.append(f"{key}: {error}")
    if problems:
        raise StackError("; ".join(problems))
    return Stack(**values)


def _value(key: str, value: Any) -> Any:
    if key in LISTS:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{value!r} is no list of texts")
        return tuple(value)
    if isinstance(value, float):
        # 12.10 is 12.1 to YAML, and 570.26 only by luck what it was.
        raise ValueError(f"{value!r} is a number to YAML, which drops zeros: write it in quotes")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    if key == "driver_flavour":
        if value not in FLAVOURS:
            raise ValueError(f"{value!r} is none of {', '.join(FLAVOURS)}")
        return value
    if key == "image_require_cuda":
        requirement.is_met(value, {}, frozenset())
    if key in TEXTS:
        return value
    try:
        return parse(value)
    except VersionError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class Hardware:
    """The cards of one kind in one host."""

    host: str
    gpu: str
    """The model's name, as the driver says it."""
    vendor: Literal["nvidia", "amd"]
    compute_capability: Capability | str | None = None
    """NVIDIA: (9, 0). AMD: "gfx942"."""
    has_nvswitch: bool = False
    platform: str = ""
    """hgx-b200, hgx-b300, gb200-nvl72, gb300-nvl72, gh200; empty for any other."""
    data_centre: bool = True

    @property
    def capability(self) -> Capability | None:
        return self.compute_capability if isinstance(self.compute_capability, tuple) else None

    @property
    def is_arm(self) -> bool:
        return self.platform in ("gb200-nvl72", "gb300-nvl72", "gh200")


BOARDS = {
    "GB200": "gb200-nvl72",
    "GB300": "gb300-nvl72",
    "GH200": "gh200",
    "B200": "hgx-b200",
    "B300": "hgx-b300",
}
FULL_BOARD = 8
GAMING = ("GeForce", "TITAN")
WORKSTATION = ("RTX", "Quadro")


def cards(topology: Topology) -> list[Hardware]:
    """One of each kind in the host."""
    found: dict[Hardware, None] = {}
    # Switches of Blackwell boards show to root alone, so a full board counts as one. A virtual machine with
    # some of its cards and no switch needs nothing: the fabric is its host's.
    has_nvswitch = bool(topology.nvswitches)
    for gpu in topology.gpus:
        platform = next((BOARDS[word] for word in gpu.name.split() if word in BOARDS), "")
        if platform.startswith("hgx") and not has_nvswitch:
            has_nvswitch = len(topology.gpus) >= FULL_BOARD
            platform = platform if has_nvswitch else ""
        name = gpu.name.removesuffix(" Server Edition")
        card = Hardware(
            host=topology.host,
            gpu=gpu.name,
            vendor=gpu.vendor,
            compute_capability=_compute_capability(gpu.compute_capability),
            has_nvswitch=has_nvswitch,
            platform=platform,
            data_centre=name != gpu.name or not any(word in gpu.name for word in (*GAMING, *WORKSTATION)),
        )
        found[card] = None
    return list(found)


def _compute_capability(text: str | None) -> Capability | str | None:
    return None if text is None else capability(text) or text


def is_gaming(card: Hardware) -> bool:
    return any(word in card.gpu for word in GAMING)
