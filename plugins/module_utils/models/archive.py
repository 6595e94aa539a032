# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a model's files from the mirror to the cold bucket; see `objects` for what lies where.

A file streams through, one part in memory at a time and a few on their way. Its SHA-256 is known when its
last byte is read, before the last part is sent: other bytes than declared never become an object.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from ansible_collections.stronghold.llm.plugins.module_utils.models import objects, weights
from ansible_collections.stronghold.llm.plugins.module_utils.models.sources import (
    PAUSES,
    Source,
    SourceError,
    Stamp,
    patiently,
)

AT_ONCE = 2  # parts on their way to the bucket; the SDK queues as many again, each of `part_bytes`


class ArchiveError(Exception):
    """Why the model is not in the bucket; names the file and the remedy."""


@dataclass(frozen=True)
class Manner:
    """How to copy: bytes a part (S3 wants 5 MiB at least and 10,000 parts at most), seconds between tries."""

    part_bytes: int = 64 * 2**20
    pauses: tuple[float, ...] = PAUSES


def index_key(model: str, files: Sequence[weights.File]) -> str:
    return f"models/{model}/{weights.digest(files)}.json"


def index_text(model: str, files: Sequence[weights.File]) -> str:
    """What a person reads who wants to know what lies in the bucket."""
    listed = [
        {"name": file.name, "size": file.size, "sha256": file.sha256, "object": objects.file_key(file)}
        for file in sorted(files, key=lambda file: file.name)
    ]
    return json.dumps({"model": model, "digest": weights.digest(files), "files": listed}, indent=2) + "\n"


def missing(cold: objects.Cold, model: str, files: Sequence[weights.File]) -> list[weights.File] | None:
    """The files that the bucket lacks; None when also the index is as it should be.

    Raises:
        SourceError: the bucket cannot be asked.
    """
    lacking = [file for file in files if patiently(functools.partial(cold.missing, file))]
    indexed = patiently(lambda: cold.text(index_key(model, files))) == index_text(model, files)
    return None if indexed and not lacking else lacking


def archive(
    cold: objects.Cold,
    model: str,
    files: Sequence[weights.File],
    source: Source,
    manner: Manner | None = None,
) -> list[str]:
    """Bring what the bucket lacks; the names of the files that were brought.

    Raises:
        ArchiveError: an unsafe name, a failed transfer, or bytes other than declared.
    """
    manner = manner or Manner()
    if unsafe := weights.name_problems(file.name for file in files):
        raise ArchiveError("; ".join(unsafe))
    try:
        lacking = missing(cold, model, files)
        for file in lacking or []:
            _bring(cold, file, source, manner)
        if lacking is not None:
            _put(cold, index_key(model, files), index_text(model, files))
    except SourceError as error:
        raise ArchiveError(
            f"{error}; whole files are kept: run again, and it goes on with the next"
        ) from error
    return [file.name for file in lacking or []]


def _bring(cold: objects.Cold, file: weights.File, source: Source, manner: Manner) -> None:
    key, bucket = objects.file_key(file), cold.bucket.name
    _abort_unfinished(cold, key)
    stream = _Checked(file, source, manner)
    cold.ask(
        key,
        lambda: cold.client.put_object(
            bucket,
            key,
            cast(BinaryIO, stream),
            file.size,
            metadata={objects.CHECKED: file.sha256},
            part_size=manner.part_bytes,
            num_parallel_uploads=AT_ONCE,
        ),
    )
    _put(
        cold,
        objects.parts_key(file),
        json.dumps({"part_bytes": manner.part_bytes, "sha256": stream.part_sums}),
    )


def _abort_unfinished(cold: objects.Cold, key: str) -> None:
    """What a killed run has sent is no object, but takes space; the SDK has no public way to ask for it."""
    bucket, client = cold.bucket.name, cold.client
    listed = cold.ask(key, lambda: client._list_multipart_uploads(bucket, prefix=key))
    for upload in listed.uploads:
        cold.ask(key, functools.partial(client._abort_multipart_upload, bucket, key, str(upload.upload_id)))


def _put(cold: objects.Cold, key: str, text: str) -> None:
    data = text.encode()
    cold.ask(
        key,
        lambda: cold.client.put_object(
            cold.bucket.name, key, io.BytesIO(data), len(data), content_type="application/json"
        ),
    )


class _Checked(io.RawIOBase):
    """A file of the source as a stream, of which the last byte comes only when all of them are right."""

    def __init__(self, file: weights.File, source: Source, manner: Manner) -> None:
        self._file, self._source, self._manner = file, source, manner
        self._stamp: Stamp | None = None
        self._sha256, self._offset = hashlib.sha256(), 0
        self.part_sums: list[str] = []

    def read(self, size: int = -1) -> bytes:
        """The next part: the SDK asks for one at a time, and whole parts can be asked for again."""
        file, stamp = self._file, self._stamp
        if stamp is None:
            stamp = self._stamp = patiently(lambda: self._source.stamp(file), self._manner.pauses)
            if stamp.size != file.size:
                raise ArchiveError(
                    f"{self._source.where(file)}: {stamp.size} bytes, declared {file.size}: correct the "
                    "bundle or the site"
                )
        length = min(size, file.size - self._offset)
        data = patiently(lambda: self._part(stamp, length), self._manner.pauses) if length else b""
        self._sha256.update(data)
        if data:
            self.part_sums.append(hashlib.sha256(data).hexdigest())
        self._offset += len(data)
        if self._offset == file.size and (actual := self._sha256.hexdigest()) != file.sha256:
            raise ArchiveError(
                f"{self._source.where(file)}: sha256 is {actual}, declared {file.sha256}: not archived; "
                "correct the bundle or the site"
            )
        return data

    def _part(self, stamp: Stamp, length: int) -> bytes:
        data = b"".join(self._source.read(self._file, stamp, self._offset, length))
        if len(data) != length:
            raise SourceError(
                f"{self._source.where(self._file)}: the line broke after byte {self._offset + len(data)}",
                passing=True,
            )
        return data
