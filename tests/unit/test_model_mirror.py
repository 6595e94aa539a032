# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror is asked for ranges, over TLS that the site vouches for, and what it says is understood."""

from __future__ import annotations

import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.models import fetch, sources, weights

from tests.contract import minio_server

DATA = bytes(range(256)) * 40
FILE = weights.File("part/a b.gguf", sha256(DATA).hexdigest(), len(DATA))
STAMP = sources.Stamp(len(DATA), '"one"')


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as nginx does, or with the next of `failures`."""

    failures: list[int] = []  # noqa: RUF012
    ranges = True

    def do_HEAD(self) -> None:
        self.answer(200, DATA, body=False)

    def do_GET(self) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert found
        if self.headers["If-Match"] not in ('"one"', None):
            self.answer(412, b"")
        elif self.ranges:
            self.answer(206, DATA[int(found[1]) : int(found[2]) + 1])
        else:
            self.answer(200, DATA)

    def answer(self, status: int, data: bytes, body: bool = True) -> None:
        if self.failures:
            status, data = self.failures.pop(), b""
        if self.path != "/models/m/part/a%20b.gguf":
            status, data = 404, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sources.Mirror]:
    folder = tmp_path_factory.mktemp("mirror")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    minio_server.certificate(certificate, key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}/models/m/"
        yield sources.Mirror(url, str(certificate))
        server.shutdown()


def test_a_model_comes_from_the_mirror_in_parts(mirror: sources.Mirror, tmp_path: Path) -> None:
    manner = fetch.Manner(part_bytes=1000)
    folder = fetch.fetch("m", [FILE], mirror, tmp_path, manner).folder
    assert weights.problems(folder, folder.name) == []


def test_the_mirror_says_size_and_etag(mirror: sources.Mirror) -> None:
    assert mirror.stamp(FILE) == STAMP


def test_a_range_is_the_range(mirror: sources.Mirror) -> None:
    assert b"".join(mirror.read(FILE, STAMP, 300, 20)) == DATA[300:320]


@pytest.mark.parametrize(("status", "passing"), [(500, True), (503, True), (403, False)])
def test_what_may_pass_is_known_from_what_will_not(
    mirror: sources.Mirror, monkeypatch: pytest.MonkeyPatch, status: int, passing: bool
) -> None:
    monkeypatch.setattr(Handler, "failures", [status])
    with pytest.raises(sources.SourceError, match=str(status)) as refused:
        mirror.stamp(FILE)
    assert refused.value.passing is passing


def test_a_file_that_the_mirror_has_not_is_named(mirror: sources.Mirror) -> None:
    with pytest.raises(sources.SourceError, match=r"other\.gguf: .*404.*is the file in the bundle"):
        mirror.stamp(weights.File("other.gguf", FILE.sha256, 1))


def test_a_file_that_changed_during_the_copy_is_refused_at_once(mirror: sources.Mirror) -> None:
    with pytest.raises(sources.SourceError, match="changed while it was copied") as refused:
        list(mirror.read(FILE, sources.Stamp(len(DATA), '"two"'), 0, 10))
    assert not refused.value.passing


def test_a_server_without_ranges_is_refused(mirror: sources.Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "ranges", False)
    with pytest.raises(sources.SourceError, match="serves no ranges"):
        list(mirror.read(FILE, STAMP, 0, 10))


def test_a_mirror_of_another_ca_is_refused_at_once(mirror: sources.Mirror, tmp_path: Path) -> None:
    minio_server.certificate(tmp_path / "other.pem", tmp_path / "other.key")
    stranger = sources.Mirror(mirror.where(FILE), str(tmp_path / "other.pem"))
    with pytest.raises(sources.SourceError, match="CERTIFICATE_VERIFY_FAILED") as refused:
        stranger.stamp(FILE)
    assert not refused.value.passing


def test_a_mirror_that_is_down_may_come_back(tmp_path: Path) -> None:
    minio_server.certificate(tmp_path / "other.pem", tmp_path / "other.key")
    with pytest.raises(sources.SourceError, match="the mirror up") as refused:
        sources.Mirror("https://127.0.0.1:9/models", str(tmp_path / "other.pem")).stamp(FILE)
    assert refused.value.passing
