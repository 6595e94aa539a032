# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Debian machine takes its packages from: apt's sources, in both of their formats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

DISABLED = ".disabled-by-stronghold"

# Names under which Debian's own archive is addressed; another vendor's suites differ.
_DEBIAN_RELEASES = re.compile(r"bullseye|bookworm|trixie|forky|duke|sid|(?:old)*stable|testing|unstable")
_FALSE = frozenset(("no", "false", "without", "off", "disable"))
_ONE_LINE = re.compile(
    r"(?P<type>deb|deb-src)\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>.*)"
)
_PIP_INDEX = re.compile(r"^\s*((?:extra-)?index-url|find-links)\s*[=:]\s*(\S.*)$", re.I | re.M)
_POLICY = re.compile(r" {0,3}-?\d+ (?P<origin>\S.*)")


@dataclass(frozen=True)
class Source:
    """One enabled entry: the file that it stands in, and what it points to."""

    file: str
    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...] = ()


def parse_file(name: str, text: str) -> list[Source]:
    """The enabled entries of one file; its ending tells the format, as for apt."""
    return _parse_deb822(name, text) if name.endswith(".sources") else _parse_one_line(name, text)


def read_folder(apt: Path) -> list[Source]:
    """The enabled entries of /etc/apt, or of a folder like it."""
    return [
        source
        for file in source_files(apt)
        for source in parse_file(str(file), file.read_text(encoding="utf-8", errors="replace"))
    ]


def source_files(apt: Path) -> list[Path]:
    """The files that apt reads sources from."""
    parts = apt / "sources.list.d"
    files = [
        file for file in sorted(parts.glob("*")) if file.suffix in (".list", ".sources") and file.is_file()
    ]
    return [file for file in (apt / "sources.list",) if file.is_file()] + files


def debian_mirrors(sources: Iterable[Source]) -> tuple[str, str]:
    """The URLs of Debian's archive and security archive that this machine uses; empty where it uses none."""
    archive = security = ""
    for source in sources:
        if "deb" not in source.types or "main" not in source.components:
            continue
        for suite in source.suites:
            release, _, pocket = suite.replace("/updates", "-security").partition("-")
            if not _DEBIAN_RELEASES.fullmatch(release):
                continue
            uri = next((uri.rstrip("/") for uri in source.uris if not uri.startswith("cdrom:")), "")
            if pocket == "security":
                security = security or uri
            elif not pocket:
                archive = archive or uri
    return archive, security


def foreign(sources: Iterable[Source], own: Iterable[str]) -> list[Source]:
    """The entries that point to anything but the given URLs."""
    allowed = {uri.rstrip("/") for uri in own}
    return [source for source in sources if not {uri.rstrip("/") for uri in source.uris} <= allowed]


def policy_origins(text: str) -> list[str]:
    """What `apt-cache policy` takes candidates from: a URL with suite and component, or dpkg's own status."""
    head = text.partition("Pinned packages:")[0]
    return [match["origin"].strip() for line in head.splitlines() if (match := _POLICY.fullmatch(line))]


def disable_others(apt: Path, keep: Path, *, dry_run: bool = False) -> list[tuple[str, str]]:
    """Rename every other source file, so that apt no longer reads it; never over an earlier one."""
    renamed = []
    for file in source_files(apt):
        if file == keep:
            continue
        target = file.with_name(file.name + DISABLED)
        number = 1
        while target.exists():
            number += 1
            target = file.with_name(f"{file.name}.{number}{DISABLED}")
        if not dry_run:
            file.rename(target)
        renamed.append((str(file), str(target)))
    return renamed


def pip_indexes(files: Mapping[str, str]) -> list[str]:
    """Settings in pip's configuration files that would send pip to an index."""
    return [
        f"{name}: {key} = {value}" for name, text in files.items() for key, value in _PIP_INDEX.findall(text)
    ]


def _parse_one_line(name: str, text: str) -> list[Source]:
    found = []
    for line in text.splitlines():
        if match := _ONE_LINE.fullmatch(line.partition("#")[0].strip()):
            components = tuple(match["components"].split())
            found.append(Source(name, (match["type"],), (match["uri"],), (match["suite"],), components))
    return found


def _parse_deb822(name: str, text: str) -> list[Source]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = []
    for stanza in re.split(r"\n(?:[ \t]*\n)+", "\n".join(lines).strip()):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[key] = fields.get(key, "") + " " + line.strip()
            else:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields.get("uris") and fields.get("enabled", "yes").lower() not in _FALSE:
            types, uris, suites, components = (
                tuple(fields.get(field, "").split()) for field in ("types", "uris", "suites", "components")
            )
            found.append(Source(name, types, uris, suites, components))
    return found
