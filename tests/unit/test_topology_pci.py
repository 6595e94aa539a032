# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bus holds is counted, measured and placed right; all trees here are constructed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import pci
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Pcie, TopologyError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Live, Recorded

from tests.unit.host_tree import AMD_GPU, BRIDGE, GPU, HCA, NVSWITCH, HostTree

RP1, RP2 = "pci0000:00/0000:00:01.0", "pci0000:00/0000:00:02.0"
SWITCH = f"{RP1}/0000:01:00.0"
PORT1, PORT2 = f"{SWITCH}/0000:02:00.0", f"{SWITCH}/0000:02:01.0"


@pytest.fixture
def tree(tmp_path: Path) -> HostTree:
    return HostTree(tmp_path)


def bus(tree: HostTree) -> dict[str, pci.Device]:
    return pci.devices(Live(root=str(tree.root)))


@pytest.mark.parametrize(
    ("vendor", "kind", "gpu"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),
        ("0x10de", "0x040300", False),  # its audio
        ("0x10de", "0x068000", False),  # an NVSwitch
        ("0x1002", "0x030000", True),
        ("0x1002", "0x038000", True),
        ("0x1002", "0x120000", True),
        ("0x1002", "0x060400", False),  # the switch on its card
        ("0x1a03", "0x030000", False),  # the picture of the BMC
    ],
)
def test_gpus_are_told_from_what_else_vendors_sell(tree: HostTree, vendor: str, kind: str, gpu: bool) -> None:
    tree.device(f"{RP1}/0000:01:00.0", {"vendor": vendor, "class": kind})
    assert bus(tree)["0000:01:00.0"].is_gpu is gpu


@pytest.mark.parametrize(
    ("speed", "generation"),
    [
        ("2.5 GT/s PCIe", 1),
        ("8 GT/s", 3),
        ("16.0 GT/s PCIe", 4),
        ("64.0 GT/s PCIe", 6),
        ("Unknown", None),
        ("Unknown speed", None),
    ],
)
def test_a_speed_is_a_generation(tree: HostTree, speed: str, generation: int | None) -> None:
    tree.device(RP1, GPU, current_link_speed=speed)
    assert bus(tree)["0000:00:01.0"].link.generation == generation


def test_a_card_reaches_no_more_than_its_slot(tree: HostTree) -> None:
    """A Gen 5 card at x8 in a slot of Gen 4 that has 16 lanes."""
    tree.device(RP1, BRIDGE, max_link_speed="16.0 GT/s PCIe", max_link_width="16")
    tree.device(
        f"{RP1}/0000:01:00.0", GPU, current_link_speed="2.5 GT/s PCIe", current_link_width="8",
        max_link_speed="32.0 GT/s PCIe", max_link_width="16",
    )  # fmt: skip
    found = bus(tree)
    assert pci.pcie(found["0000:01:00.0"], found) == Pcie(1, 8, 4, 16)


def test_the_slot_of_an_amd_card_is_above_the_cards_own_switch(tree: HostTree) -> None:
    tree.device(RP1, BRIDGE, max_link_width="8", max_link_speed="16.0 GT/s PCIe")
    own = {"vendor": "0x1002", "class": "0x060400"}
    tree.device(
        f"{RP1}/0000:01:00.0", own, current_link_width="8", max_link_width="16",
        current_link_speed="16.0 GT/s PCIe", max_link_speed="16.0 GT/s PCIe",
    )  # fmt: skip
    tree.device(f"{RP1}/0000:01:00.0/0000:02:00.0", own, current_link_width="16", max_link_width="16")
    gpu = f"{RP1}/0000:01:00.0/0000:02:00.0/0000:03:00.0"
    tree.device(gpu, AMD_GPU, current_link_width="16", max_link_width="16")
    found = bus(tree)
    assert pci.pcie(found["0000:03:00.0"], found) == Pcie(4, 8, 4, 8)


@pytest.mark.parametrize("width", ["0", "255"])
def test_a_virtual_function_has_no_width(tree: HostTree, width: str) -> None:
    tree.device(RP1, GPU, current_link_width=width)
    assert bus(tree)["0000:00:01.0"].link.width is None


def test_a_node_that_firmware_does_not_say_is_not_node_minus_one(tree: HostTree) -> None:
    tree.device(RP1, GPU, numa_node="-1")
    tree.device(RP2, GPU, numa_node="1")
    assert [device.numa_node for device in bus(tree).values()] == [None, 1]


@pytest.mark.parametrize(
    ("a", "b", "way"),
    [
        (f"{PORT1}/0000:03:00.0", f"{PORT2}/0000:04:00.0", "PIX"),
        (f"{PORT1}/0000:03:00.0", f"{PORT2}/0000:04:00.0/0000:05:00.0", "PXB"),
        (f"{PORT1}/0000:03:00.0", f"{PORT2}/0000:04:00.0/0000:05:00.0/0000:06:00.0", "PXB"),
        (f"{RP1}/0000:01:00.0", f"{RP2}/0000:02:00.0", "PHB"),
        (f"{RP1}/0000:01:00.0", "pci0000:40/0000:40:01.0/0000:41:00.0", "NODE"),
        (f"{RP1}/0000:01:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0", "SYS"),
        (f"{RP1}/0000:01:00.0", "pci0000:c0/0000:c0:01.0/0000:c1:00.0", None),
    ],
)  # fmt: skip
def test_two_devices_are_joined_by_what_lies_between_them(
    tree: HostTree, a: str, b: str, way: str | None
) -> None:
    nodes = {"pci0000:00": "0", "pci0000:40": "0", "pci0000:80": "1", "pci0000:c0": "-1"}
    for path in (a, b):
        tree.device(path, GPU, numa_node=nodes[path.split("/")[0]])
    found = bus(tree)
    one, other = (found[path.rpartition("/")[2]] for path in (a, b))
    assert pci.way(one, other, found) == way
    assert pci.way(other, one, found) == way


def test_a_recording_without_bridges_joins_nothing(tmp_path: Path) -> None:
    lines = [
        f"/sys/bus/pci/devices/0000:0{n}:00.0/{key}:{value}" for n in (1, 2) for key, value in GPU.items()
    ]
    (tmp_path / "sysfs.txt").write_text("\n".join(lines))
    found = pci.devices(Recorded(tmp_path))
    assert [device.is_gpu for device in found.values()] == [True, True]
    assert pci.way(*found.values(), found) is None


def config(control: int, at: int = 0x148, first: int = 0x0001) -> bytes:
    """A configuration space with AER at 100h and ACS further on."""
    space = bytearray(4096)
    space[:4] = b"\x00\x10\x10\xc0"
    space[0x100:0x104] = (first | 1 << 16 | at << 20).to_bytes(4, "little")
    space[at : at + 8] = (0x000D | 1 << 16).to_bytes(4, "little") + b"\0\0" + control.to_bytes(2, "little")
    return bytes(space)


@pytest.mark.parametrize(
    ("control", "redirecting"),
    [(0, False), (0b1, False), (0b100, True), (0b1000, True), (0b11101, True), (0b1010011, False)],
)
def test_acs_redirects_by_its_two_redirect_bits_alone(control: int, redirecting: bool) -> None:
    assert pci.redirects(config(control).rstrip(b"\0").hex(), "config") is redirecting


@pytest.mark.parametrize(
    ("space", "said"), [(b"", None), (bytes(64), None), (b"\1" * 64 + bytes(100), False)]
)
def test_what_only_root_may_read_is_not_taken_for_acs_that_is_off(space: bytes, said: bool | None) -> None:
    assert pci.redirects(space.hex(), "config") is said


def test_capabilities_that_go_in_a_circle_end() -> None:
    space = bytearray(4096)
    space[0x100:0x104] = (1 | 1 << 16 | 0x148 << 20).to_bytes(4, "little")
    space[0x148:0x14C] = (2 | 1 << 16 | 0x100 << 20).to_bytes(4, "little")
    assert pci.redirects(space.hex(), "config") is False


def test_bridges_of_switches_above_gpus_are_named_and_root_ports_and_others_are_not(tree: HostTree) -> None:
    for path in (RP1, SWITCH, PORT1, PORT2, RP2, f"{RP2}/0000:08:00.0"):
        tree.file(f"{tree.device(path, BRIDGE)}/config", config(0b11101 if path != SWITCH else 0))
    tree.device(f"{PORT1}/0000:03:00.0", GPU)
    tree.device(f"{PORT2}/0000:04:00.0", HCA)
    live = Live(root=str(tree.root))
    assert pci.acs_redirect(live, pci.devices(live)) == (("0000:02:00.0",), None)


def test_bridges_that_only_root_may_read_are_counted(tree: HostTree) -> None:
    for path in (RP1, SWITCH, f"{SWITCH}/0000:02:00.0"):
        tree.file(f"{tree.device(path, BRIDGE)}/config", config(0b11101)[:64])
    tree.device(f"{SWITCH}/0000:02:00.0/0000:03:00.0", GPU)
    live = Live(root=str(tree.root))
    note = "ACS of 2 bridges above GPUs: only root may read it"
    assert pci.acs_redirect(live, pci.devices(live)) == ((), note)


@pytest.mark.parametrize(
    ("gpu", "other", "state"),
    [
        (None, None, "off"),
        ("identity", "DMA", "passthrough"),
        ("DMA-FQ", "identity", "translated"),
        ("DMA", "DMA", "translated"),
    ],
)
def test_the_iommu_is_as_the_gpus_have_it(
    tree: HostTree, gpu: str | None, other: str | None, state: str
) -> None:
    for path, files, kind in ((RP1, GPU, gpu), (RP2, HCA, other)):
        device = tree.device(path, files)
        if kind:
            tree.file(f"{device}/iommu_group/type", kind)
    live = Live(root=str(tree.root))
    assert pci.iommu(live, pci.devices(live)) == state


def test_one_gpu_of_two_that_is_translated_is_enough(tree: HostTree) -> None:
    for path, kind in ((RP1, "identity"), (RP2, "DMA")):
        tree.file(f"{tree.device(path, GPU)}/iommu_group/type", kind)
    live = Live(root=str(tree.root))
    assert pci.iommu(live, pci.devices(live)) == "translated"


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("quiet", None),
        ("intel_iommu=on iommu=pt", "passthrough"),
        ("amd_iommu=off", "off"),
        ("intel_iommu=on", None),
    ],
)
def test_without_a_bus_the_kernels_command_line_is_asked(
    tree: HostTree, words: str, state: str | None
) -> None:
    tree.file("/proc/cmdline", words)
    assert pci.iommu(Live(root=str(tree.root)), {}) == state


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vendor", "NVIDIA", "vendor: 'NVIDIA' is no number"),
        ("numa_node", "zero", "numa_node: 'zero' is no number"),
        ("max_link_speed", "fast", "max_link_speed: 'fast' is the speed of no PCIe generation"),
        ("current_link_speed", "3.0 GT/s PCIe", "'3.0 GT/s PCIe' is the speed of no PCIe generation"),
    ],
)
def test_garbage_is_named_with_its_file(tmp_path: Path, name: str, content: str, message: str) -> None:
    folder = "/sys/devices/pci0000:00/0000:00:01.0"
    (tmp_path / "sysfs.txt").write_text(f"{folder}/class:0x030200\n{folder}/{name}:{content}\n")
    with pytest.raises(TopologyError, match=rf"sysfs\.txt: {folder}/.*{message.split(': ')[-1]}"):
        pci.devices(Recorded(tmp_path))


def test_a_configuration_that_is_not_hex_is_named() -> None:
    with pytest.raises(TopologyError, match="config: 'lspci' is not bytes in hex"):
        pci.redirects("lspci", "config")


def test_nvswitches_are_no_gpus(tree: HostTree) -> None:
    tree.device(RP1, NVSWITCH)
    device = bus(tree)["0000:00:01.0"]
    assert (device.vendor, device.kind, device.is_gpu) == (pci.NVIDIA, pci.NVSWITCH_CLASS, False)
