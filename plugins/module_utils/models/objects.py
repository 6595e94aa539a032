# SPDX-License-Identifier: GPL-3.0-or-later
"""The cold bucket of weights, on any S3 server: ``sha256/<digest>`` is a file, ``parts/<digest>.json`` has
the sums of its parts, ``models/<model>/<digest>.json`` says what a model is. Needs the ``minio`` SDK.

A file's key is its digest, and it carries the digest as metadata too, which only a writer sets who has seen
every byte: that much a look without reading can say.
"""

from __future__ import annotations

import functools
import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import urllib3
from ansible_collections.stronghold.llm.plugins.module_utils.models import weights
from ansible_collections.stronghold.llm.plugins.module_utils.models.sources import (
    CHUNK,
    TIMEOUT,
    PartSums,
    SourceError,
    Stamp,
)
from minio import Minio
from minio.error import InvalidResponseError, S3Error

CHECKED = "x-amz-meta-stronghold-sha256"

T = TypeVar("T")


@dataclass(frozen=True)
class Bucket:
    """A bucket, who asks, and who vouches for the server; `endpoint` is host:port, with or without https://."""

    endpoint: str
    name: str
    access_key: str
    secret_key: str = field(repr=False)
    ca_path: str
    region: str


def read_secret(path: Path) -> str:
    """A secret from a file that is root's alone.

    Raises:
        SourceError: it is not there, or others may read it.
    """
    try:
        if path.stat().st_mode & 0o077 or path.stat().st_uid not in (0, os.geteuid()):
            raise SourceError(f"{path}: others than root may read it: chmod 600, chown root", passing=False)
        return path.read_text().strip()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}: it holds the secret key", passing=False) from error


def connect(given: Mapping[str, Any]) -> Cold:
    """The bucket that a module was given (`arguments.BUCKET`).

    Raises:
        SourceError: no secret, or an endpoint without TLS.
    """
    secret = read_secret(Path(given["secret_file"]))
    return Cold(
        Bucket(
            given["endpoint"],
            given["bucket"],
            given["access_key"],
            secret,
            ca_path=given["ca_path"],
            region=given["region"],
        )
    )


def file_key(file: weights.File) -> str:
    return f"sha256/{file.sha256}"


def parts_key(file: weights.File) -> str:
    return f"parts/{file.sha256}.json"


class Cold:
    """The bucket as a source of files."""

    remedy = "remove the object, and role model_archive brings a good one; or correct the site's declaration"

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        context = ssl.create_default_context(cafile=bucket.ca_path)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._host = bucket.endpoint.removeprefix("https://").rstrip("/")
        if "/" in self._host:
            raise SourceError(f"{bucket.endpoint}: host:port, spoken to with TLS only", passing=False)
        # Tries are counted in one place, `sources.patiently`, and not here as well.
        pool = urllib3.PoolManager(
            ssl_context=context, retries=False, timeout=urllib3.Timeout(connect=10, read=TIMEOUT), maxsize=16
        )
        self.client = Minio(
            self._host, bucket.access_key, bucket.secret_key, region=bucket.region, http_client=pool
        )

    def where(self, file: weights.File) -> str:
        return self.url(file_key(file))

    def url(self, key: str) -> str:
        return f"https://{self._host}/{self.bucket.name}/{key}"

    def stamp(self, file: weights.File) -> Stamp:
        there = self.ask(file_key(file), lambda: self.client.stat_object(self.bucket.name, file_key(file)))
        return Stamp(there.size or 0, there.etag or "")

    def part_sums(self, file: weights.File) -> PartSums | None:
        text = self.text(parts_key(file))
        try:
            known = json.loads(text or "")
            sums = PartSums(int(known["part_bytes"]), tuple(known["sha256"]))
        except (ValueError, KeyError, TypeError):
            return None
        fits = sums.part_bytes > 0 and len(sums.sha256) == -(-file.size // sums.part_bytes)
        return sums if fits else None

    def read(self, file: weights.File, stamp: Stamp, offset: int, length: int) -> Iterator[bytes]:
        key = file_key(file)
        response = self.ask(
            key,
            lambda: self.client.get_object(
                self.bucket.name, key, offset, length, request_headers={"If-Match": f'"{stamp.etag}"'}
            ),
        )
        try:
            yield from response.stream(CHUNK)
        except urllib3.exceptions.HTTPError as error:
            raise self._error(key, error) from error
        finally:
            response.close()
            response.release_conn()

    def missing(self, file: weights.File) -> str:
        """What the bucket lacks of the file, asked without reading it; '' when it is all there."""
        for key in (parts_key(file), file_key(file)):
            try:
                there = self.ask(key, functools.partial(self.client.stat_object, self.bucket.name, key))
            except NotThereError:
                return f"{self.url(key)} is not there"
        if there.size != file.size:
            return f"{self.url(key)} has {there.size} bytes, declared {file.size}"
        if (there.metadata or {}).get(CHECKED) != file.sha256:
            return f"{self.url(key)} was not checked when it was written"
        return ""

    def text(self, key: str) -> str | None:
        """A small object; None when it is not there."""

        def get() -> str:
            response = self.client.get_object(self.bucket.name, key)
            try:
                return str(response.data, "utf-8", errors="replace")
            finally:
                response.release_conn()

        try:
            return self.ask(key, get)
        except NotThereError:
            return None

    def ask(self, key: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except (S3Error, InvalidResponseError, urllib3.exceptions.HTTPError) as error:
            raise self._error(key, error) from error

    def _error(self, key: str, error: Exception) -> SourceError:
        url = self.url(key)
        if isinstance(error, S3Error):
            if error.code in ("NoSuchKey", "NoSuchObject"):
                return NotThereError(f"{url}: is not there; role model_archive brings it", passing=False)
            if error.code == "PreconditionFailed":
                return SourceError(f"{url}: changed while it was copied: run again", passing=False)
            passing = error.response.status >= 500
            return SourceError(
                f"{url}: {error.code}: {error.message} (as {self.bucket.access_key})", passing=passing
            )
        final = isinstance(error, urllib3.exceptions.SSLError)
        return SourceError(f"{url}: {error}; is the object store up?", passing=not final)


class NotThereError(SourceError):
    """The bucket has no such object."""
