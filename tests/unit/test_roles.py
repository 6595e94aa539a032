# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role reads like every other one, and its reference cannot fall behind its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in Path(__file__).parents[2].joinpath("roles").iterdir() if path.is_dir())
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
GROUPS = ("groups[", "groups.", "group_names")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def options(role: Path) -> dict[str, Any]:
    return load(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
class TestRole:
    def test_every_default_is_declared_with_the_same_value(self, role: Path) -> None:
        defaults = load(role / "defaults/main.yml") or {}
        declared = {name: option.get("default") for name, option in options(role).items()}
        required = {name for name, option in options(role).items() if option.get("required")}
        assert defaults == {name: value for name, value in declared.items() if name not in required}

    def test_the_site_says_what_it_cannot_do_without(self, role: Path) -> None:
        """A required argument that no site gives fails where the role is first used: maybe on a rack only."""
        given = {*load(PLAYBOOKS / "vars/site.yml"), *load(PLAYBOOKS / "bundle.yml")[0]["vars"]}
        assert {name for name, option in options(role).items() if option.get("required")} - given == set()

    def test_every_option_has_a_meaning(self, role: Path) -> None:
        assert [name for name, option in options(role).items() if not option.get("description")] == []

    def test_its_variables_carry_its_name(self, role: Path) -> None:
        names = [*options(role), *(load(role / "vars/main.yml") or {})]
        assert [name for name in names if not name.lstrip("_").startswith(role.name)] == []

    def test_it_knows_no_inventory_group(self, role: Path) -> None:
        texts = {path: path.read_text() for path in role.rglob("*.yml")}
        assert [path for path, text in texts.items() if any(word in text for word in GROUPS)] == []

    def test_no_task_file_holds_two_ideas(self, role: Path) -> None:
        lengths = {path: len(path.read_text().splitlines()) for path in role.glob("tasks/**/*.yml")}
        assert {path: length for path, length in lengths.items() if length > 100} == {}
