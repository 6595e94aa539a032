# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs see what is wrong: each runs on a store that is right, and on one that is broken."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.objects import (
    changes,
    declaration,
    proof,
    server,
)

from tests.contract import servers
from tests.contract.servers import ROOT_USER, Running

PROOF = declaration.store(
    [{"name": proof.BUCKET}, {"name": proof.LOCKED_BUCKET, "lock": {"mode": "compliance", "days": 1}}], []
)


def made(running: Running, declared: declaration.Store = PROOF) -> Any:
    root = server.connect(running.endpoint, ROOT_USER, running.root_password)
    for step in changes.plan(root.read(declared), declared).steps:
        root.do(step)
    return server.s3_client(running.endpoint, ROOT_USER, running.root_password)


def test_a_right_store_passes_every_proof_again_and_again(minio: Running) -> None:
    s3 = made(minio)
    for _ in range(3):
        seen = proof.encrypted_at_rest(s3, [minio.data])
        assert seen["header"] == "AES256"
        assert seen["reads_back"]
        assert seen["control_found"]
        assert seen["found_in"] == []
        assert seen["bytes"] > 1_000_000  # the data was looked at, not only its name
        lock = proof.lock_holds(s3)
        assert "done" not in (lock["delete"], lock["bypass"], lock["shorten"])
        assert lock["reads_equal"]
        assert lock["control"] == "done"
    assert len(list(s3.list_objects(proof.LOCKED_BUCKET, include_version=True))) == 1
    said = proof.strangers(minio.endpoint, ROOT_USER, minio.root_password)
    assert said.pop("root") == "done"
    assert "done" not in said.values()


def test_a_store_without_a_key_is_seen_to_write_in_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same program without MINIO_KMS_*: the pattern is in its files."""
    start = servers.running

    def without_key(command: list[str], settings: dict[str, str], *rest: Any) -> Any:
        return start(command, {k: v for k, v in settings.items() if "KMS" not in k}, *rest)

    monkeypatch.setattr(servers, "running", without_key)
    with servers.minio(tmp_path) as running:
        s3 = server.s3_client(running.endpoint, ROOT_USER, running.root_password)
        s3.make_bucket(proof.BUCKET)
        seen = proof.encrypted_at_rest(s3, [running.data])
    assert seen["header"] == ""
    assert seen["found_in"]


def test_a_lock_that_root_can_bypass_is_seen(minio: Running) -> None:
    s3 = made(minio)
    from minio.commonconfig import GOVERNANCE
    from minio.objectlockconfig import DAYS, ObjectLockConfig

    other = "governance-only"
    s3.make_bucket(other, object_lock=True)
    s3.set_object_lock_config(other, ObjectLockConfig(GOVERNANCE, 1, DAYS))
    s3.put_object(other, "proof", io.BytesIO(b"x"), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "LOCKED_BUCKET", other)
        seen = proof.lock_holds(s3)
    assert seen["bypass"] == "done"
    assert not seen["reads_equal"]
