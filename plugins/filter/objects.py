# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles of the object store need from addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any


def outside_networks(addresses: Sequence[str], networks: Sequence[str]) -> list[str]:
    """Those that are no address of a host in one of the networks; what is no address at all is among them."""
    allowed = [ip_network(network) for network in networks]
    return [address for address in addresses if not _inside(address, allowed)]


def _inside(address: str, networks: Sequence[Any]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return not found.is_unspecified and any(found in network for network in networks)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"outside_networks": outside_networks}
