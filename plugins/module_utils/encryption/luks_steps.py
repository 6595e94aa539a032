# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the steps of a plan, each of which may be cut off anywhere.

A secret reaches a command through its standard input or a file that root alone reads, never as an argument.
The recovery key lives in /run (memory) from the format until the header's backup has been tested with it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_files import (
    CRYPTTAB,
    ESCROW,
    KEYS,
    STAGE,
    Files,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_header import (
    CIPHERS,
    RECOVERY_SLOT,
    Header,
    State,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_host import TEMPORARY, Host
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import (
    Record,
    Refusal,
    Seen,
    Step,
    Volume,
    crypttab,
)
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError, Run, must

RECOVERY_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32 letters that are told apart on paper
RECOVERY_LENGTH = 52  # of 5 bits: 260 bits
# Our keys are random and of 256 bits or more: nobody guesses one, so a slow derivation protects nothing, and
# one that needs memory (argon2id, up to 1 GiB) can fail at boot.
DERIVATION = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--hash", "sha256")
OPEN_SECONDS = "120"  # how long clevis has to answer before the run says that it did not
MAX_AGE_DAYS = 1825


def recovery_key() -> str:
    letters = "".join(secrets.choice(RECOVERY_LETTERS) for _ in range(RECOVERY_LENGTH))
    return "-".join(letters[start : start + 4] for start in range(0, RECOVERY_LENGTH, 4))


@dataclass(frozen=True)
class Steps:
    """The steps on one host, whose recovery keys are encrypted to ``recipient``."""

    host: Host
    recipient: str

    @property
    def run(self) -> Run:
        return self.host.run

    @property
    def files(self) -> Files:
        return self.host.files

    def do(self, step: Step, volume: Volume) -> None:
        doing: dict[Step, Callable[[Volume], None]] = {
            Step.DISCARD: self._discard,
            Step.FORMAT: self._format,
            Step.FORMATTED: lambda volume: self._mark(volume, State.FORMATTED),
            Step.ESCROW: self._keep_escrow,
            Step.UNLOCK: self._bind,
            Step.DROP: self._drop,
            Step.COMPLETE: self._complete,
            Step.BACKUP: self._back_up,
            Step.CRYPTTAB: self._write_crypttab,
            Step.OPEN: self._open,
            Step.FLAGS: self._set_flags,
            Step.FORGET: self._forget,
        }
        try:
            doing[step](volume)
        except CommandError as error:
            raise CommandError(f"{volume.device}, before this was true: {step}: {error}") from None

    def _discard(self, volume: Volume) -> None:
        self.files.escrow(self.host.must_header(volume).uuid).unlink(missing_ok=True)

    def _format(self, volume: Volume) -> None:
        for mapping in self.host.above(volume):
            if mapping.startswith(TEMPORARY):  # a killed format was writing its first tags through it
                must(self.run, "dmsetup", "remove", mapping)
        key, cipher = recovery_key(), CIPHERS[volume.cipher]
        self.files.write(self.files.stage(volume), key, mode=0o400)
        command = ["cryptsetup", "luksFormat", "--batch-mode", "--type=luks2", *DERIVATION]
        command += [f"--cipher={cipher.encryption}", f"--key-size={cipher.key_bits}"]
        command += [f"--sector-size={cipher.sector}"]
        command += [f"--integrity={cipher.integrity}"] if cipher.integrity else []
        command += [*self._names(volume, State.MAKING), f"--key-slot={RECOVERY_SLOT}", "--key-file=-"]
        must(self.run, *command, volume.device, data=key)

    def _names(self, volume: Volume, state: State) -> tuple[str, str]:
        # The file system has the tier's own name as its label; two of one name would fight over by-label.
        return f"--label=luks-{volume.name}", f"--subsystem={state}"

    def _mark(self, volume: Volume, state: State) -> None:
        must(self.run, "cryptsetup", "config", *self._names(volume, state), volume.device)

    def _keep_escrow(self, volume: Volume) -> None:
        uuid = self.host.must_header(volume).uuid
        self._encrypt(self.host.staged(volume), self.files.escrow(uuid), "--armor")

    def _bind(self, volume: Volume) -> None:
        key, taken = self.host.any_key(volume), self.host.must_header(volume).slots
        slot = next(number for number in range(1, 32) if number not in taken)
        unlock = volume.unlock
        if unlock.method == "keyfile":
            path = self.files.keyfile(volume)
            if not path.exists():
                self.files.write(path, secrets.token_hex(32), mode=0o400)
            add = ["cryptsetup", "luksAddKey", "--batch-mode", f"--key-slot={slot}", *DERIVATION]
            must(self.run, *add, "--key-file=-", volume.device, str(path), data=key)
            return
        settings = {"url": unlock.url, "thp": unlock.thumbprint}
        if unlock.method == "tpm2":
            settings = {"pcr_bank": "sha256", "pcr_ids": ",".join(map(str, unlock.pcrs))}
        bind = ["clevis", "luks", "bind", "-y", "-k", "-", "-s", str(slot), "-d", volume.device]
        must(self.run, *bind, unlock.method, json.dumps(settings), data=key)

    def _drop(self, volume: Volume) -> None:
        """Slots of former methods; while the making goes on, all that an interrupted binding left."""
        seen = self.host.look(volume)
        self._prove(volume, seen)
        header = self.host.must_header(volume)
        unfinished = header.state is not State.COMPLETE
        gone = set(header.slots) - {RECOVERY_SLOT, seen.bound} if unfinished else set(seen.former)
        for slot in sorted(gone):
            must(self.run, "cryptsetup", "luksKillSlot", "--batch-mode", volume.device, str(slot))
        for token in header.tokens:
            if token.pin and set(token.slots) <= gone:
                must(self.run, "cryptsetup", "token", "remove", f"--token-id={token.number}", volume.device)
        if volume.unlock.method != "keyfile":
            self.files.keyfile(volume).unlink(missing_ok=True)

    def _complete(self, volume: Volume) -> None:
        if not self.host.opens(volume, self.host.staged(volume), RECOVERY_SLOT):
            raise Refusal(f"{volume.device}: the recovery key does not open slot {RECOVERY_SLOT}; run again")
        self._prove(volume, self.host.look(volume))
        self._mark(volume, State.COMPLETE)

    def _prove(self, volume: Volume, seen: Seen) -> None:
        slot = seen.bound
        if slot is None or not self.host.opens(volume, self.host.method_key(volume, slot), slot):
            raise Refusal(
                f"{volume.device}: {volume.unlock.method} does not open it: see that the server answers and "
                "that the thumbprint is its own (tang), or that this machine has a TPM 2.0 (tpm2)"
            )

    def _back_up(self, volume: Volume) -> None:
        """A header is kept only after it has opened the volume, by the recovery key while that is known."""
        header, seen = self.host.must_header(volume), self.host.look(volume)
        copy = self.files.path(STAGE) / f"{header.uuid}.header"
        self.files.folder_of(copy)
        copy.unlink(missing_ok=True)
        must(self.run, "cryptsetup", "luksHeaderBackup", volume.device, f"--header-backup-file={copy}")
        try:
            keys = [(RECOVERY_SLOT, self.host.staged(volume))] if seen.staged else []
            if seen.bound is not None and (key := self.host.method_key(volume, seen.bound)):
                keys.append((seen.bound, key))
            if not keys or not all(self.host.opens(volume, key, slot, str(copy)) for slot, key in keys):
                raise Refusal(f"{volume.device}: the header's backup opens nothing, it was not kept")
            slot = self.host.recovery_slot(copy, header)
            if slot != seen.recovery_slot:
                raise Refusal(f"{volume.device}: the header's backup has another slot 0, it was not kept")
            self._encrypt(copy, self.files.path(ESCROW) / f"{header.uuid}.header.age")
        finally:
            copy.unlink(missing_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._ledger(volume, header, slot, now)
        record = Record(volume.name, header.uuid, self.recipient, header.digest, slot, now)
        path = self.files.path(ESCROW) / f"{header.uuid}.json"
        self.files.write(path, json.dumps(asdict(record), indent=2) + "\n")

    def _ledger(self, volume: Volume, header: Header, slot: str, now: str) -> None:
        """Records of the keys, for whoever looks after their age; a renewed backup makes no new key."""
        for kind, algorithm, fingerprint in (
            ("luks-volume", volume.cipher, header.key_digest),
            ("luks-recovery", "passphrase of 260 bits", slot[:16]),
        ):
            path = self.files.path(KEYS) / f"{kind}-{volume.name}.json"
            if path.exists() and json.loads(path.read_text())["fingerprint"] == fingerprint:
                continue
            key: dict[str, object] = {"id": path.stem, "kind": kind, "where": volume.device}
            key |= {"algorithm": algorithm, "fingerprint": fingerprint}
            key |= {"made": now, "max_age_days": MAX_AGE_DAYS}
            self.files.write(path, json.dumps(key, indent=2) + "\n", mode=0o644)

    def _write_crypttab(self, volume: Volume) -> None:
        kept = [line for line in self.files.crypttab() if line.split()[:1] != [volume.name]]
        line = crypttab(volume, self.host.must_header(volume).uuid)
        self.files.write(self.files.path(CRYPTTAB), "\n".join([*kept, line]) + "\n", mode=0o644)

    def _open(self, volume: Volume) -> None:
        """As the next boot will: by crypttab's own unit."""
        must(self.run, "systemctl", "daemon-reload")
        unit = f"systemd-cryptsetup@{volume.name}.service"
        if self.run(["timeout", OPEN_SECONDS, "systemctl", "start", unit], "")[0]:
            raise Refusal(
                f"{volume.device} did not open within {OPEN_SECONDS} s: see journalctl --unit {unit}"
            )

    def _set_flags(self, volume: Volume) -> None:
        flags = [f"--perf-{flag}" for flag in volume.flags]
        command = ("cryptsetup", "refresh", *flags, "--key-file=-", volume.name)
        must(self.run, *command, data=self.host.any_key(volume))

    def _forget(self, volume: Volume) -> None:
        self.files.stage(volume).unlink(missing_ok=True)

    def _encrypt(self, source: str | Path, path: Path, *options: str) -> None:
        """A text or a file to the recovery recipient: there whole, or not at all."""
        self.files.folder_of(path)
        draft = path.with_name(f".{path.name}.new")
        command = ["age", "--encrypt", *options, f"--recipient={self.recipient}", f"--output={draft}"]
        if isinstance(source, Path):
            must(self.run, *command, str(source))
        else:
            must(self.run, *command, data=source)
        self.files.settle(draft, path)
