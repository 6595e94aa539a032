# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks an HTTPS server the questions of probes.http, several at once."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.stronghold.llm.plugins.module_utils.probes.http import Answer, Case

AT_ONCE = 4
READ_LIMIT = 65536  # bytes of a body that are looked at
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Target:
    """A server: where it is, the name that its certificate must hold, and who vouches for it."""

    host: str
    port: int
    server_hostname: str
    ca_path: str

    @classmethod
    def of(cls, url: str, server_hostname: str, ca_path: str) -> Target:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"url is {url!r}; it must be https://HOST or https://HOST:PORT")
        return cls(parts.hostname, parts.port or 443, server_hostname or parts.hostname, ca_path)


def ask_all(cases: Sequence[Case], target: Target, bearer: str, timeout: float) -> list[Answer]:
    """One answer for each case, in their order. The listener of control cases lives as long as they do."""
    with ExitStack() as stack:
        control = stack.enter_context(listener()) if any(case.control for case in cases) else target
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(
                pool.map(lambda case: ask(case, control if case.control else target, bearer, timeout), cases)
            )


def ask(case: Case, target: Target, bearer: str, timeout: float) -> Answer:
    """Never raises for what a server or a network does: that is the answer."""
    tls_version = ""
    try:
        context = ssl.create_default_context(cafile=target.ca_path)
        if case.tls:
            context.minimum_version = context.maximum_version = VERSIONS[case.tls]
        with socket.create_connection((target.host, target.port), timeout) as plain:
            secured = context.wrap_socket(plain, server_hostname=target.server_hostname)
            tls_version = secured.version() or ""
            status, body = _exchange(case, secured, target.server_hostname, bearer)
            return Answer(status=status, tls_version=tls_version, body=body)
    except ssl.SSLCertVerificationError as error:
        return Answer(error=f"certificate: {error.verify_message}", tls_version=tls_version)
    except ssl.SSLError as error:
        return Answer(error=f"tls: {error.reason or error}", tls_version=tls_version)
    except TimeoutError:
        return Answer(error=f"timeout: after {timeout:g} s", tls_version=tls_version)
    except (OSError, http.client.HTTPException) as error:
        return Answer(error=f"connection: {error or type(error).__name__}", tls_version=tls_version)


def _exchange(case: Case, secured: ssl.SSLSocket, host: str, bearer: str) -> tuple[int, str]:
    headers = {"Host": host, "User-Agent": "stronghold-probe", "Connection": "close"}
    if case.bearer and bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    if case.body or case.method == "POST":
        headers["Content-Length"] = str(len(case.body))
    headers |= case.headers
    with closing(http.client.HTTPConnection(host)) as connection:
        connection.sock = secured
        connection.putrequest(case.method, case.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        # A server may answer before it has read everything, and its answer counts.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.endheaders(case.body)
        response = connection.getresponse()
        return response.status, response.read(READ_LIMIT).decode(errors="replace")


@contextmanager
def listener() -> Iterator[Target]:
    """A throw-away server on loopback that speaks TLS 1.2 and 1.3, to show that the probe could tell."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=control"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-addext", "subjectAltName=DNS:control", "-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=_answer_everyone, args=(server, context), daemon=True)
            thread.start()
            yield Target("127.0.0.1", server.getsockname()[1], "control", str(certificate))
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _answer_everyone(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = server.accept()
        except OSError:
            return  # shut down
        try:
            with plain, context.wrap_socket(plain, server_side=True) as secured:
                secured.settimeout(5)
                secured.recv(READ_LIMIT)
                secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except OSError:
            continue  # this client's trouble, not the next one's
