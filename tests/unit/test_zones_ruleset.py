# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and cells come from one matrix: what one opens the other expects open, and nothing else is.

A small reader of the rendered rules plays the kernel. It knows only packets that open something (a TCP SYN, a
first datagram, an echo request), as only those ask the matrix.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.zones import probe, ruleset
from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import Site, parse
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("client", "edge", "core", "data")
ZONES = {name: {"ipv4": f"10.{n}.0.0/24", "ipv6": f"fd00:{n}::/64"} for n, name in enumerate(NAMES, 1)}
HOSTS: list[dict[str, Any]] = [
    {
        "name": f"{name}{host}",
        "zones": [name],
        "ipv4": f"10.{n}.0.{10 + host}",
        "ipv6": f"fd00:{n}::{10 + host}",
    }
    for n, name in enumerate(NAMES, 1)
    for host in (1, 2)
]
SERVICES = [("tcp", 22), ("tcp", 443), ("tcp", 9), ("udp", 53), ("udp", 443), ("icmp", None)]
flows = st.sets(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(SERVICES)), max_size=20
)


def site_of(ways: set[tuple[str, str, tuple[str, int | None]]]) -> Site:
    rows = [
        {"from": one, "to": other, "proto": proto, "why": "a test"} | ({"ports": [port]} if port else {})
        for one, other, (proto, port) in sorted(ways, key=str)
    ]
    return parse(ZONES, rows, HOSTS)


def sets_of(text: str) -> dict[str, list[str]]:
    found = re.findall(r"set (\w+) \{\n(?:\t\t(?!elements).*\n)*(?:\t\telements = \{ (.*) \}\n)?\t\}", text)
    return {name: elements.split(", ") if elements else [] for name, elements in found}


def rules_of(text: str, chain: str) -> list[str]:
    block = re.search(rf"\tchain {chain} \{{\n(.*?)\n\t\}}", text, re.DOTALL)
    assert block
    return [line.strip() for line in block[1].splitlines()]


def flow_rules(text: str, chain: str) -> list[str]:
    return [rule for rule in rules_of(text, chain) if " comment " in rule]


FLOW_RULE = re.compile(
    r"ip6? saddr @(\w+) ip6? daddr @(\w+) (?:(tcp|udp) dport (\d+)|icmp(?:v6)? type echo-request) accept .*"
)


def lets_pass(text: str, chain: str, source: str, destination: str, proto: str, port: int | None) -> bool:
    """Would the chain accept the first packet of a flow? Only the matrix's rules may; the holes are empty."""
    sets = sets_of(text)
    for rule in flow_rules(text, chain):
        match = FLOW_RULE.fullmatch(rule)
        assert match, rule
        family = "ip6" if ":" in source else "ip"
        service = (match[3] or "icmp", int(match[4]) if match[4] else None)
        if not rule.startswith(f"{family} saddr") or service != (proto, port):
            continue
        ends = ((source, sets[match[1]]), (destination, sets[match[2]]))
        if all(any(ip_address(end) in ip_network(net) for net in nets) for end, nets in ends):
            return True
    return False


@given(flows)
@settings(max_examples=40, deadline=None)
def test_the_firewalls_of_both_ends_let_pass_exactly_what_the_cells_expect(ways):
    site = site_of(ways)
    texts = {host.name: ruleset.render(site, host) for host in site.hosts}
    for source in (site.hosts[0], site.hosts[5]):
        for case in probe.cells(site, source.name):
            proto = "udp" if case.proto == "dns" else case.proto
            sender = str(source.ipv6 if ":" in case.address else source.ipv4)
            packet = sender, case.address, proto, case.port
            out = lets_pass(texts[source.name], "output", *packet)
            into = lets_pass(texts[case.host], "input", *packet)
            assert out == into == (case.expect == "open"), case


@given(flows)
@settings(max_examples=40, deadline=None)
def test_each_flow_is_one_rule_for_each_family_on_each_end_and_there_is_no_other(ways):
    site = site_of(ways)
    for host in (site.hosts[0], site.hosts[3]):
        text = ruleset.render(site, host)
        outward = [flow for flow in site.flows if flow.source == host.zone]
        inward = [flow for flow in site.flows if flow.destination == host.zone]
        assert len(flow_rules(text, "output")) == len(set(flow_rules(text, "output"))) == 2 * len(outward)
        assert len(flow_rules(text, "input")) == len(set(flow_rules(text, "input"))) == 2 * len(inward)


def test_a_packet_from_another_zones_address_is_not_let_in():
    site = site_of({("edge", "core", ("tcp", 443))})
    text = ruleset.render(site, site.host("core1"))
    assert lets_pass(text, "input", "10.2.0.11", "10.3.0.11", "tcp", 443)
    assert not lets_pass(text, "input", "10.1.0.11", "10.3.0.11", "tcp", 443)
    assert not lets_pass(text, "input", "10.2.0.11", "10.3.0.12", "tcp", 443), "the address of another host"


def test_every_chain_drops_by_default_and_counts_and_logs_what_it_drops():
    site = site_of(set())
    text = ruleset.render(site, site.hosts[0])
    for chain, word in (("input", "in"), ("output", "out"), ("forward", "forward")):
        first, *_, log, count = rules_of(text, chain)
        assert first == f"type filter hook {chain} priority filter; policy drop;"
        assert log == f'limit rate 6/minute burst 5 packets log prefix "stronghold drop {word} "'
        assert count == f"counter name dropped_{chain}"


def test_a_host_may_only_answer_those_who_may_call_it():
    site = site_of(
        {("edge", "core", ("tcp", 443)), ("edge", "core", ("udp", 53)), ("core", "data", ("tcp", 9))}
    )
    assert sets_of(ruleset.render(site, site.host("core1")))["callers_v4"] == ["10.2.0.0/24 . 443"]
    assert sets_of(ruleset.render(site, site.host("edge1")))["callers_v4"] == []


def test_holes_of_the_positive_control_are_empty_and_close_by_themselves():
    site = site_of({("edge", "core", ("tcp", 443))})
    text = ruleset.render(site, site.hosts[0])
    for name in ruleset.CONTROL_SETS:
        assert sets_of(text)[name] == []
        assert re.search(rf"set {name} \{{\n\t\ttype .*\n\t\tflags timeout\n\t\ttimeout 15s\n", text)


def test_the_text_replaces_its_own_table_only_and_is_the_same_each_time():
    site = site_of({("edge", "core", ("tcp", 443))})
    text = ruleset.render(site, site.hosts[0])
    assert text == ruleset.render(site, site.hosts[0])
    assert "flush ruleset" not in text
    assert set(re.findall(r"^(?:delete )?table (\w+ \w+)", text, re.MULTILINE)) == {"inet stronghold"}


def test_the_digest_in_the_comment_changes_with_the_rules():
    host = site_of(set()).hosts[0]
    digests = {
        re.search(r'comment "sha256:(\w{64})"', ruleset.render(site_of(ways), host))[1]  # type: ignore[index]
        for ways in (set(), {("client", "core", ("tcp", 443))}, {("client", "core", ("tcp", 22))})
    }
    assert len(digests) == 3


def test_the_size_grows_with_zones_not_with_hosts():
    hosts = [
        {"name": f"core{n}", "zones": ["core"], "ipv4": f"10.3.0.{n}", "ipv6": f"fd00:3::{n}"}
        for n in range(1, 250)
    ]
    rows = [{"from": "edge", "to": "core", "ports": [443], "why": "a test"}]
    small, large = parse(ZONES, rows, hosts[:1]), parse(ZONES, rows, hosts)
    assert ruleset.render(small, small.hosts[0]) == ruleset.render(large, large.hosts[0])


@pytest.mark.parametrize("why", ['say "friend"', "two\nlines", "ä" * 200, "x" * 200, 'end"; }'])
def test_a_reason_cannot_break_out_of_its_comment(why: str):
    site = parse(ZONES, [{"from": "edge", "to": "core", "ports": [443], "why": why}], HOSTS)
    for rule in flow_rules(ruleset.render(site, site.host("core1")), "input"):
        comment = re.fullmatch(r'.* accept comment "([^"\n]*)"', rule)
        assert comment
        assert len(comment[1].encode()) <= 128


@pytest.mark.skipif(not shutil.which("nft"), reason="nft is not here")
def test_nft_takes_every_kind_of_rule():
    ways = {("edge", "core", service) for service in SERVICES} | {("core", "core", ("tcp", 22))}
    text = ruleset.render(site_of(ways), site_of(ways).host("core1"))  # type: ignore[arg-type]
    # In a namespace of its own; where this user may not make one there is nothing to see.
    command = ["unshare", "--net", "nft", "--check", "--file", "-"]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stderr) == (0, "")
