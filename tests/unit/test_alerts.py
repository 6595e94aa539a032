# SPDX-License-Identifier: GPL-3.0-or-later
"""Alarms of every role fire, stay silent and resolve as they should: Prometheus itself says so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.machines import CACHE

REPOSITORY = Path(__file__).parents[2]
CASES = sorted((REPOSITORY / "tests/fixtures/alerts").glob("*.test.yml"))


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of this machine, or taken out of Debian's package: installed, that would start a Prometheus here."""
    kept = CACHE / "promtool"
    if found := shutil.which("promtool") or (str(kept) if kept.exists() else None):
        return found
    folder = tmp_path_factory.mktemp("prometheus")
    subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=True)
    [package] = folder.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "root/usr/bin/promtool", kept.with_suffix(".new"))
    kept.with_suffix(".new").rename(kept)
    return str(kept)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_alarms_fire_stay_silent_and_resolve(case: Path, promtool: str) -> None:
    done = subprocess.run([promtool, "test", "rules", case], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_role_has_alarms_that_no_case_is_about() -> None:
    tried = {
        (case.parent / rules).resolve()
        for case in CASES
        for rules in yaml.safe_load(case.read_text())["rule_files"]
    }
    assert {path.resolve() for path in REPOSITORY.glob("roles/*/files/alerts.yml")} == tried
