# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM on processors: it serves many at once, is restarted when it hangs, and says why it does not start.

Needs the lab of inventories/lab-vllm; `make molecule SCENARIO=vllm` builds it and runs this.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from lab import site as lab_site
from lab.__main__ import SSH_CONFIG, WHOLE

UNIT, WATCH = "stronghold-model.service", "stronghold-model-watch"
SOCKET = "/run/stronghold-model/api.sock"
START_SECONDS = 600


@pytest.fixture(scope="module")
def lab() -> lab_site.Site:
    if lab_site.STATE.name != "lab-vllm" or not WHOLE.exists():
        pytest.fail("needs the lab that serves by vLLM: run `make molecule SCENARIO=vllm`", pytrace=False)
    return lab_site.load()


@pytest.fixture
def core(lab: lab_site.Site) -> Host:
    return testinfra.get_host(f"ssh://{lab.host('core').name}?ssh_config={SSH_CONFIG}&sudo=true")


def shown(host: Host, name: str) -> str:
    return str(host.check_output(f"systemctl show --property={name} --value {UNIT}"))


def serving(host: Host, before: str = "") -> bool:
    """Within the time of a start; `before` is the start that must not be it."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if shown(host, "ActiveState") == "active" and shown(host, "InvocationID") != before:
            return True
        time.sleep(5)
    return False


def metrics(host: Host) -> dict[str, float]:
    lines = host.check_output("cat /var/lib/prometheus/node-exporter/model.prom").splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if line[0] != "#")}


def converge(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Preflight, which plans, and the model, as a user's Ansible would run them."""
    known = {name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(lab_site.INVENTORY)]
    return subprocess.run(
        [*command, *arguments, "playbooks/preflight.yml", "playbooks/model.yml"],
        cwd=lab_site.REPOSITORY,
        env={**known, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )


def test_sixteen_at_once_take_less_than_four_times_as_long_as_one(core: Host, lab: lab_site.Site) -> None:
    program = shlex.quote(Path(__file__).with_name("ask_many.py").read_text())

    def asked(count: int) -> dict:
        return dict(json.loads(core.check_output(f"python3 -c {program} {SOCKET} {lab.model} {count}")))

    asked(1)  # shapes that are seen for the first time take longer
    asked(16)
    one, many = asked(1), asked(16)
    assert min(many["tokens"]) >= one["tokens"][0] // 2 > 0
    assert many["seconds"] < 4 * one["seconds"], (one, many)


def test_an_argument_that_the_version_does_not_know_leaves_the_model_serving(core: Host) -> None:
    before = shown(core, "InvocationID")
    model = model_with(arguments={"max-modle-len": 5})
    done = converge("-e", json.dumps({"stronghold_models": [model]}))
    assert done.returncode
    said = " ".join(done.stdout.split())
    assert "vLLM 0.32.0: --max-modle-len is not known, the nearest that is known is --max-model-len" in said
    assert (shown(core, "ActiveState"), shown(core, "InvocationID")) == ("active", before)


def test_the_start_is_told_phase_by_phase(core: Host) -> None:
    core.check_output(f"systemctl start {WATCH}.service")
    found = metrics(core)
    phases = [
        found[f'stronghold_model_start_seconds{{phase="{name}"}}']
        for name in ("weights_verified", "program_loaded", "engine_loaded", "ready")
    ]
    assert 0 < phases[0] < phases[1] < phases[2] <= phases[3] < START_SECONDS
    assert found["stronghold_model_serving"] == 1


def test_an_engine_that_hangs_is_restarted_after_three_silences(core: Host) -> None:
    """Stopped, not killed: the API server goes on, answers /health, and waits for an engine that does not."""
    core.check_output(f"systemctl stop {WATCH}.timer")
    before, counted = shown(core, "InvocationID"), metrics(core)["stronghold_model_watchdog_restarts_total"]
    try:
        group, server = shown(core, "ControlGroup"), shown(core, "MainPID")
        processes = core.check_output(f"cat /sys/fs/cgroup{group}/cgroup.procs").split()
        core.check_output(f"kill -STOP {' '.join(set(processes) - {server})}")
        for silences in (1, 2):
            core.check_output(f"systemctl start {WATCH}.service")
            assert metrics(core)["stronghold_model_watchdog_silences"] == silences
            assert shown(core, "InvocationID") == before
        core.check_output(f"systemctl start {WATCH}.service")
        assert metrics(core)["stronghold_model_watchdog_restarts_total"] == counted + 1
        core.check_output(f"systemctl start {WATCH}.service")  # while it starts
        assert metrics(core)["stronghold_model_serving"] == 0
        assert serving(core, before)
        core.check_output(f"systemctl start {WATCH}.service")
        assert metrics(core)["stronghold_model_serving"] == 1
        assert "without an answer" in core.check_output(f"journalctl --unit {WATCH} --lines 50")
    finally:
        core.check_output(f"systemctl start {WATCH}.timer")


def test_what_does_not_fit_is_said_by_the_engine_beside_the_plan(core: Host) -> None:
    """A share of the memory that is free on paper: the plan allows it, the machine has other things in it."""
    before = shown(core, "InvocationID")
    try:
        done = converge("-e", json.dumps({"stronghold_models": [model_with(gpu_memory_utilization=0.99)]}))
        assert done.returncode
        assert "the engine does not start: ValueError: Available memory on node" in done.stdout
        assert "(gpu_memory_utilization 0.99)" in done.stdout
    finally:
        again = converge()
    assert again.returncode == 0, again.stdout[-3000:]
    assert serving(core, before)


def model_with(**serve: object) -> dict:
    """The site's model, served in another way; the inventory's own templates are done by Ansible."""
    command = [
        str(Path(sys.executable).with_name("ansible-inventory")),
        "-i",
        str(lab_site.INVENTORY),
        "--list",
    ]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    [model] = told["_meta"]["hostvars"]["core1"]["stronghold_models"]
    return {**model, "serve": {**model["serve"], **serve}}
