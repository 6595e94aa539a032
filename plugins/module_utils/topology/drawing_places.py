# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the things of a layout stand, in pixels. The lower row is the upper one upside down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing_layout import (
    Bundle,
    Group,
    Layout,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Nic

MARGIN, PAD, GAP = 20, 16, 16
TITLE, HEADER = 64, 52
GPU_WIDTH, NIC_WIDTH, NIC_HEIGHT = 136, 128, 56
GPU_LINES, LINE = 46, 16
SHELF, WIRES = NIC_HEIGHT + 8, 32
"""Between network cards and GPUs."""
RAIL = 24
LEAST = 176
"""Inner width of a group, for its name and processors."""
HUB, HUB_LEAST = 40, 400
DROP = 14
"""Rails leave a GPU at its left side, and its own links right of them."""


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Row:
    """`down` is 1 where the inner side is the lower one, else -1."""

    down: int
    groups: tuple[tuple[Group, Box], ...]
    gpus: tuple[tuple[Gpu, Box], ...]
    nics: tuple[tuple[Nic, Box], ...]

    def inner(self, box: Box) -> float:
        return box.y + box.height if self.down > 0 else box.y

    def outer(self, box: Box) -> float:
        return box.y if self.down > 0 else box.y + box.height


@dataclass(frozen=True)
class Places:
    width: float
    rows: tuple[Row, ...]
    middle: tuple[float, float]
    """Where the space between the rows begins and ends."""
    bottom: float


def places(layout: Layout, gpu_lines: int) -> Places:
    sizes = [_Sizes(row, layout, gpu_lines) for row in layout.rows]
    width = max(_TEXT_LEAST, *(size.width for size in sizes)) + 2 * MARGIN
    top = TITLE + MARGIN
    below = top + sizes[0].height
    above = below + _between(layout)
    rows = [_row(layout.rows[0], sizes[0], 1, top, width)]
    if layout.rows[1]:
        rows.append(_row(layout.rows[1], sizes[1], -1, above + sizes[1].height, width))
    return Places(width, tuple(rows), (below, above), above + (sizes[1].height if layout.rows[1] else 0))


_TEXT_LEAST = 560


class _Sizes:
    def __init__(self, row: Sequence[Group], layout: Layout, gpu_lines: int) -> None:
        self.widths = [_inner_width(group) + 2 * PAD for group in row]
        self.width = sum(self.widths) + GAP * (len(row) - 1) if row else 0
        self.gpu = GPU_LINES + LINE * (gpu_lines - 2)
        shelves = max((len(group.shelves) for group in row), default=0)
        gpus = self.gpu if any(group.gpus for group in row) else 0
        self.to_nics = HEADER + max(shelves - 1, 0) * SHELF
        self.to_gpus = HEADER + shelves * SHELF + (WIRES if shelves and gpus else 0)
        depth = max((len(levels(group, layout.rails)) for group in row), default=0)
        self.height = self.to_gpus + gpus + RAIL * depth + PAD if row else 0


def _inner_width(group: Group) -> float:
    gpus = len(group.gpus) * (GPU_WIDTH + GAP) - GAP
    nics = max(map(len, group.shelves), default=0) * (NIC_WIDTH + GAP / 2) - GAP / 2
    return max(gpus, nics, LEAST)


def levels(group: Group, rails: Sequence[Bundle]) -> list[str]:
    """Classes of the rails inside a group, nearest first."""
    return list(dict.fromkeys(rail.kind for rail in rails if inside(group, rail)))


def inside(group: Group, rail: Bundle) -> bool:
    return set(rail.gpus) <= {gpu.index for gpu in group.gpus}


def _between(layout: Layout) -> float:
    """The space between the rows, for what is drawn there."""
    row_of = {gpu.index: row for row, groups in enumerate(layout.rows) for g in groups for gpu in g.gpus}
    place = {index: position for position, index in enumerate(row_of)}
    across = any(row_of[link.a] != row_of[link.b] for link in layout.lines)
    dips = [0.0, 0.0]
    for link in layout.lines:
        if row_of[link.a] == row_of[link.b]:
            row = row_of[link.a]
            dips[row] = max(dips[row], dip(abs(place[link.a] - place[link.b])))
    lines = sum(dips) * 0.75 + (80 if across else 0) + (30 if any(dips) else 0)
    hubs = len(layout.hubs) * (HUB + GAP) + 60 if layout.hubs else 0
    groups = [group for row in layout.rows for group in row]
    crossing = sum(1 for rail in layout.rails if not any(inside(group, rail) for group in groups))
    return max(lines, hubs, crossing * RAIL + 32 if crossing else 0, GAP if layout.rows[1] else 0)


def dip(columns: int) -> float:
    """How far an arc between two GPUs of one row reaches into the middle; a curve uses three quarters."""
    return 36 + 26 * columns


def _row(groups: Sequence[Group], sizes: _Sizes, down: int, outer: float, width: float) -> Row:
    def box(x: float, depth: float, wide: float, high: float) -> Box:
        return Box(x, outer + depth if down > 0 else outer - depth - high, wide, high)

    x = (width - sizes.width) / 2
    boxes, gpus, nics = [], [], []
    for group, wide in zip(groups, sizes.widths, strict=True):
        boxes.append((group, box(x, 0, wide, sizes.height)))
        gpus += [
            (gpu, box(each, sizes.to_gpus, GPU_WIDTH, sizes.gpu))
            for gpu, each in zip(group.gpus, _spread(len(group.gpus), GPU_WIDTH, x, wide), strict=True)
        ]
        nics += [
            (nic, box(each, sizes.to_nics - SHELF * place, NIC_WIDTH, NIC_HEIGHT))
            for place, shelf in enumerate(group.shelves)
            for nic, each in zip(shelf, _spread(len(shelf), NIC_WIDTH, x, wide), strict=True)
        ]
        x += wide + GAP
    return Row(down, tuple(boxes), tuple(gpus), tuple(nics))


def _spread(count: int, size: float, x: float, width: float) -> list[float]:
    """So many of this size, evenly over a group's width."""
    step = (width - 2 * PAD) / max(count, 1)
    return [x + PAD + step * place + (step - size) / 2 for place in range(count)]
