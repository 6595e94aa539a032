# SPDX-License-Identifier: GPL-3.0-or-later
"""What a built host says of its encrypted tiers, and what of the promise is missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.encryption import write_budget
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_header import (
    RECOVERY_SLOT,
    State,
    Table,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import Seen, Volume

# Declared cipher -> how the kernel's table names it, its integrity, and its key in bytes.
KERNEL = {
    "aes-256-xts": ("aes-xts-plain64", "", 64),
    "aes-256-gcm": ("capi:gcm(aes)-random", "aead", 32),
}
LATEST_START = 3600  # seconds from the key's making to the first count


@dataclass(frozen=True)
class Found:
    """``unlocks``: the declared method opened it now. ``array``: the declared array is what lies underneath.

    ``count`` and ``made`` (ISO 8601): the counted writes and the record of the key, where there are any.
    """

    seen: Seen
    unlocks: bool
    array: bool
    count: write_budget.Count | None = None
    made: str = ""


def missing(volume: Volume, found: Found, recipient: str) -> list[str]:
    """What is not as promised, in words; nothing for a tier that is encrypted and can be recovered."""
    seen, header, table = found.seen, found.seen.header, found.seen.table
    if header is None or header.state is not State.COMPLETE:
        return [f"{volume.device} holds no complete volume"]
    if table is None:
        return [f"/dev/mapper/{volume.name} is not open"]
    backup = seen.record.header if seen.record else ""
    expected = {RECOVERY_SLOT, *([] if seen.bound is None else [seen.bound])}
    unknown = sorted(set(header.slots) - expected)
    checks = (
        (
            _really(table) == KERNEL[volume.cipher],
            f"the kernel does not do {volume.cipher}: {_really(table)}",
        ),
        (found.array, f"{volume.device} is not what lies under /dev/mapper/{volume.name}"),
        (RECOVERY_SLOT in header.slots and seen.escrowed, "there is no recovery slot with an escrow"),
        (
            seen.record is not None and seen.record.recovery_slot == seen.recovery_slot,
            "the recovery slot is another",
        ),
        (
            seen.record is not None and seen.record.recipient == recipient,
            "the escrow is for another recipient",
        ),
        (backup == header.digest, "the header has changed since its backup"),
        (found.unlocks, f"{volume.unlock.method} does not open it now: after a reboot it would stay closed"),
        (not unknown, f"key slots that nobody declared: {', '.join(map(str, unknown))}"),
        (seen.crypttab, "it is not in /etc/crypttab as declared"),
    )
    return [words for holds, words in checks if not holds]


def _really(table: Table) -> tuple[str, str, int]:
    return table.cipher, table.integrity, table.key_bytes


def shown(volume: Volume, found: Found, recipient: str, now: float) -> dict[str, Any]:
    """For the evidence: nothing in it is secret."""
    seen, header, table = found.seen, found.seen.header, found.seen.table
    return {
        "tier": volume.name,
        "declared": volume.cipher,
        "unlock": f"{volume.unlock.method} (lab only: the key lies on this host's root disk)"
        if volume.unlock.method == "keyfile"
        else volume.unlock.method,
        "uuid": header.uuid if header else "",
        "kernel": {
            "cipher": table.cipher if table else "",
            "integrity": (table.integrity if table else "") or "none",
            "key_bits": 8 * table.key_bytes if table else 0,
            "sector": table.sector if table else 0,
            "flags": list(table.flags) if table else [],
        },
        "slots": list(header.slots) if header else [],
        "header_backed_up": seen.record.backed_up if seen.record else "",
        "missing": missing(volume, found, recipient),
        "budget": budget(volume, found, now),
    }


def budget(volume: Volume, found: Found, now: float) -> dict[str, Any]:
    """Of an AES-GCM tier; empty for another."""
    if volume.cipher != "aes-256-gcm":
        return {}
    count, header = found.count, found.seen.header
    if count is None or header is None or count.key != header.key_digest:
        return {"problem": "the writes of this key are not counted"}
    made = datetime.fromisoformat(found.made).timestamp() if found.made else 0.0
    spent = write_budget.budget(count, now)
    late = count.since - made > LATEST_START
    return {
        "used": spent.used,
        "budget": spent.budget,
        "share": round(spent.share, 6),
        "days_left": None if spent.days_left is None else round(spent.days_left),
        "problem": "the count began long after the key was made: what was written before is not in it"
        if late
        else "",
    }
