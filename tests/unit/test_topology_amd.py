# SPDX-License-Identifier: GPL-3.0-or-later
"""AMD's GPUs come out in the same form as NVIDIA's, from both tools and all their layouts; what is not in a
recording is constructed, in the form that github.com/ROCm/amdsmi, amdsmi_cli/amdsmi_commands.py writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import (
    amd,
    amd_links,
    amd_smi,
    pci,
    rocm_smi,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.amd_links import Pair
from ansible_collections.stronghold.llm.plugins.module_utils.topology.collect import collect
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Gpu,
    Link,
    Pcie,
    TopologyError,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import (
    Live,
    Recorded,
    recording_name,
)

from tests.unit.host_tree import AMD_GPU, HostTree

FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"
NAMES = [recording_name(command) for command in (amd_links.TOPOLOGY, rocm_smi.CARDS, rocm_smi.TOPOLOGY)]
RECORDED = sorted({path.parent.name for name in NAMES for path in FIXTURES.glob(f"*/{name}")})


def static(gpu: int, **changes: Any) -> dict[str, Any]:
    """One MI300X of `amd-smi static --json`, ROCm 7."""
    return {
        "gpu": gpu,
        "asic": {"market_name": "AMD Instinct MI300X", "target_graphics_version": "gfx942"},
        "bus": {
            "bdf": f"0000:{5 + gpu:02X}:00.0",
            "max_pcie_width": 16,
            "max_pcie_speed": {"value": 32, "unit": "GT/s"},
            "pcie_interface_version": "Gen 5",
        },
        "limit": {
            "ppt0": {"socket_power_limit": {"value": 750, "unit": "W"}},
            "ppt1": {"socket_power_limit": "N/A"},
        },
        "driver": {"name": "amdgpu", "version": "6.16.6"},
        "ras": {"ecc_block_state": {"UMC": "ENABLED", "MMHUB": "DISABLED"}},
        "partition": {"accelerator_partition": "SPX", "memory_partition": "NPS1", "partition_id": 0},
        "numa": {"node": gpu // 4, "affinity": gpu // 4},
        "vram": {"type": "HBM3", "size": {"value": 196592, "unit": "MB"}},
        **changes,
    }


MI300X = Gpu(
    index=0,
    vendor="amd",
    name="AMD Instinct MI300X",
    pci="0000:05:00.0",
    memory_mib=196592,
    compute_capability="gfx942",
    numa_node=0,
    pcie=Pcie(generation_max=5, width_max=16),
    ecc=True,
    mig=False,
    power_limit_w=750.0,
)


def topology(kind: str, weight: int, hops: int = 1, gpus: int = 2) -> list[dict[str, Any]]:
    """`amd-smi topology --json` of GPUs that are all joined alike."""
    link = {"link_status": "ENABLED", "link_type": kind, "weight": weight, "num_hops": hops}
    own = {"link_status": "ENABLED", "link_type": "SELF", "weight": 0, "num_hops": 0}
    return [
        {"gpu": a, "links": [{"gpu": b, **(own if a == b else link)} for b in range(gpus)]}
        for a in range(gpus)
    ]


@pytest.mark.parametrize("slug", RECORDED)
def test_every_recording_is_read_as_it_is_or_refused(slug: str) -> None:
    expected = json.loads((FIXTURES / slug / "expected.json").read_text())
    if expected["should"] == "refuse":
        with pytest.raises(TopologyError, match=rf"{FIXTURES / slug}/.*line \d+"):
            collect(slug, Recorded(FIXTURES / slug))
        return
    found = collect(slug, Recorded(FIXTURES / slug))
    links = {f"{link.a}-{link.b}": link.kind for link in found.links}
    assert len(found.gpus) == expected["gpus"]
    for pair, kind in expected["links"].items():
        # PCIE is what the tool says; which way that is, the NUMA nodes say, if they are recorded.
        assert links.get(pair) in ({"NODE", "SYS", None} if kind == "PCIE" else {kind})


def test_recordings_of_both_tools_are_there() -> None:
    assert len(RECORDED) >= 6


@pytest.mark.parametrize("wrapped", [True, False], ids=["gpu_data", "list"])
@pytest.mark.parametrize("before", ["", "WARNING: User is missing the following required groups: render\n"])
def test_static_is_read_in_both_layouts_and_after_warnings(wrapped: bool, before: str) -> None:
    rows = [static(0), static(1)]
    text = before + json.dumps({"gpu_data": rows} if wrapped else rows, indent=4)
    gpus, driver = amd_smi.gpus(text, "static")
    assert gpus[0] == MI300X
    assert (gpus[1].pci, driver) == ("0000:06:00.0", "6.16.6")


@pytest.mark.parametrize(
    ("limit", "watts"),
    [
        ({"socket_power": {"value": 560, "unit": "W"}}, 560.0),
        ({"socket_power": "560 W"}, 560.0),
        ({"ppt0": {"socket_power_limit": {"value": 1400, "unit": "W"}}}, 1400.0),
        ({"socket_power": "N/A"}, None),
        ("N/A", None),
    ],
)
def test_the_power_limit_is_read_in_every_releases_form(limit: Any, watts: float | None) -> None:
    gpus, _ = amd_smi.gpus(json.dumps([static(0, limit=limit)]), "static")
    assert gpus[0].power_limit_w == watts


@pytest.mark.parametrize(
    ("partition", "mig", "instances"),
    [
        ({"accelerator_partition": "CPX"}, True, ("CPX",)),
        ({"compute_partition": "DPX"}, True, ("DPX",)),
        ({"compute_partition": "SPX"}, False, ()),
        ({"compute_partition": "N/A"}, None, ()),
        ("N/A", None, ()),
    ],
)
def test_a_partitioned_gpu_is_not_taken_for_a_whole_one(
    partition: Any, mig: bool | None, instances: tuple[str, ...]
) -> None:
    gpus, _ = amd_smi.gpus(json.dumps([static(0, partition=partition)]), "static")
    assert (gpus[0].mig, gpus[0].mig_instances) == (mig, instances)


def test_the_kernel_says_the_partition_where_the_tool_no_longer_does(tmp_path: Path) -> None:
    """And of the second partition, whose address exists in the tool's mind only."""
    tree = HostTree(tmp_path)
    tree.device(
        "pci0000:00/0000:00:01.0/0000:05:00.0", AMD_GPU, current_compute_partition="CPX", numa_node="1"
    )
    (tmp_path / "facts").mkdir()
    rows = [static(n, partition="N/A", bus={"bdf": f"0000:05:00.{n}"}, numa="N/A") for n in (0, 1)]
    (tmp_path / "facts/amd-smi-static-json.json").write_text(json.dumps(rows))
    (tmp_path / "facts/sysfs.txt").write_text(Live(root=str(tree.root)).recordings()["sysfs.txt"])
    found = collect("h", Recorded(tmp_path / "facts"))
    assert [(gpu.mig, gpu.mig_instances, gpu.numa_node) for gpu in found.gpus] == [(True, ("CPX",), 1)] * 2
    assert found.board == ("0000:05:00.0",)


def test_cpus_in_the_list_are_no_gpus() -> None:
    gpus, _ = amd_smi.gpus(json.dumps([static(0), {"cpu": 0, "smu": {"FW_VERSION": "4.72.0"}}]), "static")
    assert list(gpus) == [0]


def test_all_of_amd_smi_is_joined_by_index(tmp_path: Path) -> None:
    def metric(gpu: int) -> dict[str, Any]:
        memory = {
            "total_vram": {"value": 196592, "unit": "MB"},
            "used_vram": {"value": 283 + gpu, "unit": "MB"},
        }
        errors = {"total_correctable_count": 9, "total_uncorrectable_count": gpu}
        return {"gpu": gpu, "mem_usage": memory, "ecc": errors}

    def listed(gpu: int) -> dict[str, Any]:
        return {
            "gpu": gpu,
            "bdf": f"0000:0{5 + gpu}:00.0",
            "uuid": f"0000000{gpu}-0000-1000-8000-000000000000",
        }

    files = {
        "static": {"gpu_data": [static(0), static(1)]},
        "list": [listed(0), listed(1)],
        "metric-mem-usage-ecc": {"gpu_data": [metric(0), metric(1)]},
        "topology": topology("XGMI", 30),
        "version": [{"tool": "AMDSMI Tool", "version": "25.4.2", "rocm_version": "7.0.0"}],
    }
    for name, data in files.items():
        (tmp_path / f"amd-smi-{name}-json.json").write_text(json.dumps(data))
    found = collect("h", Recorded(tmp_path))
    assert [(gpu.memory_used_mib, gpu.ecc_uncorrected, gpu.uuid) for gpu in found.gpus] == [
        (283, 0, "00000000-0000-1000-8000-000000000000"),
        (284, 1, "00000001-0000-1000-8000-000000000000"),
    ]
    assert found.links == (Link(0, 1, "XGMI", lanes=1, hops=2),)
    assert (found.driver, found.rocm, found.unread) == ("6.16.6", "7.0.0", ())


@pytest.mark.parametrize(
    ("kind", "weight", "said", "hops"),
    [
        ("XGMI", 15, 1, 1),
        ("XGMI", 30, 1, 2),
        ("XGMI", 45, 1, 3),
        ("XGMI", 13, 2, 2),
        ("PCIE", 30, 2, 2),
    ],
)
def test_hops_are_counted_by_weight_as_the_tools_hops_are_always_one(
    kind: str, weight: int, said: int, hops: int
) -> None:
    """MI250: weights of 15, 30 and 45, and one hop between all (github.com/vllm-project/vllm issue 16840)."""
    text = json.dumps(topology(kind, weight, said))
    assert amd_links.pairs(text, "topology") == (Pair(0, 1, kind, hops),)


def test_pcie_without_a_numa_node_is_no_link_but_a_sentence() -> None:
    found = collect("h", Recorded(FIXTURES / "amd-2-pcie-rocm610"))
    assert found.links == ()
    assert found.unread == ("GPUs 0 and 1: PCIe joins them, and no NUMA node says over which way",)


def test_bridges_say_more_of_pcie_than_numa_nodes(tmp_path: Path) -> None:
    tree = HostTree(tmp_path)
    for number in (1, 2):
        tree.device(f"pci0000:00/0000:00:0{number}.0/0000:0{number}:00.0", AMD_GPU, numa_node="0")
    bus = pci.devices(Live(root=str(tree.root)))
    gpus = {n: Gpu(n, "amd", "MI210", pci=f"0000:0{n + 1}:00.0", numa_node=0) for n in (0, 1)}
    cards = rocm_smi.Cards(gpus, "6.3.6", (Pair(0, 1, "PCIE", 2),))
    assert amd.assemble(cards=cards, bus=bus).links == (Link(0, 1, "PHB"),)
    assert amd.assemble(cards=cards, bus={}).links == (Link(0, 1, "NODE"),)


def test_a_topology_with_more_gpus_than_the_list_gives_no_link() -> None:
    found = amd.assemble(static=({0: MI300X}, "6.16.6"), pairs=(Pair(0, 1, "XGMI"),), bus={})
    assert found.links == ()
    assert found.unread == (
        "the topology of AMD's GPUs has more than their list (GPU 1): no link is taken from it",
    )


def damaged(**changes: Any) -> str:
    return json.dumps([static(0, **changes)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ERROR: no driver", "static: line 1: no JSON is here: 'ERROR: no driver'"),
        (json.dumps([static(0)], indent=4)[:200], r"static: line \d+, column \d+: the JSON is cut off"),
        ('{"gpus": []}', "static: neither a list of GPUs nor one below gpu_data"),
        ('["GPU 0"]', "static: entry 0 is no object"),
        (json.dumps([static(0), static(0)]), "static: entry 1: gpu: 0 is no index, or there twice"),
        (json.dumps([{"asic": {}}]), "static: entry 0: gpu: None is no index"),
        (damaged(vram={"size": {"value": 192, "unit": "GB"}}), "GPU 0: vram.size: .* is not in MB"),
        (damaged(vram={"size": "viel"}), "GPU 0: vram.size: 'viel' is no number of MB"),
        (damaged(bus={"bdf": "05:00.0"}), "GPU 0: '05:00.0' is no PCI address"),
        (damaged(bus={"pcie_interface_version": "fast"}), "interface_version: 'fast' is no number of Gen"),
    ],
)  # fmt: skip
def test_json_that_is_not_as_known_is_named_by_line_or_field(text: str, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        amd_smi.gpus(text, "static")


def test_a_topology_that_is_not_as_known_is_named() -> None:
    odd = topology("XGMI", 15)
    odd[1]["links"][0]["link_type"] = "PCIE"
    with pytest.raises(TopologyError, match=r"GPU 0 to 1 is \('XGMI', 1\), and GPU 1 to 0 is \('PCIE', 1\)"):
        amd_links.pairs(json.dumps(odd), "topology")
    with pytest.raises(TopologyError, match="GPU 0 to 1: link_type: 'CXL' is no link class known here"):
        amd_links.pairs(json.dumps(topology("CXL", 15)), "topology")
    with pytest.raises(TopologyError, match="links: gpu: 1 is no GPU of this host"):
        amd_links.pairs(json.dumps(topology("XGMI", 15)[:1]), "topology")
    missing = topology("XGMI", 15)
    del missing[0]["links"][1]
    with pytest.raises(TopologyError, match="GPU 0 to 1 is None"):
        amd_links.pairs(json.dumps(missing), "topology")


def test_gpus_without_a_link_between_them_have_none() -> None:
    assert amd_links.pairs(json.dumps(topology("N/A", 0)), "topology") == ()
