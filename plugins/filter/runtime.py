# SPDX-License-Identifier: GPL-3.0-or-later
"""How engines are started, and why one was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.stronghold.llm.plugins.module_utils.runtime import arguments, journal


def vllm_start(
    model: Mapping[str, Any], plan: Mapping[str, Any] | None, host: str, folder: str, socket: str
) -> dict[str, Any]:
    """{arguments, gpus}: what stands behind `vllm serve`, and the GPUs that it may see."""
    try:
        start = arguments.vllm(model, plan, host, folder, socket)
    except arguments.ArgumentsError as error:
        raise AnsibleFilterError(str(error)) from error
    return {name: list(value) for name, value in asdict(start).items()}


def start_failure(lines: Sequence[str], plan: Mapping[str, Any] | None, model: str, host: str) -> str:
    """The engine's own message, and the plan's numbers beside it."""
    return journal.failure(lines, plan, model, host)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"start_failure": start_failure, "vllm_start": vllm_start}
