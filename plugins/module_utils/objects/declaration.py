# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site says its object store holds, and who may do what in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIN_SECRET = 20
VERBS = ("read", "append", "write")
LOCK_MODES = ("compliance", "governance")

# The letters that every S3 server accepts, without the dots that break certificates of host names.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,19}")


class ObjectsError(Exception):
    """Something about the object store that a person has to mend; the text says what and how."""


@dataclass(frozen=True)
class Lock:
    """What a new version gets: nobody deletes it before so many days; in compliance mode not even root."""

    mode: str
    days: int


@dataclass(frozen=True)
class Lifecycle:
    """After how many days something goes by itself; None is never."""

    expire_days: int | None = None
    noncurrent_days: int | None = None


@dataclass(frozen=True)
class Bucket:
    """One bucket. `quota` is in bytes, 0 is none."""

    name: str
    versioning: bool = False
    lock: Lock | None = None
    lifecycle: Lifecycle = Lifecycle()
    quota: int = 0
    expire_existing: bool = False


@dataclass(frozen=True)
class User:
    """One user: verb -> the buckets that it may be done in."""

    name: str
    secret: str
    may: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        return f"User({self.name})"  # never the secret, whatever prints it


@dataclass(frozen=True)
class Store:
    buckets: tuple[Bucket, ...]
    users: tuple[User, ...]


def store(buckets: Sequence[Mapping[str, Any]], users: Sequence[Mapping[str, Any]]) -> Store:
    """The declaration, or an ObjectsError that names everything that is wrong in it."""
    declared = Store(tuple(_bucket(each) for each in buckets), tuple(_user(each) for each in users))
    if problems := list(_problems(declared)):
        raise ObjectsError("\n".join(problems))
    return declared


def _bucket(given: Mapping[str, Any]) -> Bucket:
    lock = given.get("lock")
    return Bucket(
        name=given["name"],
        # A lock keeps versions, so the two come together.
        versioning=bool(given.get("versioning")) or lock is not None,
        lock=Lock(lock["mode"], lock["days"]) if lock else None,
        lifecycle=Lifecycle(**{key: value for key, value in (given.get("lifecycle") or {}).items() if value}),
        quota=(given.get("quota_gb") or 0) * 10**9,
        expire_existing=bool(given.get("expire_existing")),
    )


def _user(given: Mapping[str, Any]) -> User:
    may = given.get("may") or {}
    return User(given["name"], given["secret"], {verb: tuple(may[verb]) for verb in VERBS if may.get(verb)})


def _problems(declared: Store) -> Iterable[str]:
    names = [bucket.name for bucket in declared.buckets]
    for kind, all_names in (("buckets", names), ("users", [user.name for user in declared.users])):
        for name in sorted({name for name in all_names if all_names.count(name) > 1}):
            yield f"{kind}: {name} is declared twice; keep one of them"
    for bucket in declared.buckets:
        if not _BUCKET.fullmatch(bucket.name):
            yield f"buckets: {bucket.name!r} is no bucket name: 3 to 63 of a-z, 0-9 and -, no - at its ends"
        if bucket.lifecycle.noncurrent_days and not bucket.versioning:
            yield f"buckets: {bucket.name} has noncurrent_days and no versions; declare versioning: true"
        if bucket.lock and bucket.lock.days < 1:
            yield f"buckets: {bucket.name} is locked for {bucket.lock.days} days; a lock lasts 1 or more"
    for user in declared.users:
        if not _USER.fullmatch(user.name):
            yield f"users: {user.name!r} is no access key: 3 to 20 letters, digits, _ and -"
        if len(user.secret) < MIN_SECRET:
            yield f"users: the secret of {user.name} has {len(user.secret)} characters; it needs {MIN_SECRET}"
        if not user.may:
            yield f"users: {user.name} may do nothing; give it read, append or write of a bucket"
        for bucket_name in sorted({name for given in user.may.values() for name in given} - set(names)):
            yield f"users: {user.name} is given {bucket_name}, which is no declared bucket"
