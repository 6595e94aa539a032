# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe inside a pod: it believes nobody but the engine of its own site, and says what is wrong."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.contract.servers import certify

ASK = Path(__file__).parents[2] / "roles/kubernetes_manifests/files/ask.py"
ANSWERS = {"/health": (200, ""), "/v1/models": (200, '{"data": [{"id": "llama"}]}'), "/dead": (503, "")}


class Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, text = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


def secret(folder: Path) -> Path:
    """As the Secret is mounted."""
    certify(folder, key="tls.key", certificate="tls.crt")
    (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    tls = secret(tmp_path / "tls")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tls / "ca.crt"))
    context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield tls, server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def ask(tls: Path, port: int, *words: str) -> tuple[int, str]:
    command = [sys.executable, str(ASK), str(tls), str(port), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["/health"], 0),
        (["/v1/models", "llama"], 0),
        (["/v1/models", "qwen"], 1),
        (["/dead"], 1),
    ],
    ids=["health", "its model", "another model", "dead"],
)
def test_only_the_right_answer_counts(engine: tuple[Path, int], words: list[str], code: int) -> None:
    found, said = ask(*engine, *words)
    assert (found, bool(said)) == (code, bool(code))
    assert "Traceback" not in said


def test_an_engine_of_another_site_is_not_believed(engine: tuple[Path, int], tmp_path: Path) -> None:
    _, port = engine
    code, said = ask(secret(tmp_path / "other"), port, "/health")
    assert code == 1
    assert "certificate verify failed" in said


def test_an_engine_that_is_not_there_yet_is_no_error_of_the_probe(tmp_path: Path) -> None:
    code, said = ask(secret(tmp_path / "tls"), 1, "/health")
    assert code == 1
    assert "refused" in said
    assert "Traceback" not in said
