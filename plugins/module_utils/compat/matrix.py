# SPDX-License-Identifier: GPL-3.0-or-later
"""The compatibility matrix: what data_nvidia, data_amd and data_engines say, looked up by version.

Every answer may be None, "not in the matrix", which is neither good nor bad.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.compat import data_amd, data_engines, data_nvidia
from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import Version, parse

Capability = tuple[int, int]


@dataclass(frozen=True)
class VllmWheel:
    """vLLM's wheel on the index: the torch it pins, and what its own kernels are built for. `attention` and
    `attention_ptx` are FlashAttention 2's: native code, and the PTX that a driver compiles for newer cards.
    """

    version: Version
    torch: Version
    python: tuple[Version, Version]
    """This one or newer, and older than that."""
    cuda: Version
    capabilities: tuple[Capability, ...]
    attention: tuple[Capability, ...]
    attention_ptx: Capability | None


@dataclass(frozen=True)
class TorchWheel:
    """A build of torch: its CUDA, and the capabilities that it holds where the matrix knows them. `on_arm` is
    False for those whose wheel for aarch64 has no CUDA.
    """

    version: Version
    cuda: Version
    capabilities: tuple[Capability, ...] | None
    on_arm: bool
    source: str


def capability(text: str) -> Capability | None:
    """(9, 0) of "9.0"; None of anything else, like a gfx target."""
    found = re.fullmatch(r"(\d{1,2})\.(\d)", text)
    return (int(found[1]), int(found[2])) if found else None


def holds(capabilities: Sequence[Capability], card: Capability) -> bool:
    """Native code for 8.0 runs on every 8.x that is not older, and on no other major."""
    return any(major == card[0] and minor <= card[1] for major, minor in capabilities)


def minimum_driver(cuda: Version) -> Version | None:
    """The oldest driver that starts programs of this CUDA's major."""
    return _versions(data_nvidia.CUDA_MAJORS).get(str(cuda.branch))


def toolkit_driver(cuda: Version) -> Version | None:
    """The driver that came with this CUDA, and compiles its PTX."""
    return _versions(data_nvidia.CUDA_TOOLKITS).get(cuda.minor)


def served_cuda(driver: Version) -> Version | None:
    """The newest CUDA that this driver's branch is known to serve; a newer branch serves at least that."""
    for cuda, first in _versions(data_nvidia.CUDA_TOOLKITS).items():
        if first.branch <= driver.branch:
            return parse(cuda)
    return None


def is_known_branch(driver: Version) -> bool:
    return driver.branch <= max(driver.branch for driver in _versions(data_nvidia.CUDA_TOOLKITS).values())


def first_driver(card: Capability) -> Version | None:
    """The first driver that knows cards of this compute capability."""
    cuda = _versions(data_nvidia.CARDS).get(f"{card[0]}.{card[1]}")
    return toolkit_driver(cuda) if cuda else None


def forward_branches(cuda: Version) -> tuple[int, ...] | None:
    """Driver branches from which the compat package of this CUDA may start."""
    rows: Any = data_nvidia.FORWARD_BRANCHES["rows"]
    return dict(rows).get(cuda.minor)


def user_spaces(driver: Version) -> tuple[str, ...] | None:
    """ROCm releases ("7.1") that go with this amdgpu driver."""
    rows: Any = data_amd.USER_SPACES["rows"]
    return dict(rows).get(driver.minor)


def is_known_rocm(rocm: Version) -> bool:
    rows: Any = data_amd.USER_SPACES["rows"]
    return any(rocm.minor in releases for _, releases in rows)


@cache
def vllm_wheels() -> tuple[VllmWheel, ...]:
    """Newest first."""
    rows: Any = data_engines.VLLM["rows"]
    return tuple(_vllm(parse(version), parse(torch)) for version, torch in rows)


def vllm_wheel(version: Version) -> VllmWheel | None:
    return next((wheel for wheel in vllm_wheels() if wheel.version.same_release(version)), None)


def _vllm(version: Version, torch: Version) -> VllmWheel:
    rows: Any = data_engines.VLLM_BUILDS["rows"]
    build = next(build for build in rows if parse(build["since"]) <= version)
    pythons: Any = data_engines.VLLM_PYTHONS["rows"]
    python = next(python for since, *python in pythons if parse(since) <= version)
    return VllmWheel(
        version=version,
        torch=torch,
        python=(parse(python[0]), parse(python[1])),
        cuda=parse(build["cuda"]),
        capabilities=_capabilities(build["capabilities"]),
        attention=_capabilities(build["attention"]),
        attention_ptx=capability(build["attention_ptx"]),
    )


@cache
def torch_wheel(version: Version) -> TorchWheel | None:
    """With a local version (+cu128) that build, else what the index has. None for ROCm and CPU too."""
    index: Any = data_engines.TORCH["rows"]
    on_arm = False
    if version.local:
        digits = re.fullmatch(r"cu(\d{2})(\d)", version.local)
        if not digits:
            return None
        cuda, on_arm = parse(f"{digits[1]}.{digits[2]}"), True
    else:
        row = next((row for row in index if parse(row[0]).same_release(version)), None)
        if row is None:
            return None
        cuda, on_arm = parse(row[1]), row[2]
    builds: Any = data_engines.TORCH_BUILDS["rows"]
    for build in builds:
        known = parse(build["since"]) <= parse(_release(version)) <= parse(build["until"])
        if known and build["cuda"] == cuda.minor:
            return TorchWheel(version, cuda, _capabilities(build["capabilities"]), on_arm, build["source"])
    return TorchWheel(version, cuda, None, on_arm, "")


def _release(version: Version) -> str:
    return ".".join(map(str, version.release))


def _capabilities(texts: Sequence[str]) -> tuple[Capability, ...]:
    return tuple(found for found in map(capability, texts) if found)


_VERSIONS: dict[int, dict[str, Version]] = {}


def _versions(table: dict[str, Any]) -> dict[str, Version]:
    """A table's rows, its second column parsed, once."""
    if id(table) not in _VERSIONS:
        _VERSIONS[id(table)] = {key: parse(value) for key, value in table["rows"]}
    return _VERSIONS[id(table)]
