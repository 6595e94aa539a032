# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host keeps what belongs to its encrypted tiers, and how it is written."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import Volume, keyfile

ESCROW = "var/lib/stronghold/escrow"
KEYS = "var/lib/stronghold/keys"
STAGE = "run/stronghold/luks"  # memory
COUNTS = "var/lib/stronghold/gcm_write_budget.json"
CRYPTTAB = "etc/crypttab"


@dataclass(frozen=True)
class Files:
    root: Path = Path("/")

    def path(self, name: str) -> Path:
        return self.root / name

    def device(self, volume: Volume) -> Path:
        return self.root / volume.device.lstrip("/")

    def keyfile(self, volume: Volume) -> Path:
        return self.root / keyfile(volume.name).lstrip("/")

    def stage(self, volume: Volume) -> Path:
        return self.path(STAGE) / f"{volume.name}.key"

    def escrow(self, uuid: str) -> Path:
        return self.path(ESCROW) / f"{uuid}.age"

    def crypttab(self) -> list[str]:
        path = self.path(CRYPTTAB)
        return path.read_text().splitlines() if path.exists() else []

    def folder_of(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        """The whole file or the old one, also when the power fails; nobody else reads it at any moment."""
        self.folder_of(path)
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(number, "w") as file:
            file.write(text)
        self.settle(draft, path, mode)

    def settle(self, draft: Path, path: Path, mode: int = 0o600) -> None:
        """The draft takes its place, and is on the disk with its name before anything builds on it."""
        draft.chmod(mode)
        _flush(draft)
        draft.replace(path)
        _flush(path.parent)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
