# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to a device so that it is the declared volume, from whatever an earlier run left.

The order is the safety. A volume is marked complete only after its recovery key is in escrow and its unlock
method has opened it, and is opened only after it is complete: so what is not complete has never held
anything, and may be made anew. What is complete is never formatted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.encryption import write_budget
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_header import (
    CIPHERS,
    FLAGS,
    Header,
    State,
    Table,
    Token,
    differences,
)


class Refusal(Exception):
    """The device stays as it is; the message says what is on it and what would help."""


class Step(StrEnum):
    DISCARD = "what an interrupted making left in escrow is forgotten, it protects nothing"
    FORMAT = "formatted as LUKS2, with its recovery key in slot 0"
    FORMATTED = "marked as formatted"
    ESCROW = "recovery key encrypted to the site's recipient"
    UNLOCK = "bound to the declared unlock method, which opens it"
    DROP = "slots of an earlier unlock method removed"
    COMPLETE = "marked as complete"
    BACKUP = "header backed up, tested and encrypted"
    CRYPTTAB = "opens at boot"
    OPEN = "open"
    FLAGS = "dm-crypt flags set on the open mapping"
    FORGET = "recovery key forgotten by the host"


@dataclass(frozen=True)
class Unlock:
    """How it opens without a person: ``tpm2``, ``tang`` or ``keyfile``, and what that is pinned to."""

    method: str
    url: str = ""
    thumbprint: str = ""
    pcrs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Volume:
    """A declared volume: an encrypted tier of md."""

    name: str
    device: str
    cipher: str
    flags: tuple[str, ...]
    unlock: Unlock


@dataclass(frozen=True)
class Record:
    """What the host keeps of a volume that it has completed; the header's digest of the last backup."""

    name: str
    uuid: str
    recipient: str
    header: str
    recovery_slot: str
    backed_up: str  # ISO 8601, UTC


@dataclass(frozen=True)
class Seen:
    """A device as it is found. ``size`` in bytes, None where there is no device."""

    size: int | None
    signatures: tuple[str, ...] = ()  # of anything but LUKS
    header: Header | None = None
    staged: bool = False  # the recovery key of the making is still known, and opens the volume
    escrowed: bool = False  # for the uuid that is on the device
    bound: int | None = None  # the slot of the declared unlock method
    former: tuple[int, ...] = ()  # slots of another unlock method
    record: Record | None = None  # of the name
    recovery_slot: str = ""  # its digest, to compare with the record's
    crypttab: bool = False
    table: Table | None = None  # of the mapping of that name, if there is one
    leftovers: bool = False  # a recovery key that is still known


def plan(volume: Volume, seen: Seen, *, wipe_share: float = 0.5) -> tuple[Step, ...]:
    """The steps that are missing, in order; none if everything is as declared."""
    refuse(volume, seen, wipe_share=wipe_share)
    header, steps = seen.header, []
    finished = header is not None and header.state is State.COMPLETE
    if not finished:
        anew = header is None or header.state is State.MAKING or not seen.staged
        if anew:
            steps += [Step.DISCARD] if seen.escrowed else []
            steps += [Step.FORMAT, Step.FORMATTED]
        if anew or not seen.escrowed:
            steps.append(Step.ESCROW)
        if anew or seen.bound is None:
            steps.append(Step.UNLOCK)
        if not anew and header is not None and set(header.slots) - {0, seen.bound}:
            steps.append(Step.DROP)
        steps.append(Step.COMPLETE)
    else:
        if seen.bound is None:
            steps.append(Step.UNLOCK)
        if seen.former:
            steps.append(Step.DROP)
    if steps or header is None or seen.record is None or seen.record.header != header.digest:
        steps.append(Step.BACKUP)
    if not finished or not seen.crypttab:
        steps.append(Step.CRYPTTAB)
    if seen.table is None:
        steps.append(Step.OPEN)
    elif seen.table.flags != volume.flags:
        steps.append(Step.FLAGS)
    if not finished or seen.leftovers:
        steps.append(Step.FORGET)
    return tuple(steps)


def refuse(volume: Volume, seen: Seen, *, wipe_share: float) -> None:
    if seen.size is None:
        raise Refusal(f"{volume.device} does not exist: the role raid_storage makes it")
    if seen.signatures:
        raise Refusal(
            f"{volume.device} holds {', '.join(seen.signatures)}: it is not empty and stays as it is. If "
            f"nothing of it is needed, clear it by hand (wipefs --all {volume.device}) and run again"
        )
    if reason := write_budget.too_large(volume.name, volume.cipher, seen.size, wipe_share):
        raise Refusal(reason)
    if seen.header is None:
        _refuse_lost_header(volume, seen)
    else:
        _refuse_header(volume, seen, seen.header)


def _refuse_lost_header(volume: Volume, seen: Seen) -> None:
    if seen.record:
        raise Refusal(
            f"{volume.device} is empty, and had the volume {seen.record.uuid}: its header is lost, its data "
            f"is not. Restore the header from /var/lib/stronghold/escrow/{seen.record.uuid}.header.age "
            "(docs/encryption.md, Recovery). Only if the array was made anew and nothing of it is needed, "
            f"remove /var/lib/stronghold/escrow/{seen.record.uuid}.json"
        )
    if seen.table is not None:
        raise Refusal(
            f"/dev/mapper/{volume.name} exists and {volume.device} has no LUKS header: close it first"
        )


def _refuse_header(volume: Volume, seen: Seen, header: Header) -> None:
    if header.state is State.FOREIGN:
        raise Refusal(
            f"{volume.device} holds the LUKS volume {header.uuid}, which this role did not make: it stays as "
            "it is"
        )
    if header.state is not State.COMPLETE:
        if seen.table is not None:
            raise Refusal(
                f"/dev/mapper/{volume.name} is open, and the making of {volume.device} was never finished: "
                f"somebody opened it by hand; look at it, close it (cryptsetup close {volume.name}) and run "
                "again"
            )
        if seen.record:
            _refuse_other(volume, seen.record, header)
        return
    found = differences(header.cipher, CIPHERS[volume.cipher])
    if found:
        raise Refusal(
            f"{volume.device} is not {volume.cipher} as declared: {'; '.join(found)}. A volume is never "
            "formatted again: declare what it is, or move its data away, clear it by hand and run again"
        )
    if seen.record and seen.record.uuid != header.uuid:
        _refuse_other(volume, seen.record, header)
    if not seen.escrowed:
        raise Refusal(
            f"{volume.device}: there is no escrow of its recovery key on this host: bring "
            f"/var/lib/stronghold/escrow/{header.uuid}.age back from the controller's copy"
        )
    if seen.record and seen.record.recovery_slot != seen.recovery_slot:
        raise Refusal(
            f"{volume.device}: key slot 0 is not the one whose key is in escrow, so that nobody could "
            "recover it: restore the header, or put the escrowed key back into slot 0 (docs/encryption.md, "
            "Recovery)"
        )


def _refuse_other(volume: Volume, record: Record, header: Header) -> None:
    """A record is written when a volume is complete, so what it names may hold data."""
    raise Refusal(
        f"{volume.device} holds the volume {header.uuid}, and {volume.name} was {record.uuid}: another array "
        f"has its name, or its header was replaced. Put the right one back; if {volume.name} is to be the "
        f"new one, remove /var/lib/stronghold/escrow/{record.uuid}.json"
    )


# The declaration ------------------------------------------------------------------------------


def declared(
    tiers: Iterable[Mapping[str, Any]], unlock: Unlock, flags: Mapping[str, Sequence[str]]
) -> tuple[Volume, ...]:
    """The encrypted md tiers of a site's declaration (``stronghold_storage_tiers``)."""
    _refuse_unlock(unlock)
    volumes = []
    for tier in tiers:
        if tier["layout"] != "md" or tier.get("encryption", "none") == "none":
            continue
        name, cipher = str(tier["name"]), str(tier["encryption"])
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
            raise Refusal(f"tier {name!r}: a name has lower-case letters, digits and _ only")
        if cipher not in CIPHERS:
            raise Refusal(f"tier {name}: encryption {cipher!r} is not one of {', '.join(CIPHERS)}, none")
        wanted = tuple(sorted(flags.get(name, ())))
        if unknown := sorted(set(wanted) - set(FLAGS)):
            raise Refusal(f"tier {name}: {', '.join(unknown)} is no dm-crypt flag: {', '.join(FLAGS)}")
        volumes.append(Volume(name, f"/dev/md/{name}", cipher, wanted, unlock))
    return tuple(volumes)


def _refuse_unlock(unlock: Unlock) -> None:
    if unlock.method == "tang" and not (unlock.url and unlock.thumbprint):
        raise Refusal(
            "unlock by tang needs the server's address and the thumbprint of its signing key, so that no "
            "other server is believed: set disk_encryption_tang_url and disk_encryption_tang_thumbprint "
            "(tang-show-keys prints it)"
        )
    if unlock.method == "tpm2" and not unlock.pcrs:
        raise Refusal("unlock by tpm2 needs at least one PCR, or the key is given to whatever boots: set [7]")


def diff(steps: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """As Ansible shows it: the steps that are missing, by tier."""
    return [
        {
            "before_header": name,
            "after_header": name,
            "before": "",
            "after": "".join(f"{each}\n" for each in missing),
        }
        for name, missing in steps.items()
        if missing
    ]


def pinned_to(token: Token, unlock: Unlock) -> bool:
    """Whether a clevis binding is the declared one."""
    if token.pin != unlock.method:
        return False
    if token.pin == "tang":
        known = token.pinned["thumbprints"].split()
        return token.pinned["url"] == unlock.url and unlock.thumbprint in known
    return token.pinned == {"pcr_bank": "sha256", "pcr_ids": ",".join(map(str, unlock.pcrs))}


def crypttab(volume: Volume, uuid: str) -> str:
    """Its line; ``nofail``: a host that cannot unlock boots all the same, and unlocks when it can."""
    options = ["luks", "nofail"]
    options += [FLAGS[flag] for flag in volume.flags]
    if volume.unlock.method == "keyfile":
        key = keyfile(volume.name)
        options.append("headless=true")
    else:
        key = "none"  # clevis answers systemd's question
    if volume.unlock.method == "tang":
        options.append("_netdev")
    return f"{volume.name} UUID={uuid} {key} {','.join(options)}"


def keyfile(name: str) -> str:
    return f"/etc/stronghold/luks/{name}.key"
