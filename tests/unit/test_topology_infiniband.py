# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards keep their names, rates and places, whichever tool spoke.

Trees and texts are constructed, the texts in the form of github.com/kvcache-ai/Mooncake issue 1999 and
github.com/leptonai/gpud pull request 752.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import infiniband, pci
from ansible_collections.stronghold.llm.plugins.module_utils.topology.infiniband import Port
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Gpu,
    Nic,
    TopologyError,
    Way,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Live, Recorded

from tests.unit.host_tree import BRIDGE, GPU, HCA, HostTree

IBSTAT = """\
CA 'mlx5_0'
\tCA type: MT4129
\tNumber of ports: 1
\tNode GUID: 0x0000000000000001
\tPort 1:
\t\tState: Active
\t\tPhysical state: LinkUp
\t\tRate: 400
\t\tCapability mask: 0x00010000
\t\tLink layer: InfiniBand
CA 'mlx4_0'
\tNumber of ports: 2
\tPort 1:
\t\tState: Down
\t\tPhysical state: Disabled
\t\tRate: 10
\t\tLink layer: InfiniBand
\tPort 2:
\t\tState: Active
\t\tPhysical state: LinkUp
\t\tRate: 56
\t\tLink layer: Ethernet
ibpanic: [1323906] main: stat of IB device 'mlx5_8' failed: No such file or directory
"""
IBSTATUS = """\
Infiniband device 'mlx5_0' port 1 status:
\tdefault gid:\t fe80:0000:0000:0000:0000:0000:0000:0001
\tbase lid:\t 0x2
\tstate:\t\t 4: ACTIVE
\tphys state:\t 5: LinkUp
\trate:\t\t 400 Gb/sec (4X NDR)
\tlink_layer:\t InfiniBand

Infiniband device 'mlx4_0' port 1 status:
\tstate:\t\t 1: DOWN
\tphys state:\t 3: Disabled
\trate:\t\t 10 Gb/sec (4X SDR)
\tlink_layer:\t InfiniBand
Infiniband device 'mlx4_0' port 2 status:
\tstate:\t\t 4: ACTIVE
\trate:\t\t 56 Gb/sec (4X FDR)
\tlink_layer:\t Ethernet
"""
BOTH = {"mlx5_0": Port("ACTIVE", 400.0, "InfiniBand"), "mlx4_0": Port("ACTIVE", 56.0, "Ethernet")}


@pytest.mark.parametrize("text", [IBSTAT, IBSTATUS])
def test_both_tools_say_the_same_of_the_same_cards(text: str) -> None:
    assert infiniband.parse(text, "ibstat") == BOTH


def test_of_two_ports_the_one_that_is_up_is_taken(tmp_path: Path) -> None:
    tree = HostTree(tmp_path)
    card = tree.device("pci0000:00/0000:00:01.0/0000:18:00.0", HCA)
    tree.port(card, "mlx5_0", "40 Gb/sec (4X QDR)", state="1: DOWN", number=1)
    tree.port(card, "mlx5_0", "2.5 Gb/sec (1X SDR)", number=2)
    found = infiniband.ports(Live(root=str(tree.root)))
    assert found == {"mlx5_0": Port("ACTIVE", 2.5, "InfiniBand", "0000:18:00.0")}


def test_a_recording_of_class_infiniband_knows_no_address(tmp_path: Path) -> None:
    (tmp_path / "sysfs.txt").write_text("/sys/class/infiniband/mlx5_0/ports/1/rate:200 Gb/sec (4X HDR)\n")
    assert infiniband.ports(Recorded(tmp_path)) == {"mlx5_0": Port(rate_gbps=200.0)}


def test_cards_of_the_matrix_keep_what_it_says_and_others_are_placed_by_their_bridges(tmp_path: Path) -> None:
    tree = HostTree(tmp_path)
    top = "pci0000:00/0000:00:01.0/0000:01:00.0"
    for path in ("pci0000:00/0000:00:01.0", top, f"{top}/0000:02:00.0", f"{top}/0000:02:01.0"):
        tree.device(path, BRIDGE)
    tree.device(f"{top}/0000:02:00.0/0000:03:00.0", GPU, numa_node="0")
    near = tree.device(f"{top}/0000:02:01.0/0000:04:00.0", HCA, numa_node="0")
    far = tree.device("pci0000:80/0000:80:01.0/0000:81:00.0", HCA, numa_node="1")
    for device, name in ((near, "mlx5_2"), (far, "mlx5_10")):
        tree.port(device, name, "200 Gb/sec (4X HDR)")
    live = Live(root=str(tree.root))
    gpus = [Gpu(0, "nvidia", "H100", pci="0000:03:00.0")]
    matrix = [Nic("mlx5_9", near=(Way(0, "NODE"),)), Nic("mlx5_10", near=(Way(0, "SYS"),))]
    assert infiniband.merge(matrix, infiniband.ports(live), gpus, pci.devices(live)) == (
        Nic("mlx5_9", near=(Way(0, "NODE"),)),
        Nic("mlx5_10", "0000:81:00.0", 1, "InfiniBand", 200.0, "ACTIVE", (Way(0, "SYS"),)),
        Nic("mlx5_2", "0000:04:00.0", 0, "InfiniBand", 200.0, "ACTIVE", (Way(0, "PIX"),)),
    )


def test_cards_come_in_the_order_of_their_numbers() -> None:
    found = {name: Port() for name in ("mlx5_10", "mlx5_2", "mlx5_bond_0", "mlx5_0")}
    names = [nic.name for nic in infiniband.merge([], found, [], {})]
    assert names == ["mlx5_0", "mlx5_2", "mlx5_10", "mlx5_bond_0"]


def test_a_port_of_an_nvswitch_is_no_network_card(tmp_path: Path) -> None:
    """HGX B200: its NVSwitches have no PCI address of their own, but HCAs that manage them."""
    tree = HostTree(tmp_path)
    tree.device("pci0000:00/0000:00:01.0/0000:03:00.0", GPU)
    switch = tree.device("pci0000:00/0000:00:02.0/0000:04:00.0", HCA)
    card = tree.device("pci0000:00/0000:00:03.0/0000:05:00.0", HCA)
    tree.file(f"{switch}/vpd", b"\x82\x0e\x00NVSwitch\x90V0\x06SW_MNG\x79\xff")
    tree.file(f"{card}/vpd", b"\x82\x0e\x00ConnectX-7\x79")
    for device, name in ((switch, "mlx5_0"), (card, "mlx5_1")):
        tree.port(device, name, "400 Gb/sec (4X NDR)")
    live = Live(root=str(tree.root))
    found = infiniband.ports(live)
    assert infiniband.switch_ports(live, found, pci.devices(live)) == {"mlx5_0": "0000:04:00.0"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bash: ibstat: command not found\n", "ibstat: line 1: no port of a device is here: 'bash: ibstat"),
        ("CA 'mlx5_0'\n\tPort 1:\n\t\tRate: schnell\n", "rate: 'schnell' is not in Gb/sec"),
    ],
)
def test_garbage_is_named(text: str, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        infiniband.parse(text, "ibstat")
