# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's side: what is there is read, and what was planned is done, through the `minio` SDK.

The SDK lives in a virtual environment of its own (role object_client), which the host's Python does not see
by itself. Buckets are plain S3; users, policies and quotas are MinIO's admin API.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.objects import policies
from ansible_collections.stronghold.llm.plugins.module_utils.objects.changes import (
    Found,
    FoundBucket,
    FoundUser,
    Step,
)
from ansible_collections.stronghold.llm.plugins.module_utils.objects.declaration import (
    Bucket,
    Lifecycle,
    Lock,
    ObjectsError,
    Store,
    User,
)

CLIENT = Path("/opt/stronghold/objects")
_RULE = "stronghold"
_TIMEOUT_SECONDS = 30
# What a server says when a bucket has none of it: that is an answer, not an error.
_ABSENT = frozenset((
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
))  # fmt: skip


class Unreachable(ObjectsError):
    """Nobody there, no client to ask with, or a server that does not know us."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server is: HOST:PORT, and the root that vouches for it."""

    address: str
    ca: Path
    region: str = "us-east-1"


def find_client(folder: Path = CLIENT) -> None:
    """Let this Python import the SDK; it is the same Python that made the environment."""
    # In front: the host's own packages may hold another version of half of it.
    sys.path[:0] = [str(packages) for packages in folder.glob("lib/python3*/site-packages")]
    try:
        import minio  # noqa: F401
    except ImportError as error:
        raise Unreachable(
            f"no minio SDK in {folder} ({error}): the role object_client installs it there"
        ) from error


def _http(endpoint: Endpoint) -> Any:
    import urllib3

    context = ssl.create_default_context(cafile=str(endpoint.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return urllib3.PoolManager(
        ssl_context=context,
        timeout=urllib3.Timeout(connect=_TIMEOUT_SECONDS, read=_TIMEOUT_SECONDS),
        retries=urllib3.Retry(total=5, backoff_factor=0.4, status_forcelist=[500, 502, 503, 504]),
    )


def s3_client(endpoint: Endpoint, user: str = "", secret: str = "") -> Any:
    """The SDK's client of one user, or of nobody."""
    from minio import Minio

    return Minio(
        endpoint=endpoint.address,
        access_key=user or None,
        secret_key=secret or None,
        region=endpoint.region,
        http_client=_http(endpoint),
    )


def connect(endpoint: Endpoint, user: str, secret: str, client: Path = CLIENT) -> Server:
    """The store, once it has answered; Unreachable says why it does not."""
    find_client(client)
    from minio.error import S3Error
    from urllib3.exceptions import HTTPError

    server = Server(endpoint, user, secret)
    try:
        server.buckets()
    except (S3Error, HTTPError, OSError) as error:
        raise Unreachable(f"{endpoint.address} does not answer {user}: {error}") from error
    return server


class Server:
    """A store, as its root sees it."""

    def __init__(self, endpoint: Endpoint, user: str, secret: str) -> None:
        from minio import MinioAdmin
        from minio.credentials.providers import StaticProvider

        self._endpoint = endpoint
        self._s3 = s3_client(endpoint, user, secret)
        self._admin = MinioAdmin(
            endpoint=endpoint.address,
            credentials=StaticProvider(user, secret),
            region=endpoint.region,
            http_client=_http(endpoint),
        )

    def buckets(self) -> list[str]:
        return [str(bucket.name) for bucket in self._s3.list_buckets()]

    def read(self, declared: Store) -> Found:
        """Names of all buckets and users; the settings of those that are declared."""
        there = self.buckets()
        wanted = {bucket.name for bucket in declared.buckets}
        users = json.loads(self._admin.user_list())
        secrets = {user.name: user.secret for user in declared.users}
        return Found(
            buckets={
                name: self._bucket(name) if name in wanted else FoundBucket(Bucket(name), True, True)
                for name in there
            },
            users={name: self._user(name, about, secrets.get(name)) for name, about in users.items()},
            policies=json.loads(self._admin.policy_list()),
        )

    def do(self, step: Step) -> None:
        getattr(self, f"_{step.what}")(step.target)

    def _bucket(self, name: str) -> FoundBucket:
        lock = self._ask(self._s3.get_object_lock_config, name)
        versioning = self._s3.get_bucket_versioning(name)
        quota = json.loads(self._admin.bucket_quota_get(name))
        found = Bucket(
            name=name,
            versioning=versioning.status == "Enabled",
            # A bucket can be made for locks and have no rule yet, when a run died in between.
            lock=Lock((lock.mode or "").lower(), _days(lock)) if lock else None,
            lifecycle=_lifecycle(self._ask(self._s3.get_bucket_lifecycle, name)),
            quota=int(quota.get("quota") or 0),
        )
        objects = self._s3.list_objects(name, recursive=True, include_version=True)
        encryption = self._ask(self._s3.get_bucket_encryption, name)
        return FoundBucket(found, encryption is not None, next(iter(objects), None) is not None)

    def _user(self, name: str, about: Mapping[str, Any], secret: str | None) -> FoundUser:
        names = str(about.get("policyName") or "")
        return FoundUser(
            enabled=about.get("status") == "enabled",
            secret_works=secret is None or self._opens(name, secret),
            policies=tuple(sorted(part for part in names.split(",") if part)),
        )

    def _opens(self, user: str, secret: str) -> bool:
        """What is refused for want of rights was signed with the right secret."""
        from minio.error import S3Error

        try:
            s3_client(self._endpoint, user, secret).list_buckets()
        except S3Error as error:
            return str(error.code) == "AccessDenied"
        return True

    @staticmethod
    def _ask(question: Any, bucket: str) -> Any:
        from minio.error import S3Error

        try:
            return question(bucket)
        except S3Error as error:
            if error.code in _ABSENT:
                return None
            raise

    def _make_bucket(self, bucket: Bucket) -> None:
        self._s3.make_bucket(bucket.name, object_lock=bucket.lock is not None)

    def _encrypt(self, bucket: Bucket) -> None:
        from minio.sseconfig import Rule, SSEConfig

        self._s3.set_bucket_encryption(bucket.name, SSEConfig(Rule.new_sse_s3_rule()))

    def _keep_versions(self, bucket: Bucket) -> None:
        from minio.commonconfig import ENABLED
        from minio.versioningconfig import VersioningConfig

        self._s3.set_bucket_versioning(bucket.name, VersioningConfig(ENABLED))

    def _lock(self, bucket: Bucket) -> None:
        from minio.objectlockconfig import DAYS, ObjectLockConfig

        assert bucket.lock
        config = ObjectLockConfig(bucket.lock.mode.upper(), bucket.lock.days, DAYS)
        self._s3.set_object_lock_config(bucket.name, config)

    def _set_lifecycle(self, bucket: Bucket) -> None:
        from minio.lifecycleconfig import Expiration, LifecycleConfig, NoncurrentVersionExpiration, Rule

        wanted = bucket.lifecycle
        if wanted == Lifecycle():
            self._s3.delete_bucket_lifecycle(bucket.name)
            return
        rule = Rule(
            rule_id=_RULE,
            status="Enabled",
            rule_filter=_everything(),
            expiration=Expiration(days=wanted.expire_days) if wanted.expire_days else None,
            noncurrent_version_expiration=(
                NoncurrentVersionExpiration(noncurrent_days=wanted.noncurrent_days)
                if wanted.noncurrent_days
                else None
            ),
        )
        self._s3.set_bucket_lifecycle(bucket.name, LifecycleConfig([rule]))

    def _set_quota(self, bucket: Bucket) -> None:
        self._admin.bucket_quota_set(bucket.name, bucket.quota)

    def _write_policy(self, user: User) -> None:
        self._admin.policy_add(user.name, policy=policies.document(user))

    def _add_user(self, user: User) -> None:
        self._admin.user_add(user.name, user.secret)

    def _give_policy(self, user: User) -> None:
        self._admin.policy_set(user.name, user=user.name)


def _everything() -> Any:
    from minio.commonconfig import Filter

    return Filter(prefix="")


def _days(lock: Any) -> int:
    return int(lock.duration or 0) * (365 if lock.duration_unit == "Years" else 1)


def _lifecycle(config: Any) -> Lifecycle:
    """All rules taken together: ours is one, and somebody's own would show as a difference."""
    expire = noncurrent = None
    for rule in config.rules if config else ():
        if rule.status == "Enabled":
            expire = rule.expiration.days if rule.expiration else expire
            versions = rule.noncurrent_version_expiration
            noncurrent = versions.noncurrent_days if versions else noncurrent
    return Lifecycle(expire, noncurrent)
