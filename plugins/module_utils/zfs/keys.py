# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of a pool: made once, kept where its host can open it, and escrowed to the site's recipient.

A pool has one wrapping key and no key slots: who recovers a tier uses the same 64 hex digits as its host. A
key that is there is never replaced, also where its pool is not: the disks may only be unplugged.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from ansible_collections.stronghold.llm.plugins.module_utils.zfs.tiers import CIPHER
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import Run, must

Unlock = Literal["keyfile", "tpm2", "tang"]

KEYS = "etc/stronghold/zfs"
ESCROW = "var/lib/stronghold/escrow"
RECORDS = "var/lib/stronghold/keys"


@dataclass(frozen=True)
class Keyring:
    """How a host keeps keys. `pin` is what clevis needs for tpm2 or tang; `recipient` is age's."""

    unlock: Unlock
    pin: Mapping[str, Any]
    recipient: str
    max_age_days: int
    run: Run
    root: Path = Path("/")

    def kept(self, name: str) -> Path:
        """The key itself for `keyfile`, or what clevis made of it."""
        return self._forms(name)[0 if self.unlock == "keyfile" else 1]

    def has(self, name: str) -> bool:
        """Whether the key is there, kept in whatever way."""
        return any(path.exists() for path in self._forms(name))

    def _forms(self, name: str) -> tuple[Path, Path]:
        return self.root / KEYS / f"{name}.key", self.root / KEYS / f"{name}.jwe"

    def escrowed(self, name: str) -> Path:
        return self.root / ESCROW / f"zfs-{name}.age"

    def record(self, name: str) -> Path:
        return self.root / RECORDS / f"zfs-{name}.json"

    def whole(self, name: str) -> bool:
        """Kept in this way and no other, escrowed to the present recipient, and recorded."""
        there = [path for path in self._forms(name) if path.exists()]
        if there != [self.kept(name)] or not self.escrowed(name).exists():
            return False
        try:
            record = json.loads(self.record(name).read_text())
            return bool(record["kept_by"] == self._way() and record["escrowed_to"] == self.recipient)
        except (OSError, ValueError, KeyError):
            return False

    def _way(self) -> dict[str, Any]:
        return {"unlock": self.unlock, **self.pin}

    def ensure(self, name: str) -> str:
        """The key, made if there is none. Killed anywhere, the next call ends what this one began."""
        key = self._open(name) if self.has(name) else secrets.token_hex(32)
        if not self.whole(name):
            _write(self.kept(name), key if self.unlock == "keyfile" else self._seal(key), 0o600)
            for path in self._forms(name):
                if path != self.kept(name):
                    path.unlink(missing_ok=True)
            sealed = must(self.run, "age", "--encrypt", "--armor", "--recipient", self.recipient, data=key)
            _write(self.escrowed(name), sealed, 0o600)
            _write(self.record(name), json.dumps(self._described(name, key)) + "\n", 0o644)
        return key

    def _open(self, name: str) -> str:
        plain, sealed = self._forms(name)
        return (
            plain.read_text()
            if plain.exists()
            else must(self.run, "clevis", "decrypt", data=sealed.read_text())
        )

    def _seal(self, key: str) -> str:
        return must(self.run, "clevis", "encrypt", self.unlock, json.dumps(dict(self.pin)), data=key)

    def _described(self, name: str, key: str) -> dict[str, Any]:
        return {
            "id": f"zfs-{name}",
            "kind": "zfs wrapping key",
            "where": f"/{KEYS}/{self.kept(name).name} ({self.unlock})",
            "algorithm": CIPHER,
            "made": self._made(name) or datetime.now(UTC).isoformat(timespec="seconds"),
            "max_age_days": self.max_age_days,
            "fingerprint": sha256(key.encode()).hexdigest()[:16],  # of 256 random bits: nothing to guess from
            "kept_by": self._way(),
            "escrowed_to": self.recipient,
        }

    def _made(self, name: str) -> str:
        """As first recorded: a key that is kept in another way is as old as before."""
        try:
            return str(json.loads(self.record(name).read_text())["made"])
        except (OSError, ValueError, KeyError):
            return ""


def _write(path: Path, text: str, mode: int) -> None:
    """The whole file or none, also when the power fails; never readable by others on the way."""
    path.parent.mkdir(mode=0o700 if mode == 0o600 else 0o755, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
