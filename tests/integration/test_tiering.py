# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights come to the hot tier from the cold bucket, and leave it only when nobody uses them."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from lab.site import INVENTORY, Site
from tests.integration.conftest import playbook

TIER = "/run/tiering"  # two golden models fit, three do not
PYTHON = "/opt/stronghold/objects/bin/python"
CHANGE = Path(__file__).parent / "clients/change_object.py"


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    declared = yaml.safe_load((INVENTORY / "group_vars/all/model.yml").read_text())
    return next(model for model in declared["stronghold_models"] if model["name"] == "golden")


@pytest.fixture
def tier(on: Callable[[str], Host]) -> Iterator[Host]:
    """The model server with a small tier of its own beside the hot one."""
    core = on("core")
    core.check_output(f"mkdir -p {TIER} && mount -t tmpfs -o size=14m tmpfs {TIER}")
    try:
        yield core
    finally:
        core.check_output(f"umount --lazy {TIER} && rmdir {TIER}")


def bring(model: dict[str, Any], **more: Any) -> subprocess.CompletedProcess[str]:
    told = {"model_store_root": TIER, "model_store_keep_gib": 0, "model_store_model": model, **more}
    return playbook("--tags=model_store", f"--extra-vars={json.dumps(told)}", book="playbooks/model.yml")


def on_tier(core: Host) -> set[str]:
    return set(core.check_output(f"cd {TIER} && ls -d -- */*/ | cut -d/ -f1").split())


def test_every_declared_model_is_in_the_cold_bucket(evidence: dict) -> None:
    claims = [claim for (name, _), claim in evidence.items() if name == "storage.weights_archived"]
    assert [claim["status"] for claim in claims] == ["proven"]


def test_the_model_came_from_the_bucket_and_says_how_fast(on: Callable[[str], Host], lab: Site) -> None:
    said = json.loads(on("core").file("/run/stronghold/model-fetch.json").content_string)
    assert said["state"] == "done"
    assert on("core").check_output("journalctl -t stronghold-model-fetch --no-pager").count("done, 100%") >= 1


def test_the_one_unused_for_longest_makes_room_and_one_that_is_used_does_not(
    tier: Host, golden: dict[str, Any]
) -> None:
    for name in ("one", "two"):
        assert bring({**golden, "name": name}).returncode == 0
    # One is older; somebody reads it, and nothing anywhere says so.
    with reader(tier, f"{TIER}/one/*/golden.gguf"):
        done = bring({**golden, "name": "three"})
        assert done.returncode == 0, done.stdout
        assert on_tier(tier) == {"one", "three"}
    done = bring({**golden, "name": "four"})
    assert done.returncode == 0, done.stdout
    assert "four" in on_tier(tier)
    assert len(on_tier(tier)) == 2


@contextlib.contextmanager
def reader(host: Host, pattern: str) -> Iterator[None]:
    """A process that has the file open, under another name than the model's."""
    host.check_output(f"ln {pattern} {TIER}/alias && systemd-run --unit=reader --quiet tail -f {TIER}/alias")
    try:
        yield
    finally:
        host.check_output(f"systemctl stop reader; rm {TIER}/alias")


def test_the_served_model_stays_however_short_the_tier_is(
    on: Callable[[str], Host], lab: Site, golden: dict[str, Any]
) -> None:
    core = on("core")
    before = core.check_output("systemctl show --property=MainPID --value stronghold-model.service")
    refused = bring({**golden, "name": "more"}, model_store_root="/srv/models", model_store_keep_gib=10**6)
    assert refused.returncode != 0
    assert f"{lab.model}/" in refused.stdout
    assert "is used (stronghold-model.service names it)" in refused.stdout
    assert core.run("test -d /srv/models/more").rc != 0
    assert core.check_output("systemctl show --property=MainPID --value stronghold-model.service") == before


def test_other_bytes_in_the_bucket_are_refused_by_name_and_archiving_makes_them_good(
    on: Callable[[str], Host], tier: Host, golden: dict[str, Any], lab: Site
) -> None:
    digest = golden["files"][0]["sha256"]
    change = shlex.join([PYTHON, "-c", CHANGE.read_text(), str(lab.host("data").ipv4), f"sha256/{digest}"])
    on("data").check_output(change)
    try:
        refused = bring(golden)
        assert refused.returncode != 0
        assert "golden.gguf, part 0 (bytes 0 to 5715551): sha256 is" in refused.stdout
        assert tier.run(f"test -e {TIER}/golden").rc != 0
    finally:
        archived = playbook("--tags=model_archive", book="playbooks/model.yml")
    assert archived.returncode == 0, archived.stdout
    assert bring(golden).returncode == 0
