# SPDX-License-Identifier: GPL-3.0-or-later
"""A declaration of the object store that would not do what its author thinks is refused in his words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.objects import policies
from ansible_collections.stronghold.llm.plugins.module_utils.objects.changes import Found, plan
from ansible_collections.stronghold.llm.plugins.module_utils.objects.declaration import ObjectsError, store

SECRET = "x" * 20
READER = {"name": "reader", "secret": SECRET, "may": {"read": ["weights"]}}


def problems(buckets: list[dict[str, Any]], users: list[dict[str, Any]]) -> str:
    with pytest.raises(ObjectsError) as refused:
        store(buckets, users)
    return str(refused.value)


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        ({"name": "We"}, "is no bucket name"),
        ({"name": "a.b.c"}, "is no bucket name"),
        ({"name": "logs", "lifecycle": {"noncurrent_days": 3}}, "declare versioning: true"),
        ({"name": "logs", "lock": {"mode": "compliance", "days": 0}}, "a lock lasts 1 or more"),
    ],
)
def test_a_bucket_that_cannot_be_is_named(bucket: dict[str, Any], said: str) -> None:
    assert said in problems([bucket], [])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"secret": "short"}, "it needs 20"),
        ({"name": "a b"}, "is no access key"),
        ({"may": {}}, "may do nothing"),
        ({"may": {"read": ["wieghts"]}}, "wieghts, which is no declared bucket"),
    ],
)
def test_a_user_that_cannot_be_is_named_without_the_secret(changed: dict[str, Any], said: str) -> None:
    text = problems([{"name": "weights"}], [{**READER, **changed}])
    assert said in text
    assert changed.get("secret", SECRET) not in text


def test_names_are_declared_once() -> None:
    text = problems([{"name": "weights"}] * 2, [READER] * 2)
    assert "buckets: weights is declared twice" in text
    assert "users: reader is declared twice" in text


def test_no_way_to_print_a_user_prints_its_secret() -> None:
    declared = store([{"name": "weights"}], [READER])
    assert SECRET not in f"{declared} {declared.users[0]!r} {plan(Found(), declared)}"


def test_a_locked_bucket_keeps_versions_without_a_word() -> None:
    declared = store([{"name": "backup", "lock": {"mode": "compliance", "days": 1}}], [])
    assert declared.buckets[0].versioning


def test_an_empty_server_gets_everything_bucket_before_user() -> None:
    declared = store([{"name": "weights", "versioning": True, "quota_gb": 1}], [READER])
    steps = [step.what for step in plan(Found(), declared).steps]
    assert steps == [
        "make_bucket",
        "encrypt",
        "keep_versions",
        "set_quota",
        "write_policy",
        "add_user",
        "give_policy",
    ]


def test_no_verb_gives_a_right_on_every_bucket_or_every_action() -> None:
    may = {verb: ["weights"] for verb in policies._ACTIONS}
    [user] = store([{"name": "weights"}], [{**READER, "may": may}]).users
    for statement in policies.document(user)["Statement"]:
        assert all("*" not in action for action in statement["Action"])
        assert {resource.removesuffix("/*") for resource in statement["Resource"]} == {"arn:aws:s3:::weights"}


def test_policies_are_the_same_in_any_order_and_not_with_another_action() -> None:
    [user] = store([{"name": "weights"}], [READER]).users
    policy = policies.document(user)
    turned = {"Statement": policy["Statement"][::-1], "Version": policy["Version"]}
    assert policies.same(policy, turned)
    wider = {**policy, "Statement": [{**policy["Statement"][0], "Action": ["s3:*"]}, policy["Statement"][1]]}
    assert not policies.same(policy, wider)
