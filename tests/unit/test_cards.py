# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards by the names that drivers give them, and what a rank has in each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning.cards import (
    CARDS,
    Card,
    card,
    computes_fp8,
    cpu_device,
    device,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Device
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Cpu, Gpu, Topology

from tests.fleets import A10, A100, H100, MI300X, gpu

# As nvidia-smi, amd-smi and rocm-smi print them.
NAMES = {
    "NVIDIA A10": "A10",
    "NVIDIA A10G": "A10G",
    "NVIDIA A30": "A30",
    "NVIDIA A40": "A40",
    "NVIDIA A100-SXM4-40GB": "A100 40GB SXM4",
    "A100-SXM4-40GB": "A100 40GB SXM4",
    "NVIDIA A100-PCIE-40GB": "A100 40GB PCIe",
    "NVIDIA A100-SXM4-80GB": "A100 80GB SXM4",
    "NVIDIA A100-SXM-80GB": "A100 80GB SXM4",
    "NVIDIA A100 80GB PCIe": "A100 80GB PCIe",
    "NVIDIA A800-SXM4-80GB": "A800 80GB SXM4",
    "NVIDIA A800 80GB PCIe": "A800 80GB PCIe",
    "NVIDIA A800 40GB Active": "A800 40GB Active",
    "NVIDIA H100 80GB HBM3": "H100 SXM",
    "NVIDIA H100 PCIe": "H100 PCIe",
    "NVIDIA H100 NVL": "H100 NVL",
    "NVIDIA H800": "H800 SXM",
    "NVIDIA H800 PCIe": "H800 PCIe",
    "NVIDIA H20": "H20",
    "NVIDIA H20-3e": "H20-3e",
    "NVIDIA H200": "H200 SXM",
    "NVIDIA H200 NVL": "H200 NVL",
    "NVIDIA H200 MIG 1g.18gb": "H200 SXM",
    "NVIDIA B200": "B200",
    "NVIDIA B300 SXM6 AC": "B300",
    "NVIDIA GB200": "GB200",
    "NVIDIA GB300": "GB300",
    "NVIDIA GH200 480GB": "GH200 96GB",
    "NVIDIA GH200 144G HBM3e": "GH200 144GB",
    "NVIDIA L4": "L4",
    "NVIDIA L40": "L40",
    "NVIDIA L40S": "L40S",
    "Tesla T4": "T4",
    "Tesla V100-SXM2-16GB": "V100 16GB SXM2",
    "Tesla V100-SXM2-32GB": "V100 32GB SXM",
    "Tesla V100-PCIE-32GB": "V100 32GB PCIe",
    "Tesla V100S-PCIE-32GB": "V100S",
    "Tesla P100-PCIE-16GB": "P100 PCIe",
    "GeForce RTX 3090": "RTX 3090",
    "NVIDIA GeForce RTX 3090": "RTX 3090",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "NVIDIA GeForce RTX 5090": "RTX 5090",
    "NVIDIA RTX A6000": "RTX A6000",
    "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX PRO 6000 Server",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "RTX PRO 6000 Workstation",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "RTX PRO 6000 Max-Q",
    "AMD Instinct MI210": "MI210",
    "AMD Instinct MI250X": "MI250X or MI250",
    "AMD Instinct MI250X / MI250": "MI250X or MI250",
    "AMD Instinct MI300X": "MI300X",
    "AMD Instinct MI300X OAM": "MI300X",
    "AMD Instinct MI308X": "MI308X",
    "AMD Instinct MI325X": "MI325X",
    "AMD Instinct MI350X": "MI350X",
    "AMD Instinct MI355X": "MI355X",
}


def made(subject: Gpu) -> Device:
    found = device(subject)
    assert found
    return found


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_a_card_is_known_by_its_drivers_name(name: str, expected: str) -> None:
    found = card(name)
    assert found
    assert found.name == expected


def test_every_card_of_the_table_is_reached_by_a_name_that_a_driver_prints() -> None:
    assert {known.name for known in CARDS} - set(NAMES.values()) == {"P100 SXM2", "V100 16GB PCIe"}


@pytest.mark.parametrize(
    "name", ["NVIDIA A100X", "NVIDIA L40S-24Q", "NVIDIA GeForce RTX 4090 D", "Quadro RTX 6000"]
)
def test_a_name_that_only_begins_like_a_card_is_not_that_card(name: str) -> None:
    assert card(name) is None


@pytest.mark.parametrize("known", CARDS, ids=lambda known: known.name)
def test_no_card_has_more_than_it_reports_nor_reports_more_than_is_sold(known: Card) -> None:
    assert known.usable_gib <= known.reported_mib / 1024
    assert known.usable_gib >= 0.96 * known.reported_mib / 1024
    assert known.reported_mib * 2**20 < 1.08 * known.memory_gb * 10**9
    assert known.source
    assert known.seen


def test_an_h100_has_79_gib_and_not_80() -> None:
    found = made(gpu(0, H100))
    assert (found.usable_gib, found.bandwidth_gb_s, found.power_w) == (79.11, 3352, 700)
    assert found.capability == "9.0"


def test_an_old_driver_reports_less_and_no_more_than_that_is_there() -> None:
    assert made(gpu(0, "NVIDIA A100-SXM4-40GB", memory_mib=40236)).usable_gib == pytest.approx(40236 / 1024)
    assert made(gpu(0, A100, memory_mib=81251)).usable_gib == 79.14


def test_a_share_of_a_virtualised_card_has_what_is_reported_and_not_the_cards_memory() -> None:
    assert made(gpu(0, A10, memory_mib=11514)).usable_gib == pytest.approx(0.97 * 11514 / 1024)


def test_all_of_an_amd_cards_memory_is_seen() -> None:
    assert made(gpu(0, MI300X)).usable_gib == pytest.approx(191.69, abs=0.01)
    assert made(gpu(0, MI300X, memory_mib=131072)).usable_gib == 128


def test_an_unknown_card_has_the_memory_that_it_reports_and_no_guessed_bandwidth() -> None:
    found = made(replace(gpu(0, "NVIDIA X9", memory_mib=102400), compute_capability="13.0"))
    assert found.usable_gib == pytest.approx(97.0)
    assert found.bandwidth_gb_s is None
    assert found.power_w is None
    assert found.capability == "13.0"
    assert "not in the table" in found.source


def test_an_unknown_card_that_reports_no_memory_is_no_device() -> None:
    assert device(gpu(0, "NVIDIA X9")) is None


def test_a_lowered_power_limit_is_the_limit() -> None:
    assert made(replace(gpu(0, H100), power_limit_w=450.0)).power_w == 450


def test_the_drivers_capability_goes_before_the_table() -> None:
    assert made(replace(gpu(0, H100), compute_capability="9.1")).capability == "9.1"


def test_a_mig_instance_has_its_profiles_memory_and_its_share_of_bandwidth() -> None:
    found = made(replace(gpu(0, A100), mig=True, mig_instances=("1g.10gb", "3g.40gb")))
    assert found.usable_gib == pytest.approx(40 * 0.88)
    assert found.bandwidth_gb_s == pytest.approx(2039 / 2)
    assert found.power_w is None
    assert "3g.40gb" in found.name


def test_a_gpu_with_mig_on_and_no_instance_is_no_device() -> None:
    assert device(replace(gpu(0, A100), mig=True)) is None


@pytest.mark.parametrize(
    ("name", "can"),
    [
        (A10, False),
        (A100, False),
        ("Tesla T4", False),
        ("NVIDIA L4", True),
        ("NVIDIA L40S", True),
        (H100, True),
        ("NVIDIA B200", True),
        ("NVIDIA GeForce RTX 5090", True),
        ("AMD Instinct MI250X", False),
        (MI300X, True),
        ("AMD Instinct MI355X", True),
    ],
)
def test_fp8_is_computed_from_8_9_and_from_mi300_on(name: str, can: bool) -> None:
    assert computes_fp8(made(gpu(0, name, memory_mib=16384))) is can


def test_a_card_of_unknown_capability_does_not_compute_fp8() -> None:
    assert not computes_fp8(made(gpu(0, "NVIDIA X9", memory_mib=102400)))


def test_a_host_without_gpus_is_one_rank_with_its_memory() -> None:
    found = cpu_device(Topology("core1", cpu=Cpu("AMD EPYC 9354", memory_mib=65536)))
    assert found
    assert (found.vendor, found.usable_gib, found.bandwidth_gb_s) == ("cpu", 64, None)
    assert not computes_fp8(found)


@pytest.mark.parametrize("cpu", [None, Cpu("AMD EPYC 9354")])
def test_a_host_whose_memory_nobody_has_read_is_no_device(cpu: Cpu | None) -> None:
    assert cpu_device(Topology("core1", cpu=cpu)) is None
