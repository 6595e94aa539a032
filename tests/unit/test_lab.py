# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab says at once what a machine lacks, and takes nothing for its own that is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab import machines, requirements, site

REPOSITORY = Path(__file__).parents[2]


def test_the_lab_has_one_host_for_each_zone_of_the_design() -> None:
    lab = site.load()
    assert {host.zone.name for host in lab.hosts} == {"client", "edge", "core", "data", "mgmt", "offsite"}
    assert all(host.ipv4 in host.zone.ipv4 and host.ipv6 in host.zone.ipv6 for host in lab.hosts)


def test_a_host_is_found_by_its_name_and_by_its_zone() -> None:
    lab = site.load()
    assert lab.host("core") is lab.host("core1")
    with pytest.raises(SystemExit, match=r"'mars' is neither a host nor a zone of the lab: client1, edge1"):
        lab.host("mars")


def test_two_clones_have_namespaces_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = site.load()
    here = lab.namespace
    monkeypatch.setattr(site, "REPOSITORY", Path("/another/clone"))
    assert lab.namespace != here


def test_everything_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(requirements, "MEMORY_GIB", 10**6)
    monkeypatch.setattr(requirements, "DISK_GIB", 10**9)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = " | ".join(requirements.problems(tmp_path))
    for named in ("apt-get is not here", "GiB of memory", "GiB free below", "user id 1000 is not root"):
        assert named in found


def test_a_clone_that_lies_too_deep_for_its_sockets_is_named(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    assert "too long for sockets" in " | ".join(requirements.problems(deep))


def test_a_kernel_without_a_feature_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "_works", lambda *command: False)
    found = " | ".join(requirements.problems(tmp_path))
    assert "refuses a network namespace" in found
    assert "no overlay mounts below" in found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_without_root_it_stops_before_it_changes_anything() -> None:
    """The real program, as a user without rights, in a copy that such a user can read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder) / "requirements.py"
        copy.write_bytes(Path(requirements.__file__).read_bytes())
        done = subprocess.run(
            ["/usr/bin/python3", copy, "--install"], user=65534, capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "is not root" in done.stderr
    assert "Installing" not in done.stdout


def test_somebody_elses_container_is_not_taken_for_a_host_of_the_lab(tmp_path: Path) -> None:
    """Same program, another folder: `down` must not see it."""
    program = tmp_path / "systemd-nspawn"
    program.symlink_to(shutil.which("sleep") or "/bin/sleep")
    with subprocess.Popen([program, "30"]) as other:
        try:
            assert other.pid not in machines.running().values()
        finally:
            other.kill()


def test_the_lab_explains_itself_without_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "python -m lab up" in done.stderr
