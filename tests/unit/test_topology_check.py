# SPDX-License-Identifier: GPL-3.0-or-later
"""A healthy host is passed without a word; each thing that breaks is one finding with where and what."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.topology.check import check
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import read
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Gpu,
    Link,
    Pcie,
    Topology,
)

from tests.unit.healthy_host import (
    ADDRESSES,
    EXPECTED,
    HOST,
    NAME,
    Change,
    gpu,
    host,
    link,
    nic,
    way,
    without,
)


def found(topology: Topology = HOST, **changes: Any) -> list[Finding]:
    return check(topology, read({**EXPECTED, **changes}, "gpu1"))


def only(topology: Topology, **changes: Any) -> Finding:
    [finding] = found(topology, **changes)
    return finding


def test_a_healthy_host_is_passed_without_a_word():
    assert found() == []
    assert check(HOST) == []
    assert check(Topology("lab")) == []


@pytest.mark.parametrize(
    ("change", "severity", "subject", "seen", "wanted"),
    [
        (gpu(3, name="NVIDIA H200"), "refuse", "GPU 3 (0000:61:00.0): model", "NVIDIA H200", NAME),
        (gpu(3, memory_mib=40536), "refuse", "GPU 3 (0000:61:00.0): memory", "40536 MiB", "81000 MiB"),
        (gpu(3, mig=True), "refuse", "GPU 3 (0000:61:00.0): MIG", "on", "off"),
        (gpu(3, ecc=False), "warn", "GPU 3 (0000:61:00.0): ECC", "off", "on"),
        (gpu(3, persistence=False), "warn", "GPU 3 (0000:61:00.0): persistence mode", "off", "on"),
        (gpu(3, pcie=Pcie(5, 8, 5, 16)), "refuse", "GPU 3 (0000:61:00.0): PCIe width", "x8", "x16"),
        (gpu(3, numa_node=1), "refuse", "GPU 3 (0000:61:00.0): NUMA node", "1", "0"),
        (
            gpu(3, pcie=Pcie(4, 16, 4, 16)),
            "warn", "GPU 3 (0000:61:00.0): PCIe generation", "4 at most of card and slot together", "5",
        ),
        (
            gpu(3, pcie=Pcie(1, 16, 5, 16)),
            "note", "GPU 3 (0000:61:00.0): PCIe generation", "1 now, 5 at most", "5",
        ),
        (
            gpu(3, pcie=Pcie(1, 16, None, 16)),
            "warn", "GPU 3 (0000:61:00.0): PCIe generation", "1 now, not read at most", "5",
        ),
        (link(2, 5, "SYS"), "refuse", "GPU 2 (0000:52:00.0) and GPU 5 (0000:c3:00.0)", "SYS", "NV18"),
        (link(2, 5, "NV", 12), "refuse", "GPU 2 (0000:52:00.0) and GPU 5 (0000:c3:00.0)", "NV12", "NV18"),
        (
            nic("mlx5_2", state="DOWN"),
            "refuse", "network card mlx5_2 (0000:02:00.1): state", "DOWN", "ACTIVE",
        ),
        (
            nic("mlx5_2", rate_gbps=200.0),
            "refuse", "network card mlx5_2 (0000:02:00.1): rate", "200 Gb/s", "400 Gb/s",
        ),
        (
            nic("mlx5_2", link_layer="Ethernet"),
            "refuse", "network card mlx5_2 (0000:02:00.1): link layer", "Ethernet", "InfiniBand",
        ),
        (
            nic("mlx5_2", near=tuple(way(gpu, 5) for gpu in range(8))),
            "refuse", "network card mlx5_2 (0000:02:00.1): place",
            "SYS to GPU 2 (0000:52:00.0)", "PXB or nearer",
        ),
        (
            host(nics=HOST.nics[:7]),
            "refuse", "network card mlx5_7",
            f"none of this name, but {', '.join(f'mlx5_{i}' for i in range(7))}", "mlx5_7",
        ),
        (
            host(nvswitches=HOST.nvswitches[:3]),
            "refuse", "NVSwitches", "3 (0000:07:00.0, 0000:08:00.0, 0000:09:00.0)", "4",
        ),
        (host(kernel_module="proprietary"), "warn", "kernel module", "proprietary", "open"),
        (
            gpu(3, remapped_rows_failed=True),
            "refuse", "GPU 3 (0000:61:00.0): memory rows",
            "a row that could not be replaced", "every broken row replaced",
        ),
        (
            gpu(3, remapped_rows_pending=True),
            "warn", "GPU 3 (0000:61:00.0): memory rows",
            "a row or page that waits to be replaced", "every broken row replaced",
        ),
        (
            gpu(3, ecc_uncorrected=2),
            "warn", "GPU 3 (0000:61:00.0): ECC", "2 uncorrected errors over its life", "none",
        ),
        (
            gpu(3, nvlinks_active=17, nvlinks_inactive=1),
            "refuse", "GPU 3 (0000:61:00.0): NVLinks", "17 active and 1 inactive", "all 18 active",
        ),
        (
            gpu(3, fabric_state="In Progress"),
            "refuse", "GPU 3 (0000:61:00.0): NVLink fabric", "In Progress", "Completed",
        ),
        (
            gpu(3, fabric_state="Completed (Failure)"),
            "refuse", "GPU 3 (0000:61:00.0): NVLink fabric", "Completed (Failure)", "Completed",
        ),
        (
            gpu(3, memory_mib=None, mig=None, ecc=None),
            "refuse", "GPU 3 (0000:61:00.0)", "in the driver's list, but without an answer",
            "an answer, as of the other GPUs",
        ),
        (
            host(acs_redirect=("0000:17:00.0",)),
            "warn", "PCI bridges above GPUs", "ACS redirects at 0000:17:00.0", "no redirection",
        ),
        (host(iommu="translated"), "warn", "IOMMU", "translated", "passthrough or off"),
        (
            host(unread=("nvidia-smi -L: nothing was printed",)),
            "note", "what was read", "nvidia-smi -L: nothing was printed", "all of it",
        ),
    ],
)  # fmt: skip
def test_each_break_is_one_finding_that_says_where_and_what(
    change: Change, severity: str, subject: str, seen: str, wanted: str
):
    finding = only(change(HOST))
    assert (finding.severity, finding.host, finding.subject) == (severity, "gpu1", subject)
    assert (finding.found, finding.expected) == (seen, wanted)
    assert finding.rule
    assert finding.remedy


def test_seven_of_eight_gpus_are_refused_and_the_node_of_the_missing_one_is_named():
    finding, note = found(without(5))
    assert (finding.severity, finding.expected) == ("refuse", "8 GPUs")
    assert finding.found.startswith("7 of 8: GPU 0 (0000:1b:00.0), ")
    assert "0000:c3:00.0" not in finding.found
    assert finding.found.endswith("GPU 6 (0000:df:00.0); NUMA node 1 has 3 of 4")
    assert finding.rule == "the PCI bus holds 8, so the driver does not see 1 of them: 0000:c3:00.0"
    assert (note.severity, note.found) == ("note", "not checked")


@pytest.mark.parametrize(
    ("board", "driver", "rule"),
    [
        (ADDRESSES[:7], "580.95.05", "the PCI bus holds no more than 7, so 1 is no longer on it"),
        (None, "580.95.05", "what the PCI bus holds was not read"),
        (ADDRESSES, None, "the PCI bus holds 8, and no driver is loaded for them"),
    ],
)
def test_where_a_gpu_got_lost_is_told_from_bus_and_driver(
    board: tuple[str, ...] | None, driver: str | None, rule: str
):
    assert found(replace(without(5), board=board, driver=driver))[0].rule == rule


def test_a_missing_gpu_does_not_make_the_numbers_of_the_others_wrong():
    assert [finding.severity for finding in found(without(0), links={"0-1": "NV18"})] == ["refuse", "note"]


def test_a_gpu_that_only_the_bus_knows_is_refused_unless_the_inventory_counts_without_it():
    seven = without(5)
    assert [(f.severity, f.expected) for f in check(seven)] == [
        ("refuse", "8, as the PCI bus holds: 0000:c3:00.0")
    ]
    assert [f.severity for f in check(seven, read({"count": 7}, "gpu1"))] == ["warn"]


@pytest.mark.parametrize(
    ("expected", "wanted"),
    [
        ({"links": {"0-9": "NV4"}}, "GPU 9"),
        ({"numa": {0: [8, 9]}}, "GPU 8, GPU 9"),
        ({"nics": {"mlx5_0": {"near": [8], "class": "PIX"}}}, "GPU 8"),
    ],
)
def test_a_gpu_that_is_named_without_a_count_is_missed_too(expected: dict[str, Any], wanted: str):
    [finding] = check(HOST, read(expected, "gpu1"))
    assert (finding.severity, finding.expected) == ("refuse", wanted)


def test_a_model_without_any_gpu_is_missed_too():
    assert [f.found for f in check(Topology("gpu1"), read({"name": NAME}, "gpu1"))] == ["none"]
    assert check(Topology("gpu1"), read({"count": 0}, "gpu1")) == []


def test_a_gpu_too_many_is_a_warning():
    assert only(HOST, count=4, numa={}, nics={}).severity == "warn"


def test_a_host_without_a_driver_yet_is_refused_only_where_gpus_are_expected():
    bare = Topology("gpu1", board=ADDRESSES[:2])
    assert check(bare) == []
    assert [f.severity for f in check(bare, read({"count": 2}, "gpu1"))] == ["refuse"]


def test_a_gpu_outside_the_fabric_is_one_finding_with_all_its_ways():
    alone = HOST
    for other in (0, 1, 3, 4, 5, 6, 7):
        alone = link(*sorted((2, other)), "NODE" if other < 4 else "SYS")(alone)
    finding = only(alone)
    assert finding.subject == "GPU 2 (0000:52:00.0) and 7 others"
    assert (
        "NODE to GPU 0 (0000:1b:00.0), GPU 1 (0000:43:00.0), GPU 3 (0000:61:00.0); SYS to " in finding.found
    )


def test_a_bridge_that_is_not_seated_is_found_and_the_pair_beside_it_is_not():
    pairs = {(0, 1): "SYS", (2, 3): "NV"}
    four = replace(
        Topology("gpu1", gpus=HOST.gpus[:4], board=ADDRESSES[:4]),
        links=tuple(
            Link(a, b, pairs.get((a, b), "SYS"), 4 if (a, b) == (2, 3) else 0)
            for a, b in combinations(range(4), 2)
        ),
    )
    [finding] = check(four, read({"links": {"0-1": "NV4", "2-3": "NV4"}}, "gpu1"))
    assert finding.subject == "GPU 0 (0000:1b:00.0) and GPU 1 (0000:43:00.0)"
    assert (finding.found, finding.expected) == ("SYS", "NV4")


@pytest.mark.parametrize(
    ("wish", "kind", "lanes", "holds"),
    [
        ("NV", "NV", 4, True), ("NV4", "NV", 4, True), ("NV4", "NV", 12, True), ("NV", "PIX", 0, False),
        ("XGMI", "XGMI", 1, True), ("XGMI", "NV", 18, False), ("PHB", "PIX", 0, True),
        ("PHB", "PHB", 0, True), ("PHB", "NODE", 0, False), ("PHB", "NV", 1, True), ("SYS", "SYS", 0, True),
    ],
)  # fmt: skip
def test_nearer_is_good_enough_for_pcie_and_only_the_same_for_links_of_gpus(
    wish: str, kind: Any, lanes: int, holds: bool
):
    two = Topology("gpu1", gpus=HOST.gpus[:2], links=(Link(0, 1, kind, lanes),))
    assert (check(two, read({"link": wish}, "gpu1")) == []) is holds


def test_modes_are_asked_for_either_way():
    assert [f.expected for f in found(gpu(3, mig=True)(HOST), mig=True)] == ["on"] * 7
    assert {f.expected for f in found(ecc=False)} == {"off"}
    amd = Topology("gpu2", gpus=(Gpu(0, "amd", "AMD Instinct MI300X", memory_mib=196592, mig=True),))
    [finding] = check(amd, read({"mig": False}, "gpu2"))
    assert "compute partition" in finding.remedy
    assert "nvidia" not in finding.remedy


def test_a_narrower_slot_is_told_from_a_bad_contact():
    assert "bifurcation" in only(gpu(3, pcie=Pcie(5, 8, 5, 8))(HOST)).remedy
    assert "bifurcation" not in only(gpu(3, pcie=Pcie(5, 8, 5, 16))(HOST)).remedy
