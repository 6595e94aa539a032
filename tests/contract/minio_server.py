# SPDX-License-Identifier: GPL-3.0-or-later
"""A MinIO that a test may stop and start again, with what it holds."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract import servers

USER, SECRET = "test-root", "not-a-secret-outside-this-test"


@dataclass
class Server:
    program: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ca_path(self) -> str:
        return str(self.folder / "certs/public.crt")

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        certs = self.folder / "certs"
        options = f"--certs-dir {certs} --address {self.endpoint} --console-address 127.0.0.1:0"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "server", "--quiet", *options.split(), self.folder / "data"],
                env={
                    **os.environ,
                    "MINIO_ROOT_USER": USER,
                    "MINIO_ROOT_PASSWORD": SECRET,
                    "MINIO_UPDATE": "off",
                },
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 60
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _ready(self) -> bool:
        """It listens before it can write."""
        context = ssl.create_default_context(cafile=self.ca_path)
        url = f"https://{self.endpoint}/minio/health/cluster"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return bool(answer.status == 200)
        return False


def certificate(path: Path, key: Path) -> None:
    """One that vouches for itself, and for this machine's loopback."""
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    command = ["openssl", "req", *options.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", path], check=True, capture_output=True)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    (folder / "certs").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = Server(servers.program("minio", folder), folder, free.getsockname()[1])
    certificate(folder / "certs/public.crt", folder / "certs/private.key")
    made.start()
    try:
        yield made
    finally:
        made.stop()
