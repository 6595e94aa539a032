# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards by name, against what is expected of them: there, up, fast enough, near the right GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import Expectation, NicWish
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Nic, Topology
from ansible_collections.stronghold.llm.plugins.module_utils.topology.words import label, not_read

UP = "ACTIVE"


def findings(found: Topology, expected: Expectation) -> Iterator[Finding]:
    nics = {nic.name: nic for nic in found.nics}
    for name, wish in expected.nics.items():
        if name not in nics:
            yield Finding(
                "refuse",
                found.host,
                f"network card {name}",
                f"none of this name, but {', '.join(nics) or 'no card at all'}",
                f"{name}",
                "what spans hosts goes over the declared cards",
                "look for it with lspci and ibdev2netdev, or correct nics in stronghold_accelerators",
            )
        else:
            yield from _port(found.host, nics[name], wish)
            yield from _place(found, nics[name], wish)


def _label(nic: Nic) -> str:
    return f"network card {nic.name}" + (f" ({nic.pci})" if nic.pci else "")


def _port(host: str, nic: Nic, wish: NicWish) -> Iterator[Finding]:
    subject = _label(nic)
    if nic.state is None:
        yield not_read(host, f"{subject}: state", UP)
    elif nic.state != UP:
        yield Finding(
            "refuse",
            host,
            f"{subject}: state",
            nic.state,
            UP,
            "without a link it carries nothing, and what spans hosts waits for it",
            "look at cable and switch port, with InfiniBand also for a running subnet manager",
        )
        return  # a port that is down has the rate of no link
    if wish.rate_gbps is not None and nic.rate_gbps is None:
        yield not_read(host, f"{subject}: rate", f"{wish.rate_gbps:g} Gb/s")
    elif wish.rate_gbps is not None and nic.rate_gbps is not None and nic.rate_gbps < wish.rate_gbps:
        yield Finding(
            "refuse",
            host,
            f"{subject}: rate",
            f"{nic.rate_gbps:g} Gb/s",
            f"{wish.rate_gbps:g} Gb/s",
            "traffic between hosts is as fast as its slowest card",
            "look at cable, transceiver and the switch port's speed: some lanes of it did not train",
        )
    if wish.link_layer is not None and nic.link_layer is None:
        yield not_read(host, f"{subject}: link layer", wish.link_layer)
    elif wish.link_layer is not None and nic.link_layer != wish.link_layer:
        yield Finding(
            "refuse",
            host,
            f"{subject}: link layer",
            str(nic.link_layer),
            wish.link_layer,
            "InfiniBand and Ethernet do not talk to each other",
            "set LINK_TYPE with mlxconfig and restart the host, or correct link_layer",
        )


def _place(found: Topology, nic: Nic, wish: NicWish) -> Iterator[Finding]:
    if wish.way is None:
        return
    ways = {way.gpu: way.kind for way in nic.near}
    near = [gpu for gpu in found.gpus if gpu.index in wish.near]
    far = [(gpu, ways[gpu.index]) for gpu in near if gpu.index in ways and not wish.way.met(ways[gpu.index])]
    unread = [gpu for gpu in near if gpu.index not in ways]
    if far:
        yield Finding(
            "refuse",
            found.host,
            f"{_label(nic)}: place",
            ", ".join(f"{kind} to {label(gpu)}" for gpu, kind in far),
            str(wish.way),
            "only by a card near it does a GPU reach the network at full rate; SYS goes by the other socket",
            "move the card to a slot beside these GPUs, or correct near and class in stronghold_accelerators",
        )
    if unread:
        places = ", ".join(map(label, unread))
        yield not_read(found.host, f"{_label(nic)}: place beside {places}", str(wish.way))
