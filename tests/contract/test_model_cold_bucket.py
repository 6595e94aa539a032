# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights go to a real MinIO and come back: killed, changed, gone in between, they are never half there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.models import (
    archive,
    fetch,
    objects,
    sources,
    weights,
)

from tests.contract import minio_server

MIB = 2**20
SMALL = b'{"model_type": "llama"}'
BIG = os.urandom(11 * MIB + 5)  # three parts
CONTENTS = {"config.json": SMALL, "part/model.gguf": BIG, "empty.txt": b""}
FILES = [weights.File(name, sha256(data).hexdigest(), len(data)) for name, data in CONTENTS.items()]
MODEL = FILES[1]
NO_PAUSES = (0.0, 0.0)
MANNER = fetch.Manner(pauses=NO_PAUSES)
ARCHIVE = archive.Manner(part_bytes=5 * MIB, pauses=NO_PAUSES)


class Mirror:
    """Serves CONTENTS; remembers what was asked; can serve other bytes, or break at a byte of the model."""

    remedy = "do something"

    def __init__(self, change: int | None = None, end: int | None = None) -> None:
        self.change, self.end, self.asked = change, end, list[str]()

    def where(self, file: weights.File) -> str:
        return f"https://mirror.example/{file.name}"

    def stamp(self, file: weights.File) -> sources.Stamp:
        return sources.Stamp(len(CONTENTS[file.name]), "1")

    def part_sums(self, file: weights.File) -> sources.PartSums | None:
        return None

    def read(self, file: weights.File, stamp: sources.Stamp, offset: int, length: int) -> Iterator[bytes]:
        self.asked.append(file.name)
        data = bytearray(CONTENTS[file.name])
        if file == MODEL and self.change is not None:
            data[self.change] ^= 1
        if file == MODEL and self.end is not None:
            data = data[: self.end]
        yield bytes(data[offset : offset + length])


class Counting(objects.Cold):
    """Remembers which parts of files were asked for."""

    asked: list[tuple[str, int]]

    def read(self, file: weights.File, stamp: sources.Stamp, offset: int, length: int) -> Iterator[bytes]:
        self.asked.append((file.name, offset))
        return super().read(file, stamp, offset, length)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[minio_server.Server]:
    with minio_server.server(tmp_path_factory.mktemp("minio")) as running:
        yield running


def bucket(server: minio_server.Server, name: str, **differs: str) -> objects.Bucket:
    known = {
        "endpoint": server.endpoint,
        "name": name,
        "access_key": minio_server.USER,
        "secret_key": minio_server.SECRET,
        "ca_path": server.ca_path,
        "region": "us-east-1",
    }
    return objects.Bucket(**{**known, **differs})


@pytest.fixture
def cold(server: minio_server.Server, request: pytest.FixtureRequest) -> Counting:
    """A bucket of this test's own."""
    name = f"weights-{abs(hash(request.node.nodeid))}"
    made = Counting(bucket(server, name))
    made.client.make_bucket(name)
    made.asked = []
    return made


@pytest.fixture
def full(cold: Counting) -> Counting:
    archive.archive(cold, "m", FILES, Mirror(), ARCHIVE)
    return cold


def bring(cold: Counting, store: Path) -> Path:
    return fetch.fetch("m", FILES, cold, store, MANNER).folder


def replace(cold: Counting, data: bytes, **metadata: str) -> None:
    key = objects.file_key(MODEL)
    cold.client.put_object(cold.bucket.name, key, io.BytesIO(data), len(data), metadata=metadata)


def keys(cold: Counting) -> list[str]:
    listed = cold.client.list_objects(cold.bucket.name, recursive=True)
    return sorted(str(found.object_name) for found in listed)


def test_a_model_goes_there_and_comes_back(full: Counting, tmp_path: Path) -> None:
    folder = bring(full, tmp_path)
    assert weights.problems(folder, folder.name) == []
    assert (folder / "part/model.gguf").read_bytes() == BIG


def test_a_second_run_neither_reads_nor_writes_a_file(full: Counting, tmp_path: Path) -> None:
    mirror = Mirror()
    assert archive.missing(full, "m", FILES) is None
    assert archive.archive(full, "m", FILES, mirror, ARCHIVE) == []
    bring(full, tmp_path)
    full.asked.clear()
    bring(full, tmp_path)
    assert (mirror.asked, full.asked) == ([], [])


def test_other_bytes_than_declared_never_become_an_object(cold: Counting) -> None:
    with pytest.raises(archive.ArchiveError, match=r"part/model\.gguf: sha256 is .* not archived"):
        archive.archive(cold, "m", FILES, Mirror(change=100), ARCHIVE)
    assert objects.file_key(MODEL) not in keys(cold)
    assert unfinished(cold) == 0


def test_a_mirror_that_breaks_off_leaves_no_half_object_and_whole_files_stay(cold: Counting) -> None:
    with pytest.raises(archive.ArchiveError, match=r"the line broke after byte 8388608.*run again"):
        archive.archive(cold, "m", FILES, Mirror(end=8 * MIB), ARCHIVE)
    assert objects.file_key(MODEL) not in keys(cold)
    assert unfinished(cold) == 0
    again = Mirror()
    archive.archive(cold, "m", FILES, again, ARCHIVE)
    assert "config.json" not in again.asked
    assert archive.missing(cold, "m", FILES) is None


def unfinished(cold: Counting) -> int:
    return len(cold.client._list_multipart_uploads(cold.bucket.name, prefix=objects.file_key(MODEL)).uploads)


# The test's own module again, in a process of its own that can be killed. What it does comes as its argument.
PROGRAM = """
import sys, time
from pathlib import Path
from tests.contract import test_model_cold_bucket as test
bucket = test.objects.Bucket(sys.argv[2], sys.argv[3], test.minio_server.USER, test.minio_server.SECRET,
                             ca_path=sys.argv[4], region="us-east-1")
cold = test.objects.Cold(bucket)
class Slow:
    def __init__(self, source): self.source = source
    def __getattr__(self, name): return getattr(self.source, name)
    def read(self, *arguments):
        for chunk in self.source.read(*arguments):
            time.sleep(float(sys.argv[6]))
            yield chunk
content = Path(sys.argv[7]).read_bytes()
test.CONTENTS["part/model.gguf"] = content
file = test.weights.File("part/model.gguf", test.sha256(content).hexdigest(), len(content))
files = [test.FILES[0], file, test.FILES[2]]
if sys.argv[1] == "archive":
    test.MODEL = file
    test.archive.archive(cold, "m", files, Slow(test.Mirror()), test.ARCHIVE)
else:
    test.fetch.fetch("m", files, Slow(cold), Path(sys.argv[5]), test.fetch.Manner(workers=1))
"""


def in_another_process(what: str, cold: Counting, folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Archives or fetches, `seconds` for each chunk that comes."""
    content = folder.parent / "content"
    content.write_bytes(BIG)
    bucket = cold.bucket
    told = [what, bucket.endpoint, bucket.name, bucket.ca_path, folder, str(seconds), content]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *told],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def wait_for(condition, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_copy_killed_in_the_middle_brings_only_the_missing_parts_again(
    full: Counting, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = in_another_process("fetch", full, store, 0.1)
    journal = f".incoming/m-{weights.digest(FILES)}.parts/part%2Fmodel.gguf.json"
    wait_for((store / journal).exists, process)
    process.kill()
    process.wait()
    assert not (store / "m").exists()
    folder = bring(full, store)
    assert weights.problems(folder, folder.name) == []
    assert sorted(full.asked) == [(MODEL.name, 5 * MIB), (MODEL.name, 10 * MIB)]


def test_an_archiving_killed_in_the_middle_leaves_no_object_and_its_parts_are_taken_back(
    cold: Counting, tmp_path: Path
) -> None:
    process = in_another_process("archive", cold, tmp_path / "x", 0.5)
    wait_for(lambda: unfinished(cold) > 0, process)
    process.kill()
    process.wait()
    assert objects.file_key(MODEL) not in keys(cold)
    archive.archive(cold, "m", FILES, Mirror(), ARCHIVE)
    assert unfinished(cold) == 0
    assert archive.missing(cold, "m", FILES) is None


def test_other_bytes_under_the_digest_are_refused_with_file_and_part(full: Counting, tmp_path: Path) -> None:
    data = bytearray(BIG)
    data[7 * MIB] ^= 1
    replace(full, bytes(data), **{objects.CHECKED: MODEL.sha256})
    with pytest.raises(
        fetch.FetchError, match=r"part/model\.gguf, part 1 \(bytes 5242880 to 10485759\).*remove the object"
    ):
        bring(full, tmp_path)
    assert not (tmp_path / "m").exists()


def test_other_bytes_are_refused_also_where_the_sums_of_parts_were_changed_with_them(
    full: Counting, tmp_path: Path
) -> None:
    data = bytes([BIG[0] ^ 1]) + BIG[1:]
    replace(full, data)
    sums = f'{{"part_bytes": {len(data)}, "sha256": ["{sha256(data).hexdigest()}"]}}'.encode()
    full.client.put_object(full.bucket.name, objects.parts_key(MODEL), io.BytesIO(sums), len(sums))
    with pytest.raises(fetch.FetchError, match=r"part/model\.gguf: sha256 is .*nothing of it was kept"):
        bring(full, tmp_path)
    assert [path for path in tmp_path.rglob("*.partial") if "model" in path.name] == []


@pytest.mark.parametrize(
    ("data", "why"), [(BIG, "was not checked when it was written"), (BIG[:-1], "11534340 bytes, declared")]
)
def test_an_object_that_nobody_checked_does_not_count_as_archived(
    full: Counting, data: bytes, why: str
) -> None:
    replace(full, data)
    assert why in full.missing(MODEL)
    assert archive.archive(full, "m", FILES, Mirror(), ARCHIVE) == ["part/model.gguf"]
    assert full.missing(MODEL) == ""


def test_an_object_that_changes_between_two_runs_is_begun_anew(full: Counting, tmp_path: Path) -> None:
    stamp = full.stamp(MODEL)
    replace(full, bytes(len(BIG)))
    with pytest.raises(sources.SourceError, match="changed while it was copied") as refused:
        list(full.read(MODEL, stamp, 0, 10))
    assert not refused.value.passing


def test_a_file_that_is_not_in_the_bucket_is_named_with_the_remedy(cold: Counting, tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match="is not there; role model_archive brings it"):
        bring(cold, tmp_path)


def test_a_wrong_secret_is_refused_at_once(server: minio_server.Server, full: Counting) -> None:
    wrong = bucket(server, full.bucket.name, secret_key="wrong" * 5)
    with pytest.raises(sources.SourceError) as refused:
        objects.Cold(wrong).stamp(MODEL)
    assert not refused.value.passing


def test_a_certificate_of_another_ca_is_refused_at_once(
    server: minio_server.Server, full: Counting, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    minio_server.certificate(other, tmp_path / "other.key")
    wrong = bucket(server, full.bucket.name, ca_path=str(other))
    with pytest.raises(sources.SourceError, match="CERTIFICATE_VERIFY_FAILED") as refused:
        objects.Cold(wrong).stamp(MODEL)
    assert not refused.value.passing


def test_a_secret_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s\n")
    secret.chmod(0o640)
    with pytest.raises(sources.SourceError, match="chmod 600"):
        objects.read_secret(secret)
    secret.chmod(0o600)
    assert objects.read_secret(secret) == "s"


def test_plain_http_is_refused(server: minio_server.Server) -> None:
    with pytest.raises(sources.SourceError, match="TLS only"):
        objects.Cold(bucket(server, "b", endpoint=f"http://{server.endpoint}"))


def test_a_store_that_goes_down_ends_the_copy_and_the_next_run_goes_on(
    server: minio_server.Server, full: Counting, tmp_path: Path
) -> None:
    class GoesDown(Counting):
        def read(self, *arguments) -> Iterator[bytes]:
            if len(self.asked) == 3:
                server.stop()
            return super().read(*arguments)

    full.__class__ = GoesDown
    try:
        with pytest.raises(fetch.FetchError, match=r"is the object store up\?.*run again"):
            bring(full, tmp_path)
    finally:
        if not server.process:
            server.start()
    full.__class__ = Counting
    before = set(full.asked)
    full.asked = []
    folder = bring(full, tmp_path)
    assert weights.problems(folder, folder.name) == []
    assert set(full.asked) < before | {(MODEL.name, offset) for offset in range(0, len(BIG), 5 * MIB)}


def test_the_index_says_what_a_model_is(full: Counting) -> None:
    text = full.text(archive.index_key("m", FILES))
    assert text == archive.index_text("m", FILES)
    assert f'"object": "sha256/{MODEL.sha256}"' in text
