# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's firewall, changed in two steps with a way back between them.

The table that was live is saved, a timer is armed that brings it back, and only then the new one is loaded.
Whoever still gets in, over a new connection, confirms: the timer is disarmed, and only then does the new
ruleset become the one that boots. Whatever dies between any two of these, the host has, or gets back, a table
that somebody got in under.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import Run, may, must
from ansible_collections.stronghold.llm.plugins.module_utils.zones.ruleset import MARK, REPLACE

LIST = ("nft", "--stateless", "list", "table", "inet", "stronghold")
ROLLBACK = "stronghold-firewall-rollback"
SERVICE = "nftables.service"
RULES = "etc/nftables.conf"
PREVIOUS = "etc/stronghold/nftables/previous.nft"
DROP_IN = f"etc/systemd/system/{SERVICE}.d/stronghold.conf"
# Debian's unit flushes the ruleset when it stops: a host without a firewall, and containers without theirs.
NEVER_FLUSH = "# The firewall of stronghold.llm stays when this unit stops.\n[Service]\nExecStop=\n"

# What a hole of the positive control leaves in a listing. It is not drift: it closes by itself.
_HOLES = re.compile(r"(set positive_control_\w+ \{[^}]*?)\n\t\telements = \{[^}]*\}")


class TakenBackError(Exception):
    """The host had taken the ruleset back before anybody confirmed it."""


@dataclass(frozen=True)
class Difference:
    name: str
    before: str
    after: str


def normal(listing: str) -> str:
    """A listing of the table, without what comes and goes by itself."""
    return _HOLES.sub(r"\1", listing)


def way_back(live: str) -> str:
    """The script that brings a table back, or takes ours away where there was none."""
    return REPLACE + normal(live)


@dataclass(frozen=True)
class Firewall:
    """The wanted ruleset, and the host that it is for."""

    ruleset: str
    run: Run
    root: Path = Path("/")

    def live(self) -> str:
        return normal(may(self.run, *LIST))

    def rehearsed(self) -> str:
        """What the kernel makes of the ruleset, tried in a network namespace where it touches nothing.

        So an invalid one is refused, and a rule that somebody added or deleted by hand is a difference.
        """
        script = f"nft -f - && {' '.join(LIST)}"
        return normal(must(self.run, "unshare", "--net", "sh", "-ec", script, data=self.ruleset))

    def interrupted(self) -> bool:
        """An earlier run was killed before it confirmed, not long ago."""
        return bool(may(self.run, "systemctl", "is-active", f"{ROLLBACK}.timer"))

    def differences(self) -> list[Difference]:
        enabled = may(self.run, "systemctl", "is-enabled", SERVICE).strip() == "enabled"
        pairs = (
            Difference("the live table", self.live(), self.rehearsed()),
            Difference(f"/{RULES}", self._read(RULES), self.ruleset),
            Difference(f"/{DROP_IN}", self._read(DROP_IN), NEVER_FLUSH),
            Difference(SERVICE, "enabled\n" if enabled else "disabled\n", "enabled\n"),
        )
        return [pair for pair in pairs if pair.before != pair.after]

    def take_back(self) -> None:
        """What an interrupted run left live has been proven by nobody; the file has what worked."""
        must(self.run, "nft", "-f", str(self.root / PREVIOUS))
        self._disarm()

    def apply(self, seconds: int) -> None:
        self._write(PREVIOUS, way_back(self.live()))
        # Unless told otherwise, systemd lets timers elapse up to a minute late.
        when = f"--on-active={seconds}", "--timer-property=AccuracySec=100ms"
        back = "nft", "-f", str(self.root / PREVIOUS)
        must(self.run, "systemd-run", "--quiet", "--collect", f"--unit={ROLLBACK}", *when, *back)
        must(self.run, "nft", "-f", "-", data=self.ruleset)

    def confirm(self) -> None:
        self._disarm()
        if self.live() != self.rehearsed():
            raise TakenBackError(
                "the host has taken the ruleset back, it was not confirmed in time: see that the zone matrix "
                "lets the controller's zone in by ssh, or give it more time (network_zones_rollback_seconds)"
            )
        rules = self.root / RULES
        if rules.exists() and MARK not in rules.read_text():
            shutil.copy2(rules, rules.with_name("nftables.conf.before-stronghold"))
        self._write(RULES, self.ruleset)
        self._write(DROP_IN, NEVER_FLUSH)
        must(self.run, "systemctl", "daemon-reload")
        must(self.run, "systemctl", "enable", "--quiet", SERVICE)

    def _disarm(self) -> None:
        may(self.run, "systemctl", "stop", f"{ROLLBACK}.timer")  # it is gone once it has fired

    def _read(self, name: str) -> str:
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def _write(self, name: str, text: str) -> None:
        """The whole file or the old one, also when the power fails."""
        path = self.root / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.new")
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(path)
