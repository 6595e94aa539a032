# SPDX-License-Identifier: GPL-3.0-or-later
"""A declaration that contradicts itself is refused with everything that is wrong with it, at once."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import Flow, SiteError, parse

ZONES: dict[str, Any] = {
    "edge": {"vlan": 120, "ipv4": "10.1.0.0/24", "ipv6": "fd00:1::/64"},
    "core": {"vlan": 130, "ipv4": "10.2.0.0/24", "ipv6": "fd00:2::/64"},
    "mgmt": {"vlan": 140, "ipv4": "10.3.0.0/24", "ipv6": "fd00:3::/64"},
}
HOSTS: list[dict[str, Any]] = [
    {"name": "edge1", "zones": ["edge"], "ipv4": "10.1.0.11", "ipv6": "fd00:1::11"},
    {"name": "core1", "zones": ["core"], "ipv4": "10.2.0.11", "ipv6": "fd00:2::11"},
]
ROW: dict[str, Any] = {"from": "edge", "to": "core", "ports": [8443], "why": "the model"}


def problems(
    zones: dict[str, Any] = ZONES,
    matrix: list[dict[str, Any]] | None = None,
    hosts: list[dict[str, Any]] = HOSTS,
) -> list[str]:
    with pytest.raises(SiteError) as error:
        parse(zones, [ROW] if matrix is None else matrix, hosts)
    return error.value.messages


def test_lists_of_zones_and_ports_become_one_flow_for_each_combination():
    row = {"from": ["edge", "core"], "to": "mgmt", "ports": [443, 80], "why": "packages"}
    assert parse(ZONES, [row], HOSTS).flows == (
        Flow("edge", "mgmt", "tcp", 443, "packages"),
        Flow("edge", "mgmt", "tcp", 80, "packages"),
        Flow("core", "mgmt", "tcp", 443, "packages"),
        Flow("core", "mgmt", "tcp", 80, "packages"),
    )


def test_icmp_has_no_port():
    flows = parse(ZONES, [{"from": "mgmt", "to": "core", "proto": "icmp", "why": "ping"}], HOSTS).flows
    assert flows == (Flow("mgmt", "core", "icmp", None, "ping"),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": "coer"}, "row 1: to: 'coer' is not a zone"),
        ({"from": ["edge", "dmz"]}, "row 1: from: 'dmz' is not a zone"),
        ({"to": "0.0.0.0/0"}, "row 1: to: '0.0.0.0/0' is not a zone"),
        ({"to": "any"}, "nothing outside the site"),
        ({"to": []}, "row 1: 'to' is missing"),
        ({"port": 443}, "'port' is not a key of a row"),
        ({"proto": "sctp"}, "proto 'sctp' is not known: use tcp, udp, icmp"),
        ({"proto": "icmp"}, "icmp has none"),
        ({"ports": []}, "tcp needs a list of port numbers"),
        ({"ports": 443}, "tcp needs a list of port numbers"),
        ({"ports": [0]}, "port 0 is not a whole number from 1 to 65535"),
        ({"ports": [65536]}, "port 65536 is not"),
        ({"ports": ["443"]}, "port '443' is not"),
        ({"ports": [True]}, "port True is not"),
        ({"ports": [443, 443]}, "port 443 is there twice"),
        ({"why": " "}, "'why' is missing"),
    ],
)
def test_a_wrong_row_is_named_by_its_number_and_value(change: dict[str, Any], message: str):
    assert any(message in each for each in problems(matrix=[{**ROW, **change}]))


def test_an_unknown_zone_is_answered_with_the_zones_that_exist():
    assert problems(matrix=[ROW, {**ROW, "to": "coer"}]) == [
        "zone matrix, row 2: to: 'coer' is not a zone, and a row can name nothing else (no address, nothing "
        "outside the site): use one of edge, core, mgmt"
    ]


def test_a_way_opened_by_two_rows_is_refused_as_taking_one_away_would_not_close_it():
    again = {"from": ["mgmt", "edge"], "to": "core", "ports": [8443], "why": "again"}
    assert problems(matrix=[ROW, again]) == [
        "zone matrix, row 2: edge to core tcp/8443 is already in row 1: "
        "keep it in one of them, so that taking the row away closes the way"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zones": ["edge", "core"]}, "host edge1 stands in 2 zones (edge, core)"),
        ({"zones": []}, "host edge1 stands in no zone"),
        ({"zones": ["dmz"]}, "host edge1: 'dmz' is not a zone"),
        ({"ipv4": "10.2.0.12"}, "ipv4 10.2.0.12 is not in its zone's subnet 10.1.0.0/24"),
        ({"ipv6": "fd00:2::12"}, "ipv6 fd00:2::12 is not in its zone's subnet fd00:1::/64"),
        ({"ipv4": ""}, "host edge1: ipv4 '' is not an address"),
        ({"ipv6": None}, "host edge1: ipv6 None is not an address"),
        ({"ipv4": "fd00:1::11"}, "host edge1: ipv4 'fd00:1::11' is not an address"),
    ],
)
def test_a_host_that_stands_nowhere_or_twice_is_named(change: dict[str, Any], message: str):
    assert any(message in each for each in problems(hosts=[{**HOSTS[0], **change}, HOSTS[1]]))


def test_two_hosts_with_one_address_are_both_named():
    twin = {"name": "edge2", "zones": ["edge"], "ipv4": "10.1.0.11", "ipv6": "fd00:1::12"}
    assert problems(hosts=[*HOSTS, twin]) == [
        "host edge2: ipv4 10.1.0.11 is edge1's already: give it its own"
    ]


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        (
            {"ipv4": "10.1.0.0/16", "ipv6": "fd00:4::/64"},
            "zones edge (10.1.0.0/24) and lab (10.1.0.0/16) overlap",
        ),
        (
            {"ipv4": "10.4.0.0/24", "ipv6": "fd00::/16"},
            "zones core (fd00:2::/64) and lab (fd00::/16) overlap",
        ),
        ({"ipv4": "10.4.0.1/24", "ipv6": "fd00:4::/64"}, "zone lab: 10.4.0.1/24 has host bits set"),
        ({"ipv4": "10.4.0.0/24"}, "zone lab: a zone has two subnets"),
        (None, "zone lab: a zone has two subnets"),
    ],
)
def test_a_zone_without_its_own_subnets_is_refused(zone: dict[str, Any] | None, message: str):
    assert any(message in each for each in problems(zones={**ZONES, "lab": zone}))


def test_a_zone_name_that_could_not_be_part_of_a_rule_is_refused():
    bad = {'core"; flush ruleset': {"ipv4": "10.4.0.0/24", "ipv6": "fd00:4::/64"}}
    assert "a zone's name is a-z, 0-9 and _" in problems(zones={**ZONES, **bad})[0]


def test_everything_that_is_wrong_is_said_at_once():
    found = problems(
        zones={**ZONES, "lab": {"ipv4": "10.1.0.0/24", "ipv6": "fd00:9::/64"}},
        matrix=[{**ROW, "to": "coer"}, {**ROW, "ports": [0]}],
        hosts=[{**HOSTS[0], "zones": []}],
    )
    assert len(found) == 4


def test_an_unknown_host_is_answered_with_the_hosts_that_exist():
    with pytest.raises(SiteError, match=r"gpu9 is not a host of the site: .* hosts are: edge1, core1"):
        parse(ZONES, [ROW], HOSTS).host("gpu9")
