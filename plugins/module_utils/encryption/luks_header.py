# SPDX-License-Identifier: GPL-3.0-or-later
"""What a LUKS2 header and an open mapping say, and how a declaration would have them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RECOVERY_SLOT = 0
SECTOR = 4096  # bytes; one dm-crypt sector is one encryption


class State(StrEnum):
    """How far a volume has come, kept in the header's own field "subsystem": it is written with the header.

    A volume is opened for use only when it is ``COMPLETE``, and never goes back: whatever carries one of the
    other two marks has never held anything.
    """

    MAKING = "stronghold-making"
    FORMATTED = "stronghold-formatted"
    COMPLETE = "stronghold"
    FOREIGN = ""


@dataclass(frozen=True)
class Cipher:
    """As cryptsetup writes it in the header; key in bits, sector in bytes."""

    encryption: str
    integrity: str
    key_bits: int
    sector: int = SECTOR


CIPHERS: Mapping[str, Cipher] = {
    "aes-256-xts": Cipher("aes-xts-plain64", "", 512),
    "aes-256-gcm": Cipher("aes-gcm-random", "aead", 256),
}


@dataclass(frozen=True)
class Token:
    """A clevis binding: where the key comes from, with what the binding is pinned to."""

    number: int
    slots: tuple[int, ...]
    pin: str
    pinned: Mapping[str, str]


@dataclass(frozen=True)
class Header:
    uuid: str
    state: State
    cipher: Cipher
    slots: tuple[int, ...]
    tokens: tuple[Token, ...]
    digest: str  # SHA-256 of the whole header's text: another one means that the backup is old
    key_digest: str  # of the volume key's own digests: another one means another key
    recovery_area: tuple[int, int] | None  # offset and size in bytes


def parse(dump: str, metadata: str) -> Header:
    """From ``cryptsetup luksDump`` and ``cryptsetup luksDump --dump-json-metadata``."""
    data = json.loads(metadata)
    named = dict(re.findall(r"^(UUID|Subsystem):\s+(\S+)$", dump, re.MULTILINE))
    segment = data["segments"]["0"]
    slots = {int(number): slot for number, slot in data["keyslots"].items()}
    recovery = slots.get(RECOVERY_SLOT)
    ours = {State.MAKING, State.FORMATTED, State.COMPLETE}
    subsystem = named.get("Subsystem", "")
    canonical = json.dumps([named["UUID"], subsystem, data], sort_keys=True)
    keys = json.dumps([named["UUID"], [each["digest"] for each in data["digests"].values()]])
    return Header(
        uuid=named["UUID"],
        state=State(subsystem) if subsystem in ours else State.FOREIGN,
        cipher=Cipher(
            encryption=segment.get("encryption", segment["type"]),
            integrity=segment.get("integrity", {}).get("type", ""),
            key_bits=next((8 * int(slot["key_size"]) for slot in slots.values()), 0),
            sector=int(segment.get("sector_size", 0)),
        ),
        slots=tuple(sorted(slots)),
        tokens=tuple(_token(int(number), token) for number, token in data["tokens"].items()),
        digest=hashlib.sha256(canonical.encode()).hexdigest(),
        key_digest=hashlib.sha256(keys.encode()).hexdigest()[:16],
        recovery_area=(int(recovery["area"]["offset"]), int(recovery["area"]["size"])) if recovery else None,
    )


def _token(number: int, token: Mapping[str, Any]) -> Token:
    pin, pinned = "", {}
    if token["type"] == "clevis":
        protected = str(token["jwe"]["protected"])  # the part of the token that is readable and signed
        clevis = json.loads(_unpadded(protected))["clevis"]
        pin = str(clevis["pin"])
        pinned = _tang(clevis["tang"]) if pin == "tang" else _tpm2(clevis.get("tpm2", {}))
    return Token(number, tuple(int(slot) for slot in token["keyslots"]), pin, pinned)


def _tang(settings: Mapping[str, Any]) -> dict[str, str]:
    signers = [key for key in settings["adv"]["keys"] if "verify" in key["key_ops"]]
    return {"url": str(settings["url"]), "thumbprints": " ".join(sorted(thumbprint(key) for key in signers))}


def _tpm2(settings: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(settings.get(name, "")) for name in ("pcr_bank", "pcr_ids")}


def thumbprint(key: Mapping[str, str]) -> str:
    """S256 thumbprint of an elliptic curve's public key (RFC 7638), as tang-show-keys prints it."""
    members = {name: key[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def differences(found: Cipher, declared: Cipher) -> list[str]:
    pairs = (
        ("cipher", found.encryption, declared.encryption),
        ("integrity", found.integrity or "none", declared.integrity or "none"),
        ("key bits", found.key_bits, declared.key_bits),
        ("sector size", found.sector, declared.sector),
    )
    return [f"{name} is {one}, declared is {other}" for name, one, other in pairs if one != other]


# Open mappings --------------------------------------------------------------------------------

FLAGS = {
    "no_read_workqueue": "no-read-workqueue",
    "no_write_workqueue": "no-write-workqueue",
    "same_cpu_crypt": "same-cpu-crypt",
    "submit_from_crypt_cpus": "submit-from-crypt-cpus",
}  # dm-crypt's name -> crypttab's


@dataclass(frozen=True)
class Table:
    """The kernel's own words on an open mapping: what is really done to the data."""

    cipher: str
    key_bytes: int
    sector: int
    integrity: str
    flags: tuple[str, ...]
    device: str  # major:minor of what lies underneath


def parse_table(text: str) -> Table | None:
    """From ``dmsetup table NAME``: 0 SECTORS crypt CIPHER KEY IV_OFFSET DEVICE OFFSET [COUNT OPTION…]."""
    words = text.split()
    if len(words) < 8 or words[2] != "crypt":
        return None
    options: Sequence[str] = words[9:]
    values = dict(option.split(":", 1) for option in options if ":" in option)
    return Table(
        cipher=words[3],
        key_bytes=int(words[4].split(":")[1]) if words[4].startswith(":") else len(words[4]) // 2,
        sector=int(values.get("sector_size", 512)),
        integrity=values.get("integrity", "").partition(":")[2],
        flags=tuple(sorted(option for option in options if option in FLAGS)),
        device=words[6],
    )
