# SPDX-License-Identifier: GPL-3.0-or-later
"""All hosts at once: findings of each, and their drawings in a folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding
from ansible_collections.stronghold.llm.plugins.module_utils.topology.check import check
from ansible_collections.stronghold.llm.plugins.module_utils.topology.drawing import svg
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import (
    Expectation,
    ExpectationError,
    read,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Topology,
    TopologyError,
    from_data,
)

VARIABLE = "stronghold_accelerators"


def topologies(data: Iterable[Mapping[str, Any]]) -> list[Topology]:
    """
    Raises:
        TopologyError: one that is none, a host that is there twice, or one whose name cannot be a file's.
    """
    found: dict[str, Topology] = {}
    for each in data:
        topology = from_data(each)
        if topology.host in found:
            raise TopologyError(f"{topology.host}: its topology is there twice: give each host once")
        if not topology.host or topology.host.startswith(".") or "/" in topology.host:
            raise TopologyError(f"{topology.host!r}: this host's name cannot be the name of a file")
        found[topology.host] = topology
    return list(found.values())


def expectations(data: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, Expectation]:
    """Host -> what is expected of it.

    Raises:
        ExpectationError: all that is wrong with any of them, or a host that nothing was read of.
    """
    found, problems = {}, []
    known = set(hosts)
    for host, wanted in data.items():
        if host not in known:
            problems.append(
                f"{host}: {VARIABLE}: it has no topology: read it first, or take it out of expected"
            )
        try:
            found[host] = read(wanted, f"{host}: {VARIABLE}")
        except ExpectationError as error:
            problems += error.messages
    if problems:
        raise ExpectationError(problems)
    return found


def findings(hosts: Sequence[Topology], expected: Mapping[str, Expectation]) -> list[Finding]:
    return [finding for topology in hosts for finding in check(topology, expected.get(topology.host))]


def stale(hosts: Iterable[Topology], folder: Path) -> dict[Path, str]:
    """Drawings that are not in the folder as they should be: path -> content."""
    wanted = {folder / f"{topology.host}.svg": svg(topology) for topology in hosts}
    return {path: content for path, content in wanted.items() if _content(path) != content.encode()}


def write(drawings: Mapping[Path, str]) -> None:
    """Each is there whole or not at all."""
    for path, content in drawings.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
