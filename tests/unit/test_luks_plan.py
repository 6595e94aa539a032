# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a device, and above all what never is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.encryption import luks_plan
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_header import (
    CIPHERS,
    Header,
    State,
    Table,
    Token,
)
from ansible_collections.stronghold.llm.plugins.module_utils.encryption.luks_plan import (
    Record,
    Refusal,
    Seen,
    Step,
    Unlock,
    Volume,
    plan,
)
from hypothesis import given
from hypothesis import strategies as st

GIB = 2**30
HOT = Volume("hot", "/dev/md/hot", "aes-256-xts", (), Unlock("keyfile"))
TANG = Unlock("tang", "http://mgmt1", "thumb")
COMPLETE = Header("u1", State.COMPLETE, CIPHERS["aes-256-xts"], (0, 1), (), "digest", "key", (32768, 262144))
OPEN = Table("aes-xts-plain64", 64, 4096, "", (), "9:127")
RECORD = Record("hot", "u1", "age1x", "digest", "slot", "2026-11-25T11:00:00+00:00")
DONE = Seen(
    GIB,
    header=COMPLETE,
    escrowed=True,
    bound=1,
    record=RECORD,
    recovery_slot="slot",
    crypttab=True,
    table=OPEN,
)


def refusal(volume: Volume, seen: Seen) -> str:
    with pytest.raises(Refusal) as caught:
        plan(volume, seen)
    return str(caught.value)


def test_a_volume_as_declared_is_left_alone() -> None:
    assert plan(HOT, DONE) == ()


def test_an_empty_device_is_opened_last_and_after_its_escrow_and_its_backup() -> None:
    steps = plan(HOT, Seen(GIB))
    assert steps[0] is Step.FORMAT
    order = [Step.ESCROW, Step.COMPLETE, Step.BACKUP, Step.OPEN]
    assert [step for step in steps if step in order] == order


@pytest.mark.parametrize("signature", ["xfs", "LVM2_member", "dos", "zfs_member", "something that dm-3 uses"])
def test_a_device_that_holds_anything_is_refused_by_name(signature: str) -> None:
    said = refusal(HOT, Seen(GIB, signatures=(signature,)))
    assert "/dev/md/hot" in said
    assert signature in said


def test_a_device_that_is_not_there_names_who_makes_it() -> None:
    assert "raid_storage" in refusal(HOT, Seen(None))


def test_a_volume_that_the_role_did_not_make_is_refused() -> None:
    foreign = replace(DONE, header=replace(COMPLETE, state=State.FOREIGN))
    assert "did not make" in refusal(HOT, foreign)


def test_a_format_that_did_not_end_is_begun_again_also_while_its_key_is_known() -> None:
    """Sectors of an authenticated volume that have no tag yet read as errors."""
    half = Seen(GIB, header=replace(COMPLETE, state=State.MAKING, slots=(0,)), staged=True)
    assert plan(HOT, half)[:2] == (Step.FORMAT, Step.FORMATTED)


def test_another_cipher_than_declared_is_refused_with_the_difference() -> None:
    said = refusal(replace(HOT, cipher="aes-256-gcm"), DONE)
    assert "cipher is aes-xts-plain64, declared is aes-gcm-random" in said
    assert "integrity is none, declared is aead" in said


def test_a_wiped_header_is_never_taken_for_an_empty_device() -> None:
    said = refusal(HOT, Seen(GIB, record=RECORD))
    assert "its header is lost, its data is not" in said
    assert "u1.header.age" in said


def test_another_array_under_the_same_name_is_refused() -> None:
    assert "u2" in refusal(HOT, replace(DONE, header=replace(COMPLETE, uuid="u2")))


def test_a_header_that_went_back_to_before_it_was_complete_is_refused() -> None:
    """Somebody restored an older copy: what it covers may hold data."""
    older = replace(DONE, header=replace(COMPLETE, state=State.FORMATTED), table=None)
    assert "u1" in refusal(HOT, older)


def test_a_half_made_volume_that_somebody_opened_is_refused() -> None:
    half = Seen(GIB, header=replace(COMPLETE, state=State.MAKING), table=OPEN)
    assert "opened it by hand" in refusal(HOT, half)


def test_a_lost_escrow_is_refused_and_never_made_up() -> None:
    assert "bring /var/lib/stronghold/escrow/u1.age back" in refusal(HOT, replace(DONE, escrowed=False))


def test_a_replaced_recovery_slot_is_refused() -> None:
    assert "nobody could recover it" in refusal(HOT, replace(DONE, recovery_slot="another"))


def test_a_changed_header_gets_a_new_backup_and_nothing_else() -> None:
    assert plan(HOT, replace(DONE, header=replace(COMPLETE, digest="new"))) == (Step.BACKUP,)


def test_flags_change_on_the_open_volume() -> None:
    volume = replace(HOT, flags=("no_read_workqueue",))
    assert plan(volume, replace(DONE, crypttab=False)) == (Step.CRYPTTAB, Step.FLAGS)


def test_another_unlock_method_is_bound_before_the_old_one_goes() -> None:
    seen = replace(DONE, bound=None, former=(1,))
    assert plan(replace(HOT, unlock=TANG), seen) == (Step.UNLOCK, Step.DROP, Step.BACKUP)


def test_a_gcm_tier_whose_making_would_use_up_its_key_is_refused() -> None:
    volume = replace(HOT, cipher="aes-256-gcm")
    assert "several smaller" in refusal(volume, Seen(9 * 2**40))
    assert plan(volume, Seen(8 * 2**40))[0] is Step.FORMAT


# Interrupted, anywhere, any number of times ---------------------------------------------------


class Cut(Exception):
    """The run was killed."""


@dataclass
class World:
    """A device and its host; ``staged`` and ``open`` are memory, the rest is on disks."""

    keys: int = 0
    uuid: str = ""
    state: State = State.FOREIGN
    slots: dict[int, str] = field(default_factory=dict)
    has_header: bool = False
    tagged: bool = False
    escrow: dict[str, str] = field(default_factory=dict)
    record: Record | None = None
    keyfile: str = ""
    crypttab: str = ""
    staged: str = ""
    open: bool = False
    data: bool = False

    def seen(self) -> Seen:
        if not self.has_header:
            return Seen(GIB, record=self.record, leftovers=bool(self.staged))
        bound = next((slot for slot, key in self.slots.items() if slot and key == self.keyfile), None)
        return Seen(
            GIB,
            header=replace(
                COMPLETE,
                uuid=self.uuid,
                state=self.state,
                slots=tuple(sorted(self.slots)),
                digest=self.digest(),
            ),
            staged=bool(self.staged) and self.slots.get(0) == self.staged,
            escrowed=self.uuid in self.escrow,
            bound=bound,
            record=self.record,
            recovery_slot=self.slots.get(0, ""),
            crypttab=self.crypttab == self.uuid,
            table=OPEN if self.open else None,
            leftovers=bool(self.staged),
        )

    def digest(self) -> str:
        return f"{self.uuid} {self.state} {sorted(self.slots.items())}"

    def new(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    def do(self, step: Step) -> Iterator[None]:
        """A step's effects; it may be cut off at each yield."""
        match step:
            case Step.DISCARD:
                self.escrow.pop(self.uuid, None)
            case Step.FORMAT:
                assert not self.data, "data was formatted"
                self.staged = self.new()
                yield
                self.has_header = self.tagged = False
                yield
                self.has_header, self.state, self.uuid, self.slots = True, State.MAKING, self.new(), {}
                yield
                self.slots[0] = self.staged
                yield
                self.tagged = True  # each sector of an authenticated volume
            case Step.FORMATTED:
                self.state = State.FORMATTED
            case Step.ESCROW:
                self.escrow[self.uuid] = self.staged
            case Step.UNLOCK:
                self.keyfile = self.keyfile or self.new()
                yield
                slot = max(self.slots) + 1
                self.slots[slot] = "half"  # as a binding that has its slot and not yet its token
                yield
                self.slots[slot] = self.keyfile
            case Step.DROP:
                self.slots = {
                    slot: key for slot, key in self.slots.items() if not slot or key == self.keyfile
                }
            case Step.COMPLETE:
                assert self.slots[0] == self.staged == self.escrow[self.uuid]
                assert self.keyfile in self.slots.values()
                self.state = State.COMPLETE
            case Step.BACKUP:
                self.record = Record("hot", self.uuid, "age1x", self.digest(), self.slots[0], "")
            case Step.CRYPTTAB:
                self.crypttab = self.uuid
            case Step.OPEN:
                assert self.state is State.COMPLETE
                assert self.escrow[self.uuid] == self.slots[0]
                assert self.record is not None
                assert self.tagged
                self.open = self.data = True  # whoever has it may write to it at once
            case Step.FORGET:
                self.staged = ""
        yield

    def play(self, cut_after: int = 10**6) -> None:
        for step in plan(HOT, self.seen()):
            for _ in self.do(step):
                cut_after -= 1
                if cut_after < 0:
                    raise Cut

    def reboot(self) -> None:
        self.staged, self.open = "", self.crypttab == self.uuid and self.state is State.COMPLETE


@given(st.lists(st.tuples(st.integers(0, 22), st.booleans()), max_size=6))
def test_whatever_is_cut_off_ends_the_same_and_formats_no_data(cuts: list[tuple[int, bool]]) -> None:
    world = World()
    for after, power in cuts:
        with contextlib.suppress(Cut):
            world.play(after)
        if power:
            world.reboot()
    world.play()
    assert plan(HOT, world.seen()) == ()
    assert (world.state, world.open, world.staged) == (State.COMPLETE, True, "")
    assert world.slots[0] == world.escrow[world.uuid]
    assert sorted(world.slots) == [0, max(world.slots)]
    assert list(world.escrow) == [world.uuid]
    assert world.record is not None
    assert world.record.header == world.digest()


# The declaration ------------------------------------------------------------------------------

TIERS = [
    {"name": "hot", "layout": "md", "encryption": "aes-256-xts"},
    {"name": "vault", "layout": "md", "encryption": "aes-256-gcm"},
    {"name": "scratch", "layout": "md", "encryption": "none"},
    {"name": "pool", "layout": "zfs", "encryption": "aes-256-gcm"},
]


def test_encrypted_md_tiers_are_taken_and_no_others() -> None:
    volumes = luks_plan.declared(TIERS, Unlock("keyfile"), {"hot": ["no_write_workqueue"]})
    assert [(each.name, each.device, each.flags) for each in volumes] == [
        ("hot", "/dev/md/hot", ("no_write_workqueue",)),
        ("vault", "/dev/md/vault", ()),
    ]


@pytest.mark.parametrize(
    ("tiers", "unlock", "flags", "said"),
    [
        ([{**TIERS[0], "encryption": "aes-128-cbc"}], Unlock("keyfile"), {}, "'aes-128-cbc'"),
        ([{**TIERS[0], "name": "../x"}], Unlock("keyfile"), {}, "lower-case"),
        (TIERS, Unlock("keyfile"), {"hot": ["fast"]}, "fast is no dm-crypt flag"),
        (TIERS, Unlock("tang", url="http://mgmt1"), {}, "thumbprint"),
        (TIERS, Unlock("tpm2"), {}, "at least one PCR"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(
    tiers: list[dict[str, str]], unlock: Unlock, flags: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        luks_plan.declared(tiers, unlock, flags)


def test_a_host_that_cannot_unlock_boots_all_the_same() -> None:
    line = luks_plan.crypttab(replace(HOT, unlock=TANG, flags=("no_read_workqueue",)), "u1")
    assert line == "hot UUID=u1 none luks,nofail,no-read-workqueue,_netdev"


def test_a_binding_to_another_server_or_key_is_another_binding() -> None:
    token = Token(0, (1,), "tang", {"url": "http://mgmt1", "thumbprints": "thumb"})
    assert luks_plan.pinned_to(token, TANG)
    assert not luks_plan.pinned_to(token, replace(TANG, thumbprint="other"))
    assert not luks_plan.pinned_to(token, replace(TANG, url="http://mgmt2"))
    assert not luks_plan.pinned_to(token, Unlock("tpm2", pcrs=(7,)))


def test_a_binding_to_other_pcrs_is_another_binding() -> None:
    token = Token(0, (1,), "tpm2", {"pcr_bank": "sha256", "pcr_ids": "7"})
    assert luks_plan.pinned_to(token, Unlock("tpm2", pcrs=(7,)))
    assert not luks_plan.pinned_to(token, Unlock("tpm2", pcrs=(4, 7)))
