# SPDX-License-Identifier: GPL-3.0-or-later
"""A drawing holds all that the host has, whatever the host calls itself, and lands in its folder whole."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import checking
from ansible_collections.stronghold.llm.plugins.module_utils.topology.collect import collect
from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing import svg
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import ExpectationError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Cpu,
    Gpu,
    Link,
    Nic,
    NumaNode,
    Topology,
    TopologyError,
    Way,
    to_data,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Recorded

from tests.unit.healthy_host import HOST

FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"
SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def recorded(name: str) -> Topology:
    return collect(name, Recorded(FIXTURES / name))


def readable() -> list[str]:
    """Recordings that a parser takes, with anything in them."""
    wanted = [json.loads(file.read_text()) for file in sorted(FIXTURES.glob("*/expected.json"))]
    names = [file.parent.name for file in sorted(FIXTURES.glob("*/expected.json"))]
    return [
        name for name, each in zip(names, wanted, strict=True) if each["should"] == "parse" and each["links"]
    ]


def texts(drawing: ElementTree.Element) -> set[str]:
    return {element.text or "" for element in drawing.iter(f"{SVG}text")}


def drawn_pairs(drawing: ElementTree.Element) -> set[str]:
    """By the titles of lines, rails and hubs: each pair with its class."""
    titles = [title.text or "" for title in drawing.iter(f"{SVG}title")]
    return {
        pair
        for title in titles
        if title.startswith("GPU ") and " and " in title
        for pair in title.split("; ")
    }


def name_of(link: Link) -> str:
    lanes = str(link.lanes) if link.kind == "NV" and link.lanes else ""
    return f"GPU {link.a} and {link.b}: {link.kind}{lanes}"


@pytest.mark.parametrize("name", readable())
def test_every_gpu_link_and_network_card_of_a_recorded_host_is_drawn(name: str):
    topology = recorded(name)
    drawing = ElementTree.fromstring(svg(topology))
    assert {f"GPU {gpu.index}" for gpu in topology.gpus} <= texts(drawing)
    assert {nic.name for nic in topology.nics} <= texts(drawing)
    assert drawn_pairs(drawing) == {name_of(link) for link in topology.links}


@pytest.mark.parametrize("name", readable())
def test_nothing_is_drawn_outside_or_over_another_device(name: str):
    drawing = ElementTree.fromstring(svg(recorded(name)))
    _, _, width, height = map(float, drawing.attrib["viewBox"].split())
    boxes = defaultdict(list)
    for rect in drawing.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(key, 0)) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
        boxes[rect.get("class", "")].append((x, y, x + w, y + h))
    for a, b in chain(
        combinations(boxes["gpu"] + boxes["nic"] + boxes["hub"], 2),
        combinations(boxes["group"] + boxes["hub"], 2),
    ):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    for text in drawing.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "")) <= width
        assert 0 <= float(text.get("y", "")) <= height


def test_switched_gpus_hang_on_their_switch_and_not_on_each_other():
    drawing = svg(HOST)
    assert "4 NVSwitches: NV18 between every two of 8 GPUs" in drawing
    assert drawing.count('class="own"') == 8 + 1  # and the legend's


def test_a_gpu_that_is_not_on_the_switch_is_drawn_beside_it():
    links = tuple(
        Link(a, b, "SYS" if 2 in (a, b) else "NV", 0 if 2 in (a, b) else 18)
        for a, b in combinations(range(8), 2)
    )
    assert "NV18 between every two of 7 GPUs" in svg(replace(HOST, links=links))


def test_a_gpu_with_a_dead_lane_stays_on_the_switch_with_its_own_number():
    links = tuple(Link(a, b, "NV", 17 if 3 in (a, b) else 18) for a, b in combinations(range(8), 2))
    drawing = svg(replace(HOST, links=links))
    assert "4 NVSwitches: NV17 to NV18 between every two of 8 GPUs" in drawing
    assert drawing.count(">NV17</text>") == 1


def test_pairs_that_fit_no_tree_are_drawn_one_by_one():
    three = tuple(Gpu(i, "nvidia", "NVIDIA A10", numa_node=0) for i in range(3))
    odd = (Link(0, 1, "PIX"), Link(1, 2, "PIX"), Link(0, 2, "SYS"))
    drawing = ElementTree.fromstring(svg(Topology("gpu1", three, odd)))
    lines = [path.findtext(f"{SVG}title") for path in drawing.iter(f"{SVG}path")]
    assert sorted(line for line in lines if line) == sorted(map(name_of, odd))


def test_a_mesh_whose_pairs_differ_is_no_switch():
    drawing = svg(recorded("dgx-1-v100-8"))
    assert 'class="hub"' not in drawing
    assert drawing.count(">NV2</text>") + drawing.count(">NV1</text>") == 16


def test_a_host_without_gpus_shows_its_processors_and_cards():
    lab = Topology(
        "lab",
        cpu=Cpu("AMD EPYC 9354", cores=64, memory_mib=772000),
        numa=(NumaNode(0, "0-31", 386000), NumaNode(1, "32-63", 386000)),
        nics=(Nic("mlx5_0", state="DOWN", numa_node=1),),
    )
    said = texts(ElementTree.fromstring(svg(lab)))
    assert {"NUMA node 0", "NUMA node 1", "CPUs 0-31 · 377 GiB", "mlx5_0", "DOWN"} <= said
    assert any("no GPU" in text and "AMD EPYC 9354" in text for text in said)
    assert ElementTree.fromstring(svg(Topology("nothing"))).tag == f"{SVG}svg"


def test_who_cannot_see_it_is_told_all_of_it():
    drawing = ElementTree.fromstring(svg(HOST))
    told = drawing.findtext(f"{SVG}desc") or ""
    node = ElementTree.fromstring(svg(Topology("lab", numa=(NumaNode(0, "0-31", 386000),))))
    assert "NUMA node 0: CPUs 0-31, 386000 MiB." in (node.findtext(f"{SVG}desc") or "")
    assert drawing.get("role") == "img"
    assert drawing.findtext(f"{SVG}title") == "Topology of gpu1"
    assert "GPU 3: NVIDIA H100 80GB HBM3, 0000:61:00.0, 81559 MiB, NUMA node 0, PCIe x16." in told
    assert "NV18 between GPUs 0-1, 0-2" in told
    assert "Network card mlx5_2: ACTIVE, 400 Gb/s, InfiniBand, NODE to GPU 0" in told


NASTY = '</text><script>alert("&")</script>\x00\x1b[31m\ud800'


def test_names_of_hosts_and_devices_are_text_and_nothing_else():
    nasty = Topology(
        NASTY,
        gpus=(Gpu(0, "nvidia", NASTY, pci=NASTY), Gpu(1, "nvidia", "other", numa_node=0)),
        nics=(Nic(NASTY, link_layer=NASTY, near=(Way(0, "PIX"),)), Nic("a", state=NASTY)),
        numa=(NumaNode(0, NASTY),),
        cpu=Cpu(NASTY),
        driver=NASTY,
        nvswitches=(NASTY,),
    )
    drawing = ElementTree.fromstring(svg(nasty).encode())
    allowed = {"svg", "title", "desc", "style", "rect", "text", "path", "g"}
    assert {element.tag.removeprefix(SVG) for element in drawing.iter()} <= allowed
    assert not any(key.startswith("on") for element in drawing.iter() for key in element.attrib)


def test_a_drawing_needs_nothing_from_elsewhere_and_is_the_same_each_time():
    drawing = svg(HOST)
    assert drawing == svg(HOST)
    assert set(re.findall(r"https?://[^\"' ]+", drawing)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|href|<script|<image|<foreignObject", drawing)
    assert "prefers-color-scheme:dark" in drawing


def data(*hosts: str) -> list[dict[str, Any]]:
    return [to_data(replace(HOST, host=host)) for host in hosts]


def test_a_drawing_is_written_once_and_left_alone_while_it_is_right(tmp_path: Path):
    folder = tmp_path / "build" / "topology"
    hosts = checking.topologies(data("gpu1", "gpu2"))
    assert list(checking.stale(hosts, folder)) == [folder / "gpu1.svg", folder / "gpu2.svg"]
    checking.write(checking.stale(hosts, folder))
    assert checking.stale(hosts, folder) == {}
    (folder / "gpu2.svg").write_text("half")
    assert list(checking.stale(hosts, folder)) == [folder / "gpu2.svg"]
    checking.write(checking.stale(hosts, folder))
    assert sorted(path.name for path in folder.iterdir()) == ["gpu1.svg", "gpu2.svg"]
    assert (folder / "gpu2.svg").stat().st_mode & 0o777 == 0o644


def test_a_drawing_that_cannot_be_moved_into_place_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "gpu1.svg").mkdir()
    with pytest.raises(OSError, match=r"gpu1\.svg"):
        checking.write({tmp_path / "gpu1.svg": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["gpu1.svg"]


@pytest.mark.parametrize("host", ["../gpu1", "a/b", "", ".hidden"])
def test_a_host_cannot_be_drawn_outside_its_folder(host: str):
    with pytest.raises(TopologyError, match="cannot be the name of a file"):
        checking.topologies(data(host))


def test_a_host_that_is_there_twice_or_expected_and_absent_is_named():
    with pytest.raises(TopologyError, match="gpu1: its topology is there twice"):
        checking.topologies(data("gpu1", "gpu1"))
    with pytest.raises(ExpectationError) as error:
        checking.expectations({"gpu9": {}, "gpu1": {"count": "8"}}, ["gpu1"])
    assert [message.split(":")[0] for message in error.value.messages] == ["gpu9", "gpu1"]
