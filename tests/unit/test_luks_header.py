# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers and mappings as cryptsetup and the kernel print them, recorded in tests/fixtures/luks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.encryption import luks_header, recipients
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_header import CIPHERS, State

FIXTURES = Path(__file__).parent.parent / "fixtures/luks"
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def text(name: str) -> str:
    return (FIXTURES / name).read_text()


def header(name: str, **changed: str) -> luks_header.Header:
    dump = text(f"{name}.dump")
    for old, new in changed.items():
        dump = dump.replace(old, new)
    return luks_header.parse(dump, text(f"{name}.json"))


@pytest.mark.parametrize(("name", "cipher"), [("hot", "aes-256-xts"), ("warm", "aes-256-gcm")])
def test_a_volume_as_declared_shows_no_difference(name: str, cipher: str) -> None:
    assert luks_header.differences(header(name).cipher, CIPHERS[cipher]) == []


def test_a_difference_in_cipher_integrity_key_and_sector_is_named() -> None:
    assert luks_header.differences(header("hot").cipher, replace(CIPHERS["aes-256-gcm"], sector=512)) == [
        "cipher is aes-xts-plain64, declared is aes-gcm-random",
        "integrity is none, declared is aead",
        "key bits is 512, declared is 256",
        "sector size is 4096, declared is 512",
    ]


def test_the_mark_in_the_header_says_how_far_it_has_come() -> None:
    assert header("hot").state is State.MAKING
    assert header("hot", **{"stronghold-making": "stronghold"}).state is State.COMPLETE


def test_a_volume_of_somebody_else_is_foreign() -> None:
    assert header("hot", **{"stronghold-making": "(no"}).state is State.FOREIGN
    assert header("hot", **{"stronghold-making": "backups"}).state is State.FOREIGN


def test_a_changed_mark_makes_the_backup_old_and_not_the_key_another() -> None:
    making, complete = header("hot"), header("hot", **{"stronghold-making": "stronghold"})
    assert making.digest != complete.digest
    assert making.key_digest == complete.key_digest


def test_a_tang_binding_tells_its_server_and_whose_signature_it_trusts() -> None:
    (token,) = header("hot").tokens
    assert (token.pin, token.slots) == ("tang", (1,))
    # tang-show-keys printed this thumbprint for the server that the fixture was bound to.
    assert token.pinned == {
        "url": "http://10.0.2.50",
        "thumbprints": "_xUIEYPe6dJIxzDcGlgVPixK4aVZTPwdKJbqV1LyWEA",
    }


def test_a_tpm_binding_tells_its_pcrs() -> None:
    (token,) = header("warm").tokens
    assert (token.pin, token.pinned) == ("tpm2", {"pcr_bank": "sha256", "pcr_ids": "7"})


def test_the_kernels_table_tells_what_is_really_done_to_the_data() -> None:
    assert luks_header.parse_table(text("hot.table")) == luks_header.Table(
        cipher="aes-xts-plain64", key_bytes=64, sector=4096, integrity="", flags=(), device="9:127"
    )
    assert luks_header.parse_table(text("warm.table")) == luks_header.Table(
        cipher="capi:gcm(aes)-random", key_bytes=32, sector=4096, integrity="aead", flags=(), device="252:0"
    )


def test_flags_of_an_open_mapping_are_seen() -> None:
    flags = "3 no_read_workqueue no_write_workqueue sector_size:4096"
    found = luks_header.parse_table(text("hot.table").replace("1 sector_size:4096", flags))
    assert found is not None
    assert found.flags == ("no_read_workqueue", "no_write_workqueue")


@pytest.mark.parametrize("table", ["", "0 1531904 linear 9:127 0"])
def test_what_is_no_crypt_mapping_is_none(table: str) -> None:
    assert luks_header.parse_table(table) is None


# To whom recovery keys are encrypted ----------------------------------------------------------


def test_a_native_recipient_is_taken() -> None:
    assert recipients.problem(RECIPIENT) == ""


@pytest.mark.parametrize(
    ("recipient", "said"),
    [
        ("", "there is no recovery recipient"),
        (RECIPIENT.replace("ql3z", "ql3y"), "mistyped"),
        (RECIPIENT[:-1], "not a native age recipient"),
        ("ssh-ed25519 AAAA", "not a native age recipient"),
        (RECIPIENT.upper(), "not a native age recipient"),
        (RECIPIENT.replace("ql3z", "qb3z"), "mistyped"),
    ],
)
def test_a_bad_recipient_is_refused(recipient: str, said: str) -> None:
    assert said in recipients.problem(recipient)


def test_a_secret_key_is_refused_and_not_repeated() -> None:
    secret = "AGE-SECRET-KEY-" + "Q" * 59
    assert "secret key" in recipients.problem(secret)
    assert "QQQ" not in recipients.problem(secret)
