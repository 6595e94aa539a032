# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks are replaced on a real kernel: the wrong one refused, the right one whatever cuts it short.

The tests go on from each other's end, as a guest takes a while to boot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lab import guests, qmp
from tests.guests.store import BY_ID, HOT, Store, fresh_guest

DECLARED = {**HOT, "disks": {"ids": [f"{BY_ID}LABNVME0{number}" for number in range(4)]}}
POKE = "dd if=/dev/urandom of=/srv/stronghold/hot/poke bs=64k count=16 conv=fsync status=none"


@dataclass(frozen=True)
class Array(Store):
    """A guest whose hot tier holds a file of known bytes."""

    def replace(self, failed: str, new: str) -> tuple[int, str]:
        return self.play(*self.call(failed, new), book="playbooks/replace_disk.yml", **self.declared)

    def call(self, failed: str, new: str) -> list[str]:
        given = {"tier": "hot", "failed": failed, "new": new, "raid_storage_poll_seconds": 1}
        return ["-e", json.dumps(given)]

    @property
    def declared(self) -> dict[str, Any]:
        return {"stronghold_storage_tiers": [DECLARED]}

    def mdstat(self) -> str:
        """As "[4/3] [UU_U]", after an access that makes md look at its disks."""
        self.guest.run(POKE)
        return " ".join(self.guest.run("grep -o '\\[./.\\] .*' /proc/mdstat").stdout.split())

    def until(self, mdstat: str, seconds: int = 120) -> None:
        deadline = time.monotonic() + seconds
        while mdstat not in (found := self.mdstat()):
            assert time.monotonic() < deadline, found
            time.sleep(1)


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Array]:
    with fresh_guest() as guest:
        made = Array(guest, tmp_path_factory.mktemp("array"))
        code, output = made.play(**made.declared)
        assert code == 0, output
        weights = "dd if=/dev/urandom of=/srv/stronghold/hot/weights bs=1M count=48 conv=fsync status=none"
        guest.run(f"{weights}; mdadm --wait /dev/md/hot", check=False)
        yield made


def test_a_new_disk_that_holds_something_is_refused_before_the_old_one_leaves(array: Array) -> None:
    array.guest.run(f"mkswap --label old {BY_ID}LABNVME05")
    code, output = array.replace("LABNVME00", "LABNVME05")
    assert code != 0
    assert "disk LABNVME05" in output
    assert "it holds swap (old)" in output
    assert array.mdstat() == "[4/4] [UUUU]"
    array.guest.run(f"wipefs -aq {BY_ID}LABNVME05")


def test_a_pulled_disk_is_told_to_the_journal_and_to_prometheus(array: Array) -> None:
    array.guest.remove("LABNVME01")
    array.until("[4/3] [U_UU]")
    deadline = time.monotonic() + 90
    folder = "/var/lib/prometheus/node-exporter"
    while (
        'disks_missing{array="hot",level="raid5"} 1'
        not in array.guest.run(f"cat {folder}/stronghold_md.prom").stdout
    ):
        assert time.monotonic() < deadline
        time.sleep(2)
    assert 'array="hot",event="' in array.guest.run(f"cat {folder}/stronghold_md_events.prom").stdout
    assert "array hot (/dev/md" in array.guest.run("journalctl --unit=mdmonitor --output=cat").stdout


def test_another_disk_in_the_slot_of_a_declared_one_is_named_with_both_serials(array: Array) -> None:
    other = guests._device(array.guest, array.guest.disk("LABNVME06")) | {"bus": "port-LABNVME01"}
    qmp.ask(array.guest.monitor, "device_add", **other)
    array.guest.run(f"for i in $(seq 20); do [ -e {BY_ID}LABNVME06 ] && exit; sleep 1; done; exit 1")
    output = array.refused(**array.declared)
    assert "disk LABNVME01" in output
    assert "disk LABNVME06 in its slot pci-0000:02:00.0-nvme-1" in output


def test_a_working_disk_is_not_failed_while_another_one_is_missing(array: Array) -> None:
    before = array.digest()
    code, output = array.replace("LABNVME00", "LABNVME06")
    assert code != 0
    assert "member LABNVME00 works, and the array has lost 1 already" in output
    assert array.mdstat() == "[4/3] [U_UU]"
    assert array.digest() == before


def test_a_replacement_that_is_killed_is_gone_on_with(array: Array) -> None:
    before = array.digest()
    process = array.start(
        *array.call("LABNVME01", "LABNVME06"), book="playbooks/replace_disk.yml", **array.declared
    )
    killed = array.guest.run(
        "cd /var/lib/stronghold/storage; until grep -q LABNVME06 hot.json; do sleep 0.1; done;"
        "pkill -KILL python3; pkill -KILL -x mdadm; echo killed"
    )
    process.kill()
    process.wait()
    assert killed.stdout == "killed\n"
    code, output = array.replace("LABNVME01", "LABNVME06")
    assert code == 0, output
    assert array.mdstat() == "[4/4] [UUUU]"
    assert array.digest() == before
    assert "LABNVME06" in output


def test_a_disk_that_was_thrown_out_is_taken_back_by_its_own_serial(array: Array) -> None:
    before = array.digest()
    array.guest.run(
        f"mdadm /dev/md/hot --fail {BY_ID}LABNVME03; sleep 1; mdadm /dev/md/hot --remove {BY_ID}LABNVME03"
    )
    assert array.mdstat() != "[4/4] [UUUU]"
    code, output = array.replace("LABNVME03", "LABNVME03")
    assert code == 0, output
    assert array.mdstat() == "[4/4] [UUUU]"
    assert array.digest() == before


def test_done_twice_is_done_once(array: Array) -> None:
    code, output = array.replace("LABNVME01", "LABNVME06")
    assert code == 0, output
    assert "changed=0" in output
