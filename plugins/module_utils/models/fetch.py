# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a model's files from the site's mirror to the hot tier; standard library only.

Files arrive in ``<store>/.incoming/<model>-<digest>/`` and are resumed there after an interruption. Only a
whole, verified set is renamed into ``<store>/<model>/<digest>/``: whatever is there is complete.
"""

from __future__ import annotations

import shutil
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from ansible_collections.stronghold.llm.plugins.module_utils.models import weights

CHUNK = 4 * 1024 * 1024  # bytes
STREAMS = 4  # one TCP stream with TLS does not fill a 25 Gb/s link

# Opens a URL from a byte offset on: (url, offset) -> (stream, whether the offset was honoured).
Opener = Callable[[str, int], tuple[IO[bytes], bool]]


class FetchError(Exception):
    """Why the model is not in the store; names the file and the remedy."""


def https_opener(ca_path: str) -> Opener:
    """TLS 1.3 to a server that the site's own root vouches for, and no proxy in between."""
    context = ssl.create_default_context(cafile=ca_path)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )

    def start(url: str, offset: int) -> tuple[IO[bytes], bool]:
        request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
        response = opener.open(request, timeout=60)
        return response, response.status == 206

    return start


def wanted(model: str, files: Sequence[weights.File], store: Path) -> Path:
    """Where this set of files lies, or will lie."""
    return store / model / weights.digest(files)


def is_stored(folder: Path, files: Sequence[weights.File]) -> bool:
    """Whether the set is there with the right list and sizes. Bytes are read by `weights.problems` alone."""
    try:
        listed = (folder / weights.SUMS).read_text() == weights.sums(files)
        return listed and all((folder / file.name).stat().st_size == file.size for file in files)
    except OSError:
        return False


def fetch(model: str, files: Sequence[weights.File], base_url: str, store: Path, start: Opener) -> Path:
    """Bring what is missing and return the folder.

    Raises:
        FetchError: an unsafe name, a folder in the way, a failed transfer, or bytes other than declared.
    """
    if unsafe := weights.name_problems(file.name for file in files):
        raise FetchError("; ".join(unsafe))
    target = wanted(model, files, store)
    if is_stored(target, files):
        return target
    if target.exists():
        raise FetchError(f"{target} is not what its name says: move it away, then run again")
    incoming = store / ".incoming" / f"{model}-{target.name}"
    with ThreadPoolExecutor(STREAMS) as pool:
        for _ in pool.map(lambda file: _bring(file, base_url, incoming / file.name, start), files):
            pass
    for path in incoming.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o444)
    (incoming / weights.SUMS).write_text(weights.sums(files))
    (incoming / weights.SUMS).chmod(0o444)
    if found := weights.problems(incoming, target.name):
        raise FetchError("; ".join(found))
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    incoming.rename(target)
    return target


def _bring(file: weights.File, base_url: str, path: Path, start: Opener) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    have = path.stat().st_size if path.exists() else 0
    if have > file.size:  # not a part of this file: begin again
        path.unlink()
        have = 0
    url = f"{base_url.rstrip('/')}/{urllib.parse.quote(file.name)}"
    if have < file.size:
        try:
            stream, resumed = start(url, have)
            with stream, path.open("ab" if resumed else "wb") as target:
                shutil.copyfileobj(stream, target, CHUNK)
        except OSError as error:  # urllib's errors are OSErrors too
            raise FetchError(f"{url}: {error}; is the file in the bundle, and the mirror up?") from error
    if (actual := weights.sha256(path)) != file.sha256:
        path.unlink()  # a resumed part of something else would never come right
        raise FetchError(f"{url}: sha256 is {actual}, declared {file.sha256}: correct the bundle or the site")
