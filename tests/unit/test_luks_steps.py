# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps themselves, against a cryptsetup that lives in memory, killed before any command."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.encryption import luks_steps
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_files import Files
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_host import Host
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import (
    Refusal,
    Step,
    Unlock,
    Volume,
    plan,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_steps import Steps
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError

FIXTURES = Path(__file__).parent.parent / "fixtures/luks"
HOT = Volume("hot", "/dev/md/hot", "aes-256-xts", (), Unlock("keyfile"))
TANG = replace(HOT, unlock=Unlock("tang", "http://10.0.2.50", "_xUIEYPe6dJIxzDcGlgVPixK4aVZTPwdKJbqV1LyWEA"))
DUMP = (FIXTURES / "hot.dump").read_text()
RECORDED = json.loads((FIXTURES / "hot.json").read_text())


class Killed(Exception):
    """The host's power is gone, or a person was impatient."""


class Machine:
    """One device, what is on it, and every command that was run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uuid, self.subsystem, self.formats = "", "", 0
        self.slots: dict[int, str] = {}
        self.token: int | None = None
        self.open = False
        self.signature = ""
        self.tang_answers = True
        self.systemd_refuses = False
        self.key_is_refused = False
        self.commands: list[list[str]] = []
        self.given: list[str] = []
        self.dies_at = -1
        (root / "dev/md").mkdir(parents=True)
        (root / "dev/md/hot").write_bytes(b"")
        (root / "etc").mkdir()

    def __call__(self, command: Sequence[str], data: str) -> tuple[int, str, str]:
        if len(self.commands) == self.dies_at:
            self.dies_at = -1
            raise Killed
        self.commands.append(list(command))
        self.given.append(data)
        words = [word for word in command if not word.startswith("--")]
        options = dict(word[2:].partition("=")[::2] for word in command if word.startswith("--"))
        name = "_".join(words[:2] if words[0] == "cryptsetup" else words[:1])
        code, out = getattr(self, name.replace("-", "_"))(words, options, data)
        return code, out, "" if code == 0 else f"{name} failed"

    def blockdev(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        return 0, f"{2**30}\n"

    def dmsetup(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        return (0, (FIXTURES / "hot.table").read_text()) if self.open else (1, "")

    def wipefs(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        types = ["crypto_LUKS"] if self.uuid else [self.signature] if self.signature else []
        return 0, json.dumps({"signatures": [{"type": each} for each in types]})

    def cryptsetup_luksDump(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        if "dump-json-metadata" not in options:
            dump = re.sub(r"(UUID:\s+)\S+", rf"\g<1>{self.uuid}", DUMP)
            return 0, dump.replace("stronghold-making", self.subsystem)
        keyslots = {
            str(slot): RECORDED["keyslots"]["0"] | {"key": key[-4:]} for slot, key in self.slots.items()
        }
        token = RECORDED["tokens"]["0"] | {"keyslots": [str(self.token)]}
        tokens = {} if self.token is None else {"0": token}
        return 0, json.dumps(RECORDED | {"keyslots": keyslots, "tokens": tokens})

    def cryptsetup_luksFormat(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        self.formats += 1
        self.uuid, self.subsystem, self.slots = f"u{self.formats}", options["subsystem"], {0: data}
        self.token = None
        (self.root / "dev/md/hot").write_bytes(data.encode() * 20000)
        return 0, ""

    def cryptsetup_config(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        self.subsystem = options["subsystem"]
        return 0, ""

    def cryptsetup_open(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        wanted = {int(options["key-slot"])} if "key-slot" in options else set(self.slots)
        found = [slot for slot in sorted(wanted) if self.slots.get(slot) == data]
        return (0, f"Key slot {found[0]} unlocked.\n") if found else (2, "")

    def cryptsetup_luksAddKey(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        if self.key_is_refused or data not in self.slots.values():
            return 2, ""
        self.slots[int(options["key-slot"])] = Path(words[-1]).read_text()
        return 0, ""

    def cryptsetup_luksKillSlot(
        self, words: list[str], options: dict[str, str], data: str
    ) -> tuple[int, str]:
        del self.slots[int(words[-1])]
        return 0, ""

    def cryptsetup_luksHeaderBackup(
        self, words: list[str], options: dict[str, str], data: str
    ) -> tuple[int, str]:
        Path(options["header-backup-file"]).write_bytes((self.root / "dev/md/hot").read_bytes())
        return 0, ""

    def clevis(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        if "pass" in words:
            return (0, "from-tang") if self.tang_answers else (1, "")
        if data not in self.slots.values():
            return 2, ""
        self.token = int(words[words.index("-s") + 1])
        self.slots[self.token] = "from-tang"
        return 0, ""

    def age(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        Path(options["output"]).write_text(f"for {options['recipient']}: {data[::-1]}")
        return 0, ""

    def systemctl(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        return 0, ""

    def timeout(self, words: list[str], options: dict[str, str], data: str) -> tuple[int, str]:
        self.open = not self.systemd_refuses
        return int(self.systemd_refuses), ""

    # What a module does with it -------------------------------------------------------------------

    def play(self, volume: Volume = HOT) -> tuple[Step, ...]:
        host = Host(self, Files(self.root))
        steps = plan(volume, host.look(volume))
        for step in steps:
            Steps(host, "age1x").do(step, volume)
        return steps

    def reboot(self) -> None:
        for path in (self.root / "run/stronghold/luks").glob("*"):
            path.unlink()
        self.open = False

    def text(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def assert_recoverable(machine: Machine, volume: Volume = HOT) -> None:
    assert machine.play(volume) == ()
    assert machine.open
    assert machine.subsystem == "stronghold"
    escrow = machine.text(f"var/lib/stronghold/escrow/{machine.uuid}.age")
    assert escrow == f"for age1x: {machine.slots[0][::-1]}"
    assert sorted(machine.slots) == [0, max(machine.slots)]
    assert list((machine.root / "run/stronghold/luks").iterdir()) == []


def test_a_volume_is_made_and_the_next_run_has_nothing_to_do(machine: Machine) -> None:
    assert Step.FORMAT in machine.play()
    assert_recoverable(machine)
    assert machine.formats == 1


def test_no_secret_is_ever_an_argument(machine: Machine) -> None:
    machine.play()
    words = " ".join(word for command in machine.commands for word in command)
    assert not [key for key in machine.slots.values() if key in words]


def test_only_root_reads_a_key_or_an_escrow(machine: Machine) -> None:
    machine.play()
    assert (machine.root / "etc/stronghold/luks/hot.key").stat().st_mode & 0o777 == 0o400
    for path in (machine.root / "var/lib/stronghold/escrow").iterdir():
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("volume", [HOT, TANG], ids=["keyfile", "tang"])
def test_killed_before_any_command_the_next_run_ends_the_same(
    tmp_path: Path, volume: Volume, power: bool
) -> None:
    whole = Machine(tmp_path / "whole")
    whole.play(volume)
    for number in range(len(whole.commands)):
        machine = Machine(tmp_path / str(number))
        machine.dies_at = number
        with pytest.raises(Killed):
            machine.play(volume)
        if power:
            machine.reboot()
        was_complete, formats = machine.subsystem == "stronghold", machine.formats
        machine.play(volume)
        assert machine.formats == formats or not was_complete
        assert_recoverable(machine, volume)


def test_a_volume_whose_unlock_method_does_not_answer_is_never_complete(machine: Machine) -> None:
    machine.tang_answers = False
    with pytest.raises(Refusal, match="tang does not open it"):
        machine.play(TANG)
    assert not machine.open
    machine.tang_answers = True
    machine.play(TANG)
    assert_recoverable(machine, TANG)


def test_a_machine_without_a_tpm_is_refused_before_anything_is_made(machine: Machine) -> None:
    host = Host(machine, Files(machine.root))
    with pytest.raises(Refusal, match="this host shows none"):
        host.refuse_unlock(Unlock("tpm2", pcrs=(7,)))
    (machine.root / "dev/tpmrm0").touch()
    host.refuse_unlock(Unlock("tpm2", pcrs=(7,)))


def test_a_command_that_fails_is_told_with_its_device_and_its_step(machine: Machine) -> None:
    machine.key_is_refused = True
    with pytest.raises(
        CommandError, match=r"/dev/md/hot, before this was true: bound to .*: cryptsetup says"
    ):
        machine.play()


def test_a_volume_that_does_not_open_names_the_journal_to_read(machine: Machine) -> None:
    machine.systemd_refuses = True
    with pytest.raises(Refusal, match=r"/dev/md/hot did not open .* systemd-cryptsetup@hot.service"):
        machine.play()


def test_a_new_method_replaces_the_old_one_and_its_key_file(machine: Machine) -> None:
    machine.play()
    assert machine.play(TANG) == (Step.UNLOCK, Step.DROP, Step.BACKUP, Step.CRYPTTAB)
    assert not (machine.root / "etc/stronghold/luks/hot.key").exists()
    assert_recoverable(machine, TANG)


def test_a_header_that_changed_is_backed_up_again_without_the_recovery_key(machine: Machine) -> None:
    machine.play()
    machine.slots[7] = "somebody else's"
    assert machine.play() == (Step.BACKUP,)
    assert machine.play() == ()


def test_crypttab_keeps_the_lines_of_others(machine: Machine) -> None:
    (machine.root / "etc/crypttab").write_text(
        "# mine\nswap /dev/sda2 /dev/urandom swap\nhot UUID=old none luks\n"
    )
    machine.play()
    lines = machine.text("etc/crypttab").splitlines()
    assert lines[:2] == ["# mine", "swap /dev/sda2 /dev/urandom swap"]
    assert lines[2:] == [f"hot UUID={machine.uuid} /etc/stronghold/luks/hot.key luks,nofail,headless=true"]


def test_what_lies_on_a_device_stays(machine: Machine) -> None:
    machine.signature = "xfs"
    with pytest.raises(Refusal, match="holds xfs"):
        machine.play()
    assert machine.formats == 0


def test_recovery_keys_can_be_read_out_aloud_and_differ() -> None:
    keys = {luks_steps.recovery_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(re.fullmatch(r"([A-HJ-NP-Z2-9]{4}-){12}[A-HJ-NP-Z2-9]{4}", key) for key in keys)
