# SPDX-License-Identifier: GPL-3.0-or-later
"""One host, from all its parts: nothing that is missing is an error, and nothing that is garbage passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import host
from ansible_collections.stronghold.llm.plugins.module_utils.topology.collect import COMMANDS, collect
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Cpu,
    Nic,
    NumaNode,
    Topology,
    TopologyError,
    Way,
    from_data,
    to_data,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Live, Recorded

from tests.unit.host_tree import AMD_GPU, GPU, HCA, NVSWITCH, HostTree

FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"
MATRIX = """\
\tGPU0\tNIC0\tCPU Affinity\tNUMA Affinity
GPU0\t X \tPIX\t0-15\t0
NIC0\tPIX\t X \t\t

NIC Legend:

  NIC0: mlx5_0
"""
VERSION = """\
NVRM version: NVIDIA UNIX {}  {}  Release Build  (builder@host)  Mon Sep  1 00:00:00 UTC 2025
GCC version:  gcc version 14.2.0
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostTree:
    tree = HostTree(tmp_path)
    monkeypatch.setenv("PATH", f"{tree.commands}:/usr/bin:/bin")
    return tree


def read(tree: HostTree) -> Topology:
    return collect("here", Live(COMMANDS, root=str(tree.root), timeout=10))


def test_a_host_without_anything_is_an_empty_topology(tree: HostTree) -> None:
    assert read(tree) == Topology(host="here")


def test_a_folder_without_anything_is_an_empty_topology(tmp_path: Path) -> None:
    assert collect("h", Recorded(tmp_path)) == Topology(host="h")


@pytest.mark.parametrize(
    ("device", "count", "sentence"),
    [
        (GPU, 8, "8 NVIDIA GPUs on the bus, and no driver speaks for them"),
        (AMD_GPU, 1, "1 AMD GPU on the bus, and no driver speaks for it"),
    ],
)
def test_gpus_without_a_driver_are_counted_and_named(
    tree: HostTree, device: dict[str, str], count: int, sentence: str
) -> None:
    for number in range(count):
        tree.device(f"pci0000:00/0000:00:0{number}.0", device)
    found = read(tree)
    assert (found.gpus, len(found.board or ()), found.unread) == ((), count, (sentence,))


def test_a_driver_that_does_not_answer_is_named_once_for_each_question(tree: HostTree) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    tree.command("nvidia-smi", f'echo "{said}"; exit 9')
    tree.device("pci0000:00/0000:00:01.0", GPU)
    found = read(tree)
    assert found.gpus == ()
    assert found.unread[0] == f"nvidia-smi -q -x: exit status 9: {said}"
    assert len(found.unread) == len({line.split(":")[0] for line in found.unread}) == 6


def test_a_driver_that_fails_with_good_manners_is_named_too(tree: HostTree) -> None:
    tree.command("nvidia-smi", 'echo "No devices were found"')
    found = read(tree)
    assert found.gpus == ()
    assert "nvidia-smi topo -m: line 1: No devices were found" in found.unread


def test_a_hanging_driver_leaves_what_the_kernel_says(tree: HostTree) -> None:
    tree.command("nvidia-smi", "sleep 30")
    tree.file("/proc/driver/nvidia/version", VERSION.format("Open Kernel Module for x86_64", "580.95.05"))
    found = collect("here", Live(COMMANDS, root=str(tree.root), timeout=0.5))
    assert (found.driver, found.kernel_module) == ("580.95.05", "open")
    assert found.unread[0] == "nvidia-smi -q -x: no answer within 0.5 s"


def test_a_tool_that_answers_in_another_language_is_an_error_that_names_it(tree: HostTree) -> None:
    tree.command("nvidia-smi", '[ "$*" = "topo -m" ] && echo "Karte0 Karte1"')
    with pytest.raises(TopologyError, match=r"nvidia-smi topo -m: line 1, column 1: .*'Karte0 Karte1'"):
        read(tree)


def test_a_recording_that_is_garbage_is_an_error_that_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi-topo-m.txt").write_text(MATRIX.replace("PIX", "PXX", 1))
    with pytest.raises(
        TopologyError, match=rf"{tmp_path}/nvidia-smi-topo-m\.txt: line 2, column NIC0: 'PXX'"
    ):
        collect("h", Recorded(tmp_path))


def test_an_empty_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi-q-x.xml").write_text("\n")
    (tmp_path / "nvidia-smi-nvlink-s.txt").write_text("")
    found = collect("h", Recorded(tmp_path))
    assert found.unread == (f"{tmp_path}/nvidia-smi-q-x.xml: nothing was printed",)


def test_what_the_tool_does_not_say_of_a_gpu_the_bus_does(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi-topo-m.txt").write_text(
        MATRIX.replace("\tNUMA Affinity", "").replace("\t0\n", "\n")
    )
    (tmp_path / "nvidia-smi-query-gpu-index-pci-bus-id-compute-cap-format-csv-noheader.txt").write_text(
        "0, 00000000:03:00.0, 9.0\n"
    )
    folder = "/sys/devices/pci0000:00/0000:00:01.0/0000:03:00.0"
    said = {**GPU, "numa_node": "1", "current_link_speed": "32.0 GT/s PCIe", "current_link_width": "8"}
    (tmp_path / "sysfs.txt").write_text("".join(f"{folder}/{name}:{text}\n" for name, text in said.items()))
    (gpu,) = collect("h", Recorded(tmp_path)).gpus
    assert (gpu.numa_node, gpu.pcie.generation, gpu.pcie.width) == (1, 5, 8)


def test_network_cards_of_the_matrix_get_their_rates_by_the_legends_names(tree: HostTree) -> None:
    escaped = MATRIX.replace("\t", "\\t").replace("\n", "\\n")
    tree.command("nvidia-smi", f'[ "$*" = "topo -m" ] && printf "{escaped}"')
    tree.port(
        tree.device("pci0000:00/0000:00:02.0/0000:18:00.0", HCA, numa_node="0"),
        "mlx5_0",
        "200 Gb/sec (4X HDR)",
    )
    (nic,) = read(tree).nics
    assert nic == Nic("mlx5_0", "0000:18:00.0", 0, "InfiniBand", 200.0, "ACTIVE", (Way(0, "PIX"),))


def test_a_port_of_an_nvswitch_is_left_out_of_the_matrixs_cards(tree: HostTree) -> None:
    escaped = MATRIX.replace("\t", "\\t").replace("\n", "\\n")
    tree.command("nvidia-smi", f'[ "$*" = "topo -m" ] && printf "{escaped}"')
    tree.device("pci0000:00/0000:00:01.0/0000:03:00.0", GPU)
    port = tree.device("pci0000:00/0000:00:02.0/0000:18:00.0", HCA)
    tree.port(port, "mlx5_0", "400 Gb/sec (4X NDR)")
    tree.file(f"{port}/vpd", b"\x90V0\x06SW_MNG\x79")
    found = read(tree)
    assert (found.nics, found.nvswitches) == ((), ("0000:18:00.0",))


def test_nvswitches_are_found_on_the_bus_and_by_their_driver(tree: HostTree) -> None:
    tree.device("pci0000:00/0000:00:05.0", NVSWITCH)
    tree.file("/proc/driver/nvidia-nvswitch/devices/0000:00:05.0/information", "x")
    tree.file("/proc/driver/nvidia-nvswitch/devices/0000:C6:00.0/information", "x")
    tree.file("/proc/driver/nvidia-nvswitch/permissions", "x")
    assert read(tree).nvswitches == ("0000:00:05.0", "0000:c6:00.0")


def test_a_processors_own_graphics_are_no_missing_card(tmp_path: Path) -> None:
    """An AMD processor beside one NVIDIA card."""
    (tmp_path / "nvidia-smi-topo-m.txt").write_text(MATRIX)
    lines = [f"/sys/devices/pci0000:00/0000:00:01.0/{name}:{text}" for name, text in GPU.items()]
    lines += [
        "/sys/devices/pci0000:00/0000:00:08.0/class:0x030000",
        "/sys/devices/pci0000:00/0000:00:08.0/vendor:0x1002",
    ]
    (tmp_path / "sysfs.txt").write_text("\n".join(lines))
    found = collect("h", Recorded(tmp_path))
    assert (len(found.gpus), found.board, found.unread) == (1, ("0000:00:01.0",), ())


def test_gpus_of_two_vendors_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi-topo-m.txt").write_text(MATRIX)
    (tmp_path / "amd-smi-list-json.json").write_text(
        json.dumps([{"gpu": 0, "bdf": "0000:c1:00.0", "uuid": "u"}])
    )
    found = collect("h", Recorded(tmp_path))
    assert [gpu.vendor for gpu in found.gpus] == ["nvidia"]
    assert found.unread == ("AMD's 1 GPUs stand beside NVIDIA's, which are planned with; they are left out",)


CPUINFO = "".join(
    f"processor\t: {number}\nmodel name\t: Example 2-Core\nphysical id\t: {number // 4}\n"
    f"core id\t\t: {number % 4 // 2}\nflags\t\t: fpu avx2 avx512f amx_bf16 avx512_bf16\n\n"
    for number in range(8)
)


def test_cores_are_counted_within_their_sockets(tree: HostTree) -> None:
    """Two sockets of two cores with two threads each; core 0 is there twice."""
    tree.file("/proc/cpuinfo", CPUINFO)
    tree.file("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB")
    assert read(tree).cpu == Cpu(
        "Example 2-Core", 2, 4, 8, 16384, ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    )


def test_an_arm_processor_has_a_name_and_no_sockets(tree: HostTree) -> None:
    tree.file(
        "/proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"
    )
    assert read(tree).cpu == Cpu("CPU implementer 0x41 part 0xd4f", None, None, 1)


def test_numa_nodes_are_numbers_and_may_be_memory_alone(tree: HostTree) -> None:
    for number, cpus in ((0, "0-71"), (2, ""), (10, "72")):
        tree.file(f"/sys/devices/system/node/node{number}/cpulist", cpus)
        tree.file(f"/sys/devices/system/node/node{number}/meminfo", f"Node {number} MemTotal:  1048576 kB")
    assert read(tree).numa == (NumaNode(0, "0-71", 1024), NumaNode(2, "", 1024), NumaNode(10, "72", 1024))


@pytest.mark.parametrize(
    ("words", "version", "module"),
    [
        ("Open Kernel Module for x86_64", "570.86.15", "open"),
        ("Open Kernel Module for aarch64", "580.95.05", "open"),
        ("x86_64 Kernel Module", "535.104.05", "proprietary"),
        ("x86_64 Kernel Module", "550.54", "proprietary"),
    ],
)
def test_the_open_kernel_module_is_told_from_the_other(
    tree: HostTree, words: str, version: str, module: str
) -> None:
    tree.file("/proc/driver/nvidia/version", VERSION.format(words, version))
    assert host.nvidia_module(Live(root=str(tree.root))) == (module, version)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("/proc/cpuinfo", "nothing", "/proc/cpuinfo: 'nothing' names no processor"),
        (
            "/sys/devices/system/node/node0/meminfo",
            "Node 0 MemTotal: viel",
            "node0/meminfo: .* has no MemTotal in kB",
        ),
        (
            "/proc/driver/nvidia/version",
            "NVRM version: ?",
            "nvidia/version: .* names no version of a kernel module",
        ),
    ],
)
def test_garbage_of_the_kernel_is_named(tmp_path: Path, path: str, content: str, message: str) -> None:
    (tmp_path / "sysfs.txt").write_text(f"{path}:{content}\n")
    with pytest.raises(TopologyError, match=message):
        collect("h", Recorded(tmp_path))


def test_rocm_is_read_from_its_file_without_the_build_number(tree: HostTree) -> None:
    tree.file("/opt/rocm/.info/version", "6.4.1-83")
    assert read(tree).rocm == "6.4.1"


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in FIXTURES.glob("*/SOURCE")))
def test_every_recording_goes_over_the_wire_and_comes_back(folder: str) -> None:
    should = json.loads((FIXTURES / folder / "expected.json").read_text())["should"]
    refused = ""
    try:
        found = collect(folder, Recorded(FIXTURES / folder))
    except TopologyError as error:
        refused = str(error)
    if refused:
        assert should == "refuse"
        assert refused.startswith(str(FIXTURES / folder))
    else:
        assert from_data(json.loads(json.dumps(to_data(found)))) == found


def test_lscpu_and_ls_stand_in_for_what_was_not_recorded_of_the_kernel(tmp_path: Path) -> None:
    said = (FIXTURES / "mi250x-8-trento-cut" / "lscpu.txt").read_text()
    said = said.replace("Socket(s):           1", "Socket(s):           2")
    (tmp_path / "lscpu.txt").write_text(f"{said}Flags:  fpu avx2 avx512f\n")
    (tmp_path / "ls-proc-driver-nvidia-nvswitch-devices.txt").write_text("0000:C6:00.0\n0000:05:00.0\n")
    found = collect("h", Recorded(tmp_path))
    assert found.cpu == Cpu("AMD EPYC 7A53 64-Core Processor", 2, 128, 128, None, ("avx2", "avx512f"))
    assert found.numa[3] == NumaNode(3, "48-63,112-127")
    assert found.nvswitches == ("0000:05:00.0", "0000:c6:00.0")
    assert found.unread == ()
    (tmp_path / "sysfs.txt").write_text("/proc/cpuinfo:processor : 0\n/proc/cpuinfo:model name : Seen\n")
    assert collect("h", Recorded(tmp_path)).cpu == Cpu("Seen", None, None, 1)


def test_nodes_of_memory_alone_are_nodes_of_lscpu_too() -> None:
    """GH200: eight nodes for parts of the GPU's memory, and a paste that says no more."""
    found = collect("h", Recorded(FIXTURES / "gh200-1-lscpu-numa"))
    assert [node.cpus for node in found.numa] == ["0-71", *[""] * 8]
    assert found.cpu is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("lscpu", "lscpu: Befehl nicht gefunden", "line 1: neither CPU\\(s\\) nor a NUMA node is here"),
        ("lscpu", "CPU(s): viele", "CPU\\(s\\): 'viele' is no number"),
        ("ls-proc-driver-nvidia-nvswitch-devices", "ls: kein", "'ls:' is no PCI address"),
    ],
)
def test_garbage_in_their_place_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(TopologyError, match=rf"{tmp_path}/{name}\.txt: {message}"):
        collect("h", Recorded(tmp_path))
