# SPDX-License-Identifier: GPL-3.0-or-later
"""Each reference site is planned from its recordings as a user does it, and no host is reached; what cannot
work is refused, with every reason at once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

REPO = Path(__file__).parents[2]
FACTORY = [f"factory-phased/{stage}" for stage in ("1-7b.yml", "2-32b.yml", "3-70b.yml")]


@dataclass(frozen=True)
class Run:
    output: str
    failed: bool
    build: Path

    @property
    def kept(self) -> dict[str, Any]:
        return dict(json.loads((self.build / "plan.json").read_text()))

    @property
    def replicas(self) -> list[tuple[str, int, int, int]]:
        """(host, tensor parallel, GPUs, watts) of each."""
        return [
            (
                "+".join(share["host"] for share in replica["shares"]),
                replica["serving"]["tensor_parallel"],
                sum(len(share["gpus"]) for share in replica["shares"]),
                round(replica["power_w"]),
            )
            for replica in self.kept["plan"]["replicas"]
        ]


@pytest.fixture
def preflight(tmp_path: Path) -> Callable[..., Run]:
    def run(*inventories: str | Path, **variables: Any) -> Run:
        # Whoever tried to reach a host would run `false` for it.
        known = {"stronghold_build_dir": str(tmp_path), "ansible_ssh_executable": "/bin/false", **variables}
        command = [str(Path(sys.executable).with_name("ansible-playbook"))]
        for inventory in inventories:
            command += ["-i", str(REPO / "inventories" / inventory)]
        done = subprocess.run(
            [*command, "-e", json.dumps(known), "playbooks/preflight.yml"],
            cwd=REPO,
            env={
                **{name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(done.stdout + done.stderr, done.returncode != 0, tmp_path)

    return run


@pytest.mark.parametrize(
    ("inventories", "replicas"),
    [
        (["workstation-7b"], [("gpu1", 2, 2, 300)]),
        (["department-32b"], [("gpu1", 2, 2, 800), ("gpu1", 2, 2, 800)]),
        (["datacentre-70b"], [("gpu1", 8, 8, 5600), ("gpu2", 8, 8, 5600)]),
        (["mixed-fleet"], [("gpu1", 8, 8, 5600), ("gpu2", 4, 4, 3000)]),
        (FACTORY[:1], [("gpu1", 2, 2, 300)]),
        (FACTORY[:2], [("gpu2", 2, 2, 800), ("gpu2", 2, 2, 800)]),
        (["factory-phased"], [("gpu3", 8, 8, 5600)]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) else "",
)
def test_a_reference_site_has_the_plan_that_its_page_says(
    preflight: Callable[..., Run], inventories: list[str], replicas: list[tuple[str, int, int, int]]
) -> None:
    run = preflight(*inventories)
    assert not run.failed, run.output
    assert sorted(run.replicas) == replicas
    assert f"the plan of {run.kept['model']}" in run.output
    drawn = {path.stem: ElementTree.fromstring(path.read_text()) for path in run.build.glob("topology/*.svg")}
    assert drawn.keys() == {topology["host"] for topology in run.kept["topologies"]}


@pytest.mark.parametrize("site", sorted(path.name for path in (REPO / "inventories").glob("*[!common]/")))
def test_site_yml_is_sound_for_every_inventory(site: str) -> None:
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--syntax-check", "site.yml"]
    done = subprocess.run(
        [*command, "-i", f"inventories/{site}"], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def damage(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_everything_that_is_wrong_with_a_host_is_named_in_one_run(
    preflight: Callable[..., Run], tmp_path: Path
) -> None:
    site = shutil.copytree(REPO / "inventories/datacentre-70b", tmp_path / "inventories/site")
    facts = site / "facts/gpu2"
    damage(facts / "nvidia-smi-q-x.xml", "<current_link_width>16x", "<current_link_width>8x")
    damage(facts / "nvidia-smi-topo-m.txt", "GPU1\tNV18\t X \tNV18", "GPU1\tNV18\t X \tSYS")
    damage(facts / "nvidia-smi-topo-m.txt", "GPU2\tNV18\tNV18\t X ", "GPU2\tNV18\tSYS\t X ")
    damage(facts / "ibstat.txt", "Rate: 200", "Rate: 100")
    run = preflight(site)
    assert run.failed
    refused = [finding for finding in run.kept["findings"] if finding["severity"] == "refuse"]
    assert {finding["host"] for finding in refused} == {"gpu2"}
    assert [(finding["subject"], finding["found"], finding["expected"]) for finding in refused] == [
        ("GPU 0 (0000:1b:00.0): PCIe width", "x8", "x16"),
        ("GPU 1 (0000:43:00.0) and GPU 2 (0000:52:00.0)", "SYS", "NV18"),
        ("network card mlx5_0: rate", "100 Gb/s", "200 Gb/s"),
    ]
    assert all(finding["message"] in run.output for finding in refused)


def test_a_model_that_does_not_fit_is_refused_with_what_binds_and_what_would_work(
    preflight: Callable[..., Run],
) -> None:
    model = {
        "name": "too-much",
        "config": "models/deepseek-r1-distill-qwen-7b/config.json",
        "weights": {"precision": "bf16", "total_bytes": 15231233024},
        "serve": {"backend": "vllm", "context_tokens": 131072, "slots": 64},
    }
    run = preflight("workstation-7b", stronghold_models=[model], stronghold_model="too-much")
    assert run.failed
    refusal = run.kept["refusal"]
    assert (refusal["constraint"], run.kept["plan"]) == ("kv_cache", None)
    assert "64 sequences of 131072 tokens" in refusal["message"]
    again = dict(model, name="nearest")
    near = refusal["nearest"]
    again["serve"] = {
        "backend": "vllm",
        "slots": near["sequences"],
        **{
            name: value
            for name, value in near.items()
            if value is not None and name not in ("engine", "engine_version", "sequences")
        },
    }
    nearest = preflight("workstation-7b", stronghold_models=[again], stronghold_model="nearest")
    assert not nearest.failed, nearest.output


def test_debians_driver_with_todays_engine_is_refused_and_the_newest_that_works_is_named(
    preflight: Callable[..., Run],
) -> None:
    lock = {"driver": "550.163.01", "driver_flavour": "open", "vllm": "0.33.0"}
    stack = {"python": {"version": "3.13"}, "accelerators": {"core": lock}}
    run = preflight("workstation-7b", stronghold_stack=stack)
    assert run.failed
    assert "580" in run.output
    assert "0.19.1" in run.output


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("nvidia-smi-q-x.xml", "</gpu>", "", "the XML is cut off or damaged"),
        ("nvidia-smi-topo-m.txt", "NODE", "NÄHE", "is no link class known here"),
        ("sysfs.txt", "/proc", "proc", "is not path:content"),
    ],
)
def test_recordings_that_are_damaged_are_refused_by_file_and_line(
    preflight: Callable[..., Run], tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    site = shutil.copytree(REPO / "inventories/workstation-7b", tmp_path / "inventories/site")
    damage(site / "facts/gpu1" / file, old, new)
    run = preflight(site)
    assert run.failed
    assert said in run.output
    assert file in run.output
    assert "Traceback" not in run.output
