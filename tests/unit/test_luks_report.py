# SPDX-License-Identifier: GPL-3.0-or-later
"""Each part of the promise "encrypted at rest" that can be missing is named, alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_header import (
    CIPHERS,
    Header,
    State,
    Table,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import (
    Record,
    Seen,
    Unlock,
    Volume,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_report import (
    Found,
    budget,
    missing,
    shown,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.write_budget import BUDGET, Count

VAULT = Volume("vault", "/dev/md/vault", "aes-256-gcm", (), Unlock("tang", "http://mgmt1", "thumb"))
HEADER = Header("u1", State.COMPLETE, CIPHERS["aes-256-gcm"], (0, 1), (), "digest", "key", (32768, 131072))
TABLE = Table("capi:gcm(aes)-random", 32, 4096, "aead", (), "252:0")
RECORD = Record("vault", "u1", "age1x", "digest", "slot", "2026-11-25T11:00:00+00:00")
SEEN = Seen(
    2**30,
    header=HEADER,
    escrowed=True,
    bound=1,
    record=RECORD,
    recovery_slot="slot",
    crypttab=True,
    table=TABLE,
)
MADE = "2026-11-25T10:00:00+00:00"
AT = 1795600800.0  # the same moment
FOUND = Found(
    SEEN, unlocks=True, array=True, count=Count("key", 262144, 262144, AT + 60, "b/1", 0, 0), made=MADE
)


def test_a_tier_as_promised_lacks_nothing() -> None:
    assert missing(VAULT, FOUND, "age1x") == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replace(FOUND, unlocks=False), "tang does not open it now"),
        (replace(FOUND, array=False), "is not what lies under"),
        (replace(FOUND, seen=replace(SEEN, escrowed=False)), "no recovery slot with an escrow"),
        (replace(FOUND, seen=replace(SEEN, recovery_slot="other")), "the recovery slot is another"),
        (replace(FOUND, seen=replace(SEEN, crypttab=False)), "not in /etc/crypttab"),
        (replace(FOUND, seen=replace(SEEN, table=None)), "is not open"),
        (replace(FOUND, seen=replace(SEEN, header=None)), "no complete volume"),
        (
            replace(FOUND, seen=replace(SEEN, header=replace(HEADER, state=State.MAKING))),
            "no complete volume",
        ),
        (
            replace(FOUND, seen=replace(SEEN, header=replace(HEADER, digest="new"))),
            "changed since its backup",
        ),
        (replace(FOUND, seen=replace(SEEN, header=replace(HEADER, slots=(0, 1, 5)))), "nobody declared: 5"),
        (replace(FOUND, seen=replace(SEEN, table=replace(TABLE, integrity=""))), "does not do aes-256-gcm"),
        (replace(FOUND, seen=replace(SEEN, table=replace(TABLE, cipher="cipher_null"))), "does not do"),
        (replace(FOUND, seen=replace(SEEN, table=replace(TABLE, key_bytes=16))), "does not do"),
    ],
)
def test_what_is_missing_is_named_alone(found: Found, said: str) -> None:
    (words,) = missing(VAULT, found, "age1x")
    assert said in words


def test_an_escrow_for_another_recipient_is_named() -> None:
    assert missing(VAULT, FOUND, "age1y") == ["the escrow is for another recipient"]


def test_the_budget_of_an_authenticated_tier_is_shown() -> None:
    said = budget(VAULT, FOUND, AT + 86400)
    assert said == {"used": 262144, "budget": BUDGET, "share": 0.000061, "days_left": None, "problem": ""}


def test_writes_that_nobody_counts_are_a_problem() -> None:
    assert budget(VAULT, replace(FOUND, count=None), AT)["problem"]


def test_the_count_of_another_key_is_no_count() -> None:
    found = replace(FOUND, seen=replace(SEEN, header=replace(HEADER, key_digest="new")))
    assert budget(VAULT, found, AT)["problem"]


def test_a_count_that_began_long_after_the_key_is_a_problem() -> None:
    """Somebody removed it: what was written before is not in it."""
    assert FOUND.count is not None
    late = replace(FOUND, count=replace(FOUND.count, since=AT + 7200))
    assert "began long after" in budget(VAULT, late, AT + 7300)["problem"]


def test_a_key_file_is_called_what_it_is_in_the_evidence() -> None:
    lab = replace(VAULT, unlock=Unlock("keyfile"))
    assert "lab only" in shown(lab, FOUND, "age1x", AT)["unlock"]
    assert shown(VAULT, FOUND, "age1x", AT)["unlock"] == "tang"
