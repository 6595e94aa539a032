# SPDX-License-Identifier: GPL-3.0-or-later
"""`nvidia-smi topo -m`: which link joins each pair of GPUs, and each GPU to each network card.

A link is read or refused, never guessed: each pair stands in it twice, and both must say the same.
Layouts, from old drivers to new: columns for network cards by name (mlx5_0), then by number with a legend
below; affinity of CPU, then also NUMA, then also the GPU's own NUMA node. Tabs, or spaces once pasted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Link, LinkClass, Nic, Way
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import at, plain, refuse

# SOC is what old drivers called SYS; its legend is "the SMP link between CPU sockets(e.g. QPI)" in
# TensorFlow's contrib/gdr/README.md and github.com/intel/caffe, docs/multigpu.md, both of 2017.
CLASSES: Mapping[str, LinkClass] = {
    "PIX": "PIX", "PXB": "PXB", "PHB": "PHB", "NODE": "NODE", "SYS": "SYS", "SOC": "SYS",
}  # fmt: skip
NVLINK = re.compile(r"NV([1-9]\d*)")
LABEL = re.compile(r"GPU\d+|NIC\d+|[a-z][a-z0-9._-]*\d[a-z0-9._-]*")
RANGES = re.compile(r"N/A|\d+(-\d+)?(,\d+(-\d+)?)*")
AFFINITIES = ("CPU Affinity", "NUMA Affinity", "GPU NUMA ID")
# A name at the very end of the text may be cut off.
LEGEND = re.compile(r"\b(NIC\d+):[ \t]*([^\s:]+)(?=\s)")


@dataclass(frozen=True)
class Near:
    """What a GPU is near to. `numa` is a list of ranges; `own_numa` is the node of the GPU's own memory."""

    index: int
    cpus: str | None = None
    numa: str | None = None
    own_numa: int | None = None


@dataclass(frozen=True)
class Matrix:
    gpus: tuple[Near, ...]
    links: tuple[Link, ...]
    nics: tuple[Nic, ...]


@dataclass
class _Row:
    """One row, of one line or of several that it was wrapped into."""

    label: str
    pieces: list[tuple[int, str]] = field(default_factory=list)

    def words(self) -> list[tuple[int, str]]:
        return [(number, word) for number, piece in self.pieces for word in piece.split()]


def parse(text: str, where: str) -> Matrix:
    """
    Raises:
        DriverFailure: nvidia-smi answered that it could not ask the driver.
        TopologyError: anything that is not a whole matrix of known link classes; says line and column.
    """
    every = enumerate(plain(text).splitlines(keepends=True), start=1)
    lines = [(number, line) for number, line in every if line.split()]
    start = next((place for place, (_, line) in enumerate(lines) if _is_header(line.split())), None)
    if start is None:
        raise refuse(text, where, "header of a matrix of GPUs")
    end = next((place for place in range(start, len(lines)) if _is_row(lines[place][1].split())), len(lines))
    columns, affinities = _header(lines[start:end], where)
    rows, rest = _rows(lines[end:], columns, len(affinities), where)
    cells = {row.label: _cells(row, columns, where) for row in rows}
    for name in columns:
        if name not in cells:
            raise at(where, lines[-1][0], name, "it has no row: the output is cut off")
    _check_symmetry(cells, where)
    gpus = {name: int(name[3:]) for name in columns if name.startswith("GPU")}
    near = {row.label: _near(row, len(columns), affinities, where) for row in rows if row.label in gpus}
    names = _nic_names(rest, [name for name in columns if name not in gpus], where)
    return Matrix(
        gpus=tuple(near[name] for name in gpus),
        links=tuple(_link(gpus[a], gpus[b], cells[a][b][1]) for a, b in combinations(gpus, 2)),
        nics=tuple(
            Nic(names[nic], near=tuple(Way(gpus[gpu], _kind(cells[gpu][nic][1])) for gpu in gpus))
            for nic in names
        ),
    )


def _is_header(words: Sequence[str]) -> bool:
    """Begins with a GPU, and goes on with another or with the affinities."""
    another = len(words) == 1 or LABEL.fullmatch(words[1]) or words[1].startswith("CPU")
    return bool(re.fullmatch(r"GPU\d+", words[0]) and another)


def _is_row(words: Sequence[str]) -> bool:
    """Begins with a label and goes on with a link, which a header never does."""
    if not LABEL.fullmatch(words[0]) or len(words) == 1:
        return False
    return words[1] == "X" or words[1] in CLASSES or bool(NVLINK.fullmatch(words[1]))


def _header(lines: Sequence[tuple[int, str]], where: str) -> tuple[list[str], Sequence[str]]:
    """The header's link columns and its affinity columns; a wrapped header is several lines."""
    words = [(number, word) for number, line in lines for word in line.split()]
    columns: list[str] = []
    while len(columns) < len(words) and LABEL.fullmatch(words[len(columns)][1]):
        number, word = words[len(columns)]
        if word in columns:
            raise at(where, number, word, "it is in the header twice")
        columns.append(word)
    tail = words[len(columns) :]
    known = " ".join(AFFINITIES).split()
    for place, (number, word) in enumerate(tail):
        if known[place : place + 1] != [word]:
            raise at(where, number, word, f"{word!r} is no column known here")
    ends = {len(" ".join(AFFINITIES[:count]).split()): AFFINITIES[:count] for count in range(4)}
    if len(tail) not in ends:
        raise at(where, tail[-1][0], tail[-1][1], "the header is cut off here")
    return columns, ends[len(tail)]


def _rows(
    lines: Sequence[tuple[int, str]], columns: Sequence[str], affinities: int, where: str
) -> tuple[list[_Row], Sequence[tuple[int, str]]]:
    """The rows, and the lines below them. A line that does not begin a row belongs to the row above, as long
    as that one lacks something.
    """
    rows: list[_Row] = []
    for place, (number, line) in enumerate(lines):
        words = line.split()
        seen = any(row.label == words[0] for row in rows)
        if words[0] in columns and not seen:
            rows.append(_Row(words[0], [(number, line.lstrip().removeprefix(words[0]))]))
        elif _is_header(words):
            raise at(where, number, 1, "a second matrix begins")
        elif _is_row(words):
            wrong = "has a row already" if seen else "has no column in the header"
            raise at(where, number, 1, f"{words[0]} {wrong}")
        elif rows and _continues(rows[-1], words, len(columns), affinities):
            rows[-1].pieces.append((number, line))
        else:
            return rows, lines[place:]
    return rows, ()


def _continues(row: _Row, words: Sequence[str], links: int, affinities: int) -> bool:
    if words[0].startswith("Legend"):
        return False
    have = len(row.words())
    if have < links:
        return True
    room = links + affinities - have if row.label.startswith("GPU") else 0
    return len(words) <= room and all(RANGES.fullmatch(word) for word in words)


def _cells(row: _Row, columns: Sequence[str], where: str) -> dict[str, tuple[int, str]]:
    """Column name -> (line, link class); all columns are there, and each is known."""
    words = row.words()
    for (number, word), column in zip(words, columns, strict=False):
        known = word in CLASSES or NVLINK.fullmatch(word) or (word == "X" and column == row.label)
        if not known or (word != "X" and column == row.label):
            raise at(where, number, column, f"{word!r} is no link class known here")
    if len(words) < len(columns):
        column = columns[len(words)]
        raise at(where, row.pieces[-1][0], column, f"the row of {row.label} ends before it: it is cut off")
    if len(words) > len(columns) and not row.label.startswith("GPU"):
        number, word = words[len(columns)]
        raise at(where, number, len(columns) + 2, f"{word!r} is beyond the header")
    return dict(zip(columns, words, strict=False))


def _check_symmetry(cells: Mapping[str, Mapping[str, tuple[int, str]]], where: str) -> None:
    for a, b in combinations(cells, 2):
        (line, one), (other_line, other) = cells[a][b], cells[b][a]
        if one != other:
            raise at(where, other_line, a, f"{b} to {a} is {other}, and by line {line} it is {one}")


def _near(row: _Row, links: int, affinities: Sequence[str], where: str) -> Near:
    found = dict(zip(affinities, _affinity_words(row, links, len(affinities), where), strict=False))
    for column, (number, word) in found.items():
        if word and not RANGES.fullmatch(word):
            raise at(where, number, column, f"{word!r} is no list of numbers")
    cpus, numa, own = (found.get(column, (0, ""))[1] for column in AFFINITIES)
    return Near(
        int(row.label[3:]),
        None if cpus in ("", "N/A") else cpus,
        None if numa in ("", "N/A") else numa,
        int(own) if own.isdigit() else None,
    )


def _affinity_words(row: _Row, links: int, columns: int, where: str) -> list[tuple[int, str]]:
    words = row.words()[links:]
    if len(words) > columns:
        number, word = words[columns]
        raise at(where, number, links + columns + 2, f"{word!r} is beyond the header")
    number, piece = row.pieces[-1]
    if words and not piece[-1].isspace():  # the text ends here, perhaps within the word
        piece = piece.removesuffix(words.pop()[1])
    if len({line for line, _ in words}) > 1:
        return []  # a word may have been wrapped as well
    if len(words) == columns:
        return words
    # Tabs tell which column is blank. There are two before the GPU's NUMA node, under a header with one.
    fields = [text.strip() for text in piece.rstrip().split("\t")][1:]
    cpus, numa, gap, own, *more = [*fields[links:], "", "", "", ""]
    if len(row.pieces) > 1 or not all(fields[:links]) or gap or any(more):
        return []
    return [(number, cpus), (number, numa), (number, own)][:columns]


def _nic_names(below: Sequence[tuple[int, str]], columns: Sequence[str], where: str) -> dict[str, str]:
    """Column -> device name, by the legend below the matrix where the columns are numbers."""
    names = {column: column for column in columns}
    begins = next((number for number, line in below if line.split()[:2] == ["NIC", "Legend:"]), None)
    if begins is None:
        return names
    legend = [found for _, line in below for found in LEGEND.findall(line)]
    numbered = [column for column in columns if column.startswith("NIC")]
    if unmatched := {*numbered} ^ {column for column, _ in legend}:
        raise at(where, begins, min(unmatched), "it is not both in header and NIC legend")
    names.update(legend)
    if len({name for _, name in legend}) < len(legend):
        raise at(where, begins, 1, "the NIC legend has one name for two cards")
    return names


def _kind(word: str) -> LinkClass:
    return "NV" if NVLINK.fullmatch(word) else CLASSES[word]


def _link(a: int, b: int, word: str) -> Link:
    lanes = NVLINK.fullmatch(word)
    low, high = sorted((a, b))
    return Link(low, high, _kind(word), int(lanes[1]) if lanes else 0)
