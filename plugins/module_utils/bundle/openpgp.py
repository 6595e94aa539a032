# SPDX-License-Identifier: GPL-3.0-or-later
"""Detached OpenPGP signatures with the tool that the machine has: sqv, gpgv, or gpg to sign."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError

_ARMOR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[^\n:]+:[^\n]*\n)*\n(?P<body>[A-Za-z0-9+/=\n]+?)"
    r"(?:\n=[A-Za-z0-9+/]{4})?\n-----END PGP PUBLIC KEY BLOCK-----"
)
_FINGERPRINT = re.compile(r"[0-9A-F]{40,64}")


@dataclass(frozen=True)
class Signer:
    """A secret key: GnuPG's home folder, and the key's fingerprint in it."""

    home: Path
    fingerprint: str


def dearmor(text: str) -> bytes:
    """The binary key inside an armored one: gpgv reads nothing else."""
    match = _ARMOR.search(text.replace("\r\n", "\n"))
    try:
        if match:
            return base64.b64decode(match["body"])
    except binascii.Error:
        pass
    raise BundleError("the public key is no armored OpenPGP key: take the .asc file beside the bundle")


def verify_detached(data: bytes, signature: bytes, public_key: str) -> str:
    """The fingerprint that made the signature; BundleError unless it is by the given key."""
    keyring = dearmor(public_key)
    with tempfile.TemporaryDirectory(prefix="stronghold-verify-") as name:
        folder = Path(name)
        for file, content in (("key", keyring), ("sig", signature), ("data", data)):
            (folder / file).write_bytes(content)
        key, sig, signed = (str(folder / file) for file in ("key", "sig", "data"))
        if tool := shutil.which("sqv"):  # Debian 13 has it wherever apt is
            command = [tool, "--keyring", key, "--signature-file", sig, signed]
        elif tool := shutil.which("gpgv"):
            command = [tool, "--homedir", name, "--status-fd", "1", "--keyring", key, sig, signed]
        else:
            raise BundleError("nothing verifies signatures here: install the package sqv or gpgv")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    # sqv prints the fingerprint alone; of gpgv's status lines only VALIDSIG counts,
    # and its last field is the primary key.
    lines = [line for line in done.stdout.splitlines() if "gpgv" not in tool or " VALIDSIG " in line]
    found = _FINGERPRINT.findall(" ".join(lines))
    if done.returncode != 0 or not found:
        reason = (done.stderr.strip() or "no valid signature").splitlines()[-1].strip()
        raise BundleError(f"the manifest is not what the owner of the pinned public key signed ({reason})")
    return str(found[-1])


def sign(signer: Signer, source: Path, destination: Path, how: str) -> None:
    """Sign a file with gpg; `how` is --detach-sign or --clearsign."""
    command = ["gpg", "--homedir", str(signer.home), "--batch", "--yes", "--local-user", signer.fingerprint]
    command += ["--armor", "--output", str(destination), how, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(
            f"gpg cannot sign with {signer.fingerprint} of {signer.home}: {done.stderr.strip()}"
        )


def is_clearsigned_by(signer: Signer, file: Path) -> bool:
    """True for a whole clearsigned file that this very key signed."""
    command = ["gpg", "--homedir", str(signer.home), "--batch", "--status-fd", "1", "--verify", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and f" VALIDSIG {signer.fingerprint} " in done.stdout
