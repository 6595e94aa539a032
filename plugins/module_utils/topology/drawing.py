# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's topology as one SVG: no script, nothing from elsewhere, the same for the same topology."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ansible_collections.stronghold.llm.plugins.module_utils.topology.check_links import kind
from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing_layout import (
    WIRED,
    layout,
    nearest,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing_parts import (
    cut,
    devices,
    groups,
    links,
    style_of,
    text,
    xml,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing_places import (
    MARGIN,
    Places,
    places,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    INTERCONNECTS,
    Gpu,
    Nic,
    Topology,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.words import plural

STYLE = """
.back{fill:#f6f8fa}.group{fill:#fff;stroke:#8c959f}.gpu{fill:#eaf5ec;stroke:#0a7d33;stroke-width:1.5}
.nic{fill:#eaf2fd;stroke:#0b62c4}.hub{fill:#0a7d33}.name{font-weight:700;fill:#1f2328}.what{fill:#424a53}
.small{font-size:11.5px}.hubname{fill:#fff;font-weight:700}.bad{fill:#c4242b;font-weight:700}
.own{stroke:#0a7d33;stroke-width:3.5;fill:none}.rail{stroke:#57606a;stroke-width:1.5;fill:none}
.far{stroke:#9a4b00;stroke-width:1.5;stroke-dasharray:6 4;fill:none}.wire{stroke:#0b62c4;fill:none}
.label{font-size:11.5px;font-weight:700;stroke:#f6f8fa;stroke-width:4;paint-order:stroke}
.lown{fill:#0a7d33}.lrail{fill:#424a53}.lfar{fill:#9a4b00}
@media (prefers-color-scheme:dark){
.back{fill:#0d1117}.group{fill:#161b22;stroke:#6e7681}.gpu{fill:#12281a;stroke:#3fb950}
.nic{fill:#0f2440;stroke:#58a6ff}.hub{fill:#238636}.name{fill:#f0f6fc}.what{fill:#c9d1d9}.bad{fill:#ff8a80}
.own{stroke:#3fb950}.rail{stroke:#9198a1}.far{stroke:#e3a04f}.wire{stroke:#58a6ff}.label{stroke:#0d1117}
.lown{fill:#6fdd8b}.lrail{fill:#c9d1d9}.lfar{fill:#e3a04f}
}"""

MEANING = {
    "NV": "NVLink, with the number of lanes",
    "XGMI": "AMD Infinity Fabric",
    "PIX": "one PCIe switch",
    "PXB": "several PCIe switches",
    "PHB": "a PCIe host bridge",
    "NODE": "host bridges of one NUMA node",
    "SYS": "between NUMA nodes",
}
TIMES = "\N{MULTIPLICATION SIGN}"
ENTRY, LETTER, ROW_HEIGHT = 44, 6.4, 22


def svg(topology: Topology) -> str:
    """Title and description say all of it in words, for those who do not see it."""
    plan = layout(topology)
    mixed = len({gpu.name for gpu in topology.gpus}) > 1
    at = places(plan, gpu_lines=4 if mixed else 3)
    legend, height = _legend(topology, at)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {at.width:g} {height:g}" font-size="13" '
        'font-family="system-ui, sans-serif" role="img" aria-labelledby="t d">',
        f'<title id="t">{xml(f"Topology of {topology.host}")}</title>',
        f'<desc id="d">{xml(" ".join(_sentences(topology)))}</desc>',
        f"<style>{STYLE}\n</style>",
        f'<rect class="back" width="{at.width:g}" height="{height:g}" rx="10"/>',
        text(MARGIN, 36, cut(topology.host, at.width - 2 * MARGIN, 10), "name", size=18),
        text(MARGIN, 60, cut(_summary(topology), at.width - 2 * MARGIN, LETTER), "what"),
        *groups(at, topology),
        *links(plan, at, topology),
        *devices(at, mixed),
        *legend,
    ]
    return "\n".join([*lines, "</svg>\n"])


def _summary(topology: Topology) -> str:
    names = Counter(gpu.name for gpu in topology.gpus)
    parts = [f"{count} {TIMES} {name}" for name, count in names.items()] or ["no GPU"]
    if topology.board is not None and len(topology.board) != len(topology.gpus):
        parts.append(f"{len(topology.board)} on the PCI bus")
    if topology.driver:
        parts.append(f"driver {topology.driver}")
    if topology.rocm:
        parts.append(f"ROCm {topology.rocm}")
    if topology.cpu:
        parts.append(topology.cpu.name)
        if topology.cpu.cores:
            parts.append(plural(topology.cpu.cores, "core"))
        if topology.cpu.memory_mib:
            parts.append(f"{topology.cpu.memory_mib / 1024:.0f} GiB")
    return " · ".join(parts)


def _sentences(topology: Topology) -> Iterator[str]:
    yield f"{_summary(topology)}."
    for gpu in topology.gpus:
        yield f"GPU {gpu.index}: {', '.join(_facts(gpu))}."
    pairs: dict[str, list[str]] = {}
    for link in topology.links:
        pairs.setdefault(kind(link), []).append(f"{link.a}-{link.b}")
    for name, ends in pairs.items():
        yield f"{name} between GPUs {', '.join(ends)}."
    if topology.nvswitches:
        yield f"NVSwitches: {', '.join(topology.nvswitches)}."
    for nic in topology.nics:
        yield f"Network card {nic.name}: {', '.join(_nic_facts(nic))}."
    for node in topology.numa:
        memory = f", {node.memory_mib} MiB" if node.memory_mib else ""
        yield f"NUMA node {node.index}: CPUs {node.cpus or 'none'}{memory}."


def _facts(gpu: Gpu) -> Iterator[str]:
    yield gpu.name
    yield gpu.pci or "PCI address not read"
    yield f"{gpu.memory_mib} MiB" if gpu.memory_mib is not None else "memory not read"
    yield f"NUMA node {'not known' if gpu.numa_node is None else gpu.numa_node}"
    if gpu.pcie.width is not None:
        yield f"PCIe x{gpu.pcie.width}"
    if gpu.mig:
        yield f"MIG {' '.join(gpu.mig_instances) or 'on, without an instance'}"


def _nic_facts(nic: Nic) -> Iterator[str]:
    yield nic.state or "state not read"
    yield f"{nic.rate_gbps:g} Gb/s" if nic.rate_gbps is not None else "rate not read"
    if nic.link_layer:
        yield nic.link_layer
    for way in nic.near:
        yield f"{way.kind} to GPU {way.gpu}"


def _legend(topology: Topology, at: Places) -> tuple[list[str], float]:
    """One entry for each class that is drawn, in as many rows as it takes."""
    joined = {link.kind for link in topology.links}
    used = joined | {nearest(nic)[0] for nic in topology.nics}
    x, y = float(MARGIN), at.bottom + 34
    parts = []
    for name, meaning in MEANING.items():
        if name not in used:
            continue
        words = f"{name}: {meaning}"
        if x > MARGIN and x + ENTRY + len(words) * LETTER > at.width - MARGIN:
            x, y = float(MARGIN), y + ROW_HEIGHT
        if name in joined or name in WIRED:
            style = style_of(name) if name in joined else "wire"
            parts.append(f'<path class="{style}" d="M{x:g} {y - 4:g}h30"/>')
        parts.append(text(x + 38, y, words, "what small"))
        x += ENTRY + len(words) * LETTER + 10
    if any(link.kind not in INTERCONNECTS for link in topology.links):
        y += ROW_HEIGHT
        said = "Two GPUs are joined by the nearest line that reaches both, or their NUMA nodes."
        parts.append(text(MARGIN, y, said, "what small"))
    return parts, y + 20 if parts else at.bottom + MARGIN
