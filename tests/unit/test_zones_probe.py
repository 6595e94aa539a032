# SPDX-License-Identifier: GPL-3.0-or-later
"""What is tried, what a try says, and the holes that prove that a probe can see."""

from __future__ import annotations

import errno
import socket
import threading
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.zones import holes, knock, probe, ways_out
from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import Site, parse

ZONES = {
    "edge": {"ipv4": "10.1.0.0/24", "ipv6": "fd00:1::/64"},
    "core": {"ipv4": "10.2.0.0/24", "ipv6": "fd00:2::/64"},
}
HOSTS = [
    {"name": "edge1", "zones": ["edge"], "ipv4": "10.1.0.11", "ipv6": "fd00:1::11"},
    {"name": "core1", "zones": ["core"], "ipv4": "10.2.0.11", "ipv6": "fd00:2::11"},
    {"name": "core2", "zones": ["core"], "ipv4": "10.2.0.12", "ipv6": "fd00:2::12"},
]


def site(*rows: dict[str, Any]) -> Site:
    return parse(ZONES, [{"why": "a test", **row} for row in rows], HOSTS)


def test_every_other_host_is_tried_at_every_service_in_both_families():
    cases = probe.cells(site({"from": "edge", "to": "core", "ports": [8443]}), "edge1")
    services = {(case.proto, case.port) for case in cases}
    assert services == {("tcp", 8443), ("tcp", 22), ("tcp", 9), ("udp", 9), ("icmp", None)}
    assert len(cases) == 2 * 2 * len(services)
    assert {case.host for case in cases} == {"core1", "core2"}
    assert [case.name for case in cases if case.expect == "open"] == [
        "edge1 to core1 tcp/8443 ipv4",
        "edge1 to core1 tcp/8443 ipv6",
        "edge1 to core2 tcp/8443 ipv4",
        "edge1 to core2 tcp/8443 ipv6",
    ]


def test_neighbours_in_the_same_zone_are_closed_unless_the_matrix_says_so():
    closed = probe.cells(site(), "core1")
    assert {case.expect for case in closed} == {"closed"}
    opened = probe.cells(site({"from": "core", "to": "core", "ports": [22]}), "core1")
    assert {(case.host, case.port) for case in opened if case.expect == "open"} == {("core2", 22)}


def test_the_port_that_no_row_names_is_one_that_no_row_names():
    cases = probe.cells(site({"from": "edge", "to": "core", "ports": [9, 10]}), "edge1")
    assert {case.port for case in cases if case.proto == "udp"} == {11}


def test_a_name_server_is_asked_something_as_it_would_not_answer_noise():
    cases = probe.cells(site({"from": "edge", "to": "core", "proto": "udp", "ports": [53]}), "edge1")
    assert {case.proto for case in cases if case.port == 53} == {"dns"}


@pytest.mark.parametrize(
    ("expect", "outcome", "passed"),
    [
        ("open", "open", True),
        ("open", "refused", True),
        ("open", "filtered", False),
        ("open", "unreachable", False),
        ("closed", "open", False),
        ("closed", "refused", False),
        ("closed", "filtered", True),
        ("closed", "unreachable", True),
    ],
)
def test_a_refusal_proves_that_the_packet_arrived(expect: str, outcome: str, passed: bool):
    assert probe.passed(expect, outcome) == passed


def test_wrong_cells_are_named_with_what_was_seen():
    cases = probe.cells(site(), "edge1")[:2]
    results = [probe.result(case, outcome) for case, outcome in zip(cases, ["filtered", "open"], strict=True)]
    assert probe.summary(results) == {
        "cells": 2,
        "outcomes": {"open": 1, "refused": 0, "filtered": 1, "unreachable": 0},
        "wrong": [f"{cases[1].name}: open"],
    }


def test_the_control_opens_one_closed_cell_of_each_kind_and_prefers_a_port_that_answers():
    cases = probe.control_cases(site({"from": "edge", "to": "core", "ports": [8443]}), "edge1")
    assert {(case.proto, case.port) for case in cases} == {("tcp", 22), ("udp", 9), ("icmp", None)}
    assert {case.expect for case in cases} == {"open"}
    assert len({case.host for case in cases}) == 1
    assert len(cases) == 6


def test_a_site_of_one_host_has_nothing_to_open():
    alone = parse(ZONES, [], HOSTS[:1])
    assert probe.control_cases(alone, "edge1") == []
    assert holes.ends(alone, "edge1", []) == []


def test_both_ends_open_the_hole_each_for_the_other():
    declared = site()
    cases = [case for case in probe.control_cases(declared, "edge1") if case.proto == "tcp"]
    here, there = holes.ends(declared, "edge1", cases)
    assert (here.host, [peer.address for peer in here.peers]) == ("edge1", [case.address for case in cases])
    assert there.host == cases[0].host
    assert [peer.address for peer in there.peers] == ["10.1.0.11", "fd00:1::11"]


def test_a_way_to_the_outside_goes_through_the_zones_router_or_the_declared_one():
    cases = probe.outside_cases({"ipv4": "198.51.100.53", "ipv6": "2001:db8::53"}, "open")
    assert len(cases) == 8
    end = holes.end_towards_outside(site(), "core1", cases, {"ipv6": "fe80::1"})
    assert holes.routes([peer.address for peer in end.peers], end.gateways) == [
        ["-4", "198.51.100.53", "via", "10.2.0.1"],
        ["-6", "2001:db8::53", "via", "fe80::1"],
    ]


def test_every_kind_of_hole_has_a_timeout():
    peers = [
        holes.Peer("10.1.0.1", "tcp", 443),
        holes.Peer("fd00::1", "dns", 53),
        holes.Peer("10.1.0.1", "icmp"),
        holes.Peer("fd00::1", "icmp"),
    ]
    assert holes.open_script(peers, 15).splitlines() == [
        "add element inet stronghold positive_control_v4 { 10.1.0.1 . tcp . 443 timeout 15s }",
        "add element inet stronghold positive_control_v6 { fd00::1 . udp . 53 timeout 15s }",
        "add element inet stronghold positive_control_ping_v4 { 10.1.0.1 timeout 15s }",
        "add element inet stronghold positive_control_ping_v6 { fd00::1 timeout 15s }",
    ]


def test_a_hole_that_stays_is_named():
    # Recorded from nftables 1.0.6, shortened.
    listing = """{"nftables": [{"metainfo": {"version": "1.0.6"}},
      {"set": {"family": "inet", "name": "self_v4", "elem": ["10.1.0.1"]}},
      {"set": {"family": "inet", "name": "positive_control_ping_v4", "flags": ["timeout"]}},
      {"set": {"family": "inet", "name": "positive_control_v4", "flags": ["timeout"], "elem": [{"elem":
        {"val": {"concat": ["1.2.3.4", "tcp", 80]}, "timeout": 15, "expires": 15}}]}}]}"""
    assert holes.still_open(listing) == ["positive_control_v4"]


class Recorder:
    """Plays the host: every command succeeds, and is remembered."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __call__(self, command: Any, data: str) -> tuple[int, str, str]:
        self.commands.append(" ".join(command))
        return 0, '{"nftables": []}', ""


def test_the_timer_that_takes_a_route_away_is_armed_before_the_route_is_there():
    run = Recorder()
    holes.open_for(run, 15, [["-4", "198.51.100.53", "via", "10.2.0.1"]], [])
    armed = next(n for n, text in enumerate(run.commands) if text.startswith("systemd-run"))
    routed = run.commands.index("ip -4 route replace 198.51.100.53 via 10.2.0.1")
    assert armed < routed
    assert run.commands[armed].endswith("ip -4 route del 198.51.100.53")


def test_closing_takes_the_route_away_and_empties_every_set():
    run = Recorder()
    assert holes.close(run, [["-4", "198.51.100.53", "via", "10.2.0.1"]]) == []
    assert "ip -4 route del 198.51.100.53" in run.commands
    assert holes.close_script().count("flush set inet stronghold positive_control_") == 4


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "refused"),
        (TimeoutError(), "filtered"),
        (PermissionError(errno.EPERM, "own firewall"), "filtered"),
        (OSError(errno.ENETUNREACH, "no route"), "unreachable"),
        (OSError(errno.EHOSTUNREACH, "no neighbour"), "unreachable"),
        (OSError(errno.EADDRNOTAVAIL, "no address of that family"), "unreachable"),
    ],
)
def test_what_the_kernel_says_about_a_try(error: OSError, outcome: str):
    assert knock._outcome(error) == outcome


def test_running_out_of_sockets_is_not_taken_for_a_closed_way():
    with pytest.raises(OSError, match="too many"):
        knock._outcome(OSError(errno.EMFILE, "too many open files"))


def test_an_echo_request_carries_a_checksum_that_sums_up_to_nothing():
    assert knock.checksum(knock.echo_packet(8, b"0123456789abcdef")) == 0


def _case(port: int, proto: str, expect: str) -> probe.Case:
    return probe.Case(f"{proto}/{port}", "here", "127.0.0.1", port, proto, expect)


def test_listeners_refusals_and_silence_are_told_apart_on_real_sockets():
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
    ):
        echo.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: echo.sendto(*echo.recvfrom(100)))
        thread.start()
        with socket.create_server(("127.0.0.1", 0)) as gone:
            free = gone.getsockname()[1]
        cases = [
            _case(tcp.getsockname()[1], "tcp", "open"),
            _case(free, "tcp", "open"),
            _case(echo.getsockname()[1], "udp", "open"),
            _case(free, "udp", "open"),
            _case(silent.getsockname()[1], "udp", "closed"),
        ]
        outcomes = knock.knock_all(cases, 0.5)
        thread.join()
    assert outcomes == ["open", "refused", "open", "refused", "filtered"]


@pytest.mark.parametrize(
    ("route", "leads_out"),
    [
        ('{"dst":"default","gateway":"10.2.0.1","dev":"host0"}', True),
        ('{"dst":"0.0.0.0/1","gateway":"10.2.0.1","dev":"host0"}', True),
        ('{"dst":"2000::/3","gateway":"fe80::1","dev":"host0"}', True),
        ('{"dst":"default","gateway":"10.2.0.1","dev":"host0","table":"7"}', True),
        ('{"type":"unreachable","dst":"default","dev":"lo"}', False),
        ('{"dst":"10.1.0.0/24","gateway":"10.2.0.1","dev":"host0"}', False),
        ('{"dst":"10.1.0.7","gateway":"10.2.0.1","dev":"host0"}', False),
        ('{"dst":"fe80::/64","dev":"host0"}', False),
        ('{"type":"multicast","dst":"ff00::/8","dev":"host0","table":"local"}', False),
    ],
)
def test_a_route_to_everywhere_is_found_also_in_halves_and_in_other_tables(route: str, leads_out: bool):
    assert bool(ways_out.default_routes("[]", f"[{route}]")) == leads_out


def test_name_servers_are_read_and_comments_are_not():
    assert ways_out.resolvers("# nameserver 1.1.1.1\nsearch site\nnameserver 10.9.9.9\n") == ["10.9.9.9"]
