# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights out of the cold bucket and off the hot tier, on this machine itself, whose disk and CPU are real.

The bucket is a MinIO on the loopback, with TLS and its own encryption as the site has it; nothing of it is
in the page cache when it is asked. The network that lies between the two on a site is missing here.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.models import fetch, objects, weights

from tests.bench import report
from tests.contract import servers

MIB = 2**20
SIZE = 192 * MIB
BLOCK = MIB
ROUNDS = 5
AT_ONCE = 4  # as many parts as a copy takes


@contextmanager
def cold_bucket(folder: Path, file: weights.File, data: bytes) -> Iterator[tuple[objects.Cold, Path]]:
    """A bucket that holds the file, and where the server keeps it."""
    with servers.minio(folder) as store:
        cold = objects.Cold(
            objects.Bucket(
                store.endpoint.address,
                "weights",
                servers.ROOT_USER,
                store.root_password,
                ca_path=str(store.endpoint.ca),
                region="us-east-1",
            )
        )
        cold.client.make_bucket("weights")
        cold.client.put_object(
            "weights", objects.file_key(file), BytesIO(data), file.size, part_size=16 * MIB
        )
        yield cold, store.data


def forget(folder: Path) -> None:
    """Off the page cache with what lies below."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def write_raw(path: Path, data: bytes) -> None:
    """The least that bringing the bytes here can cost: past the cache, and flushed."""
    with mmap.mmap(-1, BLOCK) as page:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_DIRECT)
        for place in range(0, len(data), BLOCK):
            page[:] = data[place : place + BLOCK]
            os.write(handle, page)
        os.fsync(handle)
        os.close(handle)


def read_hot(path: Path) -> int:
    """Into memory, past the cache, several parts at once, as a loader of safetensors does."""

    def part(number: int) -> int:
        length = SIZE // AT_ONCE
        handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, length) as memory:
            view, done = memoryview(memory), 0
            while done < length:
                done += os.preadv(handle, [view[done : done + BLOCK]], number * length + done)
            view.release()
        os.close(handle)
        return done

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(part, range(AT_ONCE)))


def read_cold(cold: objects.Cold, file: weights.File) -> int:
    """The same from the bucket, nothing of it kept on a disk."""
    stamp = cold.stamp(file)
    length = SIZE // AT_ONCE

    def part(number: int) -> int:
        return sum(len(chunk) for chunk in cold.read(file, stamp, number * length, length))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(part, range(AT_ONCE)))


def measure() -> dict[str, list[float]]:
    """Bytes per second of each way, once for each round; the ways take turns."""
    data = os.urandom(SIZE)
    file = weights.File("weights.safetensors", hashlib.sha256(data).hexdigest(), SIZE)
    report.FOLDER.mkdir(parents=True, exist_ok=True)
    speeds: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(dir=report.FOLDER) as place,
        cold_bucket(Path(place) / "s3", file, data) as cold,
    ):
        bucket, kept = cold
        hot, store = Path(place) / "hot", Path(place) / "store"

        def copy() -> None:
            store.mkdir()
            fetch.fetch("bench", [file], bucket, store)

        ways: dict[str, Callable[[], object]] = {
            "raw write": lambda: write_raw(hot, data),
            "cold to hot": copy,
            "load from hot": lambda: read_hot(hot),
            "load from cold": lambda: read_cold(bucket, file),
        }
        for _ in range(ROUNDS):
            for name, way in ways.items():
                forget(kept)
                began = time.perf_counter()
                way()
                speeds.setdefault(name, []).append(SIZE / (time.perf_counter() - began))
            shutil.rmtree(store)
    return speeds


if __name__ == "__main__":
    print(json.dumps({name: [round(each / 1e6) for each in found] for name, found in measure().items()}))
