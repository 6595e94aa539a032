# SPDX-License-Identifier: GPL-3.0-or-later
"""The md tiers of a site's declaration, typed; what is wrong in it is said with the tier's name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.storage import geometry
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    GB,
    Rule,
    StorageError,
    Tier,
    array_uuid,
    plain_uuid,
)

NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
KINDS = ("any", "nvme", "ssd", "rotational")
RULE_KEYS = {"kind", "count", "min_size_gb", "max_size_gb", "model", "ids", "slots"}
STABLE = "/dev/disk/by-id/"
CHUNK_KIB = 512


def md_tiers(host: str, declared: Iterable[Mapping[str, Any]]) -> tuple[Tier, ...]:
    """The tiers whose layout is md.

    Raises:
        StorageError: a tier is declared as none can be; one line for each reason.
    """
    problems: list[str] = []
    tiers = []
    for number, each in enumerate(declared, start=1):
        name = str(each.get("name", ""))
        where = f"{host}: tier {name or number}"
        if not NAME.fullmatch(name):
            problems.append(f"{where}: name {name!r}: it becomes /dev/md/<name>, so it is {NAME.pattern}")
        if each.get("layout", "md") not in ("md", "zfs"):
            problems.append(f"{where}: layout {each['layout']!r}: it is md or zfs")
        if each.get("layout", "md") == "md":
            try:
                tiers.append(_tier(host, where, name, each))
            except StorageError as error:
                problems += str(error).split("\n")
    counted = Counter(tier.name for tier in tiers)
    problems += [
        f"{host}: tier {name}: declared {count} times" for name, count in counted.items() if count > 1
    ]
    places = Counter(place for tier in tiers for place in (*tier.rule.ids, *tier.rule.slots))
    problems += [f"{host}: {place}: {count} tiers want it" for place, count in places.items() if count > 1]
    if problems:
        raise StorageError("\n".join(problems))
    return tuple(tiers)


def _tier(host: str, where: str, name: str, each: Mapping[str, Any]) -> Tier:
    problems: list[str] = []
    level, spares, chunk = (
        _number(each, key, default, where, problems)
        for key, default in (("level", None), ("spares", 0), ("chunk_kib", CHUNK_KIB))
    )
    rule = _rule(each.get("disks") or {}, where, problems)
    raid_disks = rule.count or len(rule.ids or rule.slots) - spares
    if level not in geometry.LEAST:
        problems.append(f"{where}: level {each.get('level')!r}: md tiers are RAID 0, 1, 5, 6 or 10")
    elif raid_disks < geometry.LEAST[level]:
        problems.append(
            f"{where}: {raid_disks} disks without spares: RAID{level} takes {geometry.LEAST[level]} or more"
        )
    if level == 0 and spares:
        problems.append(f"{where}: spares {spares}: RAID0 has no use for a spare")
    if chunk < 4 or chunk & (chunk - 1):
        problems.append(f"{where}: chunk_kib {chunk}: it is a power of two, 4 or more")
    uuid = plain_uuid(str(each["uuid"])) if each.get("uuid") else array_uuid(host, name)
    if not uuid:
        problems.append(f"{where}: uuid {each['uuid']!r}: it is 32 hex digits")
    if problems:
        raise StorageError("\n".join(problems))
    return Tier(name, level, rule, raid_disks, spares, chunk * 1024, uuid)


def _rule(disks: Mapping[str, Any], where: str, problems: list[str]) -> Rule:
    if unknown := sorted(set(disks) - RULE_KEYS):
        problems.append(f"{where}: disks has {', '.join(unknown)}: known are {', '.join(sorted(RULE_KEYS))}")
    ways = [key for key in ("count", "ids", "slots") if disks.get(key)]
    if len(ways) != 1:
        problems.append(
            f"{where}: disks are told by {' and '.join(ways) or 'nothing'}: give count, ids or slots"
        )
    kind, model = str(disks.get("kind", "any")), str(disks.get("model", ""))
    if kind not in KINDS:
        problems.append(f"{where}: kind {kind!r}: it is one of {', '.join(KINDS)}")
    try:
        re.compile(model)
    except re.error as error:
        problems.append(f"{where}: model {model!r}: no regular expression: {error}")
    ids, slots = (tuple(str(value) for value in disks.get(key) or ()) for key in ("ids", "slots"))
    problems += [
        f"{where}: {value}: such names change from boot to boot; name the disk as below {STABLE}"
        for value in ids
        if not value.startswith(STABLE)
    ]
    count = _number(disks, "count", 0, where, problems)
    least, most = (_bytes(disks, key, where, problems) for key in ("min_size_gb", "max_size_gb"))
    return Rule(kind, count, least, most, model, ids, slots)


def _bytes(data: Mapping[str, Any], key: str, where: str, problems: list[str]) -> int:
    try:
        return int(float(data.get(key, 0)) * GB)
    except (TypeError, ValueError):
        problems.append(f"{where}: {key} {data[key]!r}: it is a number of GB (10^9 bytes)")
        return 0


def _number(data: Mapping[str, Any], key: str, default: int | None, where: str, problems: list[str]) -> int:
    value = data.get(key, default)
    if re.fullmatch(r"\d+", str(value)):
        return int(str(value))
    problems.append(f"{where}: {key} {value!r}: it is a whole number, 0 or more")
    return 0
