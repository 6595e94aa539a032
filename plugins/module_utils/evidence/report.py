# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence as one page for a person, such as a security officer, to read and to keep."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.evidence.claims import (
    STATUSES,
    Claim,
    Status,
    summarise,
)

LABELS: dict[Status, str] = {"failed": "failed", "not_proven": "not proven", "proven": "proven"}

LONG = 80
"""Characters of a value that a table cell still shows without unfolding."""


@dataclass(frozen=True)
class Run:
    """The run that made the claims. `scope` names its --limit and --tags, empty for a whole run."""

    playbook: str
    inventory: str
    when: str
    scope: str = ""


def render(claims: Sequence[Claim], run: Run) -> str:
    """One self-contained HTML page: nothing is loaded, nothing is executed, every value is escaped."""
    counts = summarise(claims)
    about = [
        ("Playbook", run.playbook),
        ("Inventory", run.inventory),
        ("When", run.when),
        ("Looked again at", run.scope),
    ]
    groups = groupby(sorted(claims, key=_topic), key=_topic)
    sections = sorted((_rank(group := list(members)), topic, group) for topic, members in groups)
    return PAGE.format(
        style=STYLE,
        counts="".join(
            f'<li class="{status}"><b>{count}</b> {LABELS[status]}</li>' for status, count in counts.items()
        ),
        about="".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in about if text),
        sections="".join(_section(topic, group) for _, topic, group in sections),
    )


def _topic(claim: Claim) -> str:
    return claim.id.partition(".")[0]


def _rank(claims: Sequence[Claim]) -> int:
    return min(STATUSES.index(claim.status) for claim in claims)


def _section(topic: str, claims: Sequence[Claim]) -> str:
    ordered = sorted(claims, key=lambda claim: (STATUSES.index(claim.status), claim.id, claim.host))
    return SECTION.format(topic=escape(topic), rows="".join(map(_row, ordered)))


def _row(claim: Claim) -> str:
    notes = [claim.reason] if claim.reason else [f"not so: {text}" for text in claim.failed_conditions]
    return ROW.format(
        status=claim.status,
        label=LABELS[claim.status],
        id=escape(claim.id),
        host=escape(claim.host),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        value=_value(claim.value) + _figure(claim),
        how=escape(claim.how),
        when=escape(claim.when),
    )


def _figure(claim: Claim) -> str:
    """As an image, in which a script that has crept into the SVG would not run."""
    if not claim.figure:
        return ""
    data = b64encode(claim.figure.encode()).decode()
    return f'<img alt="{escape(claim.id)} on {escape(claim.host)}" src="data:image/svg+xml;base64,{data}">'


def _value(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= LONG and "\n" not in text:
        return f"<code>{escape(text)}</code>"
    pretty = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    start = " ".join(text[:LONG].split())
    return f"<details><summary><code>{escape(start)} …</code></summary><pre>{escape(pretty)}</pre></details>"


STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #ffffff; --faint: #59636e; --line: #d1d9e0;
        --failed: #b3261e; --not_proven: #8a5a00; --proven: #1a6b37; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --back: #0d1117; --faint: #9198a1; --line: #3d444d;
          --failed: #ff8a80; --not_proven: #e3b341; --proven: #6fdd8b; }
}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif;
       color: var(--text); background: var(--back); }
h2 { margin: 2rem 0 .5rem; }
ul.counts { display: flex; flex-wrap: wrap; gap: 2rem; padding: 0; list-style: none; font-size: 1.25rem; }
ul.counts b { font-size: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; }
dt, td.when, td.how, thead { color: var(--faint); }
dd { margin: 0; }
.table { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); text-align: left;
         vertical-align: top; }
th { font-weight: 600; }
td.when { white-space: nowrap; }
.failed, .not_proven, .proven { font-weight: 600; white-space: nowrap; }
.failed { color: var(--failed); }
.not_proven { color: var(--not_proven); }
.proven { color: var(--proven); }
.note { margin: 0 0 .25rem; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
pre { margin: .5rem 0 0; }
img { display: block; max-width: 100%; margin: .5rem 0 0; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Evidence</title>
<style>{style}</style>
</head>
<body>
<h1>Evidence</h1>
<ul class="counts">{counts}</ul>
<dl>{about}</dl>
{sections}</body>
</html>
"""

SECTION = """<h2>{topic}</h2>
<div class="table"><table>
<thead><tr><th scope="col">Status</th><th scope="col">Claim</th><th scope="col">Host</th>\
<th scope="col">What was seen</th><th scope="col">How</th><th scope="col">When</th></tr></thead>
<tbody>
{rows}</tbody>
</table></div>
"""

ROW = """<tr><td class="{status}">{label}</td><th scope="row">{id}</th><td>{host}</td>\
<td>{notes}{value}</td><td class="how">{how}</td><td class="when">{when}</td></tr>
"""
