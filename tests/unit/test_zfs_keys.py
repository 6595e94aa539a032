# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool's key is never lost, never replaced, and never read by anybody else."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.keys import Keyring
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError

RECIPIENT = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"


class Tools:
    """age and clevis as far as they matter: what they made is told by its beginning."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, command: Sequence[str], data: str) -> tuple[int, str, str]:
        self.asked.append(tuple(command))
        if command[0] == self.broken:
            return 1, "", "no such thing"
        if command[:2] == ("clevis", "decrypt"):
            return 0, data.removeprefix("clevis:"), ""
        return 0, f"{command[0]}:{data}", ""


def ring(root: Path, tools: Tools, **change: object) -> Keyring:
    return replace(Keyring("keyfile", {}, RECIPIENT, 730, tools, root), **change)


def test_a_key_has_256_bits_and_is_kept_escrowed_and_recorded(tmp_path: Path) -> None:
    keys = ring(tmp_path, Tools())
    assert not keys.whole("hot")
    key = keys.ensure("hot")
    assert len(bytes.fromhex(key)) == 32
    assert keys.kept("hot").read_text() == key  # no newline: ZFS takes 64 digits
    assert keys.escrowed("hot").read_text() == f"age:{key}"
    assert keys.whole("hot")


def test_nobody_else_reads_it_and_no_command_line_or_record_has_it(tmp_path: Path) -> None:
    tools = Tools()
    keys = ring(tmp_path, tools)
    key = keys.ensure("hot")
    assert stat.S_IMODE(keys.kept("hot").stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.escrowed("hot").stat().st_mode) == 0o600
    assert key not in keys.record("hot").read_text()
    assert key not in json.dumps(tools.asked)


def test_the_record_is_what_a_ledger_reads(tmp_path: Path) -> None:
    keys = ring(tmp_path, Tools())
    keys.ensure("hot")
    record = json.loads(keys.record("hot").read_text())
    assert {"id", "kind", "where", "algorithm", "made", "max_age_days", "fingerprint"} <= set(record)
    assert (record["id"], record["algorithm"], record["max_age_days"]) == ("zfs-hot", "aes-256-gcm", 730)


def test_a_key_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    keys = ring(tmp_path, Tools())
    assert keys.ensure("hot") == keys.ensure("hot")


@pytest.mark.parametrize("lost", ["escrowed", "record"])
def test_killed_half_way_the_next_run_ends_with_the_same_key(tmp_path: Path, lost: str) -> None:
    keys = ring(tmp_path, Tools())
    key = keys.ensure("hot")
    getattr(keys, lost)("hot").unlink()
    assert not keys.whole("hot")
    assert keys.ensure("hot") == key
    assert keys.whole("hot")


@pytest.mark.parametrize(("before", "after"), [("keyfile", "tang"), ("tang", "tpm2"), ("tpm2", "keyfile")])
def test_a_key_that_is_to_be_kept_in_another_way_stays_the_same(
    tmp_path: Path, before: str, after: str
) -> None:
    key = ring(tmp_path, Tools(), unlock=before).ensure("hot")
    made = json.loads(ring(tmp_path, Tools()).record("hot").read_text())["made"]
    keys = ring(tmp_path, Tools(), unlock=after, pin={"url": "http://tang1"})
    assert keys.has("hot")
    assert not keys.whole("hot")
    assert keys.ensure("hot") == key
    assert keys.whole("hot")
    assert json.loads(keys.record("hot").read_text())["made"] == made
    assert (
        len(list(keys.kept("hot").parent.iterdir())) == 1
    )  # the plain key does not stay beside the sealed one


def test_another_recipient_gets_an_escrow_of_its_own(tmp_path: Path) -> None:
    ring(tmp_path, Tools()).ensure("hot")
    tools = Tools()
    keys = ring(tmp_path, tools, recipient="age1other")
    assert not keys.whole("hot")
    keys.ensure("hot")
    assert "age1other" in tools.asked[0]
    assert keys.whole("hot")


def test_without_an_escrow_there_is_no_key_to_make_a_pool_with(tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        ring(tmp_path, Tools(broken="age")).ensure("hot")


@pytest.mark.parametrize("unlock", ["tpm2", "tang"])
def test_what_clevis_keeps_is_not_the_key_itself(tmp_path: Path, unlock: str) -> None:
    keys = ring(tmp_path, Tools(), unlock=unlock, pin={"url": "http://tang1"})
    key = keys.ensure("hot")
    assert keys.kept("hot").read_text() == f"clevis:{key}"
    assert keys.ensure("hot") == key
    assert not (tmp_path / "etc/stronghold/zfs/hot.key").exists()
