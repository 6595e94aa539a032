# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to a store so that it is the declared one, and what must not be done to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.objects import policies
from ansible_collections.stronghold.llm.plugins.module_utils.objects.declaration import Bucket, Store, User


@dataclass(frozen=True)
class FoundBucket:
    """A bucket as the server has it, in the words of a declaration."""

    bucket: Bucket
    encrypted: bool
    has_objects: bool


@dataclass(frozen=True)
class FoundUser:
    """A user as the server has it; whether the secret opens was tried: no server tells secrets."""

    enabled: bool
    secret_works: bool
    policies: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    buckets: Mapping[str, FoundBucket] = field(default_factory=dict)
    users: Mapping[str, FoundUser] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One thing to do: `what` is a name that the server's side knows, `target` the bucket or user."""

    what: str
    target: Bucket | User
    text: str


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]
    refusals: tuple[str, ...]
    undeclared: tuple[str, ...]


def plan(found: Found, declared: Store) -> Plan:
    """Steps in their order. Nothing is ever removed: what is not declared is only named."""
    steps: list[Step] = []
    refusals: list[str] = []
    for bucket in declared.buckets:
        present = found.buckets.get(bucket.name)
        if present and (problems := list(_losses(bucket, present))):
            refusals += problems
        else:
            steps += _bucket_steps(bucket, present)
    for user in declared.users:
        steps += _user_steps(user, found)
    return Plan(tuple(steps), tuple(refusals), tuple(_undeclared(found, declared)))


def _losses(wanted: Bucket, present: FoundBucket) -> Iterator[str]:
    has, name = present.bucket, wanted.name
    if wanted.lock and not has.lock:
        yield (
            f"bucket {name} exists without object lock, and a server locks at the making of a bucket only; "
            f"declare a bucket of another name and copy {name} into it"
        )
    if has.lock and not wanted.lock:
        yield f"bucket {name} is locked ({has.lock.mode}, {has.lock.days} days) for ever: declare it"
    if has.lock and wanted.lock and (has.lock.mode, wanted.lock.mode) == ("compliance", "governance"):
        yield f"bucket {name} is locked in compliance mode; governance lets root delete: declare compliance"
    if not present.has_objects:
        return
    if has.versioning and not wanted.versioning:
        yield (
            f"bucket {name} keeps versions and holds objects; without versions the next overwrite is final: "
            "declare versioning: true"
        )
    sooner = wanted.lifecycle.expire_days
    if sooner and sooner < (has.lifecycle.expire_days or sooner + 1) and not wanted.expire_existing:
        yield (
            f"bucket {name} holds objects, and expire_days: {sooner} would delete some that are kept now "
            f"({has.lifecycle.expire_days or 'for ever'}); say expire_existing: true if that is meant"
        )


def _bucket_steps(wanted: Bucket, present: FoundBucket | None) -> Iterator[Step]:
    has = present.bucket if present else Bucket(wanted.name)
    if not present:
        with_lock = " with object lock" if wanted.lock else ""
        yield Step("make_bucket", wanted, f"bucket {wanted.name} is made{with_lock}")
    if not (present and present.encrypted):
        yield Step("encrypt", wanted, f"bucket {wanted.name} encrypts what comes in (SSE-S3)")
    if wanted.versioning and not has.versioning and not wanted.lock:
        yield Step("keep_versions", wanted, f"bucket {wanted.name} keeps versions")
    if wanted.lock and wanted.lock != has.lock:
        yield Step(
            "lock", wanted, f"bucket {wanted.name} locks for {wanted.lock.days} days, {wanted.lock.mode} mode"
        )
    if wanted.lifecycle != has.lifecycle:
        yield Step("set_lifecycle", wanted, f"bucket {wanted.name} forgets by {wanted.lifecycle}")
    if wanted.quota != has.quota:
        yield Step(
            "set_quota", wanted, f"bucket {wanted.name} may hold {wanted.quota or 'any number of'} bytes"
        )


def _user_steps(wanted: User, found: Found) -> Iterator[Step]:
    present = found.users.get(wanted.name)
    if not policies.same(found.policies.get(wanted.name), policies.document(wanted)):
        yield Step("write_policy", wanted, f"policy {wanted.name} allows {_words(wanted)}")
    if not present or not present.secret_works or not present.enabled:
        yield Step("add_user", wanted, f"user {wanted.name} is there with the declared secret")
    if not present or present.policies != (wanted.name,):
        yield Step("give_policy", wanted, f"user {wanted.name} has the policy {wanted.name}, and no other")


def _words(user: User) -> str:
    return ", ".join(f"{verb} of {' '.join(buckets)}" for verb, buckets in sorted(user.may.items()))


def _undeclared(found: Found, declared: Store) -> Iterator[str]:
    for kind, there, said in (
        ("bucket", found.buckets, {bucket.name for bucket in declared.buckets}),
        ("user", found.users, {user.name for user in declared.users}),
    ):
        for name in sorted(set(there) - said):
            yield f"{kind} {name}"
