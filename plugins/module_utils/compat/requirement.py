# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA_REQUIRE_CUDA, read as the container toolkit reads it: alternatives are divided by spaces, the
conditions of one by commas. It is a list of driver branches, not a minimum: a newer driver need not pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import (
    Version,
    VersionError,
    parse,
)

CONDITION = re.compile(r"(?P<name>[a-z]+)(?P<operator>>=|<=|!=|=|<|>)(?P<value>[^<>=!]+)", re.IGNORECASE)
VERSIONS = ("cuda", "driver", "arch")


class RequirementError(ValueError):
    """An expression that the toolkit would not take; says which condition."""


def is_met(expression: str, versions: Mapping[str, Version | None], brands: Set[str]) -> bool:
    """`versions` are the host's cuda, driver and arch, `brands` the names its card may have. What is not
    known meets no condition. An empty expression is met.

    Raises:
        RequirementError: the expression is none.
    """
    alternatives = [
        [_is_true(condition, versions, brands) for condition in words.split(",") if condition]
        for words in expression.split()
    ]
    return not alternatives or any(all(conditions) for conditions in alternatives)


def _is_true(condition: str, versions: Mapping[str, Version | None], brands: Set[str]) -> bool:
    found = CONDITION.fullmatch(condition)
    name = found["name"].lower() if found else ""
    if not found or name not in (*VERSIONS, "brand"):
        raise RequirementError(f"{condition!r} is no condition of cuda, driver, arch or brand")
    operator, value = found["operator"], found["value"]
    if name == "brand":
        if operator not in ("=", "!="):
            raise RequirementError(f"{condition!r}: a brand is compared with = or !=")
        return (value.lower() in brands) == (operator == "=")
    try:
        wanted = parse(value)
    except VersionError as error:
        raise RequirementError(f"{condition!r}: {error}") from error
    has = versions.get(name)
    if has is None:
        return False
    return {
        "=": has == wanted,
        "!=": has != wanted,
        "<": has < wanted,
        "<=": has <= wanted,
        ">": has > wanted,
        ">=": has >= wanted,
    }[operator]
