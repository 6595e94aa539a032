# SPDX-License-Identifier: GPL-3.0-or-later
"""NVLinks are counted as they are, and outputs that contradict each other are joined where they agree."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import nvidia_nvlink, nvidia_topo
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Gpu,
    Link,
    Nic,
    TopologyError,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia import (
    Capability,
    Parts,
    assemble,
    compute_capabilities,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import (
    NO_NAME,
    DriverFailure,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_list import Listed
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_topo import Matrix, Near
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_xml import Log

WHERE = "nvidia-smi nvlink -s"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"
# Constructed after github.com/Azure/azhpc-diagnostics issue 73 (2022).
STATUS = """\
GPU 0: Tesla V100-SXM2-32GB (UUID: GPU-00000000-0000-0000-0000-000000000001)
\t Link 0: 25.781 GB/s
\t Link 1: 25.781 GB/s
\t Link 2: <inactive>
GPU 1: Tesla V100-SXM2-32GB (UUID: GPU-00000000-0000-0000-0000-000000000002)
\t Link 0: 25 GB/s
GPU 2: Tesla V100-PCIE-32GB (UUID: GPU-00000000-0000-0000-0000-000000000003)
GPU 3: NVIDIA B200 (UUID: GPU-00000000-0000-0000-0000-000000000004)
NVML: Unable to retrieve NVLink information as all links are inActive
"""


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("*/nvidia-smi-nvlink-s.txt")), ids=lambda path: path.parent.name
)
def test_a_recording_counts_as_many_links_as_its_matrix_joins_or_is_refused_with_its_place(path: Path):
    text = path.read_text(encoding="utf-8")
    expected = json.loads(path.with_name("expected.json").read_text(encoding="utf-8"))
    if expected["should"] == "refuse":
        with pytest.raises(TopologyError, match=r": line \d+, column \d+: "):
            nvidia_nvlink.parse(text, WHERE)
        return
    found = nvidia_nvlink.parse(text, WHERE)
    assert len(found) == expected["gpus"]
    matrix = path.with_name("nvidia-smi-topo-m.txt")
    if matrix.exists():
        parts = assemble(
            matrix=nvidia_topo.parse(matrix.read_text(encoding="utf-8"), "matrix"), nvlinks=found
        )
        assert parts.unread == ()


def test_links_are_counted_for_each_gpu():
    assert nvidia_nvlink.parse(STATUS, WHERE) == {0: (2, 1), 1: (1, 0), 2: (0, 0), 3: (0, None)}


def test_a_host_without_nvlink_prints_nothing():
    assert nvidia_nvlink.parse("\n", WHERE) == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Link 2: <inactive>", "Link 2: <inaktiv>", "line 4, column 3: 'Link 2: <inaktiv>' is neither"),
        (
            "Link 2: <inactive>",
            "Link 2: 25.78",
            "line 4, column 3: 'Link 2: 25.78' is neither a GPU nor a link",
        ),
        ("Link 2:", "Link 1:", "line 4, column 1: link 1 of GPU 0 is listed twice"),
        ("GPU 1:", "GPU 0:", "line 5, column 1: GPU 0 is listed twice"),
        ("GPU 0: Tesla V100-SXM2-32GB", "GPU 0: Tesla", ""),
        ("GPU 0: ", "Karte 0: ", "line 1, column 1: 'Karte 0: Tesla"),
    ],
)
def test_what_is_no_state_of_a_link_is_refused_with_its_place(old: str, new: str, message: str):
    text = STATUS.replace(old, new, 1)
    if not message:
        assert nvidia_nvlink.parse(text, WHERE) == nvidia_nvlink.parse(STATUS, WHERE)
        return
    with pytest.raises(TopologyError) as error:
        nvidia_nvlink.parse(text, WHERE)
    assert f"{WHERE}: {message}" in str(error.value)


def test_a_status_that_is_cut_off_never_counts_a_link_that_is_not_there():
    whole = nvidia_nvlink.parse(STATUS, WHERE)
    for length in range(len(STATUS)):
        with contextlib.suppress(TopologyError):
            found = nvidia_nvlink.parse(STATUS[:length], WHERE)
            assert all(active <= whole[index][0] for index, (active, _) in found.items())


def test_compute_capabilities_are_read_where_the_driver_knows_them():
    assert compute_capabilities("0, 00000000:1B:00.0, 9.0\n1, 00000000:43:00.0, [N/A]\n") == {
        0: Capability("0000:1b:00.0", "9.0"),
        1: Capability("0000:43:00.0", None),
    }
    assert compute_capabilities('Field "compute_cap" is not a valid field to query.\n') == {}
    with pytest.raises(TopologyError, match=r"line 2, column 1: '0, 00000000:43:00\.0, 9\.0' is not"):
        compute_capabilities("0, 00000000:1B:00.0, 9.0\n0, 00000000:43:00.0, 9.0\n")
    with pytest.raises(DriverFailure, match="No devices were found"):
        compute_capabilities("No devices were found\n")


GPUS = tuple(Gpu(index, "nvidia", "NVIDIA A100-SXM4-40GB", pci=f"0000:0{index}:00.0") for index in range(2))
LOG = Log("550.54.15", "12.4", GPUS, mig_counts=(0, 0), notes=("nvidia-smi also said: something",))
MATRIX = Matrix(
    gpus=(Near(0, "0-31", "0"), Near(1, "32-63", "0,2-8")),
    links=(Link(0, 1, "NV", lanes=4),),
    nics=(Nic("mlx5_0"),),
)
CAPABILITIES = {index: Capability(f"0000:0{index}:00.0", "8.0") for index in range(2)}
LISTED = {index: Listed("NVIDIA A100-SXM4-40GB", f"GPU-{index}") for index in range(2)}


def test_all_sources_are_joined():
    found = assemble(
        log=LOG, matrix=MATRIX, nvlinks={0: (4, 8), 1: (12, 0)}, capabilities=CAPABILITIES, listed=LISTED
    )
    first = replace(GPUS[0], cpu_affinity="0-31", numa_node=0, compute_capability="8.0")
    second = replace(GPUS[1], cpu_affinity="32-63", numa_node=None, compute_capability="8.0")
    assert found == Parts(
        gpus=(
            replace(first, nvlinks_active=4, nvlinks_inactive=8),
            replace(second, nvlinks_active=12, nvlinks_inactive=0),
        ),
        links=MATRIX.links,
        nics=MATRIX.nics,
        driver="550.54.15",
        cuda="12.4",
        unread=LOG.notes,
    )


def test_a_matrix_alone_has_gpus_without_names_and_a_list_names_them():
    assert [gpu.name for gpu in assemble(matrix=MATRIX).gpus] == [NO_NAME, NO_NAME]
    assert assemble(matrix=MATRIX).links == MATRIX.links
    assert [gpu.name for gpu in assemble(matrix=MATRIX, listed=LISTED).gpus] == ["NVIDIA A100-SXM4-40GB"] * 2
    assert assemble() == Parts()


def test_seven_of_eight_gpus_in_one_source_leave_no_link_that_could_be_anothers():
    eight = tuple(replace(GPUS[0], index=index) for index in range(8))
    seven = Matrix(tuple(Near(index) for index in range(7)), (Link(0, 1, "SYS"),), (Nic("mlx5_0"),))
    found = assemble(log=replace(LOG, gpus=eight, mig_counts=(0,) * 8), matrix=seven)
    assert (found.gpus, found.links, found.nics) == (eight, (), ())
    assert found.unread[1].startswith(
        "nvidia-smi -q -x has 8 GPUs (0, 1, 2, 3, 4, 5, 6, 7) and nvidia-smi topo -m has 7 GPUs (0, 1, 2, 3, "
        "4, 5, 6): which is which cannot be told, and nothing is taken from the latter"
    )


def test_other_sources_that_speak_of_other_gpus_are_named_and_left_out():
    found = assemble(log=LOG, nvlinks={2: (4, 0)}, capabilities={0: CAPABILITIES[0]}, listed={0: LISTED[0]})
    assert found.gpus == GPUS
    assert [sentence.split(" and ")[1].split(":")[0] for sentence in found.unread[1:]] == [
        "nvidia-smi nvlink -s has 1 GPU (2)",
        "nvidia-smi --query-gpu=index,pci.bus_id,compute_cap --format=csv,noheader has 1 GPU (0)",
        "nvidia-smi -L has 1 GPU (0)",
    ]


def test_nvlink_is_silent_about_a_gpu_that_has_none():
    found = assemble(log=LOG, nvlinks={1: (2, 0)})
    assert [gpu.nvlinks_active for gpu in found.gpus] == [None, 2]
    assert found.unread == LOG.notes


def test_fewer_links_than_the_matrix_joins_are_not_taken_and_links_that_are_down_are():
    found = assemble(matrix=MATRIX, nvlinks={0: (3, 1), 1: (3, 0)})
    assert [(gpu.nvlinks_active, gpu.nvlinks_inactive) for gpu in found.gpus] == [(3, 1), (None, None)]
    assert found.unread == (
        "GPU 1 has 3 NVLinks in nvidia-smi nvlink -s and 4 to one other GPU in nvidia-smi topo -m: the "
        "former is cut off and not taken",
    )
    assert assemble(matrix=MATRIX, nvlinks={0: (0, None)}).gpus[0].nvlinks_active == 0


def test_a_gpu_with_links_to_several_others_needs_as_many_as_its_widest():
    mesh = Matrix(
        tuple(Near(index) for index in range(3)),
        (Link(0, 1, "NV", lanes=2), Link(0, 2, "NV", lanes=1), Link(1, 2, "SYS")),
        (),
    )
    found = assemble(matrix=mesh, nvlinks={0: (1, 0), 1: (2, 0), 2: (1, 0)})
    assert [gpu.nvlinks_active for gpu in found.gpus] == [None, 2, 1]


def test_a_compute_capability_of_another_address_is_not_taken():
    swapped = {0: CAPABILITIES[1], 1: CAPABILITIES[0]}
    found = assemble(log=LOG, capabilities=swapped)
    assert found.gpus == GPUS
    assert "GPU 0 is 0000:00:00.0 in nvidia-smi -q -x and 0000:01:00.0 in" in found.unread[1]


def test_mig_profiles_come_from_the_list_and_must_be_as_many_as_there_are():
    split = replace(LOG, mig_counts=(2, 0))
    listed = {**LISTED, 0: replace(LISTED[0], mig_instances=("3g.20gb", "3g.20gb"))}
    assert assemble(log=split, listed=listed).gpus[0].mig_instances == ("3g.20gb", "3g.20gb")
    assert (
        "GPU 0 has 2 MIG instances in nvidia-smi -q -x and 0 in nvidia-smi -L"
        in assemble(log=split, listed=LISTED).unread
    )
    assert "GPU 0 has 2 MIG instances, whose profiles only nvidia-smi -L names" in assemble(log=split).unread
