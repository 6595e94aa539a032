# SPDX-License-Identifier: GPL-3.0-or-later
"""How engines are started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.stronghold.llm.plugins.module_utils.runtime import arguments


def vllm_start(
    model: Mapping[str, Any], plan: Mapping[str, Any] | None, host: str, folder: str, socket: str
) -> dict[str, Any]:
    """{arguments, gpus}: what stands behind `vllm serve`, and the GPUs that it may see."""
    try:
        start = arguments.vllm(model, plan, host, folder, socket)
    except arguments.ArgumentsError as error:
        raise AnsibleFilterError(str(error)) from error
    return {name: list(value) for name, value in asdict(start).items()}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"vllm_start": vllm_start}
