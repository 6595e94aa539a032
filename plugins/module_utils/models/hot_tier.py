# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that lie on a hot tier, when each was last used, and by whom; standard library only.

A model is known by its own name: the folder is called as its list of sums says. Anything else is not ours and
is never touched. The last use is the mtime of ``<store>/.used/<model>-<digest>``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.models import serving, weights
from ansible_collections.stronghold.llm.plugins.module_utils.models.evicting import Stored, gib


def stored(store: Path) -> list[Stored]:
    """Every whole model that we have put there."""
    return [model for folder in _folders(store) if (model := _read(store, folder))]


def _folders(store: Path) -> Iterator[Path]:
    for model in sorted(store.iterdir()) if store.is_dir() else []:
        if model.is_dir() and not model.is_symlink() and not model.name.startswith("."):
            yield from sorted(model.iterdir())


def _read(store: Path, folder: Path) -> Stored | None:
    try:
        listed = weights.read_sums((folder / weights.SUMS).read_text())
        if (
            folder.is_symlink()
            or weights.digest(listed) != folder.name
            or weights.name_problems(file.name for file in listed)
        ):
            return None
        files = tuple(replace(file, size=(folder / file.name).stat().st_size) for file in listed)
    except (OSError, UnicodeDecodeError):
        return None
    model = Stored(folder.parent.name, folder.name, files, sum(file.size for file in files), 0)
    return replace(model, last_used=_last_used(store, folder))


def _last_used(store: Path, folder: Path) -> float:
    stamp = _stamp(store, folder.parent.name, folder.name)
    return (stamp if stamp.exists() else folder).stat().st_mtime


def _stamp(store: Path, model: str, digest: str) -> Path:
    return store / ".used" / f"{model}-{digest}"


def touch(store: Path, model: str, digest: str) -> None:
    """The model is used now."""
    stamp = _stamp(store, model, digest)
    stamp.parent.mkdir(mode=0o755, exist_ok=True)
    stamp.touch()


def forget(store: Path, model: str, digest: str) -> None:
    _stamp(store, model, digest).unlink(missing_ok=True)


def with_users(store: Path, models: list[Stored]) -> list[Stored]:
    """`models`, each with who uses it now, as the system itself shows.

    Raises:
        UnknownError: it cannot be said.
    """
    used = serving.in_use([store / model.name for model in models], serving.loaded_units())
    return [replace(model, used_by=used.get(store / model.name, "")) for model in models]


@contextlib.contextmanager
def alone(store: Path) -> Iterator[None]:
    """One at a time: a play that was killed may have left a copy running, which is waited for."""
    store.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def free(store: Path) -> int:
    """Bytes that are free on the tier of `store`, which may not be there yet."""
    while not store.exists():
        store = store.parent
    return shutil.disk_usage(store).free


def shortage(store: Path, need: int, keep: int) -> str:
    """Why `need` bytes do not fit, with what could go; empty when they fit and `keep` stay free."""
    there = free(store)
    if there - need >= keep:
        return ""
    try:
        unused = [model for model in with_users(store, stored(store)) if not model.used_by]
        could_go = ", ".join(f"{model.name} ({gib(model.size)})" for model in unused) or "none"
    except serving.UnknownError as error:
        could_go = f"unknown ({error})"
    return (
        f"{platform.node()}: {gib(need)} needed on the tier of {store}, {gib(there)} free, of which "
        f"{gib(keep)} shall stay so; models that nobody uses and that could go: {could_go}"
    )
