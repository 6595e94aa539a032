# SPDX-License-Identifier: GPL-3.0-or-later
"""The store is tried: what it keeps on its disks, what its lock holds against, and whom it lets in.

Each function does one thing to a running store and tells what it saw, for a claim to judge. Two buckets are
there for this alone; the names of the objects are fixed, so that many runs leave no more than one.
"""

from __future__ import annotations

import io
import mmap
import secrets
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.objects.server import Endpoint, s3_client

BUCKET, LOCKED_BUCKET = "stronghold-proof", "stronghold-proof-locked"
_KEY = "proof"
# Large enough to lie in files of its own, and repeated, so that every slice of it holds the pattern.
_REPEATS = 65536
_LOCKED_CONTENT = b"This version must outlive whoever wants it gone.\n"


class _RefusedError(Exception):
    """What the SDK reports without raising, in the same way as what it raises."""


def encrypted_at_rest(s3: Any, drives: Sequence[Path]) -> dict[str, Any]:
    """A pattern is stored and looked for in the raw files, and beside it the same pattern in clear."""
    pattern = secrets.token_hex(16).encode()
    content = pattern * _REPEATS
    s3.put_object(BUCKET, _KEY, io.BytesIO(content), len(content))
    headers = s3.stat_object(BUCKET, _KEY).metadata
    with tempfile.TemporaryDirectory(prefix="stronghold-proof-") as folder:
        clear = Path(folder, "clear")
        clear.write_bytes(content)
        control = find(pattern, [clear])
    files = [file for drive in drives for file in (drive / BUCKET).rglob("*") if file.is_file()]
    return {
        "header": headers.get("x-amz-server-side-encryption", ""),
        "reads_back": _read(s3, BUCKET, _KEY) == content,
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "found_in": [str(file) for file in find(pattern, files)],
        "control_found": len(control) == 1,
    }


def find(pattern: bytes, files: Sequence[Path]) -> list[Path]:
    """The files that hold the pattern."""
    found = []
    for file in files:
        with file.open("rb") as opened:
            if (
                file.stat().st_size
                and mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ).find(pattern) >= 0
            ):
                found.append(file)
    return found


def lock_holds(s3: Any) -> dict[str, Any]:
    """Root tries to be rid of a locked version: by deleting, by bypassing, by shortening its time."""
    from minio.commonconfig import GOVERNANCE
    from minio.deleteobjects import DeleteObject
    from minio.retention import Retention

    version = _locked_version(s3)
    until = s3.get_object_retention(LOCKED_BUCKET, _KEY, version_id=version).retain_until_date

    def bypass() -> None:
        one = [DeleteObject(_KEY, version)]
        for error in s3.remove_objects(LOCKED_BUCKET, one, bypass_governance_mode=True):
            raise _RefusedError(error.code)

    soon = Retention(GOVERNANCE, datetime.now(UTC) + timedelta(minutes=10))
    return {
        "locked_until": until.isoformat(),
        "delete": _said(lambda: s3.remove_object(LOCKED_BUCKET, _KEY, version_id=version)),
        "bypass": _said(bypass),
        "shorten": _said(lambda: s3.set_object_retention(LOCKED_BUCKET, _KEY, soon, version_id=version)),
        "reads_equal": _said(lambda: _compare(s3, version)) == "done",
        # The same delete, of something that is not locked: the probe can delete.
        "control": _said(lambda: s3.remove_object(BUCKET, _unlocked(s3))),
    }


def _compare(s3: Any, version: str) -> None:
    if _read(s3, LOCKED_BUCKET, _KEY, version) != _LOCKED_CONTENT:
        raise _RefusedError("changed")


def _locked_version(s3: Any) -> str:
    """The newest version that is still locked; a new one where there is none."""
    for version in s3.list_objects(LOCKED_BUCKET, prefix=_KEY, include_version=True):
        if version.is_delete_marker:
            continue
        retention = s3.get_object_retention(LOCKED_BUCKET, _KEY, version_id=version.version_id)
        if retention and retention.retain_until_date > datetime.now(UTC):
            return str(version.version_id)
    content = io.BytesIO(_LOCKED_CONTENT)
    return str(s3.put_object(LOCKED_BUCKET, _KEY, content, len(_LOCKED_CONTENT)).version_id)


def _unlocked(s3: Any) -> str:
    name = f"{_KEY}-unlocked"
    s3.put_object(BUCKET, name, io.BytesIO(b"x"), 1)
    return name


def strangers(endpoint: Endpoint, user: str, secret: str) -> dict[str, str]:
    """What the store says to root, to root with a wrong password, to a stranger, and to who says no name."""

    def ask(*credentials: str) -> str:
        return _said(lambda: _read(s3_client(endpoint, *credentials), BUCKET, _KEY))

    return {
        "root": ask(user, secret),
        "wrong_secret": ask(user, secrets.token_urlsafe(30)),
        "unknown_user": ask("nobody-of-this-site", secrets.token_urlsafe(30)),
        "anonymous": ask(),
    }


def _said(act: Callable[[], Any]) -> str:
    """done, or the reason why not."""
    from minio.error import S3Error

    try:
        act()
    except S3Error as error:
        return str(error.code)
    except _RefusedError as error:
        return str(error)
    return "done"


def _read(s3: Any, bucket: str, key: str, version: str | None = None) -> bytes:
    answer = s3.get_object(bucket, key, version_id=version)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()
