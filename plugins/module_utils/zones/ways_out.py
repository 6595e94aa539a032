# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host without a way out must not have: a default route, a name server."""

from __future__ import annotations

import json
from typing import Any


def default_routes(*listings: str) -> list[str]:
    """Routes to everywhere, of any routing table, from `ip --json route show table all`."""
    return [
        _text(route) for listing in listings for route in json.loads(listing or "[]") if _leads_out(route)
    ]


def _leads_out(route: dict[str, Any]) -> bool:
    # A halved default (0.0.0.0/1 and 128.0.0.0/1, ::/1 and 8000::/1, 2000::/3) leads out all the same.
    prefix = 0 if route["dst"] == "default" else int(route["dst"].partition("/")[2] or 128)
    short = prefix < 8 and not route["dst"].startswith(("fe80:", "ff00:", "fc00:", "fd00:"))
    return short and route.get("type", "unicast") not in ("unreachable", "blackhole", "prohibit", "throw")


def _text(route: dict[str, Any]) -> str:
    via = f" via {route['gateway']}" if "gateway" in route else ""
    return f"{route['dst']}{via} dev {route.get('dev', '?')}"


def resolvers(resolv_conf: str) -> list[str]:
    """Name servers that the C library would ask."""
    words = (line.split() for line in resolv_conf.splitlines())
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
