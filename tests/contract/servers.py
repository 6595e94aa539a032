# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 servers on loopback, each with TLS by a throw-away CA and a folder that goes away with it.

Each is the real program, built once and kept as the bundle builds and keeps its own.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import os
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.stronghold.llm.plugins.module_utils.bundle import binaries
from ansible_collections.stronghold.llm.plugins.module_utils.objects.server import Endpoint
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stronghold-llm"
VERSITYGW = {
    "name": "versitygw",
    "version": "v1.8.0",
    "source": {"go": "github.com/versity/versitygw/cmd/versitygw@v1.8.0"},
}
ROOT_USER = "stronghold-root"
START_SECONDS = 60


@dataclass(frozen=True)
class Running:
    """A server that answers; `data` is where it keeps what it is given."""

    name: str
    endpoint: Endpoint
    root_password: str
    data: Path


def declared(name: str) -> dict[str, object]:
    """A program as every site's version lock has it."""
    stack = yaml.safe_load((REPOSITORY / "inventories/common/objects_stack.yml").read_text())
    return next(each for each in stack["stronghold_objects_binaries"] if each["name"] == name)


def program(name: str, folder: Path) -> Path:
    """The program, from the cache or built now; with the Go of the PATH, or the one that a bundle fetched."""
    wanted = binaries.binaries([declared(name) if name == "minio" else VERSITYGW])
    toolchains = [Path("go"), *sorted(CACHE.glob("go/toolchain-*/go/bin/go"))]
    binaries.place(wanted, folder, CACHE, toolchains)
    return folder / "binaries" / name


@contextlib.contextmanager
def minio(folder: Path) -> Iterator[Running]:
    tls, data = folder / "tls", folder / "data"
    ca = certify(tls, key="private.key", certificate="public.crt")
    address, password = free_address(), secrets.token_urlsafe(24)
    settings = {
        "MINIO_ROOT_USER": ROOT_USER,
        "MINIO_ROOT_PASSWORD": password,
        "MINIO_KMS_SECRET_KEY": f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "MINIO_KMS_AUTO_ENCRYPTION": "on",
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    command = [
        str(program("minio", folder)),
        "server",
        f"--address={address}",
        f"--certs-dir={tls}",
        str(data),
    ]
    with running(command, settings, address, folder / "log"):
        yield Running("minio", Endpoint(address, ca), password, data)


@contextlib.contextmanager
def versitygw(folder: Path) -> Iterator[Running]:
    tls, data = folder / "tls", folder / "data"
    ca = certify(tls, key="private.key", certificate="public.crt")
    address, password = free_address(), secrets.token_urlsafe(24)
    for part in ("objects", "versions"):
        (data / part).mkdir(parents=True)
    settings = {"ROOT_ACCESS_KEY": ROOT_USER, "ROOT_SECRET_KEY": password}
    command = [
        str(program("versitygw", folder)), f"--port={address}", "--quiet",
        f"--cert={tls / 'public.crt'}", f"--key={tls / 'private.key'}",
        "posix", "--versioning-dir", str(data / "versions"), str(data / "objects"),
    ]  # fmt: skip
    with running(command, settings, address, folder / "log"):
        yield Running("versitygw", Endpoint(address, ca), password, data)


@contextlib.contextmanager
def running(command: list[str], settings: dict[str, str], address: str, log: Path) -> Iterator[None]:
    """Until its TLS answers; secrets come by environment, as on a host."""
    with log.open("wb") as output:
        environment = {"PATH": os.environ["PATH"], "HOME": str(log.parent), **settings}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not come up: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


def answers(address: str) -> bool:
    host, _, port = address.partition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, int(port)), timeout=2) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def certify(folder: Path, key: str, certificate: str) -> Path:
    """A certificate for loopback that vouches for itself; the path is both leaf and root."""
    folder.mkdir(parents=True)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(private, hashes.SHA256())
    )
    (folder / key).write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (folder / certificate).write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / certificate
