# SPDX-License-Identifier: GPL-3.0-or-later
"""The older `rocm-smi` says as much as its recordings hold; a damaged table is refused by line or pair."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import rocm_smi
from ansible_collections.stronghold.llm.plugins.module_utils.topology.collect import collect
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Link, TopologyError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Recorded

FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"


def test_the_older_tool_names_memory_power_and_addresses_too() -> None:
    found = collect("h", Recorded(FIXTURES / "constructed-mi100-4"))
    assert found.gpus[3] == Gpu(
        index=3,
        vendor="amd",
        name="Arcturus GL-XL [Instinct MI100]",
        pci="0000:e3:00.0",
        uuid="0x0000000000000004",
        memory_mib=32752,
        memory_used_mib=6,
        numa_node=1,
        power_limit_w=290.0,
    )
    assert found.driver == "6.3.6"
    assert found.links[0] == Link(0, 1, "NODE")


def test_a_node_that_is_not_assigned_is_the_compute_drivers_own() -> None:
    """Affinity -1, node 0."""
    (gpu,) = collect("h", Recorded(FIXTURES / "constructed-rx6700xt-1")).gpus
    assert (gpu.numa_node, gpu.uuid, gpu.compute_capability) == (0, None, "gfx1031")


SHOWTOPO = (FIXTURES / "amd-mi210-8-two-hives" / "rocm-smi-showtopo.txt").read_text()


def test_two_hives_are_two_islands() -> None:
    found = collect("h", Recorded(FIXTURES / "amd-mi210-8-two-hives"))
    kinds = {(link.a, link.b): link.kind for link in found.links}
    assert kinds == {(a, b): "XGMI" if a // 4 == b // 4 else "SYS" for a, b in combinations(range(8), 2)}


@pytest.mark.parametrize("number", range(len(SHOWTOPO.splitlines())))
def test_a_table_that_is_cut_off_never_loses_a_link_silently(number: int) -> None:
    text = "\n".join(SHOWTOPO.splitlines()[:number])
    try:
        found = rocm_smi.tables(text, "showtopo")
    except TopologyError:
        return
    assert len(found.pairs) == 28


def line_of(text: str, old: str, new: str, which: int) -> str:
    parts = text.split(old)
    return old.join(parts[: which + 1]) + new + old.join(parts[which + 1 :])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line_of(SHOWTOPO, "XGMI", "WAFL", 0), "GPU0 to GPU1 is WAFL"),
        (line_of(SHOWTOPO, "XGMI", "PCIE", 0), "GPU0 to GPU1 is PCIE, and back XGMI"),
        (line_of(SHOWTOPO, "72", "viel", 0), "Weight: GPU0 to GPU4: 'viel' is no number"),
        (SHOWTOPO.replace("GPU1   XGMI", "GPU1"), "line 28: the row of GPU1 has 7 cells, not 8"),
        (SHOWTOPO.replace("GPU1   XGMI", "Karte1 XGMI"), "line 28: 'Karte1' is no GPU"),
        ("rocm-smi: Befehl nicht gefunden", "no table of links between GPUs is here: 'rocm-smi: Befehl"),
    ],
)
def test_a_table_that_is_not_as_known_is_named(text: str, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        rocm_smi.tables(text, "showtopo")
