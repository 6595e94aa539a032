#!/opt/stronghold/objects/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves closed journal files from the warm tier to the object store, and brings them back.

archive_logs.py run [--now HOST]   closes, packs, stores, removes what is due; of HOST all, whatever its age
archive_logs.py list [HOST]        the keys in the store
archive_logs.py fetch KEY FOLDER   one file, checked and unpacked, for `journalctl --file`
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import archive
from archive import Digest, JournalFile, Step

CONFIG = Path("/etc/stronghold/log-archive.json")
CREDENTIALS = Path("/etc/stronghold/log-archive.credentials")
# The front refuses while this file is there.
FULL = Path("/run/stronghold-logs/full")
METRICS = Path("/var/lib/prometheus/node-exporter/log_archive.prom")
PART = ".part"
PACKED = ".zst"
CHUNK = 1 << 20
# That its socket will start it again is what is wanted.
SYSTEMCTL_STOP = ["systemctl", "--no-warn", "stop"]
ZSTD = ["zstd", "--quiet", "--single-thread"]
NOT_READ = ""  # a digest that equals none: of a file that was only listed


class Store:
    """One bucket of an S3 store, over TLS 1.3 with the site's CA."""

    def __init__(self, config: dict[str, Any]) -> None:
        import urllib3  # here, as a site without a cold tier has neither
        from minio import Minio

        folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", CREDENTIALS.parent))
        secrets = json.loads((folder / CREDENTIALS.name).read_text())
        context = ssl.create_default_context(cafile=config["ca"])
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        pool = urllib3.PoolManager(
            ssl_context=context, timeout=60, retries=urllib3.Retry(2, backoff_factor=0.5)
        )
        self._bucket = config["bucket"]
        self._client = Minio(
            endpoint=config["endpoint"],
            access_key=secrets["access_key"],
            secret_key=secrets["secret_key"],
            region=config["region"],
            secure=True,
            http_client=pool,
        )

    def put(self, key: str, path: Path, digest: Digest) -> None:
        with reached():
            self._client.fput_object(
                bucket_name=self._bucket,
                object_name=key,
                file_path=str(path),
                content_type="application/zstd",
                metadata={"sha256": digest.sha256},
            )

    def digest(self, key: str) -> Digest | None:
        """Of what the store gives back, not of what it says it has."""
        from minio.error import S3Error

        try:
            with reached():
                return digest_of(self.read(key))
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def read(self, key: str) -> Iterator[bytes]:
        response = self._client.get_object(bucket_name=self._bucket, object_name=key)
        try:
            yield from response.stream(CHUNK)
        finally:
            response.close()
            response.release_conn()

    def said_sha256(self, key: str) -> str:
        found = self._client.stat_object(bucket_name=self._bucket, object_name=key)
        return found.metadata.get("x-amz-meta-sha256", "")

    def keys(self, prefix: str) -> list[str]:
        found = self._client.list_objects(bucket_name=self._bucket, prefix=prefix, recursive=True)
        return [entry.object_name for entry in found]


@contextmanager
def reached() -> Iterator[None]:
    from urllib3.exceptions import HTTPError

    try:
        yield
    except HTTPError as error:
        raise ConnectionError(error) from error


def digest_of(pieces: Iterator[bytes]) -> Digest:
    size, sha256 = 0, hashlib.sha256()
    for piece in pieces:
        size += len(piece)
        sha256.update(piece)
    return Digest(size, sha256.hexdigest())


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece


def pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from pieces(stream)


class Warm:
    """The warm tier: a folder for each host, as systemd-journal-remote fills it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, file: JournalFile) -> Path:
        return self.root / file.host / file.name

    def packed_path(self, file: JournalFile) -> Path:
        return self.path(file).with_name(file.name + PACKED)

    def files(self, now: float) -> list[JournalFile]:
        found = []
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir()):
            names = {entry.name.removesuffix(PACKED) for entry in folder.iterdir()}
            found += [self._file(folder, name, now) for name in sorted(names) if self._is_ours(folder, name)]
        return found

    def _is_ours(self, folder: Path, name: str) -> bool:
        if name == f"{folder.name}.journal":
            header = self.header(folder / name)
            return header is not None and header.head_usec > 0
        return archive.CLOSED.fullmatch(name) is not None

    def _file(self, folder: Path, name: str, now: float) -> JournalFile:
        path, packed = folder / name, folder / (name + PACKED)
        active = name == f"{folder.name}.journal"
        header = self.header(path)
        if header and (header.head_usec if active else header.tail_usec):
            since = (header.head_usec if active else header.tail_usec) / 1_000_000
        else:
            since = (path if path.exists() else packed).stat().st_mtime
        return JournalFile(
            host=folder.name,
            name=name,
            size=path.stat().st_size if path.exists() else 0,
            active=active,
            age=max(0.0, now - since),
            packed=Digest(packed.stat().st_size, NOT_READ) if packed.exists() else None,
        )

    @staticmethod
    def header(path: Path) -> archive.Header | None:
        try:
            with path.open("rb") as stream:
                return archive.Header.read(stream.read(archive.HEADER_BYTES))
        except FileNotFoundError:
            return None

    def last_entries(self) -> dict[str, float]:
        newest: dict[str, float] = {}
        for path in self.root.glob("*/*.journal"):
            if header := self.header(path):
                host = path.parent.name
                newest[host] = max(newest.get(host, 0), header.tail_usec / 1_000_000)
        return newest

    def close(self, file: JournalFile) -> None:
        """Renamed first: its receiver writes on into it until it is stopped, the next begins a new file."""
        header = self.header(self.path(file))
        if not header:
            return
        closed = self.path(file).with_name(header.closed_name(file.host))
        if closed.exists():
            raise FileExistsError(
                f"{closed} is there already: two files claim the same entries, look at both"
            )
        self.path(file).rename(closed)
        stop_receiver(file.host)

    def pack(self, file: JournalFile) -> None:
        """The file goes when its packed form is on the disk and was seen to unpack to the same bytes."""
        path, target = self.path(file), self.packed_path(file)
        header = self.header(path)
        if not (header and header.archived):
            stop_receiver(file.host)  # a run may have been killed between renaming and stopping
        part = target.with_name(target.name + PART)
        subprocess.run([*ZSTD, "-9", "--force", str(path), "-o", str(part)], check=True)
        with subprocess.Popen(
            [*ZSTD, "--decompress", "--stdout", str(part)], stdout=subprocess.PIPE
        ) as unpacking:
            assert unpacking.stdout
            unpacked = digest_of(pieces(unpacking.stdout))
        if unpacked != digest_of(pieces_of(path)):
            raise RuntimeError(f"{part} does not unpack to {path.name}")
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.rename(target)
        sync_folder(target.parent)
        path.unlink()

    def remove(self, file: JournalFile) -> None:
        self.packed_path(file).unlink()


def stop_receiver(host: str) -> None:
    """Its socket stays and starts it again for whoever sends; what was not acknowledged is sent again."""
    subprocess.run([*SYSTEMCTL_STOP, f"stronghold-log-receive@{host}.service"], check=True)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Run:
    """Takes each file as far as it goes. What fails is counted, named and left for the next run."""

    def __init__(self, warm: Warm, store: Store | None, rules: archive.Rules) -> None:
        self._warm, self._store, self._rules = warm, store, rules
        self.failures = 0

    def go(self, now: float, host: str = "") -> None:
        """Of one host everything at once, or of all hosts what is due."""
        rules = replace(self._rules, close_after=0, archive_after=0) if host else self._rules
        for steps in (self._close, self._move):  # what was just closed is moved in the same run, if it is due
            for file in archive.in_order(self._warm.files(now)):
                if not host or file.host == host:
                    self._guarded(steps, file, rules)

    def _guarded(
        self, steps: Callable[[JournalFile, archive.Rules], None], file: JournalFile, rules: archive.Rules
    ) -> None:
        try:
            steps(file, rules)
        except ConnectionError as error:
            self.failures += 1
            self._store = None  # files are still packed, and nobody waits for it again in this run
            print(f"the store is away, packed files wait on the warm tier: {error}", file=sys.stderr)
        except Exception as error:  # one file must not hold up the others, whatever is wrong with it
            self.failures += 1
            print(f"{file.host}/{file.name} stays on the warm tier: {error}", file=sys.stderr)

    def _close(self, file: JournalFile, rules: archive.Rules) -> None:
        if archive.next_step(file, rules) is Step.CLOSE:
            self._warm.close(file)

    def _move(self, file: JournalFile, rules: archive.Rules) -> None:
        if archive.next_step(file, rules) is Step.PACK:
            self._warm.pack(file)
        elif file.size:
            return
        if self._store is None:
            return
        path = self._warm.packed_path(file)
        packed = digest_of(pieces_of(path))
        file = replace(file, size=0, packed=packed, stored=self._store.digest(file.key))
        if archive.next_step(file, rules) is Step.STORE:
            self._store.put(file.key, path, packed)
            file = replace(file, stored=self._store.digest(file.key))
        if archive.next_step(file, rules) is not Step.REMOVE:
            raise RuntimeError(f"the store gives back {file.stored} for {file.key}, which is {packed}")
        self._warm.remove(file)
        print(f"{file.key} is in the store: {packed.size} bytes, sha256 {packed.sha256}")


def run(config: dict[str, Any], host: str) -> int:
    warm = Warm(Path(config["warm"]))
    with (warm.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        free, size = space(warm.root)
        keep_free = config["keep_free_mib"] << 20
        turn(archive.shut(free, keep_free, FULL.exists()))
        rules = archive.Rules(
            close_after=config["close_hours"] * 3600,
            archive_after=config["archive_days"] * 86400,
            pressed=FULL.exists() or free < size * config["pressed_percent"] / 100,
        )
        job = Run(warm, Store(config) if config["endpoint"] else None, rules)
        now = time.time()
        job.go(now, host)
        free, size = space(warm.root)
        turn(archive.shut(free, keep_free, FULL.exists()))
        report = archive.Report(
            waiting=warm.files(now),
            failures=job.failures,
            last_success=last_success() if job.failures else now,
            free_bytes=free,
            size_bytes=size,
            receiving=not FULL.exists(),
            # A host that never came in is told of too.
            last_entry=dict.fromkeys(config["sources"], 0.0) | warm.last_entries(),
        )
        publish(archive.metrics(report))
    return 1 if job.failures else 0


def space(folder: Path) -> tuple[int, int]:
    """Free bytes and all bytes of its file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def turn(shut: bool) -> None:
    """A full tier takes no more, so that there is room left to compress in; the hosts keep what they have.

    Not left to the receiver's KeepFree=: there it begins new files, of 8 MiB each, until the disk is full.
    """
    if shut and not FULL.exists():
        FULL.touch()
        subprocess.run([*SYSTEMCTL_STOP, "stronghold-log-receive@*.service"], check=True)
        print("the warm tier is full: nothing is received until there is room", file=sys.stderr)
    elif not shut:
        FULL.unlink(missing_ok=True)


def last_success() -> float:
    """As the run before this one published it."""
    try:
        lines = METRICS.read_text().splitlines()
    except FileNotFoundError:
        return 0
    name = "stronghold_log_archive_last_success_timestamp_seconds "
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0)


def publish(text: str) -> None:
    draft = METRICS.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(METRICS)


def fetch(store: Store, key: str, folder: Path) -> Path:
    """The journal file of a key, after its digest was compared with the one that it was stored with."""
    packed = folder / Path(key).name
    with packed.open("wb") as stream:
        for piece in store.read(key):
            stream.write(piece)
    found, said = digest_of(pieces_of(packed)).sha256, store.said_sha256(key)
    if found != said:
        raise SystemExit(f"{key}: the store gave back sha256 {found}, stored was {said}: it is damaged")
    subprocess.run([*ZSTD, "--force", "--decompress", "--rm", str(packed)], check=True)
    return packed.with_suffix("")


def main() -> int:
    parser = argparse.ArgumentParser(usage=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("--now", default="", metavar="HOST")
    commands.add_parser("list").add_argument("host", nargs="?", default="")
    fetching = commands.add_parser("fetch")
    fetching.add_argument("key")
    fetching.add_argument("folder", type=Path)
    given = parser.parse_args()
    config = json.loads(CONFIG.read_text())
    match given.command:
        case "run":
            return run(config, given.now)
        case "list":
            print(*Store(config).keys(given.host and given.host + "/"), sep="\n")
        case "fetch":
            print(fetch(Store(config), given.key, given.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
