# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the encrypted tiers of a host, and knows which keys the host itself has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.encryption import luks_header, write_budget
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_files import (
    COUNTS,
    ESCROW,
    KEYS,
    Files,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_header import (
    RECOVERY_SLOT,
    Header,
    Token,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import (
    Record,
    Refusal,
    Seen,
    Unlock,
    Volume,
    crypttab,
    pinned_to,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_report import Found
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import (
    CommandError,
    Run,
    may,
    must,
)

TEMPORARY = "temporary-cryptsetup-"  # cryptsetup's own name for the mappings of a format
BLOCK = "sys/class/block"


@dataclass(frozen=True)
class Host:
    run: Run
    files: Files

    def look(self, volume: Volume) -> Seen:
        record = self.record(volume.name)
        if not self.files.device(volume).exists():
            return Seen(size=None, record=record)
        size = int(must(self.run, "blockdev", "--getsize64", volume.device))
        table = luks_header.parse_table(may(self.run, "dmsetup", "table", volume.name))
        signatures, luks = self._signatures(volume)
        header = self.header(volume) if luks else None
        if luks and header is None:
            signatures += ("a LUKS volume whose header cryptsetup does not read as LUKS2",)
        staged = self.files.stage(volume).exists()
        if signatures or header is None:
            return Seen(size, signatures, record=record, table=table, staged=staged, leftovers=staged)
        slots = {slot: token for token in header.tokens for slot in token.slots if token.pin}
        by_file = self.opened_by_file(volume)
        return Seen(
            size,
            header=header,
            staged=staged and self.opens(volume, self.staged(volume), RECOVERY_SLOT),
            escrowed=self.files.escrow(header.uuid).exists(),
            bound=self._bound(volume.unlock, slots, by_file),
            former=self._former(volume.unlock, slots, by_file),
            record=record,
            recovery_slot=self.recovery_slot(self.files.device(volume), header),
            crypttab=crypttab(volume, header.uuid) in self.files.crypttab(),
            table=table,
            leftovers=staged,
        )

    def refuse_unlock(self, unlock: Unlock) -> None:
        """What a method needs of the machine, before anything is made."""
        if unlock.method == "tpm2" and not self.files.path("dev/tpmrm0").exists():
            raise Refusal(
                "unlock by tpm2 needs a TPM 2.0, and this host shows none (/dev/tpmrm0): enable it in the "
                "firmware, or set disk_encryption_unlock to tang"
            )

    def header(self, volume: Volume) -> Header | None:
        metadata = may(self.run, "cryptsetup", "luksDump", "--dump-json-metadata", volume.device)
        if not metadata:
            return None
        return luks_header.parse(must(self.run, "cryptsetup", "luksDump", volume.device), metadata)

    def record(self, name: str) -> Record | None:
        for path in sorted(self.files.path(ESCROW).glob("*.json")):
            record = Record(**json.loads(path.read_text()))
            if record.name == name:
                return record
        return None

    def escrow_files(self, volume: Volume) -> list[Path]:
        """What the controller keeps a copy of."""
        record = self.record(volume.name)
        folder = self.files.path(ESCROW)
        ends = (".age", ".header.age", ".json")
        return [folder / f"{record.uuid}{end}" for end in ends] if record else []

    def find(self, volume: Volume) -> Found:
        """Whatever a claim needs; the unlock method is tried, and no secret leaves this function."""
        seen = self.look(volume)
        key = "" if seen.bound is None else self.method_key(volume, seen.bound)
        ledger = self.files.path(KEYS) / f"luks-volume-{volume.name}.json"
        return Found(
            seen=seen,
            unlocks=seen.bound is not None and self.opens(volume, key, seen.bound),
            array=volume.name in self.above(volume),
            count=write_budget.read(self.files.path(COUNTS)).get(volume.name),
            made=json.loads(ledger.read_text())["made"] if ledger.exists() else "",
        )

    def _signatures(self, volume: Volume) -> tuple[tuple[str, ...], bool]:
        """What is on the device but LUKS, and whether LUKS is; who uses it, if it seems empty."""
        said = must(self.run, "wipefs", "--json", "--no-act", volume.device)
        found = json.loads(said or '{"signatures": []}')
        types = {str(each["type"]) for each in found["signatures"]}
        held = [name for name in self.above(volume) if not name.startswith(TEMPORARY)]
        others = tuple(sorted(types - {"crypto_LUKS"}))
        if not types and held:
            others = (f"something that {', '.join(held)} uses",)
        return others, "crypto_LUKS" in types

    def _bound(self, unlock: Unlock, slots: Mapping[int, Token], by_file: int | None) -> int | None:
        if unlock.method == "keyfile":
            return by_file
        return next((slot for slot, token in slots.items() if pinned_to(token, unlock)), None)

    def _former(self, unlock: Unlock, slots: Mapping[int, Token], by_file: int | None) -> tuple[int, ...]:
        others = {slot for slot, token in slots.items() if not pinned_to(token, unlock)}
        if unlock.method != "keyfile" and by_file is not None:
            others.add(by_file)
        return tuple(sorted(others - {RECOVERY_SLOT}))

    def opened_by_file(self, volume: Volume) -> int | None:
        path = self.files.keyfile(volume)
        if not path.exists():
            return None
        test = ("cryptsetup", "open", "--test-passphrase", "--verbose", "--key-file=-", volume.device)
        code, out, _ = self.run(test, path.read_text())
        return int(out.partition("Key slot ")[2].split()[0]) if code == 0 else None

    def opens(self, volume: Volume, key: str, slot: int, header: str = "") -> bool:
        test = ["cryptsetup", "open", "--test-passphrase", f"--key-slot={slot}", "--key-file=-"]
        return (
            key != ""
            and self.run([*test, *([f"--header={header}"] if header else []), volume.device], key)[0] == 0
        )

    def recovery_slot(self, path: Path, header: Header) -> str:
        """Digest of slot 0 itself: the same one that was proven to fit the escrow."""
        if header.recovery_area is None:
            return ""
        offset, size = header.recovery_area
        with path.open("rb") as device:
            device.seek(offset)
            return hashlib.sha256(device.read(size)).hexdigest()

    def above(self, volume: Volume) -> list[str]:
        """What lies on the device, uppermost first: names of mappings, or of other block devices."""
        names: list[str] = []
        level = {self.files.device(volume).resolve().name}
        while level := {
            path.name for each in level for path in self.files.path(f"{BLOCK}/{each}/holders").glob("*")
        }:
            names += [self._mapping(each) for each in sorted(level)]
        return names[::-1]

    def _mapping(self, block: str) -> str:
        name = self.files.path(f"{BLOCK}/{block}/dm/name")
        return name.read_text().strip() if name.exists() else block

    def must_header(self, volume: Volume) -> Header:
        header = self.header(volume)
        if header is None:
            raise CommandError(f"cryptsetup finds no LUKS2 header on {volume.device} any more")
        return header

    def staged(self, volume: Volume) -> str:
        path = self.files.stage(volume)
        return path.read_text() if path.exists() else ""

    def method_key(self, volume: Volume, slot: int) -> str:
        """The key of the unlock method; empty where it cannot be had now."""
        if volume.unlock.method == "keyfile":
            path = self.files.keyfile(volume)
            return path.read_text() if path.exists() else ""
        return self._clevis(volume, slot)

    def _clevis(self, volume: Volume, slot: int) -> str:
        return may(self.run, "clevis", "luks", "pass", "-d", volume.device, "-s", str(slot)).rstrip("\n")

    def any_key(self, volume: Volume) -> str:
        """A key that the host has, of whatever method; never the recovery key once it is forgotten."""
        test = ("cryptsetup", "open", "--test-passphrase", "--key-file=-", volume.device)
        for key in self._candidates(volume):
            if key and self.run(test, key)[0] == 0:
                return key
        raise Refusal(
            f"{volume.device}: the host has no key that opens it now, neither from a key file nor from tang "
            "or the TPM: bind it again with the recovery key (docs/encryption.md, Recovery)"
        )

    def _candidates(self, volume: Volume) -> Iterator[str]:
        yield self.staged(volume)
        if (path := self.files.keyfile(volume)).exists():
            yield path.read_text()
        header = self.header(volume)
        for token in header.tokens if header else ():
            for slot in token.slots if token.pin else ():
                yield self._clevis(volume, slot)
