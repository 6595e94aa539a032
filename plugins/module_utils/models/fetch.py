# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a model's files to the hot tier, part by part and several at once.

Parts arrive in ``<store>/.incoming/<model>-<digest>.parts/``; a whole file whose SHA-256 is right moves to
``<store>/.incoming/<model>-<digest>/``, and only a whole set is renamed to ``<store>/<model>/<digest>/``:
whatever is there is complete.
"""

from __future__ import annotations

import shutil
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.models import hot_tier, partial, weights
from ansible_collections.stronghold.llm.plugins.module_utils.models.partial import CorruptError, Part, Partial
from ansible_collections.stronghold.llm.plugins.module_utils.models.progress import (
    Progress,
    Report,
)
from ansible_collections.stronghold.llm.plugins.module_utils.models.sources import (
    PAUSES,
    PartSums,
    Source,
    SourceError,
    Stamp,
    patiently,
)


class FetchError(Exception):
    """Why the model is not in the store; names the file and the remedy."""


@dataclass(frozen=True)
class Manner:
    """How to copy: parts at a time, bytes a part (a source that knows its parts' sums has its own), bytes
    that stay free on the tier, seconds between tries."""

    workers: int = 4
    part_bytes: int = 64 * 2**20
    keep_bytes: int = 0
    pauses: tuple[float, ...] = PAUSES


@dataclass(frozen=True)
class Brought:
    """What a copy did: where the set lies, bytes that came in this run, bytes a second."""

    folder: Path
    copied: int
    bytes_per_second: int


@dataclass(frozen=True)
class Job:
    """One file that is not whole yet, and what the source says of it."""

    file: weights.File
    stamp: Stamp
    sums: PartSums | None
    partial: Partial


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


def still_needed(model: str, files: Sequence[weights.File], store: Path) -> int:
    """Bytes that the set will still take of the tier, beyond what an earlier run has written."""
    folder = wanted(model, files, store)
    if is_stored(folder, files):
        return 0
    incoming = store / ".incoming"
    # Blocks, not sizes: a partial file has its full size from the start.
    written = [path.stat().st_blocks * 512 for path in incoming.glob(f"{model}-{folder.name}*/**/*")]
    return max(0, sum(file.size for file in files) - sum(written))


def fetch(
    model: str,
    files: Sequence[weights.File],
    source: Source,
    store: Path,
    manner: Manner | None = None,
    report: Report = lambda snapshot: None,
) -> Brought:
    """Bring what is missing.

    Raises:
        FetchError: an unsafe name, a folder in the way, too little space, a failed transfer, or bytes other
            than declared.
    """
    manner = manner or Manner()
    if unsafe := weights.name_problems(file.name for file in files):
        raise FetchError("; ".join(unsafe))
    with hot_tier.alone(store):
        target = wanted(model, files, store)
        if is_stored(target, files):
            return Brought(target, 0, 0)
        if target.exists():
            raise FetchError(f"{target} is not what its name says: move it away, then run again")
        if short := hot_tier.shortage(store, still_needed(model, files, store), manner.keep_bytes):
            raise FetchError(short)
        incoming = store / ".incoming" / f"{model}-{target.name}"
        progress = Progress(model, sum(file.size for file in files), report)
        try:
            _bring(files, source, incoming, manner, progress)
            _check(files, incoming)
        except BaseException:
            progress.end("failed")
            raise
        _publish(files, incoming, target)
        hot_tier.touch(store, model, target.name)
        return Brought(target, progress.came, progress.end("done").bytes_per_second)


def _bring(
    files: Sequence[weights.File], source: Source, incoming: Path, manner: Manner, progress: Progress
) -> None:
    missing = []
    for file in files:
        if _is_whole(file, incoming / file.name):
            progress.found(file.size)
        else:
            missing.append(file)
    stop = threading.Event()
    jobs = [_job(file, source, incoming, manner) for file in missing]
    progress.found(sum(job.partial.have for job in jobs))

    def bring(work: tuple[Job, Part]) -> None:
        job, part = work
        if not stop.is_set():
            try:
                _bring_part(job, part, source, manner.pauses, stop, progress)
            except BaseException:
                stop.set()  # the others end their part, and begin no other
                raise

    with ThreadPoolExecutor(manner.workers) as pool:
        # In order, so that the SHA-256 can follow; parts of the next file as soon as threads are free.
        for _ in pool.map(bring, ((job, part) for job in jobs for part in job.partial.missing)):
            pass
    for job in jobs:
        try:
            job.partial.finish(job.file.sha256, incoming / job.file.name)
        except CorruptError as error:
            raise FetchError(
                f"{source.where(job.file)}: {job.file.name}: {error}; nothing of it was kept: {source.remedy}"
            ) from error


def _is_whole(file: weights.File, path: Path) -> bool:
    """Whether an earlier run has brought the file; its bytes are read, as nobody else has since."""
    try:
        if path.stat().st_size == file.size and weights.sha256(path) == file.sha256:
            return True
        path.unlink()
    except FileNotFoundError:
        pass
    return False


def _job(file: weights.File, source: Source, incoming: Path, manner: Manner) -> Job:
    try:
        stamp = patiently(lambda: source.stamp(file), manner.pauses)
        sums = patiently(lambda: source.part_sums(file), manner.pauses)
    except SourceError as error:
        raise FetchError(str(error)) from error
    if stamp.size != file.size:
        raise FetchError(
            f"{source.where(file)}: {file.name}: {stamp.size} bytes there, {file.size} declared: "
            f"{source.remedy}"
        )
    name = urllib.parse.quote(file.name, safe="")
    parts = incoming.with_name(incoming.name + ".parts")
    part_bytes = sums.part_bytes if sums else manner.part_bytes
    return Job(file, stamp, sums, Partial(parts / name, stamp, part_bytes))


def _bring_part(
    job: Job,
    part: Part,
    source: Source,
    pauses: Sequence[float],
    stop: threading.Event,
    progress: Progress,
) -> None:
    expected = job.sums.sha256[part.index] if job.sums else ""

    def once() -> None:
        came = 0

        def counted() -> Iterator[bytes]:
            nonlocal came
            for chunk in source.read(job.file, job.stamp, part.offset, part.length):
                came += len(chunk)
                progress.add(len(chunk))
                yield chunk

        try:
            job.partial.write(part, counted(), expected)
        except BaseException as error:
            progress.add(-came)
            if isinstance(error, EOFError):
                raise SourceError(f"{source.where(job.file)}: {error}", passing=True) from error
            raise

    try:
        patiently(once, pauses, stop)
    except SourceError as error:
        raise FetchError(
            f"{error} ({job.file.name}, {part}); finished parts are kept: run again, and it goes on from "
            "there"
        ) from error
    except CorruptError as error:
        raise FetchError(
            f"{source.where(job.file)}: {job.file.name}, {error}; the part was not kept: {source.remedy}"
        ) from error
    except OSError as error:
        raise FetchError(f"{job.file.name}, {part}: cannot be written: {error}") from error


def _check(files: Sequence[weights.File], incoming: Path) -> None:
    """What SHA-256 does not say. Bytes were hashed as they came, and are again at each start."""
    found = []
    for file in files:
        if Path(file.name).name == "config.json":
            found += weights.config_problems(file.name, (incoming / file.name).read_text(errors="replace"))
    if found:
        raise FetchError("; ".join(found))


def _publish(files: Sequence[weights.File], incoming: Path, target: Path) -> None:
    declared = {incoming / file.name for file in files}
    for path in incoming.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
        elif path not in declared:  # an earlier version of this program left its parts here
            path.unlink()
    partial.write_whole(incoming / weights.SUMS, weights.sums(files))
    (incoming / weights.SUMS).chmod(0o444)
    partial.sync_folder(incoming)
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    incoming.rename(target)
    partial.sync_folder(target.parent)
    shutil.rmtree(incoming.with_name(incoming.name + ".parts"), ignore_errors=True)
