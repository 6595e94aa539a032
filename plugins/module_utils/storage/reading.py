# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools and the kernel print about disks and arrays, as the model has it. No host is touched here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    Array,
    Disk,
    Kind,
    Known,
    Member,
    Record,
    Signature,
    StorageError,
    Superblock,
    plain_uuid,
)

LSBLK = (
    "lsblk",
    "--json",
    "--bytes",
    "--output=NAME,PATH,TYPE,SIZE,ROTA,TRAN,MODEL,SERIAL,WWN,HCTL,MOUNTPOINTS",
)
WIPEFS = ("wipefs", "--json")
EXAMINE = ("mdadm", "--examine")

# RAM and network disks are "disk" to lsblk as well.
NO_DISK = re.compile(r"(zram|ram|loop|nbd|rbd|md|dm-|sr|fd)\d*")

# Of several links to one disk: the one that a person can read off the disk comes first.
LINKS = (r"nvme-(?!eui|nvme|uuid)", r"wwn-", r"ata-", r"scsi-(?=S)", r"scsi-", r"virtio-", r"nvme-", r"")
ID_PREFIX = "/dev/disk/by-id/"


def disks(
    lsblk: str,
    signatures: Mapping[str, tuple[Signature, ...]],
    superblocks: Mapping[str, Superblock],
    links: Mapping[str, tuple[str, ...]],
    slots: Mapping[str, str],
    held: frozenset[str],
) -> tuple[Disk, ...]:
    """Whole disks, in the order of their slots. All mappings go by kernel name ("nvme0n1").

    `held` are those that the kernel does not give to anybody alone: something is on them.
    """
    found = []
    for each in _json(lsblk, "lsblk", "blockdevices"):
        name = each["name"]
        if each["type"] != "disk" or NO_DISK.fullmatch(name) or not each["size"]:
            continue
        ids = tuple(sorted(f"{ID_PREFIX}{link}" for link in links.get(name, ())))
        in_use = list(dict.fromkeys(_uses(each)))
        if name in held and not in_use:
            in_use = ["held by the kernel (ZFS, bcache or multipath, perhaps)"]
        found.append(
            Disk(
                path=each["path"],
                kernel_name=name,
                serial=(each["serial"] or "").strip(),
                model=(each["model"] or "").strip(),
                kind=_kind(each),
                size=int(each["size"]),
                by_id=preferred(ids),
                ids=ids,
                slot=slots.get(name, ""),
                in_use=tuple(in_use),
                signatures=signatures.get(name, ()),
                superblock=superblocks.get(name),
            )
        )
    return tuple(sorted(found, key=lambda disk: (natural(disk.slot), natural(disk.serial))))


def preferred(ids: tuple[str, ...]) -> str:
    """The link that names a disk for good: model and serial for NVMe, world wide name for SAS and SATA."""
    # A namespace's own link ends in its number, and comes after the one of the disk.
    for pattern in LINKS:
        matching = [link for link in ids if re.match(pattern, link.removeprefix(ID_PREFIX))]
        if matching:
            return min(matching, key=lambda link: (len(link), link))
    return ""


def natural(text: str) -> list[tuple[int, int | str]]:
    """So that slot 2 comes before slot 10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def _kind(each: Mapping[str, Any]) -> Kind:
    if each["tran"] == "nvme" or each["name"].startswith("nvme"):
        return "nvme"
    return "rotational" if each["rota"] else "ssd"


def _uses(each: Mapping[str, Any]) -> Iterator[str]:
    """What stands on a disk: its mounts, and all devices above it with theirs."""
    yield from (f"mounted on {where}" for where in each.get("mountpoints") or () if where)
    for child in each.get("children") or ():
        if child["type"] != "part":  # in use is what stands on a partition
            yield f"{child['type']} {child['name']}"
        yield from _uses(child)


def signatures(wipefs: str) -> dict[str, tuple[Signature, ...]]:
    """Signatures by kernel name, as `wipefs --json` of whole disks finds them."""
    found: dict[str, tuple[Signature, ...]] = {}
    for each in _json(wipefs, "wipefs", "signatures") if wipefs.strip() else ():
        one = Signature(each["type"] or "unknown", each["label"] or "", each["uuid"] or "")
        # A partition table and its backup are one to a person.
        if one not in (known := found.get(each["device"], ())):
            found[each["device"]] = (*known, one)
    return found


def superblocks(examine: str) -> dict[str, Superblock]:
    """md superblocks by path, as `mdadm --examine` prints them; those of version 1, which are made here."""
    found = {}
    for path, text in re.findall(r"^(/dev/\S+):\n((?:(?!/dev/).*\n?)*)", examine, re.MULTILINE):
        said = dict(re.findall(r"^\s*([A-Z][A-Za-z ]+?) : (.*?)\s*$", text, re.MULTILINE))
        if "Array UUID" not in said:
            continue
        role = re.fullmatch(r"Active device (\d+)", said.get("Device Role", ""))
        level = re.fullmatch(r"raid(\d+)", said.get("Raid Level", ""))
        found[path] = Superblock(
            uuid=plain_uuid(said["Array UUID"]),
            # "any:hot  (local to host any)"
            name=said.get("Name", "").split(" ")[0],
            level=int(level[1]) if level else -1,
            raid_disks=int(said.get("Raid Devices", 0)),
            events=int(said.get("Events", 0)),
            role=int(role[1]) if role else None,
        )
    return found


def array(kernel_name: str, sysfs: Mapping[str, str], export: str) -> Array:
    """One array, from the files below /sys/block/<name> and `mdadm --detail --export`."""
    said = dict(line.split("=", 1) for line in export.splitlines() if "=" in line)
    md = {path.removeprefix("md/"): text for path, text in sysfs.items() if path.startswith("md/")}
    level = re.fullmatch(r"raid(\d+)", md.get("level", ""))
    done, _, todo = md.get("sync_completed", "none").partition(" / ")
    return Array(
        path=f"/dev/{kernel_name}",
        uuid=plain_uuid(said.get("MD_UUID", "") or md.get("uuid", "")),
        name=said.get("MD_NAME", ""),
        level=int(level[1]) if level else None,
        raid_disks=_number(md, "raid_disks"),
        chunk=_number(md, "chunk_size"),
        layout=_number(md, "layout"),
        state=md.get("array_state", ""),
        size=_number(sysfs, "size") * 512,
        component=_number(md, "component_size") * 1024,
        action=md.get("sync_action", "idle"),
        done=int(done) if todo else 0,
        todo=int(todo or 0),
        speed=_number(md, "sync_speed"),
        bitmap=md.get("bitmap/location", "none") != "none",
        mismatches=_number(md, "mismatch_cnt"),
        stripe_cache_size=_number(md, "stripe_cache_size"),
        group_thread_cnt=_number(md, "group_thread_cnt"),
        members=tuple(_members(md)),
    )


def _members(md: Mapping[str, str]) -> Iterator[Member]:
    for path in sorted(md):
        if match := re.fullmatch(r"dev-(.+)/state", path):
            slot = md.get(f"dev-{match[1]}/slot", "none")
            yield Member(
                kernel_name=match[1],
                role=int(slot) if slot.isdigit() else None,
                states=tuple(word for word in re.split(r"[,\s]+", md[path]) if word),
                present=md.get(f"dev-{match[1]}/present", "yes") == "yes",
            )


def _number(texts: Mapping[str, str], name: str) -> int:
    """The first number of a file ("4 (3)" while a reshape runs), 0 for one that says none."""
    match = re.match(r"\d+", texts.get(name, ""))
    return int(match[0]) if match else 0


def record(text: str) -> Record:
    """What was written down of a tier; nothing where the file is not whole."""
    try:
        data = json.loads(text)
        members = {int(role): Known(**known) for role, known in data["members"].items()}
        replacing = data.get("replacing")
        return Record(members, (replacing[0], replacing[1]) if replacing else None)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return Record()


def record_text(kept: Record) -> str:
    members = {str(role): asdict(known) for role, known in sorted(kept.members.items())}
    data = {"members": members, "replacing": kept.replacing}
    return json.dumps(data, indent=1) + "\n"


def _json(text: str, command: str, key: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(text)[key])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{command} printed no {key}: {text[:200]!r}") from error
