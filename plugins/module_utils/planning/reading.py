# SPDX-License-Identifier: GPL-3.0-or-later
"""A wish and its weights, from plain data as an inventory has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError, Weights, Wish

Read = TypeVar("Read", Weights, Wish)


def read_wish(data: Mapping[str, Any]) -> Wish:
    """
    Raises:
        PlanError: a field that is missing, unknown, or of another type; names it.
    """
    return _read(data, Wish, "wish")


def read_weights(data: Mapping[str, Any]) -> Weights:
    """
    Raises:
        PlanError: a field that is missing, unknown, or of another type; names it.
    """
    return _read(data, Weights, "weights")


def _read(data: Mapping[str, Any], wanted: type[Read], where: str) -> Read:
    hints = get_type_hints(wanted)
    known = {each.name: each for each in fields(wanted)}
    if unknown := sorted(set(data) - set(known)):
        raise PlanError(f"{where}: {', '.join(unknown)} is not known: it may have {', '.join(known)}")
    required = [name for name, each in known.items() if each.default is each.default_factory is MISSING]
    if missing := sorted(set(required) - set(data)):
        raise PlanError(f"{where}: {', '.join(missing)} is missing: say it")
    return wanted(**{name: _value(value, hints[name], f"{where}.{name}") for name, value in data.items()})


def _value(value: Any, wanted: Any, where: str) -> Any:
    if get_origin(wanted) is UnionType:
        return None if value is None else _value(value, get_args(wanted)[0], where)
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise PlanError(f"{where}: {value!r} is none of {', '.join(get_args(wanted))}: use one of them")
        return value
    if wanted is float and type(value) is int:
        return float(value)
    plain = get_origin(wanted) or wanted
    # A bool is an int to Python, and no number of anything to a person.
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise PlanError(f"{where}: {value!r} is no {plain.__name__}: correct it")
    return value
