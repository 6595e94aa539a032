# SPDX-License-Identifier: GPL-3.0-or-later
"""Every recorded matrix is read as it is or refused with its line and column; no link is ever guessed."""

from __future__ import annotations

import contextlib
import json
import re
import textwrap
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import (
    nvidia,
    nvidia_list,
    nvidia_nvlink,
    nvidia_xml,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Link,
    Nic,
    TopologyError,
    Way,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import DriverFailure
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_topo import Matrix, Near, parse
from hypothesis import given, settings
from hypothesis import strategies as st

WHERE = "nvidia-smi topo -m"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"
RECORDED = sorted(path.parent.name for path in FIXTURES.glob("*/nvidia-smi-topo-m.txt"))
# Constructed, in the newest layout: tabs, cards by number, a GPU without a CPU affinity.
MATRIX = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tNV12\tSYS\tPIX\tSYS\t0-31,64-95\t0\t\tN/A
GPU1\tNV12\t X \tSYS\tPXB\tSYS\t\t0\t\tN/A
GPU2\tSYS\tSYS\t X \tSYS\tNODE\t32-63\t1\t\t4
NIC0\tPIX\tPXB\tSYS\t X \tSYS\t\t\t\t
NIC1\tSYS\tSYS\tNODE\tSYS\t X \t\t\t\t

Legend:

  X    = Self
  NV#  = Connection traversing a bonded set of # NVLinks

NIC Legend:

  NIC0: mlx5_0
  NIC1: mlx5_bond_1
"""


def links(matrix: Matrix) -> dict[tuple[int, int], str]:
    return {(link.a, link.b): f"{link.kind}{link.lanes or ''}" for link in matrix.links}


def refused(text: str) -> str:
    with pytest.raises(TopologyError) as error:
        parse(text, WHERE)
    return str(error.value)


def recorded(name: str) -> str:
    return (FIXTURES / name / "nvidia-smi-topo-m.txt").read_text(encoding="utf-8")


def expected_of(name: str) -> dict[str, Any]:
    expected: dict[str, Any] = json.loads((FIXTURES / name / "expected.json").read_text(encoding="utf-8"))
    return expected


READABLE = [name for name in RECORDED if expected_of(name)["should"] == "parse"]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_read_as_it_is_or_refused_with_its_place(name: str):
    expected = expected_of(name)
    if expected["should"] == "refuse":
        assert re.search(r": line \d+, column \S+", refused(recorded(name)))
        return
    found = parse(recorded(name), WHERE)
    assert [near.index for near in found.gpus] == list(range(expected["gpus"]))
    assert len(found.links) == expected["gpus"] * (expected["gpus"] - 1) // 2
    said = {
        tuple(map(int, pair.split("-"))): {"SOC": "SYS"}.get(kind, kind)
        for pair, kind in expected["links"].items()
    }
    assert {pair: links(found)[pair] for pair in said} == said
    assert len(found.nics) == expected["nics"]
    assert all(len(nic.near) == expected["gpus"] for nic in found.nics)


def test_links_ways_and_affinities_are_read():
    assert parse(MATRIX, WHERE) == Matrix(
        gpus=(Near(0, "0-31,64-95", "0"), Near(1, None, "0"), Near(2, "32-63", "1", own_numa=4)),
        links=(Link(0, 1, "NV", lanes=12), Link(0, 2, "SYS"), Link(1, 2, "SYS")),
        nics=(
            Nic("mlx5_0", near=(Way(0, "PIX"), Way(1, "PXB"), Way(2, "SYS"))),
            Nic("mlx5_bond_1", near=(Way(0, "SYS"), Way(1, "SYS"), Way(2, "NODE"))),
        ),
    )


def test_the_oldest_layout_with_cards_by_name_and_soc_between_sockets_is_read():
    old = """\
        GPU0    GPU1    mlx5_0  CPU Affinity
GPU0     X      SOC     PHB     0-13
GPU1    SOC      X      SOC     14-27
mlx5_0  PHB     SOC      X
"""
    assert parse(old, WHERE) == Matrix(
        gpus=(Near(0, "0-13"), Near(1, "14-27")),
        links=(Link(0, 1, "SYS"),),
        nics=(Nic("mlx5_0", near=(Way(0, "PHB"), Way(1, "SYS"))),),
    )


def test_one_gpu_has_no_link():
    text = "\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \t0-7\t0\t\tN/A\n"
    assert parse(text, WHERE) == Matrix((Near(0, "0-7", "0"),), (), ())


def test_what_stands_before_and_after_the_matrix_is_left_alone():
    text = f"user@host:~$ nvidia-smi topo -m\n{MATRIX}\nmlx5_0 port 1 ==> ib0 (Up)\nuser@host:~$\n"
    assert parse(text, WHERE) == parse(MATRIX, WHERE)


def test_a_matrix_without_a_legend_ends_where_the_next_prompt_begins():
    text = (
        "        GPU0    GPU1    CPU Affinity\nGPU0     X      PHB\nGPU1    PHB      X\n4 of user@host:~$\n"
    )
    assert parse(text, WHERE) == Matrix((Near(0), Near(1)), (Link(0, 1, "PHB"),), ())


def test_a_row_that_is_aligned_with_tabs_by_hand_is_read():
    aligned = MATRIX.replace("GPU0\t X \tNV12", "GPU0\t X \t\tNV12")
    assert parse(aligned, WHERE) == parse(MATRIX, WHERE)
    blank = MATRIX.replace("GPU1\tNV12\t X ", "GPU1\tNV12\t\t X ").replace("SYS\t\t0\t\tN/A", "SYS\t0-31")
    assert parse(blank, WHERE).gpus[1] == Near(1)


@pytest.mark.parametrize(
    ("said", "near"),
    [
        ("0-7\t0\t\tN/A", Near(0, "0-7", "0")),
        ("0-7\t\tN/A\t\tN/A", Near(0, "0-7")),  # N/A has a tab of its own before it
        ("0-7\t0\t\t1", Near(0, "0-7", "0", 1)),
        ("\t0\t\tN/A", Near(0, None, "0")),
        ("\t\t\tN/A", Near(0)),
        ("\t\tN/A\t\tN/A", Near(0)),
        ("\t\t3\t\tN/A", Near(0)),
        ("\t\t3\t1", Near(0)),
        ("0-7\t\t\t\t1", Near(0)),
        ("\n\t0-7\t0", Near(0)),
        ("0-7\t\t\t1", Near(0, "0-7", None, 1)),
        ("0-7\t\t", Near(0, "0-7")),
        ("", Near(0)),
    ],
)
def test_tabs_tell_which_affinity_is_blank(said: str, near: Near):
    head = "\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \t"
    assert parse(f"{head}{said}\n", WHERE).gpus == (near,)


def test_an_affinity_on_a_line_of_its_own_is_read_and_one_of_two_lines_is_not_put_together():
    head = "\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X "
    assert parse(f"{head}\n0-31,64-95\t0\t\tN/A\n", WHERE).gpus == (Near(0, "0-31,64-95", "0"),)
    assert parse(f"{head}\t0-31,6\n4-95\t\t\tN/A\n", WHERE).gpus == (Near(0),)


def test_without_tabs_a_blank_affinity_leaves_open_which_column_it_is():
    near = parse(MATRIX.expandtabs(8), WHERE).gpus
    assert near == (Near(0, "0-31,64-95", "0"), Near(1), Near(2, "32-63", "1", own_numa=4))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "GPU0\t X \tNV12\tSYS",
            "GPU0\t X \tNV12\tPIXX",
            "line 2, column GPU2: 'PIXX' is no link class known",
        ),
        ("GPU0\t X \tNV12\tSYS", "GPU0\t X \tNV12\t", "column NIC1: '0-31,64-95' is no link class"),
        ("GPU1\tNV12\t X ", "GPU1\tPIXX\t X ", "line 3, column GPU0: 'PIXX' is no link class"),
        ("GPU1\tNV12\t X ", "GPU1\tNV12\tPIX", "line 3, column GPU1: 'PIX' is no link class known here"),
        ("GPU1\tNV12\t X ", "GPU1\tX\t X ", "line 3, column GPU0: 'X' is no link class"),
        (
            "GPU1\tNV12\t X ",
            "GPU1\tNV8\t X ",
            "line 3, column GPU0: GPU1 to GPU0 is NV8, and by line 2 it is NV12",
        ),
        ("GPU1\tNV12\t X ", "GPU1\tNV#\t X ", "line 3, column GPU0: 'NV#'"),
        ("GPU1\tNV12\t X ", "GPU1\tNV0\t X ", "line 3, column GPU0: 'NV0'"),
        ("GPU1\tNV12\t X ", "GPU1\tnv12\t X ", "line 3, column GPU0: 'nv12'"),
        ("GPU1\tNV12\t X ", "GPU1\tERR!\t X ", "line 3, column GPU0: 'ERR!'"),
        ("GPU1\tNV12\t X ", "GPU1\tN/A\t X ", "line 3, column GPU0: 'N/A'"),
        ("NIC0\tPIX", "NIC0\tPHB", "line 5, column GPU0: NIC0 to GPU0 is PHB, and by line 2 it is PIX"),
        ("GPU2\tSYS", "GPU1\tSYS", "line 4, column 1: GPU1 has a row already"),
        ("GPU2\tSYS", "GPU5\tSYS", "line 4, column 1: GPU5 has no column in the header"),
        ("GPU2\tNIC0", "GPU1\tNIC0", "line 1, column GPU1: it is in the header twice"),
        (
            "CPU Affinity",
            "CPU-Affinität",
            "line 1, column CPU-Affinität: 'CPU-Affinität' is no column known here",
        ),
        ("CPU Affinity", "CPU 亲和性", "line 1, column 亲和性: '亲和性' is no column known here"),
        ("NUMA Affinity", "NUMA", "line 1, column GPU: 'GPU' is no column known here"),
        ("GPU NUMA ID", "GPU NUMA", "line 1, column NUMA: the header is cut off"),
        ("32-63\t1\t\t4", "32-63\t1\t\t4\t5", "line 4, column 10: '5' is beyond the header"),
        ("32-63\t1\t\t4", "keine\t1\t\t4", "line 4, column CPU Affinity: 'keine' is no list of numbers"),
        ("NODE\tSYS\t X \t\t", "NODE\tSYS\t X \t0-31\t", "line 6, column 7: '0-31' is beyond the header"),
        ("  NIC1: mlx5_bond_1\n", "", "line 13, column NIC1: it is not both in header and NIC legend"),
        ("mlx5_bond_1\n", "mlx5_bond", "line 13, column NIC1: it is not both in header and NIC legend"),
        ("mlx5_bond_1", "mlx5_0", "line 13, column 1: the NIC legend has one name for two cards"),
        (
            "NIC1\tSYS\tSYS\tNODE\tSYS\t X ",
            "NIC1\tSYS",
            "line 6, column GPU1: the row of NIC1 ends before it",
        ),
        ("\nLegend:", "\n\tGPU0\tGPU1\n\nLegend:", "line 8, column 1: a second matrix begins"),
        (
            "\tSYS\t X \tSYS\tNODE\t32-63\t1\t\t4",
            "\tSYS",
            "line 4, column GPU2: the row of GPU2 ends before it",
        ),
    ],
)
def test_what_is_not_known_is_refused_with_its_line_and_column(old: str, new: str, message: str):
    assert old in MATRIX
    found = refused(MATRIX.replace(old, new, 1))
    assert found.startswith(f"{WHERE}: line ")
    assert message in found


@pytest.mark.parametrize("name", ["GPU0", "GPU2", "NIC0", "NIC1"])
def test_a_column_without_a_row_is_refused_by_name(name: str):
    text = "".join(line for line in MATRIX.splitlines(keepends=True) if not line.startswith(name))
    assert f"column {name}: it has no row: the output is cut off" in refused(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: no header of a matrix of GPUs here: nothing was printed"),
        ("\n\n", "nothing was printed"),
        ("\x7fELF\x02\x01\x00\x00GPU0\x00", "no header of a matrix of GPUs here"),
        ("GPU[0] : (Topology) Numa Node: 0\n", "no header of a matrix of GPUs here: begins with 'GPU[0]"),
        ("        GPU0\tGPU1\nGPU0\tX\tGNS\nGPU1\tGNS\tX\n", "line 2, column GPU1: 'GNS' is no link class"),
        ("GPU1\tNV12\t X \n", "no header of a matrix of GPUs here: begins with 'GPU1"),
    ],
)
def test_the_output_of_something_else_is_refused(text: str, message: str):
    assert message in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "No devices were found\n",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the "
        "latest NVIDIA driver is installed and running.\n",
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.54\n",
        "Unable to determine the device handle for GPU 0000:09:00.0: Unknown Error\n",
        "bash: line 1: nvidia-smi: command not found\n",
    ],
)
@pytest.mark.parametrize(
    "reader", [parse, nvidia_xml.parse, nvidia_nvlink.parse, nvidia_list.parse, nvidia.compute_capabilities]
)
def test_a_driver_that_does_not_answer_is_told_from_an_output_that_is_damaged(
    reader: Callable[[str, str], object], text: str
):
    with pytest.raises(DriverFailure, match=re.escape(f"{WHERE}: line 1: {text.splitlines()[0]}")):
        reader(text, WHERE)


CLASS = st.sampled_from(
    ["PIX", "PXB", "PHB", "NODE", "SYS", *(f"NV{lanes}" for lanes in (1, 2, 4, 8, 12, 18))]
)
RANGE = st.sampled_from(["0", "3", "0-7", "0-31,64-95", "112-127,240-255", "N/A"])
Cells = dict[tuple[str, str], str]


@st.composite
def matrices(draw: st.DrawFn) -> tuple[list[str], list[str], Cells, list[list[str]]]:
    """Names of GPUs, of cards, a class for each pair, and the values of 0 to 3 affinity columns."""
    gpus = [f"GPU{index}" for index in range(draw(st.integers(1, 10)))]
    cards = [f"mlx5_{index}" for index in range(draw(st.integers(0, 11)))]
    cells: Cells = {}
    for a, b in combinations(gpus + cards, 2):
        cells[a, b] = cells[b, a] = draw(CLASS)
    columns = draw(st.integers(0, 3))
    own = st.sampled_from(["N/A", "1", "12"])
    affinities = [[draw(value) for value in (RANGE, RANGE, own)[:columns]] for _ in gpus]
    return gpus, cards, cells, affinities


def render(
    gpus: list[str],
    cards: list[str],
    cells: Cells,
    affinities: list[list[str]],
    *,
    numbered: bool,
    tabs: bool,
) -> str:
    labels = [f"NIC{place}" for place in range(len(cards))] if numbered else cards
    heads = ["CPU Affinity", "NUMA Affinity", "GPU NUMA ID"][: len(affinities[0])]
    lines = ["\t" + "\t".join([*gpus, *labels, *heads])]
    for row, name in enumerate([*gpus, *cards]):
        fields = [" X " if other == name else cells[name, other] for other in [*gpus, *cards]]
        near = [*affinities[row][:2], "", *affinities[row][2:]] if row < len(gpus) else ["", "", ""]
        lines.append("\t".join([[*gpus, *labels][row], *fields, *near]))
    lines += ["", "Legend:", "", "  X    = Self", ""]
    if numbered and cards:
        lines += [
            "NIC Legend:",
            "",
            *(f"  {label}: {name}" for label, name in zip(labels, cards, strict=True)),
            "",
        ]
    text = "\n".join(lines) + "\n"
    return text if tabs else text.expandtabs(8)


LAYOUTS = pytest.mark.parametrize(
    ("numbered", "tabs"), [(False, False), (False, True), (True, False), (True, True)]
)


@LAYOUTS
@given(drawn=matrices())
@settings(max_examples=60, deadline=None)
def test_whatever_is_rendered_is_read_back(drawn: Any, numbered: bool, tabs: bool):
    gpus, cards, cells, affinities = drawn
    found = parse(render(*drawn, numbered=numbered, tabs=tabs), WHERE)
    expected = {(i, j): cells[a, b] for (i, a), (j, b) in combinations(enumerate(gpus), 2)}
    assert links(found) == expected
    ways = [[f"{way.kind}" for way in nic.near] for nic in found.nics]
    assert ways == [[re.sub(r"NV\d+", "NV", cells[gpu, card]) for gpu in gpus] for card in cards]
    assert [nic.name for nic in found.nics] == cards
    for near, said in zip(found.gpus, affinities, strict=True):
        said = [None if value == "N/A" else value for value in [*said, "N/A", "N/A", "N/A"]]
        own = None if near.own_numa is None else str(near.own_numa)
        assert [near.cpus, near.numa, own] == said[:3]


def reads_the_same_or_refuses(text: str, whole: Matrix) -> None:
    try:
        found = parse(text, WHERE)
    except TopologyError:
        return
    assert found.links == whole.links
    assert [nic.near for nic in found.nics] == [nic.near for nic in whole.nics]


@LAYOUTS
@given(drawn=matrices(), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_matrix_is_never_read_as_another_link(
    drawn: Any, data: st.DataObject, numbered: bool, tabs: bool
):
    text = render(*drawn, numbered=numbered, tabs=tabs)
    whole = parse(text, WHERE)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.one_of(st.just(len(text)), st.integers(start, min(start + 40, len(text)))))
    reads_the_same_or_refuses(text[:start] + text[end:], whole)


@given(name=st.sampled_from(READABLE), data=st.data())
@settings(max_examples=400, deadline=None)
def test_a_damaged_recording_is_never_read_as_another_link(name: str, data: st.DataObject):
    text = recorded(name)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.one_of(st.just(len(text)), st.integers(start, min(start + 60, len(text)))))
    reads_the_same_or_refuses(text[:start] + text[end:], parse(text, WHERE))


@given(name=st.sampled_from(READABLE), data=st.data())
@settings(max_examples=400, deadline=None)
def test_a_recording_that_is_cut_off_is_never_read_as_another_affinity(name: str, data: st.DataObject):
    text = recorded(name)
    whole = parse(text, WHERE)
    with contextlib.suppress(TopologyError):
        # Few cuts leave a whole matrix: most of those that do are in its last row of numbers, or below.
        found = parse(text[: data.draw(st.integers(text.rindex(" X "), len(text)))], WHERE)
        for near, complete in zip(found.gpus, whole.gpus, strict=True):
            assert near.cpus in (None, complete.cpus)
            assert near.numa in (None, complete.numa)
            assert near.own_numa in (None, complete.own_numa)


@LAYOUTS
@given(drawn=matrices(), width=st.integers(8, 130))
@settings(max_examples=100, deadline=None)
def test_a_matrix_wrapped_by_a_terminal_is_never_read_as_another_link(
    drawn: Any, width: int, numbered: bool, tabs: bool
):
    text = render(*drawn, numbered=numbered, tabs=tabs)
    wrapped = re.sub(rf"(.{{{width}}})(?=.)", r"\1\n", text)
    reads_the_same_or_refuses(wrapped, parse(text, WHERE))


@LAYOUTS
@given(drawn=matrices(), width=st.integers(40, 130))
@settings(max_examples=60, deadline=None)
def test_a_matrix_wrapped_between_words_is_joined(drawn: Any, width: int, numbered: bool, tabs: bool):
    text = render(*drawn, numbered=numbered, tabs=tabs)
    lines = [
        textwrap.fill(line, width, expand_tabs=False, break_on_hyphens=False) for line in text.splitlines()
    ]
    found, whole = parse("\n".join(lines), WHERE), parse(text, WHERE)
    assert (found.links, found.nics) == (whole.links, whole.nics)
