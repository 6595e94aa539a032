# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.evidence.claims import Claim
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.report import Run, render


def read_evidence(folder: Path) -> list[Claim]:
    """The claims of the report that is there; none when there is none, or none that can be read."""
    try:
        return [Claim.from_record(record) for record in json.loads((folder / "evidence.json").read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_evidence(folder: Path, claims: Sequence[Claim], run: Run) -> Path:
    """Write evidence.json and index.html for these claims, and return the page's path.

    Both are made before either is written, so that a value no report can show leaves the earlier pair.
    """
    data = json.dumps([claim.record() for claim in claims], indent=2, ensure_ascii=False) + "\n"
    page = render(claims, run)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "evidence.json", data)
    write_atomically(folder / "index.html", page)
    return folder / "index.html"


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step: a reader, or a run that is killed, finds the old text or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
