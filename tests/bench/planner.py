# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner's speed on fleets of up to 1,000 hosts; and its memory against start-up logs, beside its peers.

Each size of fleet is planned in a process of its own. The fleet comes as plain data, as the module gets it.
Seven of ten hosts are alike, the others have another card, bridges, or a GPU out of service. Two questions
are asked: one that it can grant, with a replica for each host, and one that it must refuse, so that the
nearest wish has to be searched for.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import read_config
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Plan, Weights, Wish
from ansible_collections.stronghold.llm.plugins.module_utils.planning.plan import plan
from ansible_collections.stronghold.llm.plugins.module_utils.site.table import text_table
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Pcie,
    Topology,
    from_data,
    to_data,
)

from lab.site import REPOSITORY
from tests import fleets
from tests.bench import planner_logs, report

SIZES = (10, 30, 100, 300, 1000)
CONFIG = REPOSITORY / "inventories/datacentre-70b/models/deepseek-r1-distill-llama-70b/config.json"
WISH = Wish("vllm", "0.11.0", context_tokens=32768, sequences=64, typical_tokens=4096)
TOO_MUCH = replace(WISH, context_tokens=131072, sequences=4096, typical_tokens=None)


def fleet(hosts: int) -> Iterator[Topology]:
    """Hosts as a large site has them: most of one kind, with names, serials and addresses of their own."""
    for number in range(hosts):
        name = f"gpu{number + 1:04}"
        kinds = [
            fleets.host(name, nics=[f"mlx5_{nic}" for nic in range(8)]),
            fleets.host(name, card=fleets.A100, nics=[f"mlx5_{nic}" for nic in range(4)]),
            fleets.bridged(name, [(0, 1), (2, 3), (4, 5), (6, 7)], "NVIDIA A100 80GB PCIe", "SYS"),
            fleets.with_gpu(fleets.host(name), number % 8, remapped_rows_failed=True),
        ]
        yield _with_addresses(kinds[max(0, number % 10 - 6)], number)


def _with_addresses(topology: Topology, number: int) -> Topology:
    gpus = (
        replace(
            gpu,
            uuid=f"GPU-00000000-0000-0000-0000-{number * 8 + gpu.index:012}",
            pci=f"0000:{16 * gpu.index + 15:02x}:00.0",
            pcie=Pcie(5, 16, 5, 16),
            ecc=True,
            mig=False,
        )
        for gpu in topology.gpus
    )
    return replace(topology, gpus=tuple(gpus), driver="580.95.05", cuda="13.0", kernel_module="open")


def measure(hosts: int) -> dict[str, Any]:
    """In this process: seconds to read a fleet, to plan on it and to refuse; the most memory ever held."""
    data = json.loads(json.dumps([to_data(topology) for topology in fleet(hosts)]))
    architecture = read_config(json.loads(CONFIG.read_text()), str(CONFIG))

    started = time.perf_counter()
    topologies = [from_data(host) for host in data]
    read = time.perf_counter()
    granted = plan("70b", architecture, Weights("bf16"), replace(WISH, replicas=hosts), topologies)
    planned = time.perf_counter()
    refused = plan("70b", architecture, Weights("bf16"), replace(TOO_MUCH, replicas=hosts), topologies)
    ended = time.perf_counter()
    assert isinstance(granted, Plan), granted
    assert not isinstance(refused, Plan)
    return {
        "hosts": hosts,
        "read_seconds": read - started,
        "plan_seconds": planned - read,
        "refuse_seconds": ended - planned,
        # Linux counts it in KiB.
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def against_linear(points: Sequence[Mapping[str, float]], key: str) -> list[float]:
    """Each point's cost for a host against that of the first point: 1.0 is linear, more is worse."""
    first = points[0][key] / points[0]["hosts"]
    return [point[key] / point["hosts"] / first for point in points]


def curve_rows(points: Sequence[Mapping[str, float]]) -> list[list[str]]:
    totals = [{**point, "all": point["read_seconds"] + point["plan_seconds"]} for point in points]
    return [
        [
            str(point["hosts"]),
            f"{point['read_seconds']:.3f}",
            f"{point['plan_seconds']:.3f}",
            f"{point['refuse_seconds']:.3f}",
            f"{point['peak_mb']:.0f}",
            f"{ratio:.2f}",
        ]
        for point, ratio in zip(totals, against_linear(totals, "all"), strict=True)
    ]


def curve() -> list[dict[str, Any]]:
    points = []
    for hosts in SIZES:
        print(f"{hosts} hosts with 8 GPUs each", flush=True)
        own = [sys.executable, "-m", "tests.bench.planner", "--hosts", str(hosts)]
        points.append(json.loads(subprocess.run(own, capture_output=True, text=True, check=True).stdout))
    return points


def show(points: Sequence[Mapping[str, float]]) -> None:
    header = ["hosts", "read, s", "plan, s", "refuse, s", "peak MB", "a host's time"]
    print("", text_table(header, curve_rows(points)), sep="\n")
    print(
        "\nread: plain data to topologies. plan: a replica of 70B for each host. refuse: more than they have,"
        "\nand the nearest wish. peak: all that the process ever held, plain data too. a host's time: read"
        f"\nand plan, against the fleet of {SIZES[0]}; 1.00 is linear."
    )


def main() -> None:
    if sys.argv[1:2] == ["--hosts"]:
        print(json.dumps(measure(int(sys.argv[2]))))
        return
    points = curve()
    show(points)
    report.keep("planner", {"curve": points, "logs": planner_logs.compare_and_show()})


if __name__ == "__main__":
    main()
