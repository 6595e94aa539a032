# SPDX-License-Identifier: GPL-3.0-or-later
"""The zone matrix, in the forms in which the role network_zones takes it: problems, rules, cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from ansible.errors import AnsibleFilterError
from ansible_collections.stronghold.llm.plugins.module_utils.zones import holes, probe, ruleset
from ansible_collections.stronghold.llm.plugins.module_utils.zones import matrix as site_matrix

Zones = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]


def zone_problems(zones: Zones, matrix: Rows, hosts: Rows) -> list[str]:
    try:
        site_matrix.parse(zones, matrix, hosts)
    except site_matrix.SiteError as error:
        return error.messages
    return []


def nft_ruleset(zones: Zones, matrix: Rows, hosts: Rows, host: str) -> str:
    site = _site(zones, matrix, hosts)
    return ruleset.render(site, _host(site, host))


def zone_cells(zones: Zones, matrix: Rows, hosts: Rows, host: str) -> list[dict[str, Any]]:
    site = _site(zones, matrix, hosts)
    return [asdict(case) for case in probe.cells(site, _host(site, host).name)]


def zone_control(zones: Zones, matrix: Rows, hosts: Rows, host: str) -> dict[str, Any]:
    """A host's positive control: closed cells to try, and the two ends on which they are opened for that."""
    site = _site(zones, matrix, hosts)
    source = _host(site, host)
    cases = probe.control_cases(site, source.name)
    return _control("open", cases, holes.ends(site, source.name, cases))


def zone_way_out(
    zones: Zones,
    hosts: Rows,
    host: str,
    outside: Mapping[str, str],
    routers: Mapping[str, str],
    state: Literal["open", "routed"],
) -> dict[str, Any]:
    """The ways out of the site: open, as a positive control, or routed, with only the firewall in the way."""
    site = _site(zones, [], hosts)
    cases = probe.outside_cases(outside, "open" if state == "open" else "closed")
    return _control(state, cases, [holes.end_towards_outside(site, _host(site, host).name, cases, routers)])


def _control(state: str, cases: Sequence[probe.Case], ends: Sequence[holes.End]) -> dict[str, Any]:
    return {"state": state, "cases": [asdict(case) for case in cases], "ends": [asdict(end) for end in ends]}


def _site(zones: Zones, matrix: Rows, hosts: Rows) -> site_matrix.Site:
    try:
        return site_matrix.parse(zones, matrix, hosts)
    except site_matrix.SiteError as error:
        raise AnsibleFilterError(str(error)) from error


def _host(site: site_matrix.Site, name: str) -> site_matrix.Host:
    try:
        return site.host(name)
    except site_matrix.SiteError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "zone_problems": zone_problems,
            "nft_ruleset": nft_ruleset,
            "zone_cells": zone_cells,
            "zone_control": zone_control,
            "zone_way_out": zone_way_out,
        }
