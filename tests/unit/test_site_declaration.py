# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site declares wrongly is said before any host is touched, each thing by its name."""

from __future__ import annotations

import pytest
from ansible_collections.stronghold.llm.plugins.filter import site as filters
from ansible_collections.stronghold.llm.plugins.module_utils.site import declaration

GOOD = "k" * 32
MODEL = {"name": "m", "files": [{"name": "m.gguf", "sha256": "a" * 64, "size": 1}]}


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ([{"name": "ann", "key": "k" * 31}], "the key of ann has 31 characters, the least is 32"),
        ([{"name": "ann"}], "ann has neither a key nor"),
        ([{"name": "ann", "sha256": "abc"}], "ann has neither a key nor"),
        ([{"name": "ann", "key": GOOD}, {"name": "ann", "key": GOOD}], "2 keys are named ann"),
    ],
)
def test_a_key_that_must_not_be_used_is_refused_without_being_shown(keys: list, named: str) -> None:
    found = declaration.key_problems(keys)
    assert named in found[0]
    assert not any(key["key"] in text for key in keys for text in found if "key" in key)


def test_keys_of_either_form_are_accepted() -> None:
    assert declaration.key_problems([{"name": "a", "key": GOOD}, {"name": "b", "sha256": "0" * 64}]) == []


def test_a_served_model_that_nobody_declared_is_named_with_those_that_are() -> None:
    assert (
        "'other' is not declared; stronghold_models has m" in declaration.model_problems([MODEL], "other")[0]
    )


def test_a_pickle_is_refused_in_the_declaration_already() -> None:
    model = {"name": "p", "files": [{"name": "weights.pt"}]}
    assert "p: weights.pt: this format can run code" in declaration.model_problems([model], "p")[0]


def test_a_model_without_files_is_refused() -> None:
    assert "p has no files" in declaration.model_problems([{"name": "p"}], "p")[0]


@pytest.mark.parametrize(
    ("carried", "named"),
    [
        ([], "models/m/m.gguf is declared but not in the bundle"),
        ([{"path": "models/m/m.gguf", "sha256": "b" * 64}], f"has sha256 {'b' * 64} in the bundle"),
    ],
)
def test_a_model_file_that_the_bundle_lacks_is_named(carried: list, named: str) -> None:
    assert named in declaration.bundle_problems([MODEL], {"files": carried})[0]


def test_a_bundle_that_holds_the_models_is_accepted() -> None:
    carried = [{"path": "models/m/m.gguf", "sha256": "a" * 64}]
    assert declaration.bundle_problems([MODEL], {"files": carried}) == []


def test_only_the_hash_of_a_key_leaves_the_controller() -> None:
    records = filters.hashed_keys([{"name": "a", "key": GOOD, "max_tokens": 5}])
    assert records[0]["name"] == "a"
    assert records[0]["max_tokens"] == 5
    assert len(records[0]["sha256"]) == 64
    assert GOOD not in str(records)


def test_a_host_in_two_zones_is_shown_in_both() -> None:
    groups = {"all": ["h"], "core": ["h"], "edge": ["h"], "other": ["h"]}
    hosts = filters.site_hosts({"core": {}, "edge": {}}, groups, {"h": {"stronghold_ipv4": "10.0.0.1"}})
    assert hosts == [{"name": "h", "zones": ["core", "edge"], "ipv4": "10.0.0.1", "ipv6": ""}]
