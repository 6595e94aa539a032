# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine's version as numbers; standard library only."""

from __future__ import annotations

from functools import lru_cache

from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError

Release = tuple[int, int, int]


@lru_cache(maxsize=256)
def version_numbers(version: str) -> Release:
    """ "0.10.1.1" -> (0, 10, 1).

    Raises:
        PlanError: no version.
    """
    parts = version.removeprefix("v").split("+")[0].split(".")
    digits = [part for part in parts[:3] if part.isdigit()]
    if len(digits) < 2:
        raise PlanError(f"engine_version: {version!r} is no version such as 0.33.0: lock one")
    numbers = [int(part) for part in digits] + [0]
    return numbers[0], numbers[1], numbers[2]
