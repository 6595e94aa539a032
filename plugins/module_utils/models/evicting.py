# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models leave the hot tier when space is short: a pure decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.models.weights import File

GIB = 2**30


@dataclass(frozen=True)
class Stored:
    """A model of the hot tier: size in bytes, last use in seconds since 1970, who uses it now ('' for
    nobody), and what the cold bucket lacks of it ('' when all of it is there)."""

    model: str
    digest: str
    files: tuple[File, ...]
    size: int
    last_used: float
    used_by: str = ""
    not_archived: str = ""

    @property
    def name(self) -> str:
        return f"{self.model}/{self.digest}"


@dataclass(frozen=True)
class Eviction:
    """What goes, and how many bytes that gives."""

    go: tuple[Stored, ...]
    freed: int


@dataclass(frozen=True)
class Refusal:
    """Too little can go: bytes that are short, bytes that could be freed, and why the others stay."""

    short: int
    could_free: int
    stay: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{gib(self.short)} short, {gib(self.could_free)} could be freed"
            + "".join(f"; {reason}" for reason in self.stay)
            + ": free space by hand, archive what is not archived, or declare a larger tier"
        )


def gib(count: int) -> str:
    return f"{count / GIB:.2f} GiB"


def choose(stored: Sequence[Stored], need: int, free: int, keep: int) -> Eviction | Refusal:
    """Which of `stored` go so that `need` bytes fit and `keep` stay free.

    The one unused for longest goes first; one that turns out not to be needed, because a later one frees
    enough, stays. One that is used, or not whole in the cold bucket, never goes.
    """
    short = need + keep - free
    if short <= 0:
        return Eviction((), 0)
    may_go = sorted(
        (model for model in stored if not model.used_by and not model.not_archived),
        key=lambda model: (model.last_used, model.name),
    )
    freed = sum(model.size for model in may_go)
    if freed < short:
        return Refusal(short, freed, tuple(_reason(model) for model in stored if model not in may_go))
    go = list(may_go)
    for model in reversed(may_go):  # the most recently used has the first right to stay
        if freed - model.size >= short:
            go.remove(model)
            freed -= model.size
    return Eviction(tuple(go), freed)


def _reason(model: Stored) -> str:
    why = f"is used ({model.used_by})" if model.used_by else f"is not archived ({model.not_archived})"
    return f"{model.name} {why}"
