# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that the modules of models have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.models.weights import File

FILES: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "name": {"type": "str", "required": True},
        "sha256": {"type": "str", "required": True},
        "size": {"type": "int", "required": True},
        "source": {"type": "dict"},
    },
}

BUCKET: dict[str, Any] = {
    "type": "dict",
    "options": {
        "endpoint": {"type": "str", "required": True},
        "bucket": {"type": "str", "default": "weights"},
        "access_key": {"type": "str", "required": True},
        "secret_file": {"type": "path", "required": True},
        "ca_path": {"type": "path", "required": True},
        "region": {"type": "str", "default": "us-east-1"},
    },
}


def files(given: Iterable[Mapping[str, Any]]) -> list[File]:
    return [File(file["name"], file["sha256"], file["size"]) for file in given]
