# SPDX-License-Identifier: GPL-3.0-or-later
"""What ZFS prints is read as it is meant. Fixtures: OpenZFS 2.3.9, see tests/fixtures/zfs/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.zfs import pools

FIXTURES = Path(__file__).parents[1] / "fixtures/zfs"
STATUS = (FIXTURES / "zpool-status-raidz1-spare.json").read_text()
BY_ID = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_LABNVME"

IMPORTABLE = """\
   pool: hot
     id: 10956877597050146142
  state: ONLINE
 action: The pool can be imported using its name or numeric identifier.
 config:

        hot                                 ONLINE
          raidz1-0                          ONLINE

   pool: warm
     id: 3
  state: UNAVAIL
"""  # constructed after zpool-import(8)


def changed(change: dict[str, Any]) -> pools.Pool:
    """The recorded pool with another first disk."""
    data = json.loads(STATUS)
    disks = data["pools"]["hot"]["vdevs"]["hot"]["vdevs"]["raidz1-0"]["vdevs"]
    disks[next(iter(disks))].update(change)
    return pools.pools(json.dumps(data))["hot"]


def test_disks_are_named_without_the_partition_that_zfs_made() -> None:
    pool = pools.pools(STATUS)["hot"]
    assert [disk.path for disk in pool.disks] == [f"{BY_ID}0{number}" for number in range(3)]
    assert pool.spares == (f"{BY_ID}03",)
    assert (pool.state, pool.layouts, pool.lost_files) == ("ONLINE", ("raidz1",), 0)


def test_a_disk_that_gave_wrong_data_is_named_with_how_often() -> None:
    assert changed({"checksum_errors": 7}).errors == {f"{BY_ID}00": {"checksum_errors": 7}}
    assert pools.pools(STATUS)["hot"].errors == {}


def test_a_disk_that_is_gone_keeps_its_name() -> None:
    gone = changed({"state": "UNAVAIL", "path": None, "was": f"{BY_ID}00-part1"})
    assert (gone.disks[0].path, gone.disks[0].state) == (f"{BY_ID}00", "UNAVAIL")


def test_disks_side_by_side_are_a_stripe_and_not_many_layouts() -> None:
    data = json.loads(STATUS)
    root = data["pools"]["hot"]["vdevs"]["hot"]
    root["vdevs"] = root["vdevs"]["raidz1-0"]["vdevs"]
    assert pools.pools(json.dumps(data))["hot"].layouts == ("stripe",)


def test_a_spare_that_stands_in_counts_as_a_disk_of_its_part_only() -> None:
    """zpool puts the lost disk and its spare into a part of their own."""
    data = json.loads(STATUS)
    disks = data["pools"]["hot"]["vdevs"]["hot"]["vdevs"]["raidz1-0"]["vdevs"]
    name, lost = next(iter(disks.items()))
    spare = next(iter(data["pools"]["hot"]["spares"].values()))
    disks[name] = {
        "name": "spare-0",
        "vdev_type": "spare",
        "vdevs": {"a": lost | {"state": "REMOVED"}, "b": spare},
    }
    pool = pools.pools(json.dumps(data))["hot"]
    assert [disk.path[-2:] for disk in pool.disks] == ["00", "01", "02"]


def test_a_host_without_pools_has_none() -> None:
    assert pools.pools('{"pools": {}}') == {}
    assert pools.pools("") == {}


def test_pools_that_nobody_has_imported_are_found_by_name() -> None:
    assert pools.importable(IMPORTABLE) == {"hot", "warm"}
    assert pools.importable("no pools available to import\n") == set()


def test_properties_of_a_dataset_and_of_a_pool() -> None:
    assert pools.properties((FIXTURES / "zfs-get.json").read_text(), "hot")["encryption"] == "aes-256-gcm"
    assert pools.properties((FIXTURES / "zpool-get.json").read_text(), "hot") == {"ashift": "12"}
