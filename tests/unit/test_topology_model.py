# SPDX-License-Identifier: GPL-3.0-or-later
"""A topology comes back from plain data as it went, and what is no topology is refused by field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    LINK_CLASSES,
    Cpu,
    Gpu,
    Link,
    Nic,
    NumaNode,
    Pcie,
    Topology,
    TopologyError,
    Way,
    from_data,
    to_data,
)
from hypothesis import given
from hypothesis import strategies as st

NUMBER, TEXT, FLAG = st.none() | st.integers(), st.none() | st.text(), st.none() | st.booleans()
REAL = st.none() | st.floats(allow_nan=False)
TEXTS = st.lists(st.text(), max_size=3).map(tuple)
KINDS = st.sampled_from(LINK_CLASSES)
# What is not said here hypothesis makes up from the annotations, which leaves no field out.
PCIE = st.builds(Pcie, NUMBER, NUMBER, NUMBER, NUMBER)
GPU = st.builds(
    Gpu,
    index=st.integers(),
    vendor=st.sampled_from(["nvidia", "amd"]),
    name=st.text(),
    memory_mib=NUMBER,
    pcie=PCIE,
    ecc=FLAG,
    mig_instances=TEXTS,
    power_limit_w=REAL,
    fabric_state=TEXT,
)
NIC = st.builds(
    Nic,
    name=st.text(),
    rate_gbps=REAL,
    state=TEXT,
    near=st.lists(st.builds(Way, st.integers(), KINDS), max_size=3).map(tuple),
)
TOPOLOGY = st.builds(
    Topology,
    host=st.text(),
    gpus=st.lists(GPU, max_size=3).map(tuple),
    links=st.lists(st.builds(Link, st.integers(), st.integers(), KINDS), max_size=3).map(tuple),
    nics=st.lists(NIC, max_size=3).map(tuple),
    numa=st.lists(st.builds(NumaNode, st.integers(), st.text(), NUMBER), max_size=3).map(tuple),
    cpu=st.none() | st.builds(Cpu, name=st.text(), cores=NUMBER, flags=TEXTS),
    nvswitches=TEXTS,
    kernel_module=st.sampled_from([None, "open", "proprietary"]),
    board=st.none() | TEXTS,
    unread=TEXTS,
)


@given(TOPOLOGY)
def test_a_topology_comes_back_through_json_as_it_went(topology: Topology):
    assert from_data(json.loads(json.dumps(to_data(topology)))) == topology


def test_whole_watts_and_rates_are_numbers_too():
    gpu = {"index": 0, "vendor": "nvidia", "name": "NVIDIA A10", "power_limit_w": 150}
    [read] = from_data({"host": "gpu1", "gpus": [gpu]}).gpus
    assert read.power_limit_w == 150.0
    assert type(read.power_limit_w) is float


GPU0 = {"index": 0, "vendor": "nvidia", "name": "NVIDIA A10"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "topology: [] is no Topology"),
        ({}, "topology: "),
        ({"host": 1}, "topology.host: 1 is no str"),
        ({"host": "gpu1", "gpu": []}, "topology: gpu is not known"),
        ({"host": "gpu1", "gpus": {}}, "topology.gpus: {} is no list"),
        ({"host": "gpu1", "gpus": "none"}, "topology.gpus: 'none' is no list"),
        ({"host": "gpu1", "gpus": [0]}, "topology.gpus[0]: 0 is no Gpu"),
        ({"host": "gpu1", "gpus": [{}]}, "topology.gpus[0]: "),
        ({"host": "gpu1", "gpus": [GPU0, {**GPU0, "index": "1"}]}, "topology.gpus[1].index: '1' is no int"),
        ({"host": "gpu1", "gpus": [{**GPU0, "index": True}]}, "topology.gpus[0].index: True is no int"),
        ({"host": "gpu1", "gpus": [{**GPU0, "mig": 0}]}, "topology.gpus[0].mig: 0 is no bool"),
        (
            {"host": "gpu1", "gpus": [{**GPU0, "vendor": "intel"}]},
            "topology.gpus[0].vendor: 'intel' is none of",
        ),
        ({"host": "gpu1", "gpus": [{**GPU0, "pcie": 5}]}, "topology.gpus[0].pcie: 5 is no Pcie"),
        ({"host": "gpu1", "gpus": [{**GPU0, "pcie": {"width": "x8"}}]}, "topology.gpus[0].pcie.width: 'x8'"),
        ({"host": "gpu1", "links": [{"a": 0, "b": 1, "kind": "PCIE"}]}, "topology.links[0].kind: 'PCIE' is"),
        ({"host": "gpu1", "nics": [{"name": "a", "rate_gbps": "200"}]}, "topology.nics[0].rate_gbps: '200'"),
        ({"host": "gpu1", "cpu": {"name": "x", "flags": ["a", 1]}}, "topology.cpu.flags[1]: 1 is no str"),
        ({"host": "gpu1", "kernel_module": "free"}, "topology.kernel_module: 'free' is none of"),
    ],
)
def test_what_is_no_topology_is_refused_by_field(data: Any, message: str):
    with pytest.raises(TopologyError) as error:
        from_data(data)
    assert str(error.value).startswith(message)


def test_the_link_of_a_pair_is_found_in_either_order():
    link = Link(0, 2, "NV", 4)
    topology = Topology("gpu1", links=(Link(0, 1, "SYS"), link))
    assert topology.link(2, 0) == topology.link(0, 2) == link
    assert topology.link(1, 2) is None
