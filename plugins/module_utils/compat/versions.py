# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions as drivers, kernels, toolkits and wheels write them, in one total order; standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

VERSION = re.compile(
    r"(?P<release>\d{1,9}(\.\d{1,9}){0,5})"
    r"(\.?(?P<stage>dev|a|b|rc|post)(?P<number>\d{1,9})?)?"
    r"(?P<rest>[-+~][A-Za-z0-9.+~_-]*)?",
    re.ASCII,
)
# Before the release itself: dev, a, b, rc. After it: post.
STAGES = {"dev": -4, "a": -3, "b": -2, "rc": -1, "": 0, "post": 1}


class VersionError(ValueError):
    """Text that is no version."""


@total_ordering
@dataclass(frozen=True, eq=False)
class Version:
    """Like 580.95.05, 12.8, 2.9.0+cu128, 0.8.5.post1, 6.12.107+deb13-amd64. Zeros at the end count nothing:
    12.8 is 12.8.0. What follows `-`, `+` or `~` decides last, as text.
    """

    text: str
    release: tuple[int, ...]
    stage: tuple[int, int] = (0, 0)
    rest: str = ""

    @property
    def branch(self) -> int:
        """The number before the first dot."""
        return self.release[0]

    @property
    def minor(self) -> str:
        """Major and minor: "12.8"."""
        return ".".join(map(str, (*self.release, 0)[:2]))

    @property
    def local(self) -> str:
        """What a wheel writes behind `+`: "cu128"."""
        return self.rest.removeprefix("+") if self.rest.startswith("+") else ""

    def same_release(self, other: Version) -> bool:
        """Equal to the patch; a package's own revision (-1) is another matter."""
        return self._key[:2] == other._key[:2]

    @property
    def _key(self) -> tuple[tuple[int, ...], tuple[int, int], str]:
        numbers = list(self.release)
        while len(numbers) > 1 and numbers[-1] == 0:
            numbers.pop()
        return tuple(numbers), self.stage, self.rest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Version:
    """
    Raises:
        VersionError: `text` is none.
    """
    found = VERSION.fullmatch(text)
    if not found:
        raise VersionError(f"{text[:60]!r} is no version: write it as in 580.95.05 or 2.9.0+cu128")
    release = tuple(map(int, found["release"].split(".")))
    stage = (STAGES[found["stage"] or ""], int(found["number"] or 0))
    return Version(text, release, stage, found["rest"] or "")
