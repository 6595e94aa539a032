# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply, confirm, and every way in which that can be cut short, against a host that lives in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import CommandError
from ansible_collections.stronghold.llm.plugins.module_utils.zones.firewall import (
    DROP_IN,
    PREVIOUS,
    RULES,
    Firewall,
    TakenBackError,
    normal,
    way_back,
)
from ansible_collections.stronghold.llm.plugins.module_utils.zones.ruleset import MARK

NEW = f"{MARK}\nnew"
OLD = f"{MARK}\nold"


class Killed(Exception):
    """The host's power is gone."""


class Host:
    """A kernel with one table, a systemd with one timer. A ruleset's listing is its text."""

    def __init__(self, root: Path, live: str = "") -> None:
        self.root, self.table, self.armed, self.enabled = root, live, False, False
        self.done: list[str] = []
        self.dies_before = ""

    def __call__(self, command: Sequence[str], data: str) -> tuple[int, str, str]:
        text = " ".join(command)
        if self.dies_before and self.dies_before in text:
            raise Killed
        self.done.append(text)
        match list(command):
            case ["nft", "--stateless", *_]:
                return (0, self.table, "") if self.table else (1, "", "no such table")
            case ["unshare", *_]:
                return (1, "", "syntax error, unexpected junk") if "junk" in data else (0, data, "")
            case ["nft", "-f", "-"]:
                self.table = data
            case ["nft", "-f", path]:
                self.table = self._table_of(Path(path).read_text())
            case ["systemd-run", *_]:
                self.armed = True
            case ["systemctl", "stop", *_]:
                self.armed = False
            case ["systemctl", "is-active", *_]:
                return (0, "active\n", "") if self.armed else (3, "inactive\n", "")
            case ["systemctl", "is-enabled", *_]:
                return (0, "enabled\n", "") if self.enabled else (1, "disabled\n", "")
            case ["systemctl", "enable", *_]:
                self.enabled = True
        return 0, "", ""

    def _table_of(self, script: str) -> str:
        return script.removeprefix(way_back(""))

    def time_passes(self) -> None:
        if self.armed:
            self.table = self._table_of((self.root / PREVIOUS).read_text())
            self.armed = False


def converge(host: Host, ruleset: str = NEW) -> bool:
    """What the role does."""
    firewall = Firewall(ruleset, host, host.root)
    if firewall.interrupted():
        firewall.take_back()
    if not firewall.differences():
        return False
    firewall.apply(30)
    firewall.confirm()
    return True


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_confirmed_ruleset_is_live_and_boots_and_a_second_run_changes_nothing(host: Host):
    assert converge(host)
    assert (host.table, host.armed, host.enabled) == (NEW, False, True)
    assert (host.root / RULES).read_text() == NEW
    host.done.clear()
    assert not converge(host)
    assert not [text for text in host.done if text.startswith(("nft -f", "systemd-run", "systemctl enable"))]


def test_the_way_back_is_armed_before_the_ruleset_is_loaded(host: Host):
    Firewall(NEW, host, host.root).apply(30)
    armed = next(n for n, text in enumerate(host.done) if text.startswith("systemd-run"))
    assert armed < host.done.index("nft -f -")
    assert "--on-active=30" in host.done[armed]
    assert "--timer-property=AccuracySec=100ms" in host.done[armed]


@pytest.mark.parametrize("before", ["", OLD])
def test_a_host_that_nobody_reaches_goes_back_to_what_it_had(tmp_path: Path, before: str):
    host = Host(tmp_path, live=before)
    Firewall(NEW, host, host.root).apply(30)
    assert host.table == NEW
    host.time_passes()
    assert host.table == before
    assert not (host.root / RULES).exists()


def test_a_late_confirmation_is_refused_and_nothing_boots_that_nobody_got_in_under(host: Host):
    firewall = Firewall(NEW, host, host.root)
    firewall.apply(30)
    host.time_passes()
    with pytest.raises(TakenBackError, match="network_zones_rollback_seconds"):
        firewall.confirm()
    assert not (host.root / RULES).exists()


@pytest.mark.parametrize("timer_fires", [True, False])
@pytest.mark.parametrize(
    "dies_before",
    ["systemd-run", "nft -f -", "systemctl stop", "unshare", "systemctl daemon-reload", "systemctl enable"],
)
def test_a_run_killed_anywhere_is_mended_by_the_next_one(tmp_path: Path, dies_before: str, timer_fires: bool):
    host = Host(tmp_path)
    converge(host, OLD)
    host.enabled, host.dies_before = False, dies_before
    with pytest.raises(Killed):
        converge(host)
    if timer_fires:
        host.time_passes()
    host.dies_before = ""
    converge(host)
    assert (host.table, host.armed, host.enabled) == (NEW, False, True)
    assert (host.root / RULES).read_text() == NEW
    assert not converge(host)


def test_a_ruleset_that_nobody_confirmed_is_never_the_one_to_go_back_to(host: Host):
    converge(host, OLD)
    Firewall(f"{MARK}\nlocked", host, host.root).apply(30)  # and then the controller dies
    firewall = Firewall(NEW, host, host.root)
    assert firewall.interrupted()
    firewall.take_back()
    firewall.apply(30)
    host.time_passes()
    assert host.table == OLD


def test_a_rule_added_by_hand_is_a_difference_although_the_files_are_as_they_were(host: Host):
    converge(host)
    host.table += "\ntcp dport 23 accept"
    assert [each.name for each in Firewall(NEW, host, host.root).differences()] == ["the live table"]
    assert converge(host)
    assert host.table == NEW


def test_a_ruleset_that_nft_refuses_touches_nothing_and_says_why(host: Host):
    with pytest.raises(CommandError, match="syntax error"):
        converge(host, "junk")
    assert host.table == ""
    assert not (host.root / PREVIOUS).exists()


def test_rules_that_somebody_else_wrote_are_kept_beside_ours(host: Host):
    (host.root / "etc").mkdir()
    (host.root / RULES).write_text("table inet theirs {}\n")
    converge(host)
    assert (host.root / "etc/nftables.conf.before-stronghold").read_text() == "table inet theirs {}\n"
    converge(host, OLD)
    assert (host.root / "etc/nftables.conf.before-stronghold").read_text() == "table inet theirs {}\n"


def test_stopping_the_service_no_longer_flushes_every_table(host: Host):
    converge(host)
    assert "ExecStop=\n" in (host.root / DROP_IN).read_text()


def test_a_hole_of_the_positive_control_is_not_drift_and_anything_else_is():
    # Recorded from nftables 1.1.3 with --stateless, shortened.
    listing = """table inet stronghold {
\tset positive_control_v4 {
\t\ttype ipv4_addr . inet_proto . inet_service
\t\tsize 256
\t\ttimeout 15s%s
\t}

\tset self_v4 {
\t\ttype ipv4_addr
\t\telements = { 10.1.1.1 }
\t}
}
"""
    hole = "\n\t\telements = { 1.2.3.5 . udp . 53 timeout 10s,\n\t\t\t     1.2.3.4 . tcp . 80 }"
    assert normal(listing % hole) == normal(listing % "") == listing % ""
    assert normal(listing.replace("10.1.1.1", "10.1.1.2") % "") != normal(listing % "")
