# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a model's files are copied from: anything that serves byte ranges and says when a file has changed.

`Mirror` is the site's HTTPS mirror, with the standard library only; `objects.Cold` is the cold bucket.
"""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Protocol, TypeVar

from ansible_collections.stronghold.llm.plugins.module_utils.models import weights

CHUNK = 1024 * 1024  # bytes: what is read, hashed and written at a time
TIMEOUT = 60  # seconds without a byte

# Seconds between tries. A server that is restarted is back within them; one that stays away is reported.
PAUSES = (1.0, 2.0, 4.0, 8.0)

T = TypeVar("T")


@dataclass(frozen=True)
class Stamp:
    """What a file was when its copy began: size in bytes and the server's ETag."""

    size: int
    etag: str


@dataclass(frozen=True)
class PartSums:
    """The SHA-256 (hex) of each part of `part_bytes` bytes, in order; the last part may be shorter.

    They say where a file is damaged. What is true is said by the declared SHA-256 of the whole alone.
    """

    part_bytes: int
    sha256: tuple[str, ...]


class SourceError(Exception):
    """Why nothing came; `passing` when another try may go better."""

    def __init__(self, text: str, *, passing: bool) -> None:
        super().__init__(text)
        self.passing = passing


class Source(Protocol):
    @property
    def remedy(self) -> str:
        """What to do about a file that is not the declared one."""

    def where(self, file: weights.File) -> str:
        """The file's address there, for messages."""

    def stamp(self, file: weights.File) -> Stamp: ...

    def part_sums(self, file: weights.File) -> PartSums | None: ...

    def read(self, file: weights.File, stamp: Stamp, offset: int, length: int) -> Iterator[bytes]:
        """`length` bytes from `offset` on, of the file as it was at `stamp`; fewer when the line breaks."""


def patiently(
    action: Callable[[], T], pauses: Sequence[float] = PAUSES, stop: threading.Event | None = None
) -> T:
    """`action`, tried again after each of `pauses` while what fails may pass; `stop` ends the waiting."""
    stop = stop or threading.Event()
    for pause in pauses:
        try:
            return action()
        except SourceError as error:
            if not error.passing or stop.wait(pause):
                raise
    return action()


class Mirror:
    """An HTTPS server inside the site, which the site's own root vouches for; no proxy in between."""

    remedy = "correct the bundle or the site's declaration"

    def __init__(self, url: str, ca_path: str) -> None:
        self._url = url.rstrip("/")
        context = ssl.create_default_context(cafile=ca_path)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def where(self, file: weights.File) -> str:
        return f"{self._url}/{urllib.parse.quote(file.name)}"

    def stamp(self, file: weights.File) -> Stamp:
        request = urllib.request.Request(self.where(file), method="HEAD")
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                return Stamp(int(response.headers["Content-Length"] or 0), response.headers["ETag"] or "")
        except (OSError, HTTPException) as error:
            raise self._error(file, error) from error

    def part_sums(self, file: weights.File) -> PartSums | None:
        return None

    def read(self, file: weights.File, stamp: Stamp, offset: int, length: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if stamp.etag:
            headers["If-Match"] = stamp.etag
        request = urllib.request.Request(self.where(file), headers=headers)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                if response.status != 206:
                    raise SourceError(f"{self.where(file)}: the server serves no ranges", passing=False)
                while chunk := response.read(CHUNK):
                    yield chunk
        except (OSError, HTTPException) as error:
            raise self._error(file, error) from error

    def _error(self, file: weights.File, error: Exception) -> SourceError:
        # urllib wraps a certificate that is not trusted; trying again does not make it so.
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        final = isinstance(reason, ssl.SSLCertVerificationError)
        if isinstance(error, urllib.error.HTTPError):
            final = error.code < 500
            if error.code == 412:
                return SourceError(f"{self.where(file)}: changed while it was copied", passing=False)
        return SourceError(
            f"{self.where(file)}: {error}; is the file in the bundle, and the mirror up?", passing=not final
        )
