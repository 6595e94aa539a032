# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes room on a hot tier for a model that comes, by taking others off it."""

from __future__ import annotations

import contextlib
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.models import (
    evicting,
    fetch,
    hot_tier,
    partial,
    serving,
    weights,
)
from ansible_collections.stronghold.llm.plugins.module_utils.models.evicting import Refusal, Stored, gib


class NoRoomError(Exception):
    """Why the model will not fit; says by how much and what to do."""


def make_room(
    store: Path,
    model: str,
    files: Sequence[weights.File],
    keep: int,
    not_archived: Callable[[weights.File], str],
    *,
    dry_run: bool,
) -> tuple[Stored, ...]:
    """Evict what must go so that the model fits and `keep` bytes stay free; returns what went.

    `not_archived` says what the cold bucket lacks of a file, '' for nothing.

    Raises:
        NoRoomError: too little may go, or it cannot be said what is used.
    """
    if not store.is_dir():
        return ()
    with hot_tier.alone(store):
        if not dry_run:
            _clear(store)
        need, free = fetch.still_needed(model, files, store), hot_tier.free(store)
        try:
            models = hot_tier.with_users(store, hot_tier.stored(store))
        except serving.UnknownError as error:
            if _fits(need, free, keep):
                return ()
            raise NoRoomError(f"{platform.node()}: {error}; nothing was taken off {store}") from error
        for used in models if not dry_run else ():
            if used.used_by:
                hot_tier.touch(store, used.model, used.digest)
        if _fits(need, free, keep):
            return ()
        choice = evicting.choose(_with_archive(models, not_archived), need, free, keep)
        if isinstance(choice, Refusal):
            raise NoRoomError(
                f"{platform.node()}: {model} needs {gib(need)} on the tier of {store}, {gib(free)} are free "
                f"and {gib(keep)} shall stay so: {choice}"
            )
        for gone in choice.go if not dry_run else ():
            evict(store, gone)
    return choice.go


def _fits(need: int, free: int, keep: int) -> bool:
    """A model that is there already needs no room, however little is free."""
    return not need or free - need >= keep


def _with_archive(models: list[Stored], not_archived: Callable[[weights.File], str]) -> list[Stored]:
    """The bucket is asked about those only that nobody uses."""

    def lacking(stored: Stored) -> str:
        return next(filter(None, map(not_archived, stored.files)), "")

    return [stored if stored.used_by else replace(stored, not_archived=lacking(stored)) for stored in models]


def evict(store: Path, model: Stored) -> None:
    """Take the model off the tier. It loses its name first, so a run that dies leaves no half model there.

    Raises:
        NoRoomError: somebody began to use it in the last moment; it has its name again.
    """
    folder = store / model.name
    outgoing = store / ".outgoing" / f"{model.model}-{model.digest}"
    outgoing.parent.mkdir(mode=0o700, exist_ok=True)
    folder.rename(outgoing)
    partial.sync_folder(folder.parent)
    try:
        used = serving.in_use([outgoing, folder], serving.loaded_units())
    except serving.UnknownError as error:
        used = {folder: str(error)}
    if used:
        outgoing.rename(folder)
        raise NoRoomError(
            f"{platform.node()}: {folder} may be used since a moment ago ({', '.join(used.values())}): "
            "run again"
        )
    _clear(store)
    hot_tier.forget(store, model.model, model.digest)
    with contextlib.suppress(OSError):  # other versions of the model lie there
        folder.parent.rmdir()


def _clear(store: Path) -> None:
    """Remove what has lost its name, also by a run that died."""
    for left in (store / ".outgoing").glob("*"):
        shutil.rmtree(left)
