# SPDX-License-Identifier: GPL-3.0-or-later
"""An HGX H100 with a network card beside each GPU, what its inventory expects, and ways to break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Gpu,
    Link,
    Nic,
    Pcie,
    Topology,
    Way,
)

Change = Callable[[Topology], Topology]

ADDRESSES = tuple(f"0000:{bus}:00.0" for bus in ("1b", "43", "52", "61", "9d", "c3", "d1", "df"))
NAME = "NVIDIA H100 80GB HBM3"
EXPECTED: dict[str, Any] = {
    "count": 8,
    "name": NAME,
    "memory_mib_min": 81000,
    "link": "NV18",
    "pcie": {"generation": 5, "width": 16},
    "mig": False,
    "ecc": True,
    "persistence": True,
    "nvswitches": 4,
    "numa": {0: [0, 1, 2, 3], 1: [4, 5, 6, 7]},
    "nics": {
        f"mlx5_{i}": {"near": [i], "class": "PXB", "rate_gbps": 400, "link_layer": "InfiniBand"}
        for i in range(8)
    },
    "open_kernel_module": True,
}


def way(gpu: int, nic: int) -> Way:
    return Way(gpu, "PXB" if gpu == nic else "NODE" if gpu // 4 == nic // 4 else "SYS")


HOST = Topology(
    "gpu1",
    gpus=tuple(
        Gpu(
            index=i,
            vendor="nvidia",
            name=NAME,
            pci=address,
            memory_mib=81559,
            compute_capability="9.0",
            numa_node=i // 4,
            pcie=Pcie(5, 16, 5, 16),
            ecc=True,
            ecc_uncorrected=0,
            remapped_rows_pending=False,
            remapped_rows_failed=False,
            mig=False,
            persistence=True,
            nvlinks_active=18,
            nvlinks_inactive=0,
            fabric_state="Completed",
        )
        for i, address in enumerate(ADDRESSES)
    ),
    links=tuple(Link(a, b, "NV", 18) for a, b in combinations(range(8), 2)),
    nics=tuple(
        Nic(
            f"mlx5_{i}", f"0000:{i:02x}:00.1", i // 4, "InfiniBand", 400.0, "ACTIVE",
            tuple(way(gpu, i) for gpu in range(8)),
        )
        for i in range(8)
    ),
    nvswitches=("0000:07:00.0", "0000:08:00.0", "0000:09:00.0", "0000:0a:00.0"),
    driver="580.95.05",
    kernel_module="open",
    iommu="passthrough",
    board=ADDRESSES,
)  # fmt: skip


def without(*indices: int) -> Topology:
    """As the driver shows a host some of whose cards are gone: it numbers those that are left."""
    left = [gpu for gpu in HOST.gpus if gpu.index not in indices]
    new = {gpu.index: place for place, gpu in enumerate(left)}
    return replace(
        HOST,
        gpus=tuple(replace(gpu, index=new[gpu.index]) for gpu in left),
        links=tuple(Link(a, b, "NV", 18) for a, b in combinations(range(len(left)), 2)),
        nics=tuple(
            replace(nic, near=tuple(Way(new[w.gpu], w.kind) for w in nic.near if w.gpu in new))
            for nic in HOST.nics
        ),
    )


def gpu(index: int, **changes: Any) -> Change:
    return lambda host: replace(
        host, gpus=tuple(replace(each, **changes) if each.index == index else each for each in host.gpus)
    )


def nic(name: str, **changes: Any) -> Change:
    return lambda host: replace(
        host, nics=tuple(replace(each, **changes) if each.name == name else each for each in host.nics)
    )


def link(a: int, b: int, kind: Any, lanes: int = 0) -> Change:
    return lambda host: replace(
        host,
        links=tuple(Link(a, b, kind, lanes) if (each.a, each.b) == (a, b) else each for each in host.links),
    )


def host(**changes: Any) -> Change:
    return lambda topology: replace(topology, **changes)
