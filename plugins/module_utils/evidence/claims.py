# SPDX-License-Identifier: GPL-3.0-or-later
"""What a claim is, and what many of them add up to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Status = Literal["failed", "not_proven", "proven"]

STATUSES: tuple[Status, ...] = get_args(Status)
"""Worst first: the order of reports, and what wins when a claim is stated twice."""

ID_PATTERN = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


@dataclass(frozen=True)
class Condition:
    """One condition of a claim. `error` says why it could not be evaluated; then it does not hold."""

    text: str
    holds: bool
    error: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.error}" if self.error else self.text


@dataclass(frozen=True)
class Claim:
    """One statement about one host, and what a check of it has shown. `when` is ISO 8601 in UTC."""

    id: str
    status: Status
    host: str
    how: str
    value: Any
    when: str
    reason: str = ""
    failed_conditions: tuple[str, ...] = ()
    figure: str = ""
    """A drawing of what was seen, the text of an SVG."""

    @classmethod
    def judged(
        cls,
        *,
        id: str,
        host: str,
        how: str,
        value: Any,
        when: str,
        conditions: Sequence[Condition],
        unless: str = "",
        check_mode: bool = False,
        figure: str = "",
    ) -> Claim:
        """The claim that follows from these conditions.

        A reason not to prove it (`unless`) goes before everything. What cannot be evaluated does not hold.
        In check mode nothing fails: what was looked at may not be made yet, and a skipped probe answers "".
        """
        broken = [condition for condition in conditions if not condition.holds]
        errors = [condition.error for condition in broken if condition.error]
        if unless:
            return cls(id, "not_proven", host, how, plain(value), when, reason=unless, figure=figure)
        seen = plain(value) if value is not None else "; ".join(errors) or None
        if broken and check_mode:
            return cls(id, "not_proven", host, how, seen, when, reason="check mode", figure=figure)
        if broken:
            failed = tuple(map(str, broken))
            return cls(id, "failed", host, how, seen, when, failed_conditions=failed, figure=figure)
        return cls(id, "proven", host, how, seen, when, figure=figure)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Claim:
        """The claim in a task's result or in evidence.json."""
        failed = tuple(record.get("failed_conditions", ()))
        return cls(**{**record, "failed_conditions": failed})

    @property
    def why(self) -> str:
        """Why it is not proven, in one line: JSON also keeps control characters away from a terminal."""
        if self.status == "not_proven":
            return self.reason
        seen = self.value if self.value is not None else self.failed_conditions
        return json.dumps(seen, ensure_ascii=False) if self.status == "failed" else ""

    def record(self) -> dict[str, Any]:
        """The claim as evidence.json holds it: with `reason`, `failed_conditions` and `figure` if any."""
        record = {
            "id": self.id,
            "status": self.status,
            "host": self.host,
            "how": self.how,
            "value": self.value,
            "when": self.when,
        }
        if self.status == "not_proven":
            record["reason"] = self.reason
        if self.status == "failed":
            record["failed_conditions"] = list(self.failed_conditions)
        if self.figure:
            record["figure"] = self.figure
        return record


def plain(value: Any) -> Any:
    """The same value in the types of JSON. What JSON has no form for becomes its text."""
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError):
        return str(value)


def settle(claims: Iterable[Claim]) -> list[Claim]:
    """One claim for each id and host, by id, then host. Of several, the worst, and of equals the last."""
    settled: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        earlier = settled.get((claim.id, claim.host))
        if earlier is None or STATUSES.index(claim.status) <= STATUSES.index(earlier.status):
            settled[claim.id, claim.host] = claim
    return [settled[key] for key in sorted(settled)]


def merge(earlier: Iterable[Claim], now: Iterable[Claim]) -> list[Claim]:
    """What is claimed after a run that looked at a part only: the new ones, and the others as they were."""
    merged = {(claim.id, claim.host): claim for claim in (*earlier, *now)}
    return [merged[key] for key in sorted(merged)]


def summarise(claims: Iterable[Claim]) -> dict[Status, int]:
    """How many claims have each status, every status named, worst first."""
    counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
    for claim in claims:
        counts[claim.status] += 1
    return counts
