# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this folder the bundle that was signed, whole and nothing else?"""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.bundle import manifest as manifests
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import (
    BundleError,
    Entry,
    Manifest,
    blob_path,
    blobs,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.openpgp import verify_detached

MISSING = "it is missing"
REMEDY = (
    "On the connected side `ansible-playbook playbooks/bundle.yml` mends the folder; a damaged copy of it: "
    "delete the named files and copy again."
)


@dataclass(frozen=True)
class Report:
    """What was found. `refusal` is why nothing else could be looked at; paths are those of the tree."""

    files: int = 0
    bytes: int = 0
    digest: str = ""
    fingerprint: str = ""
    inputs: str = ""
    refusal: str = ""
    missing: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    manifest: Manifest | None = field(default=None, repr=False)

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each fault."""
        return (
            *((self.refusal,) if self.refusal else ()),
            *(f"missing: {path}" for path in self.missing),
            *(f"corrupt: {path}" for path in self.corrupt),
            *(f"not in the manifest: {path}" for path in self.extra),
        )

    @property
    def sound(self) -> bool:
        return not self.problems

    def facts(self) -> dict[str, Any]:
        """The findings as plain data."""
        facts = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "manifest"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}


def verify(path: Path, public_key: Path) -> Report:
    """Check the signature, then the size and digest of every file, and that there is no other."""
    raw = b""
    try:
        for file in (path / manifests.NAME, path / manifests.SIGNATURE, public_key):
            if not file.is_file():
                raise BundleError(f"{file} is not there: no bundle, or its making or copying was interrupted")
        # Signature and content are taken from the same bytes, read once.
        raw = (path / manifests.NAME).read_bytes()
        signature = (path / manifests.SIGNATURE).read_bytes()
        key = public_key.read_text(encoding="ascii", errors="replace")
        fingerprint = verify_detached(raw, signature, key)
        manifest = manifests.load(raw)
    except BundleError as error:
        return Report(digest=hashlib.sha256(raw).hexdigest() if raw else "", refusal=f"{path}: {error}")

    entries = manifest.files
    # sha256 releases the interpreter's lock: threads hash on all cores.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = list(zip(entries, pool.map(lambda entry: _fault(path, entry), entries), strict=True))
    listed = {entry.sha256 for entry in entries}
    return Report(
        files=len(entries),
        bytes=sum(entry.size for entry in entries),
        digest=hashlib.sha256(raw).hexdigest(),
        fingerprint=fingerprint,
        inputs=manifest.inputs,
        missing=tuple(_named(entry) for entry, fault in faults if fault == MISSING),
        corrupt=tuple(f"{_named(entry)}: {fault}" for entry, fault in faults if fault not in ("", MISSING)),
        extra=tuple(sorted(blob_path(blob.name) for blob in blobs(path) if blob.name not in listed)),
        manifest=manifest,
    )


def _named(entry: Entry) -> str:
    return f"{entry.path} ({blob_path(entry.sha256)})"


def _fault(path: Path, entry: Entry) -> str:
    """Empty when the file is as the manifest says."""
    blob = path / blob_path(entry.sha256)
    try:
        found = blob.lstat()
        if not stat.S_ISREG(found.st_mode):
            return "it is not a plain file"
        if found.st_size != entry.size:
            return f"it has {found.st_size} bytes instead of {entry.size}"
        actual = manifests.sha256_of(blob)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return "" if actual == entry.sha256 else f"its sha256 is {actual}"


def explain(report: Report, path: Path) -> str:
    """The error a person reads: every bad file, then what to do."""
    lines = [f"The bundle in {path} is refused:", *(f"  {problem}" for problem in report.problems), REMEDY]
    return "\n".join(lines)
