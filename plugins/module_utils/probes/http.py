# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to an HTTPS server and what their answers must be. Pure: probes.wire does the asking."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

EXCERPT = 200  # characters of a body that a result keeps


@dataclass(frozen=True)
class Case:
    """One request. Its path is sent as it is written here: no normalisation, no escaping."""

    name: str
    group: str = ""
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    bearer: bool = True  # sends the API key, where `headers` has no Authorization
    tls: str = ""  # the only version offered, "1.2" or "1.3"; empty leaves it to OpenSSL
    control: bool = False  # asks the probe's own listener instead of the server
    expect_status: Sequence[int] = ()
    expect_body: str = ""  # a piece of the answer that says who gave it
    expect_error: str = ""  # how the connection must fail, as in Answer.error


@dataclass(frozen=True)
class Answer:
    """What came of a case: a status, or an error that begins with tls, certificate, timeout or connection."""

    status: int | None = None
    error: str = ""
    tls_version: str = ""
    body: str = ""


@dataclass(frozen=True)
class Result:
    name: str
    status: int | None
    error: str
    tls_version: str
    body_excerpt: str
    passed: bool


@dataclass(frozen=True)
class Group:
    """The results of the cases that share a group's name; `missed` names those that did not pass."""

    asked: int
    missed: list[str]
    results: list[Result]


def case(params: Mapping[str, Any]) -> Case:
    """A case from a task's arguments: a body given as data is JSON, given as text it is sent as it is."""
    known = {name: value for name, value in params.items() if value is not None}
    body = known.pop("body", "")
    headers = {str(name): str(value) for name, value in known.pop("headers", {}).items()}
    if not isinstance(body, str):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    return Case(**known, headers=headers, body=body.encode())


def passed(asked: Case, answer: Answer) -> bool:
    """Whether the answer is what the case expects. A case that expects nothing does not pass."""
    if asked.expect_error:
        return answer.status is None and answer.error.startswith(asked.expect_error)
    return answer.status in asked.expect_status and asked.expect_body in answer.body


def judge(asked: Case, answer: Answer) -> Result:
    return Result(
        name=asked.name,
        status=answer.status,
        error=answer.error,
        tls_version=answer.tls_version,
        body_excerpt=answer.body[:EXCERPT],
        passed=passed(asked, answer),
    )


def report(asked: Sequence[Case], answers: Sequence[Answer]) -> dict[str, Any]:
    """The results by group, in the order of the cases, as plain data."""
    groups: dict[str, list[Result]] = {}
    for one, answer in zip(asked, answers, strict=True):
        groups.setdefault(one.group, []).append(judge(one, answer))
    return {
        name: asdict(Group(len(results), [one.name for one in results if not one.passed], results))
        for name, results in groups.items()
    }
