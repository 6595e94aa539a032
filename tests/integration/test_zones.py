# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody reaches what the matrix does not allow, and whoever opens a hole by hand is found out."""

from __future__ import annotations

import json

import pytest

from lab.site import Site
from tests.integration.conftest import EVIDENCE, playbook, recap


def test_a_hole_made_by_hand_fails_the_proof_and_names_the_cell(lab: Site, on) -> None:
    hole = "nft insert rule inet stronghold {} tcp dport 22 accept"
    edge, core = on("edge"), on("core")
    edge.check_output(hole.format("output"))
    core.check_output(hole.format("input"))
    try:
        done = playbook("--tags", "verify", "--limit", "edge")
        assert done.returncode != 0
        assert "zones.matrix_holds on edge1" in done.stdout
        assert "edge1 to core1 tcp/22" in done.stdout
        # Every other claim has been looked at all the same.
        claims = json.loads(EVIDENCE.read_text())
        assert {"edge.tls13_only", "zones.matrix_holds"} <= {claim["id"] for claim in claims}
    finally:
        mended = playbook("--tags", "zones")
    assert recap(mended.stdout)["edge1"]["changed"] > 0
    assert recap(mended.stdout)["core1"]["changed"] > 0
    assert playbook("--tags", "verify").returncode == 0


def test_the_core_has_no_way_out(on) -> None:
    core = on("core")
    assert core.run("ip route show default; ip -6 route show default").stdout == ""
    # Even with a route: the firewall lets nothing through.
    core.check_output("ip route add 198.51.100.53 via 10.77.30.1")
    try:
        assert core.run("ping -c 1 -W 1 198.51.100.53").rc != 0
        assert core.run("timeout 2 bash -c '</dev/tcp/198.51.100.53/443'").rc != 0
    finally:
        core.check_output("ip route del 198.51.100.53")


def test_drops_are_counted(on) -> None:
    core = on("core")
    counter = "nft -j list counter inet stronghold dropped_output"

    def packets() -> int:
        listed = json.loads(core.check_output(counter))["nftables"]
        return next(entry["counter"]["packets"] for entry in listed if "counter" in entry)

    before = packets()
    core.run("timeout 2 bash -c '</dev/tcp/10.77.20.11/9'")
    assert packets() > before


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_client_reaches_the_gateway_and_nothing_else(lab: Site, on, family: str) -> None:
    client = on("client")
    for host in lab.hosts[1:]:  # the first is the client itself
        for port in (22, 443, 8443):
            open_ = client.run(f"timeout 1 bash -c '</dev/tcp/{getattr(host, family)}/{port}'").rc == 0
            assert open_ == (host.zone.name == "edge" and port == 443), f"{host.name} {port}"


def test_a_firewall_that_locks_the_controller_out_is_taken_back(on) -> None:
    """A matrix without ssh: the host must come back by itself, with the firewall it had."""
    without_ssh = {
        "stronghold_zone_matrix": [{"from": "client", "to": "edge", "ports": [443], "why": "x"}],
        "network_zones_rollback_seconds": 8,
    }
    before = on("data").check_output("nft --stateless list table inet stronghold")
    done = playbook("--tags", "zones", "--limit", "data", "-e", json.dumps(without_ssh))
    assert done.returncode != 0
    assert "back under the one before" in done.stdout
    assert on("data").check_output("nft --stateless list table inet stronghold") == before
