# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pools' metrics say, and the alarms on them by Prometheus' own judge of rules."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/fixtures/alerts/zfs.test.yml"
STATUS: dict[str, Any] = json.loads((ROOT / "tests/fixtures/zfs/zpool-status-raidz1-spare.json").read_text())


@pytest.fixture(scope="module")
def metrics() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "zfs_metrics", ROOT / "roles/zfs_storage/files/zfs_metrics.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_declared_pool_that_nobody_imported_is_down(metrics: ModuleType) -> None:
    written = metrics.text(metrics.samples(STATUS, ["hot", "warm"]))
    assert 'stronghold_zfs_up{pool="hot"} 1\n' in written
    assert 'stronghold_zfs_up{pool="warm"} 0\n' in written


def test_the_spare_is_no_disk_and_each_disk_has_its_errors(metrics: ModuleType) -> None:
    written = metrics.text(metrics.samples(STATUS, []))
    assert 'stronghold_zfs_disks{pool="hot"} 3\n' in written
    assert written.count("stronghold_zfs_checksum_errors{") == 3


def test_a_pulled_disk_is_faulty_also_while_a_spare_stands_in(metrics: ModuleType) -> None:
    status = json.loads(json.dumps(STATUS))
    status["pools"]["hot"]["state"] = "DEGRADED"
    disks = status["pools"]["hot"]["vdevs"]["hot"]["vdevs"]["raidz1-0"]["vdevs"]
    name, lost = next(iter(disks.items()))
    spare = {"name": "s", "vdev_type": "disk", "state": "ONLINE"}
    disks[name] = {"vdev_type": "spare", "vdevs": {"a": lost | {"state": "REMOVED"}, "b": spare}}
    written = metrics.text(metrics.samples(status, []))
    assert 'stronghold_zfs_online{pool="hot"} 0\n' in written
    assert 'stronghold_zfs_disks_faulty{pool="hot"} 1\n' in written


@pytest.mark.skipif(not shutil.which("promtool"), reason="apt-get install prometheus brings promtool")
def test_a_lost_disk_flipped_bits_and_lost_data_are_told_of() -> None:
    done = subprocess.run(["promtool", "test", "rules", CASES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
