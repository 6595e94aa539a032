# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage tier as the site declares it, where its layout is zfs, and what its pool has to be like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import GB, Rule

LAYOUTS = {0: "stripe", 1: "mirror", 5: "raidz1", 6: "raidz2"}
"""The level as md counts it -> what zpool calls it."""

LEAST_DISKS = {0: 1, 1: 2, 5: 3, 6: 4}
MAY_DIE = {0: 0, 5: 1, 6: 2}
CIPHER = "aes-256-gcm"

# Set once, at creation: neither can be changed later.
FOREVER = {
    "ashift": "12",  # sectors of 4 KiB: many drives have them and say 512, and one that does would crawl
}
# Of the pool's root dataset; where one differs it is put right, for what is written from then on.
PROPERTIES = {
    "compression": "lz4",  # gives up early on weights, which do not compress, and halves logs
    "recordsize": "1M",  # weights are read from end to end: fewer blocks, so fewer tags, less raidz padding
    "atime": "off",  # or each read of a model is a write
    "xattr": "on",  # OpenZFS 2.3's word for sa: in the inode, where a hidden folder costs two more reads
    "acltype": "posix",  # what journald gives its readers
    "dnodesize": "auto",  # room for those attributes
    "mountpoint": "legacy",  # fstab mounts it as it does every other tier, after its key is loaded
}

# zpool takes these for parts of a pool (zpool-create(8)).
_RESERVED = re.compile(r"(mirror|raidz|draid|spare|log|special|dedup|cache|stripe)")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


class DeclarationError(Exception):
    """A tier that cannot be made as it is declared; the message says what, why, and what to write instead."""


@dataclass(frozen=True)
class Tier:
    """`disks` hold data and parity, `spares` stand by; `rule` says which they may be."""

    name: str
    level: int
    rule: Rule
    disks: int
    spares: int
    mount: str

    @property
    def layout(self) -> str:
        return LAYOUTS[self.level]

    @property
    def may_die(self) -> int:
        """How many disks may die before data is lost."""
        return MAY_DIE.get(self.level, self.disks - 1)

    def described(self) -> dict[str, Any]:
        words = ("name", "layout", "disks", "spares", "may_die")
        return {word: getattr(self, word) for word in words}


def declared(host: str, tiers: Iterable[Mapping[str, Any]]) -> list[Tier]:
    """Those of the site's tiers that are ZFS's.

    Raises:
        DeclarationError: a tier is declared as none can be; one line for each reason.
    """
    own = [tier for tier in tiers if tier.get("layout") == "zfs"]
    problems = [f"{host}: tier {tier.get('name')}: {text}" for tier in own for text in _problems(tier)]
    if problems:
        raise DeclarationError("\n".join(problems))
    return [_tier(tier) for tier in own]


def _problems(tier: Mapping[str, Any]) -> Iterator[str]:
    name, level, rule = str(tier.get("name", "")), tier.get("level"), tier.get("disks") or {}
    if not _NAME.fullmatch(name) or _RESERVED.match(name):
        yield "no name for a pool (zpool-create(8)): use a short word such as hot or warm"
    if sum(key in rule for key in ("count", "ids", "slots")) != 1:
        yield "disks: say how many of a kind (count), or which (ids or slots), one of these"
    elif level in LAYOUTS and _disks(tier) < LEAST_DISKS[level]:
        yield f"{_disks(tier)} disks without spares: {LAYOUTS[level]} takes {LEAST_DISKS[level]} or more"
    if level not in LAYOUTS:
        words = ", ".join(f"{number} ({layout})" for number, layout in LAYOUTS.items())
        yield f"level {level}: a ZFS tier has {words}; for another, the layout is md"
    if tier.get("encryption", CIPHER) != CIPHER:
        yield f"encryption {tier['encryption']}: a ZFS tier has {CIPHER}; for another, the layout is md"
    if not str(tier.get("mount", "")).startswith("/"):
        yield f"mount {tier.get('mount')!r}: say where it is mounted, such as /srv/stronghold/{name}"


def _disks(tier: Mapping[str, Any]) -> int:
    rule = tier["disks"]
    named = rule.get("ids") or rule.get("slots") or ()
    return int(rule["count"]) if "count" in rule else len(named) - int(tier.get("spares", 0))


def _tier(tier: Mapping[str, Any]) -> Tier:
    rule = tier["disks"]
    return Tier(
        name=str(tier["name"]),
        level=int(tier["level"]),
        rule=Rule(
            kind=str(rule.get("kind", "any")),
            count=int(rule.get("count", 0)),
            min_size=int(float(rule.get("min_size_gb", 0)) * GB),
            max_size=int(float(rule.get("max_size_gb", 0)) * GB),
            model=str(rule.get("model", "")),
            ids=tuple(map(str, rule.get("ids", ()))),
            slots=tuple(map(str, rule.get("slots", ()))),
        ),
        disks=_disks(tier),
        spares=int(tier.get("spares", 0)),
        mount=str(tier["mount"]),
    )
