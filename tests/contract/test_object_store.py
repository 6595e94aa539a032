# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared store is made on a real MinIO, once, and nothing of it is lost by declaring it otherwise."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.objects import changes, declaration, server

from tests.contract.servers import ROOT_USER, Running

SECRET = "a-secret-of-some-length"
BUCKETS: list[dict[str, Any]] = [
    {"name": "weights", "versioning": True, "lifecycle": {"noncurrent_days": 30}, "quota_gb": 5},
    {"name": "logs", "lifecycle": {"expire_days": 365}},
    {"name": "backup", "lock": {"mode": "compliance", "days": 1}},
]
USERS: list[dict[str, Any]] = [
    {"name": "weights-read", "secret": SECRET + "1", "may": {"read": ["weights"]}},
    {"name": "weights-write", "secret": SECRET + "2", "may": {"write": ["weights"]}},
    {"name": "logs-write", "secret": SECRET + "3", "may": {"append": ["logs"]}},
    {"name": "backup", "secret": SECRET + "4", "may": {"write": ["backup"]}},
]
SITE = declaration.store(BUCKETS, USERS)


def bucket(name: str, **changed: Any) -> declaration.Store:
    [wanted] = [each for each in SITE.buckets if each.name == name]
    return replace(SITE, buckets=(replace(wanted, **changed),), users=())


@pytest.fixture(scope="module")
def root(minio: Running) -> server.Server:
    root = server.connect(minio.endpoint, ROOT_USER, minio.root_password)
    converge(root, SITE)
    return root


def converge(root: server.Server, declared: declaration.Store) -> list[str]:
    plan = changes.plan(root.read(declared), declared)
    assert not plan.refusals
    for step in plan.steps:
        root.do(step)
    return [step.text for step in plan.steps]


def outcome(minio: Running, user: str, act: str, *arguments: Any) -> str:
    """What the server says to a user: ok, or the error's code."""
    from minio.error import S3Error

    secret = next(each.secret for each in SITE.users if each.name == user)
    client = server.s3_client(minio.endpoint, user, secret)
    try:
        found = getattr(client, act)(*arguments)
        if act == "list_objects":
            list(found)
        if act == "get_object":
            found.release_conn()
    except S3Error as error:
        return str(error.code)
    return "ok"


def put(name: str, key: str = "x") -> tuple[Any, ...]:
    return ("put_object", name, key, io.BytesIO(b"x"), 1)


def test_a_second_run_finds_nothing_to_do(root: server.Server) -> None:
    assert converge(root, SITE) == []


@pytest.mark.parametrize(
    ("user", "act", "said"),
    [
        ("weights-write", put("weights"), "ok"),
        ("weights-write", ("list_objects", "weights"), "ok"),
        ("weights-write", put("logs"), "AccessDenied"),
        ("weights-read", ("get_object", "weights", "x"), "ok"),
        ("weights-read", ("list_objects", "weights"), "ok"),
        ("weights-read", put("weights"), "AccessDenied"),
        ("weights-read", ("remove_object", "weights", "x"), "AccessDenied"),
        ("logs-write", put("logs"), "ok"),
        ("logs-write", ("get_object", "logs", "x"), "AccessDenied"),
        ("logs-write", ("remove_object", "logs", "x"), "AccessDenied"),
        ("logs-write", ("list_objects", "logs"), "AccessDenied"),
        ("logs-write", ("list_objects", "weights"), "AccessDenied"),
        ("backup", put("backup"), "ok"),
        ("backup", ("get_object", "weights", "x"), "AccessDenied"),
        ("weights-write", ("make_bucket", "mine"), "AccessDenied"),
    ],
)
def test_a_user_may_do_what_is_declared_and_nothing_else(
    root: server.Server, minio: Running, user: str, act: tuple[Any, ...], said: str
) -> None:
    assert outcome(minio, user, *act) == said


def test_an_overwritten_version_is_not_the_writers_to_destroy(root: server.Server, minio: Running) -> None:
    writer = server.s3_client(minio.endpoint, "weights-write", SECRET + "2")
    first = writer.put_object("weights", "v", io.BytesIO(b"1"), 1).version_id
    writer.put_object("weights", "v", io.BytesIO(b"2"), 1)
    with pytest.raises(Exception, match="AccessDenied"):
        writer.remove_object("weights", "v", version_id=first)
    assert writer.get_object("weights", "v", version_id=first).read() == b"1"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (bucket("weights", versioning=False, lifecycle=declaration.Lifecycle()), "declare versioning: true"),
        (bucket("logs", lifecycle=declaration.Lifecycle(expire_days=7)), "expire_existing: true"),
        (
            bucket("logs", versioning=True, lock=declaration.Lock("compliance", 1)),
            "exists without object lock",
        ),
        (bucket("backup", lock=None), "for ever: declare it"),
        (bucket("backup", lock=declaration.Lock("governance", 1)), "governance lets root delete"),
    ],
)
def test_what_would_lose_data_is_refused(
    root: server.Server, minio: Running, declared: declaration.Store, said: str
) -> None:
    for name in ("weights", "logs"):
        root._s3.put_object(name, "kept", io.BytesIO(b"x"), 1)
    plan = changes.plan(root.read(declared), declared)
    assert not plan.steps
    assert said in "\n".join(plan.refusals)


def test_what_is_not_declared_is_named_and_left_alone(root: server.Server) -> None:
    declared = bucket("logs")
    plan = changes.plan(root.read(declared), declared)
    assert set(plan.undeclared) >= {"bucket weights", "bucket backup", "user backup"}
    assert not plan.steps


def test_drift_is_mended(root: server.Server) -> None:
    """Somebody disabled a user, gave it more, changed its secret, and took a bucket's rules away."""
    admin = root._admin
    admin.user_add("weights-read", "another-secret-by-hand")
    admin.user_disable("logs-write")
    admin.policy_set("readwrite", user="backup")
    root._s3.delete_bucket_lifecycle("weights")
    admin.bucket_quota_set("weights", 1)
    assert len(converge(root, SITE)) == 5
    assert converge(root, SITE) == []


def test_a_run_that_died_after_making_the_locked_bucket_is_made_good(root: server.Server) -> None:
    declared = declaration.store([{"name": "half", "lock": {"mode": "compliance", "days": 1}}], [])
    root._s3.make_bucket("half", object_lock=True)
    assert any("locks for 1 days" in step for step in converge(root, declared))
    assert converge(root, declared) == []


def test_a_wrong_root_password_is_said(minio: Running) -> None:
    with pytest.raises(server.Unreachable, match="does not answer"):
        server.connect(minio.endpoint, ROOT_USER, "not the password of it")
