# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's firewall, written from the zone matrix: an nftables script for the table inet stronghold.

Its size grows with the zones and the ways between them, never with the number of hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import Flow, Host, Site, Zone

TABLE = "inet stronghold"
# One transaction: what was there is gone and the new is there, and no other table is touched.
REPLACE = f"table {TABLE} {{}}\ndelete table {TABLE}\n"
MARK = "# The firewall of stronghold.llm"
HEAD = f"""#!/usr/sbin/nft -f
{MARK} (role network_zones): change the zone matrix, not this file.
# It replaces its own table in one transaction and leaves every other table alone.
"""
COMMENT_BYTES = 120  # the kernel's tools refuse a comment of more than 128 bytes

# Holes for the positive control: empty, but for the seconds of a proof. The kernel itself closes them.
CONTROL_SETS = {
    "positive_control_v4": "ipv4_addr . inet_proto . inet_service",
    "positive_control_v6": "ipv6_addr . inet_proto . inet_service",
    "positive_control_ping_v4": "ipv4_addr",
    "positive_control_ping_v6": "ipv6_addr",
}
CONTROL_SECONDS = 15

# What makes IPv6 work on a link, and cannot come from beyond it: neighbour discovery (RFC 4861) and, for
# switches that snoop multicast, its group reports (RFC 3810). No router advertisements: routes are declared.
NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept"
GROUP_REPORTS = "icmpv6 type { mld-listener-report, mld2-listener-report } ip6 hoplimit 1 accept"
GROUP_QUERIES = "icmpv6 type mld-listener-query ip6 hoplimit 1 accept"

# A connection from before the firewall, like the one over which it arrives, is not tracked yet, and its next
# packet may be an answer of ours. It opens nothing (no SYN), and goes only to those who may call.
ANSWERS = tuple(
    f"{ip} saddr @self_{version} {ip} daddr . tcp sport @callers_{version} tcp flags & syn == 0 accept"
    for version, ip in (("v4", "ip"), ("v6", "ip6"))
)

FAMILIES = (("v4", "ip", "icmp"), ("v6", "ip6", "icmpv6"))


def render(site: Site, host: Host) -> str:
    """The whole script. Its digest is the table's comment: one line of a listing tells which text is live."""
    body = "\n".join(("", *_blocks(site, host))) + "}\n"
    digest = sha256(body.encode()).hexdigest()
    return f'{HEAD}{REPLACE}table {TABLE} {{\n\tcomment "sha256:{digest}"\n{body}'


def _blocks(site: Site, host: Host) -> Iterator[str]:
    outward = [flow for flow in site.flows if flow.source == host.zone]
    inward = [flow for flow in site.flows if flow.destination == host.zone]
    peers = {flow.destination for flow in outward} | {flow.source for flow in inward}
    yield from (f"\tcounter dropped_{chain} {{\n\t}}\n" for chain in ("input", "output", "forward"))
    yield _set("self_v4", "ipv4_addr", f"elements = {{ {host.ipv4} }}")
    yield _set("self_v6", "ipv6_addr", f"elements = {{ {host.ipv6} }}")
    for zone in site.zones:
        if zone.name in peers:
            yield from _zone_sets(zone)
    yield from _callers(site, inward)
    for name, kind in CONTROL_SETS.items():
        yield _set(name, kind, "flags timeout", f"timeout {CONTROL_SECONDS}s", "size 256")
    yield _chain("input", [NEIGHBOURS, GROUP_QUERIES, *_control("saddr"), *_input(inward)])
    yield _chain("output", [NEIGHBOURS, GROUP_REPORTS, *_control("daddr"), *_output(outward), *ANSWERS])
    yield _chain("forward", [])


def _zone_sets(zone: Zone) -> Iterator[str]:
    yield _set(f"zone_{zone.name}_v4", "ipv4_addr", "flags interval", f"elements = {{ {zone.ipv4} }}")
    yield _set(f"zone_{zone.name}_v6", "ipv6_addr", "flags interval", f"elements = {{ {zone.ipv6} }}")


def _callers(site: Site, inward: Iterable[Flow]) -> Iterator[str]:
    """Who may open TCP connections to this host, and to which port."""
    calls = [(site.zone(flow.source), flow.port) for flow in inward if flow.proto == "tcp"]
    for version, kind in (("v4", "ipv4_addr"), ("v6", "ipv6_addr")):
        elements = ", ".join(
            f"{zone.ipv4 if version == 'v4' else zone.ipv6} . {port}" for zone, port in calls
        )
        filled = [f"elements = {{ {elements} }}"] if calls else []
        yield _set(f"callers_{version}", f"{kind} . inet_service", "flags interval", *filled)


def _set(name: str, kind: str, *lines: str) -> str:
    return "".join(
        f"\t{line}\n" for line in (f"set {name} {{", *(f"\t{x}" for x in (f"type {kind}", *lines)), "}")
    )


def _chain(name: str, accepted: Iterable[str]) -> str:
    """Default drop; what is dropped is counted, and a few of them are logged."""
    loopback = {"input": ["iif lo accept"], "output": ["oif lo accept"]}.get(name, [])
    rules = [
        f"type filter hook {name} priority filter; policy drop;",
        *loopback,
        "ct state established accept",
        # Only the ICMP errors of accepted flows: port unreachable, path MTU.
        "ct state related meta l4proto { icmp, ipv6-icmp } accept",
        f"ct state invalid counter name dropped_{name} drop",
        *accepted,
        f'limit rate 6/minute burst 5 packets log prefix "stronghold drop {LOG_WORDS[name]} "',
        f"counter name dropped_{name}",
    ]
    if name == "forward":  # nothing is ever accepted, so nothing can be established
        rules = [rules[0], *rules[-2:]]
    return f"\tchain {name} {{\n" + "".join(f"\t\t{rule}\n" for rule in rules) + "\t}\n"


LOG_WORDS = {"input": "in", "output": "out", "forward": "forward"}


def _control(end: str) -> Iterator[str]:
    for version, ip, icmp in FAMILIES:
        yield f"{ip} {end} . meta l4proto . th dport @positive_control_{version} accept"
        yield f"{ip} {end} @positive_control_ping_{version} {icmp} type echo-request accept"


def _output(flows: Iterable[Flow]) -> Iterator[str]:
    for flow in flows:
        for version, ip, icmp in FAMILIES:
            ends = f"{ip} saddr @self_{version} {ip} daddr @zone_{flow.destination}_{version}"
            yield f"{ends} {_service(flow, icmp)} accept {_comment(flow)}"


def _input(flows: Iterable[Flow]) -> Iterator[str]:
    for flow in flows:
        for version, ip, icmp in FAMILIES:
            ends = f"{ip} saddr @zone_{flow.source}_{version} {ip} daddr @self_{version}"
            yield f"{ends} {_service(flow, icmp)} accept {_comment(flow)}"


def _service(flow: Flow, icmp: str) -> str:
    return f"{icmp} type echo-request" if flow.port is None else f"{flow.proto} dport {flow.port}"


def _comment(flow: Flow) -> str:
    text = f"{flow.source} to {flow.destination}: {' '.join(flow.why.split())}".replace('"', "'")
    return f'comment "{text.encode()[:COMMENT_BYTES].decode(errors="ignore")}"'
