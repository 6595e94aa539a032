# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check before the converge has found: in one form for topology, plan and versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

Severity = Literal["refuse", "warn", "note"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Worst first. `refuse` stops the run before any host is touched; `note` also says what was not checked."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    `subject` is what it is about, as a person would point at it ("GPU 3 (0000:4f:00.0)", "driver and CUDA"),
    `rule` says why that matters, `remedy` what to do, `source` who says so (empty: the site itself).
    """

    severity: Severity
    host: str
    subject: str
    found: str
    expected: str
    rule: str
    remedy: str
    source: str = ""

    def __str__(self) -> str:
        """One line: host, thing, value, rule, remedy."""
        return (
            f"{self.host}: {self.subject}: found {self.found}, expected {self.expected} "
            f"({self.rule}); {self.remedy}"
        )


def refused(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "refuse" for finding in findings)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first; within one severity as they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def records(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """As a module returns them: the fields, and the line for people as `message`."""
    return [{**asdict(finding), "message": str(finding)} for finding in in_order(findings)]
