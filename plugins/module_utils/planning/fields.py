# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of a model's own description, each of them asked for by type; standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError

MOST = 2**40
"""Of anything that a config counts."""
LAYERS = 4096


class Fields:
    """Those of one object, which errors call `where`."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def problem(self, name: str, text: str) -> PlanError:
        """An error that names file, field and value."""
        return PlanError(f"{self.where}: {name}: {_short(self.values.get(name))} {text}")

    def whole(self, *names: str) -> int:
        """The first of these that is there: a number from 1 on."""
        found = self.maybe(*names)
        if found is None:
            raise PlanError(
                f"{self.where}: {' or '.join(names)} is missing: give the model's own config.json, whole"
            )
        return found

    def maybe(self, *names: str) -> int | None:
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if number := self.number(name, value):
                return number
        return None

    def number(self, name: str, value: object) -> int:
        if type(value) is not int or not 0 <= value <= MOST:
            raise PlanError(f"{self.where}: {name}: {_short(value)} is no number of things: correct it")
        return value

    def layers(self, *names: str) -> int:
        found = self.whole(*names)
        if found > LAYERS:
            name = next(name for name in names if self.values.get(name))
            raise PlanError(f"{self.where}: {name}: {found} layers are more than any model has: correct it")
        return found

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise PlanError(f"{self.where}: {name}: {_short(value)} is neither true nor false: correct it")
        return value

    def part(self, name: str) -> Mapping[str, Any]:
        value = self.values.get(name) or {}
        if not isinstance(value, Mapping):
            raise PlanError(f"{self.where}: {name}: {_short(value)} is no object: correct it")
        return value


def _short(value: object) -> str:
    return repr(value)[:80]
