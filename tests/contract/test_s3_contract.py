# SPDX-License-Identifier: GPL-3.0-or-later
"""What this project asks of an S3 server, whichever it is: clients are only given `stronghold_s3_endpoint`.

Run against MinIO in `make test`, and against a second, unrelated server in `make test-all`.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import secrets
import socket
import ssl
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.objects.server import s3_client
from minio import Minio
from minio.commonconfig import COMPLIANCE, CopySource, Filter
from minio.error import S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.retention import Retention
from minio.versioningconfig import ENABLED, VersioningConfig

from tests.contract.servers import ROOT_USER, Running

PART = 5 * 1024 * 1024  # the smallest part that S3 knows
LOCKED = {"AccessDenied", "InvalidRequest", "ObjectLocked"}  # servers differ in the word
BIG = secrets.token_bytes(2 * PART + 12345)


@pytest.fixture(scope="module")
def s3(store: Running) -> Minio:
    return s3_client(store.endpoint, ROOT_USER, store.root_password)


@pytest.fixture
def bucket(s3: Minio) -> str:
    name = f"contract-{secrets.token_hex(6)}"
    s3.make_bucket(name)
    return name


def put(s3: Minio, bucket: str, key: str, content: bytes, **more: Any) -> Any:
    return s3.put_object(bucket, key, io.BytesIO(content), len(content), **more)


def get(s3: Minio, bucket: str, key: str, **more: Any) -> bytes:
    answer = s3.get_object(bucket, key, **more)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def refused(act: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(S3Error) as error:
        act(*arguments, **more)
    return str(error.value.code)


@pytest.mark.parametrize("content", [b"", b"x", secrets.token_bytes(70_000)], ids=["empty", "one", "some"])
@pytest.mark.parametrize("key", ["plain", "a/folder/name", "sp ace+plus&ü", "journal/2026-11-25T00:00:00.gz"])
def test_what_is_put_is_what_is_got(s3: Minio, bucket: str, key: str, content: bytes) -> None:
    put(s3, bucket, key, content)
    assert get(s3, bucket, key) == content
    assert s3.stat_object(bucket, key).size == len(content)


def test_a_big_object_goes_in_parts_and_comes_back_whole(s3: Minio, bucket: str) -> None:
    put(s3, bucket, "big", BIG, part_size=PART, num_parallel_uploads=2)
    assert hashlib.sha256(get(s3, bucket, "big")).digest() == hashlib.sha256(BIG).digest()


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (PART - 10, 20), (len(BIG) - 7, 7)])
def test_a_copy_that_was_cut_goes_on_by_range(s3: Minio, bucket: str, offset: int, length: int) -> None:
    put(s3, bucket, "big", BIG, part_size=PART)
    assert get(s3, bucket, "big", offset=offset, length=length) == BIG[offset : offset + length]


def test_metadata_and_etag_tell_an_object_from_another(s3: Minio, bucket: str) -> None:
    digest = hashlib.sha256(b"one").hexdigest()
    put(s3, bucket, "key", b"one", metadata={"sha256": digest})
    before = s3.stat_object(bucket, "key")
    assert before.metadata["x-amz-meta-sha256"] == digest
    put(s3, bucket, "key", b"two")
    assert s3.stat_object(bucket, "key").etag != before.etag


def test_lists_are_whole_sorted_and_by_prefix(s3: Minio, bucket: str) -> None:
    keys = sorted([f"m/{number:03}" for number in range(40)] + ["n/1", "top"])
    for key in keys:
        put(s3, bucket, key, b"x")
    assert [each.object_name for each in s3.list_objects(bucket, recursive=True)] == keys
    assert {each.object_name for each in s3.list_objects(bucket)} == {"m/", "n/", "top"}
    assert len(list(s3.list_objects(bucket, prefix="m/", recursive=True))) == 40
    assert [each.object_name for each in s3.list_objects(bucket, prefix="n/", start_after="n/0")] == ["n/1"]


def test_what_is_not_there_is_said_to_be_missing(s3: Minio, bucket: str) -> None:
    assert refused(get, s3, bucket, "none") == "NoSuchKey"
    assert refused(get, s3, "no-such-bucket-at-all", "none") == "NoSuchBucket"


def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(s3: Minio, bucket: str) -> None:
    put(s3, bucket, "key", b"x")
    s3.remove_object(bucket, "key")
    s3.remove_object(bucket, "key")
    assert refused(get, s3, bucket, "key") == "NoSuchKey"


def test_a_copy_inside_the_store_is_equal(s3: Minio, bucket: str) -> None:
    put(s3, bucket, "key", b"content")
    s3.copy_object(bucket, "copy", CopySource(bucket, "key"))
    assert get(s3, bucket, "copy") == b"content"


def test_versions_are_kept_through_overwrite_and_delete(s3: Minio, bucket: str) -> None:
    s3.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    first = put(s3, bucket, "key", b"first").version_id
    put(s3, bucket, "key", b"second")
    s3.remove_object(bucket, "key")
    assert refused(get, s3, bucket, "key") == "NoSuchKey"
    assert get(s3, bucket, "key", version_id=first) == b"first"


def test_all_versions_are_listed(s3: Minio, bucket: str, store: Running) -> None:
    if store.name == "versitygw":
        pytest.skip("versitygw writes times of versions with nine decimals, which the SDK does not read")
    s3.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    put(s3, bucket, "key", b"first")
    put(s3, bucket, "key", b"second")
    s3.remove_object(bucket, "key")
    versions = list(s3.list_objects(bucket, include_version=True))
    assert [each.is_delete_marker for each in versions].count(True) == 1
    assert len(versions) == 3


def test_a_locked_version_outlives_its_owner(s3: Minio) -> None:
    name = f"locked-{secrets.token_hex(6)}"
    s3.make_bucket(name, object_lock=True)
    s3.set_object_lock_config(name, ObjectLockConfig(COMPLIANCE, 1, DAYS))
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
    version = put(s3, name, "key", b"kept", retention=Retention(COMPLIANCE, until)).version_id
    assert refused(s3.remove_object, name, "key", version_id=version) in LOCKED
    sooner = Retention(COMPLIANCE, datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1))
    refused(s3.set_object_retention, name, "key", sooner, version_id=version)
    assert get(s3, name, "key", version_id=version) == b"kept"


def test_a_lifecycle_comes_back_as_it_was_set(s3: Minio, bucket: str, store: Running) -> None:
    if store.name == "versitygw":
        pytest.skip("versitygw answers NotImplemented: what expires there is its file system's business")
    rule = Rule("Enabled", rule_filter=Filter(prefix=""), rule_id="r", expiration=Expiration(days=30))
    s3.set_bucket_lifecycle(bucket, LifecycleConfig([rule]))
    [found] = s3.get_bucket_lifecycle(bucket).rules
    assert (found.rule_id, found.expiration.days) == ("r", 30)


def test_a_wrong_key_and_no_key_are_refused(s3: Minio, bucket: str, store: Running) -> None:
    put(s3, bucket, "key", b"x")
    wrong = s3_client(store.endpoint, ROOT_USER, "certainly-not-the-secret")
    assert refused(get, wrong, bucket, "key") == "SignatureDoesNotMatch"
    stranger = s3_client(store.endpoint, "nobody-at-all", "certainly-not-the-secret")
    assert refused(get, stranger, bucket, "key") in {"InvalidAccessKeyId", "XAdminUserNotFound"}
    anonymous = Minio(store.endpoint.address, http_client=s3._http)
    assert refused(get, anonymous, bucket, "key") == "AccessDenied"


def test_plaintext_gets_no_answer_of_the_store(store: Running) -> None:
    host, _, port = store.endpoint.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            said = plain.recv(200)
        except ConnectionResetError:
            said = b""
    assert not said.startswith(b"HTTP/1.1 200")


def test_tls_1_3_is_spoken(store: Running) -> None:
    host, _, port = store.endpoint.address.partition(":")
    context = ssl.create_default_context(cafile=str(store.endpoint.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        assert wrapped.version() == "TLSv1.3"
