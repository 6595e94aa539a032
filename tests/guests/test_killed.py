# SPDX-License-Identifier: GPL-3.0-or-later
"""The play of the tiers dies after each task that changed something, and ends where any other one ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

from tests.guests.store import HOT, Store, fresh_guest

CALLBACKS = {
    "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
    "ANSIBLE_CALLBACKS_ENABLED": "killed_after_change",
}
MOST_CHANGES = 40  # a task that changes something in every run would be killed at for ever
FEWEST_CHANGES = 15  # fewer, and the callback would not have been there
WARM = {
    "name": "warm", "layout": "md", "level": 1, "disks": {"kind": "rotational", "count": 2},
    "encryption": "none", "filesystem": "xfs", "mount": "/srv/stronghold/warm",
}  # fmt: skip


def end(store: Store) -> dict[str, object]:
    """What must be the same at the end: layout, names and options, without what is random or counts."""
    run = store.guest.run
    lsblk = json.loads(run("lsblk --json --output NAME,TYPE,SIZE,FSTYPE,MOUNTPOINT").stdout)
    return {
        "blocks": re.sub(r"md12\d", "md", json.dumps(lsblk)),
        "arrays": sorted(re.findall(r"ARRAY \S+|name=\S+", run("cat /etc/mdadm/mdadm.conf").stdout)),
        "slots": re.findall(r"^\s+\d+: \S+", run("cryptsetup luksDump /dev/md/hot").stdout, re.M),
        "units": run("ls /etc/systemd/system /etc/udev/rules.d /usr/local/lib/stronghold").stdout,
        "mounts": run("grep /srv/stronghold /etc/fstab; findmnt -rno TARGET,FSTYPE,OPTIONS -t xfs").stdout,
        "enabled": run("systemctl list-unit-files --no-legend 'stronghold*' '*mdmonitor*' '*.mount'").stdout,
        "failed": run("systemctl --failed --no-legend").stdout,
    }


def test_killed_after_each_task_that_changed_something_it_ends_the_same(tmp_path: Path) -> None:
    identity = tmp_path / "identity"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    shown = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
    declared = {
        "stronghold_storage_tiers": [{**HOT, "encryption": "aes-256-xts"}, WARM],
        "stronghold_storage_unlock": "keyfile",
        "stronghold_recovery_recipient": shown.stdout.strip(),
    }
    ends, killed = [], []
    for name in ("undisturbed", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        with fresh_guest() as guest:
            store = Store(guest, folder)
            settings = {**declared, "stronghold_escrow_dir": str(folder / "escrow")}
            if name == "killed":
                # Role by role, as those before the one that dies have nothing left to do.
                for role in ("raid_storage", "disk_encryption", "storage_mount"):
                    killed += deaths(replace(store, environment=CALLBACKS), role, **settings)
            code, output = store.play(book="playbooks/storage.yml", **settings)
            assert code == 0, output
            assert name == "undisturbed" or "changed=0" in output, output
            ends.append(end(store))
    print(len(killed), "deaths:", *killed, sep="\n")
    assert len(set(killed)) == len(killed) >= FEWEST_CHANGES
    assert ends[0] == ends[1]


def deaths(store: Store, role: str, **settings: object) -> list[str]:
    """The tasks after which the role was killed, until it had nothing left to change."""
    after: list[str] = []
    while len(after) < MOST_CHANGES:
        code, output = store.play("--tags", role, book="playbooks/storage.yml", **settings)
        if code != -signal.SIGKILL:
            assert code == 0, output
            return after
        after.append(output.rpartition("KILLED after: ")[2])
    raise AssertionError(f"{role} changes something in every run: {after[-1]}")
