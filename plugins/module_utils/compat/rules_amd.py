# SPDX-License-Identifier: GPL-3.0-or-later
"""AMD: the kernel's driver and ROCm's user space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.compat import data_amd, matrix
from ansible_collections.stronghold.llm.plugins.module_utils.compat.rules_driver import unknown
from ansible_collections.stronghold.llm.plugins.module_utils.compat.stack import Stack
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding

USER_SPACES: Any = data_amd.USER_SPACES


def user_space_goes_with_the_driver(stack: Stack, host: str) -> Iterator[Finding]:
    """AMD publishes which ROCm goes with which amdgpu; since ROCm 7.0 the driver has numbers of its own."""
    if stack.rocm is None or stack.rocm_kernel is None:
        return
    subject, releases = "amdgpu and ROCm", matrix.user_spaces(stack.rocm_kernel)
    if releases is None and matrix.is_known_rocm(stack.rocm_kernel):
        yield Finding(
            "warn",
            host,
            subject,
            f"rocm_kernel {stack.rocm_kernel}",
            "a version of the amdgpu driver, like 30.30",
            f"since ROCm {data_amd.OWN_NUMBERS_SINCE} the driver has numbers of its own: this is one of ROCm",
            "lock the driver by its own number (modinfo -F version amdgpu)",
            USER_SPACES["source"],
        )
    elif releases is None:
        yield unknown(host, subject, f"amdgpu {stack.rocm_kernel}", USER_SPACES["source"])
    elif not matrix.is_known_rocm(stack.rocm):
        yield unknown(host, subject, f"ROCm {stack.rocm}", USER_SPACES["source"])
    elif stack.rocm.minor not in releases:
        yield Finding(
            "refuse",
            host,
            subject,
            f"ROCm {stack.rocm} on amdgpu {stack.rocm_kernel}",
            f"ROCm {', '.join(releases)}",
            "AMD supports these pairs only",
            "lock one of them, or another driver",
            USER_SPACES["source"],
        )


def wheel_for_rocm(stack: Stack, host: str) -> Iterator[Finding]:
    """The index has vLLM for CUDA alone."""
    if stack.vllm and stack.for_rocm:
        yield unknown(
            host, "ROCm and vllm", f"vllm {stack.vllm} for ROCm, which is not the wheel of the index"
        )
