# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a site that stands: what does not fit is refused before a host is touched, and a recorded host
is planned as the host itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from testinfra.host import Host

from tests.integration.conftest import INVENTORY, REPOSITORY, playbook, recap

PLAN = REPOSITORY / "build/plan.json"


def more_slots_than_fit() -> str:
    """The site's models with a wish that no host of the lab can grant, as extra variables."""
    declared = yaml.safe_load((REPOSITORY / INVENTORY / "group_vars/all/model.yml").read_text())
    for model in declared["stronghold_models"]:
        model["serve"]["slots"] = 100_000
    return json.dumps({"stronghold_models": declared["stronghold_models"]})


def kept() -> dict[str, Any]:
    return dict(json.loads(PLAN.read_text()))


def test_the_labs_model_server_is_planned_by_the_same_code() -> None:
    [replica] = kept()["plan"]["replicas"]
    assert [share["host"] for share in replica["shares"]] == ["core1"]
    assert replica["serving"]["engine"] == "llama_cpp"
    [topology] = kept()["topologies"]
    assert (topology["host"], topology["gpus"]) == ("core1", [])


def test_a_wish_that_does_not_fit_is_refused_before_any_host_is_touched(on: Callable[[str], Host]) -> None:
    served = on("core").check_output("systemctl show --property=MainPID --value stronghold-model.service")
    done = playbook("-e", more_slots_than_fit())
    assert done.returncode != 0
    assert "100000 sequences of 4096 tokens fill" in done.stdout
    assert "these hosts serve it with" in done.stdout
    assert {host for host, counts in recap(done.stdout).items() if counts["changed"]} <= {"localhost"}
    now = on("core").check_output("systemctl show --property=MainPID --value stronghold-model.service")
    assert now == served
    assert playbook("--tags", "preflight").returncode == 0


def test_a_recorded_host_is_planned_as_the_host_itself(tmp_path: Path) -> None:
    before = kept()
    recorded = playbook("-e", f"stronghold_facts_to={tmp_path}", book="playbooks/record_facts.yml")
    assert recorded.returncode == 0, recorded.stdout
    # Nobody is reached: whoever tried would run `false` for it.
    known = {"stronghold_facts_from": str(tmp_path), "ansible_ssh_executable": "/bin/false"}
    done = playbook("-e", json.dumps(known), book="playbooks/preflight.yml")
    assert done.returncode == 0, done.stdout
    assert kept() == before


def test_site_yml_reads_the_hosts_whatever_recordings_are_named() -> None:
    done = playbook("--tags", "preflight", "-e", "stronghold_facts_from=/nowhere")
    assert done.returncode == 0, done.stdout
