# SPDX-License-Identifier: GPL-3.0-or-later
"""What no host should have is found without an inventory's word, and what was not read is never passed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology.check import check
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import read
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Nic, Pcie, Topology

from tests.unit.healthy_host import EXPECTED, HOST, gpu, link


def test_without_an_expectation_a_card_below_what_it_and_its_slot_reach_is_a_warning():
    [finding] = check(gpu(3, pcie=Pcie(5, 8, 5, 16))(HOST))
    assert (finding.severity, finding.found) == ("warn", "x8")
    assert check(gpu(3, pcie=Pcie(1, 8, 5, 8))(HOST)) == []


def test_nvlinks_that_no_card_of_the_host_uses_are_a_warning_only():
    bridged = replace(
        HOST, gpus=tuple(replace(each, nvlinks_active=12, nvlinks_inactive=6) for each in HOST.gpus)
    )
    assert {finding.severity for finding in check(bridged, read(EXPECTED, "gpu1"))} == {"warn"}
    unused = replace(
        HOST, gpus=tuple(replace(each, nvlinks_active=0, nvlinks_inactive=12) for each in HOST.gpus)
    )
    assert check(unused, read(EXPECTED, "gpu1")) == []


def test_detours_matter_only_where_something_goes_by_pcie():
    changed = replace(HOST, iommu="translated", acs_redirect=("0000:17:00.0",))
    assert check(changed) == []
    assert len(check(link(0, 1, "PIX")(changed))) == 2


UNREAD = replace(
    HOST,
    gpus=tuple(Gpu(each.index, "nvidia", "NVIDIA GPU (name not recorded)", each.pci) for each in HOST.gpus),
    links=(),
    nics=tuple(Nic(each.name) for each in HOST.nics),
    nvswitches=(),
    kernel_module=None,
    board=None,
)


def test_what_was_not_read_is_a_note_and_never_silence():
    findings = check(UNREAD, read(EXPECTED, "gpu1"))
    assert {finding.severity for finding in findings} == {"note"}
    said = " ".join(finding.subject for finding in findings)
    for field in (
        "model", "memory", "MIG", "ECC", "persistence mode", "PCIe width", "PCIe generation", "NUMA node",
        "links of GPUs 0 and 1, ", "NVSwitches", "kernel module", "NVLink fabric",
        "mlx5_0: state", "mlx5_0: rate", "mlx5_0: link layer", "mlx5_0: place beside GPU 0",
    ):  # fmt: skip
        assert field in said, field


@pytest.mark.parametrize("field", [field for field in EXPECTED if field != "count"])
def test_each_expected_field_that_was_not_read_is_noted(field: str):
    findings = check(UNREAD, read({field: EXPECTED[field]}, "gpu1"))
    assert findings
    assert {finding.severity for finding in findings} == {"note"}


def test_a_card_that_never_has_mig_is_not_asked_for_it():
    a10 = Topology("gpu1", gpus=(Gpu(0, "nvidia", "NVIDIA A10", memory_mib=23028, compute_capability="8.6"),))
    a100 = replace(a10, gpus=(replace(a10.gpus[0], compute_capability="8.0"),))
    assert check(a10, read({"mig": False}, "gpu1")) == []
    assert [finding.severity for finding in check(a100, read({"mig": False}, "gpu1"))] == ["note"]
