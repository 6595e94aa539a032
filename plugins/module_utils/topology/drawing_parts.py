# SPDX-License-Identifier: GPL-3.0-or-later
"""The pieces of a drawing: groups, devices, and the lines between them. `xml` escapes all text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from ansible_collections.stronghold.llm.plugins.module_utils.topology.check_links import kind
from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing_layout import (
    WIRED,
    Bundle,
    Group,
    Layout,
    nearest,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing_places import (
    DROP,
    GAP,
    HUB,
    HUB_LEAST,
    MARGIN,
    PAD,
    RAIL,
    Box,
    Places,
    Row,
    dip,
    inside,
    levels,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    INTERCONNECTS,
    Gpu,
    Link,
    Nic,
    Topology,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.words import plural

Ends = Mapping[int, tuple[Row, Box]]


# What no XML may hold, not even written as a number (Extensible Markup Language 1.0, 2.2).
FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def xml(said: str) -> str:
    """As text of an element or an attribute."""
    return escape(FORBIDDEN.sub("\ufffd", said))


def text(x: float, y: float, said: str, style: str, size: float | None = None, anchor: str = "") -> str:
    more = (f' font-size="{size:g}"' if size else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text class="{style}" x="{x:g}" y="{y:g}"{more}>{xml(said)}</text>'


def cut(said: str, width: float, letter: float) -> str:
    """What has room, by the width of a letter."""
    most = int(width / letter)
    return said if len(said) <= most else f"{said[: most - 1]}…"


def style_of(name: str) -> str:
    return "own" if name in INTERCONNECTS else "far" if name == "SYS" else "rail"


def _title(said: str) -> str:
    return f"<title>{xml(said)}</title>"


def _rect(box: Box, style: str, radius: int = 8) -> str:
    return (
        f'<rect class="{style}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{radius}"/>'
    )


def groups(at: Places, topology: Topology) -> Iterator[str]:
    for row in at.rows:
        for group, box in row.groups:
            y = box.y + 22 if row.down > 0 else box.y + box.height - 28
            name = "NUMA node not known" if group.node is None else f"NUMA node {group.node}"
            yield _rect(box, "group")
            yield text(box.x + PAD, y, name, "name")
            yield text(
                box.x + PAD, y + 17, cut(_about(group, topology), box.width - 2 * PAD, 6.3), "what small"
            )


def _about(group: Group, topology: Topology) -> str:
    if group.numa is None:
        return "" if topology.gpus or topology.nics else "nothing was read"
    memory = [] if group.numa.memory_mib is None else [f"{group.numa.memory_mib / 1024:.0f} GiB"]
    return " · ".join([f"CPUs {group.numa.cpus or 'none'}", *memory])


def devices(at: Places, mixed: bool) -> Iterator[str]:
    for row in at.rows:
        for gpu, box in row.gpus:
            yield from _gpu(gpu, box, mixed)
        for nic, box in row.nics:
            yield from _nic(nic, box)


def _gpu(gpu: Gpu, box: Box, mixed: bool) -> Iterator[str]:
    memory = "memory not read" if gpu.memory_mib is None else f"{gpu.memory_mib / 1024:.1f} GiB"
    width = "" if gpu.pcie.width is None else f" · PCIe x{gpu.pcie.width}"
    said = [cut(gpu.name, box.width - 16, 7)] if mixed else []
    said += [gpu.pci or "address not read", memory + width]
    yield f"<g>{_title(f'GPU {gpu.index}: {gpu.name}')}{_rect(box, 'gpu', 6)}"
    yield text(box.x + 10, box.y + 19, f"GPU {gpu.index}", "name")
    if gpu.mig:
        yield text(box.x + box.width - 10, box.y + 19, "MIG", "bad small", anchor="end")
    for place, line in enumerate(said):
        yield text(box.x + 10, box.y + 36 + 16 * place, cut(line, box.width - 16, 6.3), "what small")
    yield "</g>"


def _nic(nic: Nic, box: Box) -> Iterator[str]:
    best, near = nearest(nic)
    up = nic.state in (None, "ACTIVE")
    rate = "rate not read" if nic.rate_gbps is None else f"{nic.rate_gbps:g} Gb/s"
    said = f"{rate} {nic.link_layer or ''}".strip() if up else str(nic.state)
    gpus = f"GPU {', '.join(map(str, near))}" if len(near) < 3 else plural(len(near), "GPU")
    where = f"{best} to {gpus}" if best else ""
    yield f"<g>{_title(f'network card {nic.name}')}{_rect(box, 'nic', 6)}"
    yield text(box.x + 8, box.y + 17, cut(nic.name, box.width - 14, 7), "name")
    yield text(box.x + 8, box.y + 33, cut(said, box.width - 14, 5.9), "what small" if up else "bad small")
    yield text(box.x + 8, box.y + 48, cut(where, box.width - 14, 5.9), "what small")
    yield "</g>"


def links(plan: Layout, at: Places, topology: Topology) -> Iterator[str]:
    ends = {gpu.index: (row, box) for row in at.rows for gpu, box in row.gpus}
    yield from _wires(at, ends)
    for row in at.rows:
        for group, box in row.groups:
            yield from _inner_rails(group, box, plan.rails, ends)
    yield from _outer_rails(plan, at, ends)
    yield from _lines(plan.lines, ends)
    for place, hub in enumerate(plan.hubs):
        yield from _hub(hub, place, at, ends, len(topology.nvswitches))


def _pairs(links: Iterable[Link]) -> str:
    return "; ".join(f"GPU {link.a} and {link.b}: {kind(link)}" for link in links)


def _line(path: str, name: str, links: Sequence[Link]) -> str:
    return f'<path class="{style_of(name)}" d="{path}">{_title(_pairs(links))}</path>'


def _label(x: float, y: float, said: str, name: str, anchor: str = "middle") -> str:
    return text(x, y, said, f"label l{style_of(name)}", anchor=anchor)


def _wires(at: Places, ends: Ends) -> Iterator[str]:
    """From each network card to the GPUs that it is nearest to, where that is nearer than their node."""
    for row in at.rows:
        for nic, box in row.nics:
            best, near = nearest(nic)
            for gpu in near if best in WIRED else ():
                if gpu in ends and ends[gpu][0] is row:
                    target = ends[gpu][1]
                    start, end = (
                        f"{box.middle:g} {row.inner(box):g}",
                        f"{target.middle:g} {row.outer(target):g}",
                    )
                    yield f'<path class="wire" d="M{start}L{end}"/>'


def _inner_rails(group: Group, box: Box, rails: Sequence[Bundle], ends: Ends) -> Iterator[str]:
    depth = levels(group, rails)
    tops = {gpu.index: (ends[gpu.index][1].x + DROP, _edge(*ends[gpu.index])) for gpu in group.gpus}
    for rail in rails:
        if inside(group, rail):
            down = ends[rail.gpus[0]][0].down
            y = _edge(*ends[rail.gpus[0]]) + down * RAIL * (depth.index(rail.kind) + 0.7)
            points = list(dict.fromkeys(tops[gpu] for gpu in rail.gpus))
            left, right = min(x for x, _ in points), max(x for x, _ in points)
            path = "".join(f"M{x:g} {start:g}V{y:g}" for x, start in points)
            yield _line(f"{path}M{left:g} {y:g}H{right:g}", rail.kind, rail.links)
            yield _label(right + 6, y + 4, rail.kind, rail.kind, "start")
            tops |= dict.fromkeys(rail.gpus, ((left + right) / 2, y))


def _edge(row: Row, box: Box) -> float:
    return row.inner(box)


def _outer_rails(plan: Layout, at: Places, ends: Ends) -> Iterator[str]:
    """From node to node."""
    spots = [(row, group, box) for row in at.rows for group, box in row.groups]
    outer = [rail for rail in plan.rails if not any(inside(group, rail) for _, group, _ in spots)]
    for place, rail in enumerate(outer):
        y = at.middle[0] + (at.middle[1] - at.middle[0]) * (place + 1) / (len(outer) + 1)
        held = [
            (box.x + PAD + 48 * place, row.inner(box))
            for row, group, box in spots
            if any(gpu.index in rail.gpus for gpu in group.gpus)
        ]
        path = "".join(f"M{x:g} {start:g}V{y:g}" for x, start in held)
        left, right = min(x for x, _ in held), max(x for x, _ in held)
        yield _line(f"{path}M{left:g} {y:g}H{right:g}", rail.kind, rail.links)
        yield _label(left + 6, at.middle[0] + 16, f"{rail.kind}{_within(rail, spots)}", rail.kind, "start")


def _within(rail: Bundle, spots: Sequence[tuple[Row, Group, Box]]) -> str:
    held = [{gpu.index for gpu in group.gpus} for _, group, _ in spots]
    inner = any({link.a, link.b} <= gpus for link in rail.links for gpus in held)
    return ", and inside" if inner else ""


def _lines(lines: Sequence[Link], ends: Ends) -> Iterator[str]:
    """Pair by pair; each GPU has a port for each of its lines, in the order of where they go."""
    order = {gpu: place for place, gpu in enumerate(ends)}
    ports: dict[tuple[int, int], float] = {}
    for gpu, (_, box) in ends.items():
        others = sorted(
            (link.a + link.b - gpu for link in lines if gpu in (link.a, link.b)),
            key=lambda other: (ends[other][1].middle, order[other]),
        )
        room = box.width - 2 * DROP
        for place, other in enumerate(others):
            ports[gpu, other] = box.x + 1.5 * DROP + room * (place + 1) / (len(others) + 1)
    labels = []
    for link in lines:
        (row, a), (there, b) = ends[link.a], ends[link.b]
        x1, y1, x2, y2 = ports[link.a, link.b], row.inner(a), ports[link.b, link.a], there.inner(b)
        if row is there:
            far = y1 + row.down * dip(abs(order[link.a] - order[link.b]))
            path = f"M{x1:g} {y1:g}C{x1:g} {far:g} {x2:g} {far:g} {x2:g} {y2:g}"
            x, y = (x1 + x2) / 2, y1 + (far - y1) * 0.75
        else:
            part = 0.5 if abs(x1 - x2) < a.width else 0.3 if x1 < x2 else 0.7
            path = f"M{x1:g} {y1:g}L{x2:g} {y2:g}"
            x, y = x1 + (x2 - x1) * part, y1 + (y2 - y1) * part
        yield _line(path, link.kind, [link])
        labels.append(_label(x, y + 4, kind(link), link.kind))
    yield from labels  # above all lines


def _hub(hub: Bundle, place: int, at: Places, ends: Ends, switches: int) -> Iterator[str]:
    spots = [ends[gpu] for gpu in hub.gpus]
    left, right = min(box.x for _, box in spots), max(box.x + box.width for _, box in spots)
    width = max(right - left, HUB_LEAST)
    x = min(max((left + right - width) / 2, MARGIN), at.width - MARGIN - width)
    y = sum(at.middle) / 2 - HUB / 2 + place * (HUB + GAP)
    lanes = hub.lanes
    most, fewest = max(lanes.values()), min(lanes.values())
    for gpu, (row, box) in zip(hub.gpus, spots, strict=True):
        yield f'<path class="own" d="M{box.middle:g} {row.inner(box):g}V{y + HUB / 2:g}"/>'
        if lanes[gpu] < most:
            yield _label(box.middle, row.inner(box) + row.down * 32 + 4, f"{hub.kind}{lanes[gpu]}", hub.kind)
    yield f"<g>{_title(_pairs(hub.links))}{_rect(Box(x, y, width, HUB), 'hub')}</g>"
    name = hub.kind if hub.kind != "NV" else f"NV{most}" if most == fewest else f"NV{fewest} to NV{most}"
    switch = f"{plural(switches, 'NVSwitch')}: " if switches and hub.kind == "NV" else ""
    said = f"{switch.replace('NVSwitchs', 'NVSwitches')}{name} between every two of {len(hub.gpus)} GPUs"
    yield text(x + width / 2, y + HUB / 2 + 5, said, "hubname", anchor="middle")
