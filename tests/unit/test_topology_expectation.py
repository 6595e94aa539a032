# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory expects is read whole, or refused with everything that is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stronghold.llm.plugins.module_utils.topology import expectation
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import (
    Expectation,
    ExpectationError,
    NicWish,
    Wish,
    read,
)

WHERE = "gpu1: stronghold_accelerators"
INVENTORIES = Path(__file__).parents[2] / "inventories"


def problems(data: Any) -> list[str]:
    with pytest.raises(ExpectationError) as error:
        read(data, WHERE)
    return error.value.messages


def test_nothing_is_expected_of_a_host_that_names_nothing():
    assert read({}, WHERE) == Expectation()
    assert read({"link": None, "pcie": None, "nics": None}, WHERE) == Expectation()


def test_the_example_of_the_documentation_is_read_whole():
    example = (expectation.__doc__ or "").split("\n\n")[1]
    assert read(yaml.safe_load(example), WHERE) == Expectation(
        count=8,
        name="NVIDIA H100 80GB HBM3",
        memory_mib_min=81000,
        link=Wish("NV", 18),
        links={(0, 1): Wish("NV", 4), (2, 3): Wish("NV", 4)},
        generation=5,
        width=16,
        mig=False,
        nvswitches=4,
        numa={0: 0, 1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 1, 7: 1},
        nics={"mlx5_0": NicWish((0, 1), Wish("PIX"), 200, "InfiniBand")},
    )


def test_keys_that_went_through_json_mean_the_same():
    data = {"numa": {0: [0], 1: [1]}}
    assert read(json.loads(json.dumps(data)), WHERE) == read(data, WHERE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "all of it: [] is no mapping"),
        ({"gpus": 8}, "gpus: 8 is of no known field: use count, name,"),
        ({"count": "8"}, "count: '8' is no whole number from 0 up"),
        ({"count": True}, "count: True is no whole number"),
        ({"count": -1}, "count: -1 is no whole number"),
        ({"name": ""}, "name: '' is no text"),
        ({"memory_mib_min": 79.6}, "memory_mib_min: 79.6 is no whole number from 1 up"),
        ({"link": "NVLINK"}, "link: 'NVLINK' is no class of links: use NV, XGMI, PIX,"),
        ({"link": "NV0"}, "link: 'NV0' is no class"),
        ({"link": "XGMI4"}, "link: 'XGMI4' is no class"),
        ({"link": "nv18"}, "link: 'nv18' is no class"),
        ({"link": 18}, "link: 18 is no class"),
        ({"links": {"0,1": "NV4"}}, "links: '0,1' is no pair of GPUs: write 0-1"),
        ({"links": {"1-1": "NV4"}}, "links: '1-1' is no pair"),
        ({"links": {"0-1": "NV4", "1-0": "NV4"}}, "links: '1-0' is there twice"),
        ({"links": {"0-1": "NV"}, "count": 1}, "links: 1 is no index of 1 GPUs"),
        ({"links": ["0-1"]}, "links: ['0-1'] is no mapping"),
        ({"pcie": 5}, "pcie: 5 is no mapping"),
        ({"pcie": {"lanes": 16}}, "pcie.lanes: 16 is of no known field: use generation, width"),
        ({"pcie": {"width": 12}}, "pcie.width: 12 is none of 1, 2, 4, 8, 16, 32"),
        ({"pcie": {"generation": True}}, "pcie.generation: True is none of 1, 2"),
        ({"mig": "off"}, "mig: 'off' is neither true nor false"),
        ({"ecc": 1}, "ecc: 1 is neither true nor false"),
        ({"numa": {"east": [0]}}, "numa: 'east' is no number of a NUMA node"),
        ({"numa": {0: 3}}, "numa.0: 3 is no list of GPU indices"),
        ({"numa": {0: [0, 1], 1: [1]}}, "numa.1: 1 is a GPU of node 0 already"),
        ({"numa": {0: [0, 8]}, "count": 8}, "numa: 8 is no index of 8 GPUs"),
        ({"nics": {"mlx5_0": {"near": [0]}}}, "nics.mlx5_0: {'near': [0]} is half of a place"),
        ({"nics": {"mlx5_0": {"near": [0], "class": "NV"}}}, "nics.mlx5_0.class: 'NV' is no class of links"),
        ({"nics": {"mlx5_0": {"near": [9], "class": "PIX"}}, "count": 8}, "nics.mlx5_0.near: 9 is no index"),
        ({"nics": {"mlx5_0": {"rate_gbps": "200"}}}, "nics.mlx5_0.rate_gbps: '200' is no rate in Gb/s"),
        ({"nics": {"mlx5_0": {"link_layer": "IB"}}}, "nics.mlx5_0.link_layer: 'IB' is none of InfiniBand, E"),
        ({"nics": {"mlx5_0": {"speed": 1}}}, "nics.mlx5_0.speed: 1 is of no known field"),
        ({"nics": ["mlx5_0"]}, "nics: ['mlx5_0'] is no mapping"),
    ],
)
def test_a_field_that_cannot_be_meant_is_named_with_host_and_value(data: Any, message: str):
    [found] = problems(data)
    assert found.startswith(f"{WHERE}: {message}")


def test_everything_that_is_wrong_is_said_at_once():
    assert len(problems({"count": "8", "link": "NV0", "pcie": {"width": 3}, "mig": "no"})) == 4


@pytest.mark.parametrize(
    ("wished", "name", "holds"),
    [
        ("NVIDIA A10", "NVIDIA A10", True),
        ("NVIDIA A10", "NVIDIA A100-SXM4-80GB", False),
        ("A100", "NVIDIA A100-SXM4-80GB", False),
        ("NVIDIA A100*80GB*", "NVIDIA A100-SXM4-80GB", True),
        ("NVIDIA A100*80GB*", "NVIDIA A100-SXM4-40GB", False),
        ("Navi 22 [Radeon RX 6700 XT]", "Navi 22 [Radeon RX 6700 XT]", True),
    ],
)
def test_a_part_of_a_name_is_not_the_card(wished: str, name: str, holds: bool):
    assert read({"name": wished}, WHERE).named(name) is holds


def test_a_pair_that_is_named_is_held_to_its_own_link_and_the_others_to_the_common_one():
    expected = read({"link": "SYS", "links": {"1-0": "NV4"}}, WHERE)
    assert {pair: str(wish) for pair, wish in expected.pairs([0, 1, 2]).items()} == {
        (0, 1): "NV4",
        (0, 2): "SYS or nearer",
        (1, 2): "SYS or nearer",
    }
    assert read({"links": {"0-1": "NV4"}}, WHERE).pairs([0, 2, 3]) == {}


def accelerators(data: Any) -> list[Any]:
    """Wherever an inventory's file says it."""
    if not isinstance(data, dict):
        return []
    own = [data["stronghold_accelerators"]] if "stronghold_accelerators" in data else []
    return own + [found for value in data.values() for found in accelerators(value)]


@pytest.mark.parametrize(
    "file", sorted(INVENTORIES.rglob("*.yml")), ids=lambda file: str(file.relative_to(INVENTORIES))
)
def test_the_inventories_of_this_repository_expect_what_can_be_read(file: Path):
    for data in accelerators(yaml.safe_load(file.read_text())):
        assert read(data, WHERE) != Expectation()
