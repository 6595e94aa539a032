# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays on real disks: made, killed, pulled, grown and rebooted; nothing that holds something is taken.

The tests go on from each other's end, as a guest takes a while to boot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab import guests
from tests.guests.store import BY_ID, HOT, Store, fresh_guest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with fresh_guest() as guest:
        yield Store(guest, tmp_path_factory.mktemp("store"))


def test_killed_while_it_makes_an_array_leaves_what_the_next_run_makes_whole(store: Store) -> None:
    process = store.start()
    killed = store.guest.run(
        "for i in $(seq 3000); do pgrep -x mdadm >/dev/null && break; sleep 0.02; done;"
        "pkill -KILL python3; pkill -KILL -x mdadm; echo killed"
    )
    process.kill()
    process.wait()
    assert killed.stdout == "killed\n"
    print(store.state())
    store.converge()
    assert "[4/4] [UUUU]" in store.guest.run("mdadm --wait /dev/md/hot; cat /proc/mdstat").stdout


def test_a_second_run_changes_nothing(store: Store) -> None:
    assert "changed=0" in store.converge()


def test_the_file_system_knows_the_stripe_and_nothing_lands_beside_it(store: Store) -> None:
    store.guest.run("dd if=/dev/urandom of=/srv/stronghold/hot/weights bs=1M count=64 status=none")
    assert "sunit=128 swidth=384 blks" in " ".join(
        store.guest.run("xfs_info /srv/stronghold/hot").stdout.replace("sunit=128    ", "sunit=128 ").split()
    )
    store.guest.run("umount /srv/stronghold/hot")
    assert store.guest.run("touch /srv/stronghold/hot/lost", check=False).returncode != 0
    store.guest.run("mount /srv/stronghold/hot")


def test_it_survives_a_reboot_under_its_own_name(store: Store) -> None:
    before = store.digest()
    store.guest.reboot()
    assert store.digest() == before
    assert store.guest.run("mdadm --detail --brief /dev/md/hot").stdout


def test_a_disk_pulled_out_under_load_costs_no_byte_and_is_replaced_by_serial(store: Store) -> None:
    before = store.digest()
    store.guest.run(
        "systemd-run --unit=load --property=RuntimeMaxSec=600 sh -c "
        "'cd /srv/stronghold/hot; while :; do dd if=/dev/urandom of=load bs=1M count=16 conv=fsync; done'"
    )
    store.guest.remove("LABNVME02")
    deadline = time.monotonic() + 60
    while "[4/3]" not in store.guest.run("cat /proc/mdstat").stdout:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert store.digest() == before
    code, output = store.play(
        "-e", "tier=hot", "-e", "failed=LABNVME02", "-e", "new=LABNVME04",
        "-e", "raid_storage_poll_seconds=1",
        book="playbooks/replace_disk.yml",
    )  # fmt: skip
    assert code == 0, output
    assert store.guest.run("systemctl is-active load").stdout.strip() == "active"
    store.guest.run("systemctl stop load")
    assert "[4/4] [UUUU]" in store.guest.run("cat /proc/mdstat").stdout
    assert store.digest() == before
    assert "changed=0" in store.converge()


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ("mkswap -q -L old {}", "it holds swap (old)"),
        ("wipefs -aq {0}; echo 'label: gpt' | sfdisk -q {0}", "it holds gpt"),
        ("wipefs -aq {0}; pvcreate -qq {0}", "it holds LVM2_member"),
        (
            "wipefs -aq {0}; mkfs.xfs -q {0}; mkdir -p /mnt/x; mount {0} /mnt/x",
            "it is in use: mounted on /mnt/x",
        ),
    ],
    ids=["swap", "partition table", "LVM", "mounted"],
)
def test_a_disk_that_holds_something_is_refused_by_its_serial(store: Store, holds: str, said: str) -> None:
    disk = f"{BY_ID}LABNVME05"
    store.guest.run(holds.format(disk))
    sas = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_LABSAS00"
    more = {**HOT, "name": "more", "level": 1, "disks": {"ids": [disk, sas]}, "mount": "/srv/stronghold/more"}
    # A mounted disk is refused even where it is given up.
    wipe = ["LABNVME05"] if "mounted" in said else []
    output = store.refused(stronghold_storage_tiers=[HOT, more], stronghold_storage_wipe=wipe)
    assert "LABNVME05" in output
    assert said in output


def test_another_level_is_an_error_with_the_difference(store: Store) -> None:
    output = store.refused(stronghold_storage_tiers=[{**HOT, "level": 6}])
    assert "an array is not changed under its data" in output


def test_a_disk_more_makes_it_larger_and_keeps_every_byte(store: Store) -> None:
    before = store.digest()
    store.guest.run(f"umount /mnt/x; wipefs -aq {BY_ID}LABNVME05")
    size = int(store.guest.run("blockdev --getsize64 /dev/md/hot").stdout)
    wider = [{**HOT, "disks": {"kind": "nvme", "count": 5}}]
    store.converge(stronghold_storage_tiers=wider)
    store.guest.run("mdadm --wait /dev/md/hot", check=False)
    assert "[5/5] [UUUUU]" in store.guest.run("cat /proc/mdstat").stdout
    assert int(store.guest.run("blockdev --getsize64 /dev/md/hot").stdout) * 3 == size * 4
    assert store.digest() == before


def test_two_disks_lost_are_refused_and_nothing_is_made_anew(store: Store) -> None:
    store.guest.remove("LABNVME00")
    store.guest.remove("LABNVME01")
    store.guest.run("dd if=/dev/md/hot of=/dev/null bs=1M count=8 iflag=direct", check=False)
    store.guest.power_off()
    guests.up([store.guest])  # without the two disks no longer in their slots
    store.guest.remove("LABNVME00")
    store.guest.remove("LABNVME01")
    store.guest.run("umount -l /srv/stronghold/hot; mdadm --stop /dev/md/hot", check=False)
    code, output = store.play(stronghold_storage_tiers=[{**HOT, "disks": {"kind": "nvme", "count": 5}}])
    assert code != 0
    assert "2 of 5 disks lost" in output
    assert "never made anew" in output
