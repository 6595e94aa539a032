# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs work together, on recorded and constructed hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning.placement import (
    groups,
    islands,
    usable,
    why_unusable,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Nic, Topology, Way

from tests.fleets import A10, A100, H100, MI300X, V100, bridged, gpu, host, links, recorded, with_gpu

L40S, A6000, RTX4090 = "NVIDIA L40S", "NVIDIA RTX A6000", "NVIDIA GeForce RTX 4090"


def taken(topology: Topology, size: int) -> list[tuple[int, ...]]:
    return [group.gpus for group in groups(topology, size)]


def test_eight_gpus_behind_nvswitches_are_one_island() -> None:
    [island] = islands(host("gpu1"))
    assert island.gpus == tuple(range(8))
    assert island.link == "NV"
    assert island.local


def test_gpus_without_a_bridge_are_islands_of_one() -> None:
    assert [island.gpus for island in islands(host("gpu1", 2, A10, "PHB"))] == [(0,), (1,)]


def test_the_bridged_pair_is_taken_and_not_the_two_that_are_not() -> None:
    """Recorded: four A100, one pair with a bridge; the owner believes in two."""
    machine = recorded("a100-pcie-4-one-bridge", "NVIDIA A100 80GB PCIe")
    assert [island.gpus for island in islands(machine)] == [(0, 1), (2,), (3,)]
    first, second = groups(machine, 2)
    assert (first.gpus, first.link, first.local) == ((0, 1), "NV", True)
    assert (second.gpus, second.link, second.local) == ((2, 3), "NODE", False)


def test_four_bridges_give_four_local_pairs_and_groups_of_four_stay_on_their_socket() -> None:
    machine = recorded("a6000-8-four-bridges", A6000)
    assert taken(machine, 2) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert all(group.local for group in groups(machine, 2))
    assert taken(machine, 4) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert [group.link for group in groups(machine, 4)] == ["NODE", "NODE"]


@pytest.mark.parametrize("folder", ["dgx-1-v100-8", "v100-sxm2-8-new-columns"])
def test_a_cube_mesh_is_cut_into_squares_that_are_fully_joined(folder: str) -> None:
    machine = recorded(folder, V100)
    assert [island.gpus for island in islands(machine)] == [tuple(range(8))]
    assert taken(machine, 4) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert [(group.gpus, group.local) for group in groups(machine, 8)] == [(tuple(range(8)), True)]


def test_in_a_cube_mesh_pairs_have_the_double_links() -> None:
    machine = recorded("dgx-1-v100-8", V100)
    for pair in taken(machine, 2):
        link = machine.link(*pair)
        assert link
        assert link.lanes == 2


def test_a_pair_never_goes_between_sockets_while_one_beside_is_free() -> None:
    machine = recorded("l40s-4", L40S)
    assert taken(machine, 2) == [(0, 1), (2, 3)]
    assert [group.link for group in groups(machine, 2)] == ["NODE", "NODE"]


def test_the_nearest_pairs_come_first_and_the_odd_one_is_left() -> None:
    """Recorded: five cards, GPU 0 on the other socket, two pairs under one host bridge each."""
    machine = recorded("rtx-4090-5-mixed", RTX4090)
    assert [(group.gpus, group.link) for group in groups(machine, 2)] == [((1, 2), "PHB"), ((3, 4), "PHB")]
    assert taken(machine, 4) == [(1, 2, 3, 4)]


def test_a_group_of_six_is_found_on_one_socket() -> None:
    assert taken(recorded("pcie-8-node-phb", RTX4090), 6) == [(0, 1, 2, 3, 4, 5)]


def test_no_group_goes_over_pcie_while_an_island_fits() -> None:
    """Numbered so that going by index would cross."""
    machine = bridged("gpu1", [(0, 3), (1, 2)], A6000, "SYS")
    assert taken(machine, 2) == [(0, 3), (1, 2)]


def test_seven_of_eight_make_one_group_of_four_and_three_are_left() -> None:
    machine = host("gpu1")
    seven = replace(
        machine,
        gpus=machine.gpus[:3] + machine.gpus[4:],
        links=tuple(link for link in machine.links if 3 not in (link.a, link.b)),
    )
    assert taken(seven, 4) == [(0, 1, 2, 4)]
    assert len(groups(seven, 2)) == 3


def test_xgmi_is_an_island_too() -> None:
    [group] = groups(host("gpu1", 8, MI300X, "XGMI"), 8)
    assert group.local
    assert group.link == "XGMI"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"remapped_rows_failed": True}, "spare rows"),
        ({"remapped_rows_pending": True}, "waits for a reset"),
        ({"mig": True}, "no instance"),
    ],
)
def test_a_gpu_that_cannot_be_relied_on_is_in_no_group(changes: dict[str, bool], why: str) -> None:
    machine = with_gpu(host("gpu1", 4), 2, **changes)
    assert [gpus for gpus in taken(machine, 1) if 2 in gpus] == []
    assert taken(machine, 2) == [(0, 1)]
    assert why in why_unusable(machine.gpus[2])
    assert not usable(machine.gpus[2])


def test_a_mig_instance_serves_alone_and_never_in_a_group() -> None:
    machine = with_gpu(host("gpu1", 4), 2, mig=True, mig_instances=("3g.40gb",))
    assert (2,) in taken(machine, 1)
    assert taken(machine, 2) == [(0, 1)]


def test_a_group_has_cards_of_one_kind() -> None:
    mixed = Topology(
        "gpu1",
        gpus=(gpu(0, H100), gpu(1, A100), gpu(2, H100), gpu(3, A100)),
        links=links(range(4), "PHB"),
    )
    assert sorted(taken(mixed, 2)) == [(0, 2), (1, 3)]
    assert taken(mixed, 4) == []


def test_cards_of_one_name_and_two_sizes_are_two_kinds() -> None:
    mixed = Topology("gpu1", gpus=(gpu(0, A10), gpu(1, A10, memory_mib=11514)), links=links(range(2), "PHB"))
    assert taken(mixed, 2) == []


def test_links_that_were_not_read_are_worse_than_any_and_said_to_be_unknown() -> None:
    unread = Topology("gpu1", gpus=tuple(gpu(index) for index in range(4)), links=links((2, 3), "SYS"))
    assert [(group.gpus, group.link) for group in groups(unread, 2)] == [((2, 3), "SYS"), ((0, 1), None)]
    assert not groups(unread, 4)[0].local


def test_the_network_card_beside_a_group_is_named_and_one_that_is_down_is_not() -> None:
    machine = recorded("l40s-4", L40S)
    second = groups(machine, 2)[1]
    assert second.nics == ("mlx5_0", "mlx5_1")
    down = replace(
        machine,
        nics=(
            Nic("mlx5_0", state="DOWN", near=(Way(2, "PIX"),)),
            Nic("mlx5_1", state="ACTIVE", near=(Way(2, "NODE"), Way(0, "SYS"))),
        ),
    )
    assert [group.nics for group in groups(down, 2)] == [("mlx5_1",), ("mlx5_1",)]


def test_a_card_under_another_switch_is_not_near_because_its_sibling_is() -> None:
    """Two cards near GPU 0, of which the one on GPU 1's own switch is nearer to the pair."""
    machine = replace(
        host("gpu1", 2),
        nics=(
            Nic("mlx5_0", near=(Way(0, "NODE"), Way(1, "NODE"))),
            Nic("mlx5_1", near=(Way(0, "SYS"), Way(1, "PIX"))),
        ),
    )
    assert groups(machine, 2)[0].nics == ("mlx5_1",)


def test_a_group_grows_to_the_nearest_first() -> None:
    """GPU 3 is under GPU 0's host bridge, 1 and 2 are under others."""
    near = {(0, 3): "PHB"}
    machine = replace(
        host("gpu1", 4, A10, "NODE"),
        links=tuple(
            replace(link, kind=near.get((link.a, link.b), "NODE")) for link in links(range(4), "NODE")
        ),
    )
    assert taken(machine, 3) == [(0, 1, 3)]


def test_in_one_island_a_group_stays_on_one_socket() -> None:
    machine = host("gpu1")
    alternating = replace(
        machine, gpus=tuple(replace(each, numa_node=each.index % 2) for each in machine.gpus)
    )
    assert taken(alternating, 4) == [(0, 2, 4, 6), (1, 3, 5, 7)]


def test_in_a_loose_mesh_one_that_is_cut_off_does_not_hide_those_behind_it() -> None:
    """Once 0 and 1 are taken, nobody is left for 2; 3 and 4 still have each other."""
    pairs = [(0, 1), (1, 2), (1, 3), (3, 4), (5, 6)]
    machine = Topology(
        "gpu1",
        gpus=tuple(gpu(index, A6000, 49140) for index in range(7)),
        links=tuple(link for pair in pairs for link in links(pair, "NV", 4)),
    )
    assert taken(machine, 2) == [(0, 1), (3, 4), (5, 6)]


def test_the_order_of_gpus_and_links_makes_no_difference() -> None:
    machine = recorded("dgx-1-v100-8", V100)
    turned = replace(machine, gpus=machine.gpus[::-1], links=machine.links[::-1])
    for size in (1, 2, 4, 8):
        assert groups(machine, size) == groups(turned, size)
