# SPDX-License-Identifier: GPL-3.0-or-later
"""Single programs of the bundle: built from a pinned Go module, or taken from a file by its digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError, sha256_of
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.writing import link_or_copy

# Same source, same toolchain, same bytes: no paths of the builder, no C compiler, no state of a checkout.
_FLAGS = ("-trimpath", "-buildvcs=false")
_STRIP = "-s -w"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
# When a pseudo-version was committed, and the commit: v0.0.0-20260212201848-7aac2a2c5b7c.
_PSEUDO = re.compile(r"v.*[-.](\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)-([0-9a-f]{12})")
_GO_VERSION = re.compile(r"(?:go)?(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class Binary:
    """One declared program. `go` is MODULE@VERSION; otherwise it is `file`, of digest `sha256`."""

    name: str
    version: str
    go: str = ""
    file: str = ""
    sha256: str = ""

    @property
    def path(self) -> str:
        return f"binaries/{self.name}"


@dataclass(frozen=True)
class Toolchain:
    """A Go: its command, and the version that it says."""

    command: Path
    version: str


def binaries(declared: Iterable[Mapping[str, object]]) -> list[Binary]:
    """The programs of `stronghold_stack.binaries`; BundleError names what is wrong in them."""
    return [_binary(each) for each in declared]


def _binary(given: Mapping[str, object]) -> Binary:
    name, version = str(given.get("name", "")), str(given.get("version", ""))
    where = f"stronghold_stack.binaries: {name or given}"
    if not _NAME.fullmatch(name) or not version:
        raise BundleError(f"{where} needs a name (a-z, 0-9, . _ -) and a version")
    match given.get("source"):
        case {"go": str(go)} if go.endswith(f"@{version}"):
            return Binary(name, version, go=go)
        case {"go": str(go)}:
            raise BundleError(f"{where}: {go} is not of the declared version; write go: MODULE@{version}")
        case {"file": str(file), "sha256": str(digest)} if re.fullmatch(r"[0-9a-f]{64}", digest):
            return Binary(name, version, file=file, sha256=digest)
        case _:
            raise BundleError(f"{where}: its source is neither {{go: MODULE@VERSION}} nor {{file, sha256}}")


def place(
    wanted: Sequence[Binary], tree: Path, cache: Path, toolchains: Sequence[Path], *, dry_run: bool = False
) -> list[str]:
    """Bring each program into the tree, from the cache where it is known; the paths that were placed."""
    placed = []
    for binary in wanted:
        target = tree / binary.path
        try:
            source = _source(binary, cache, toolchains, dry_run=dry_run)
        except BundleError as error:
            raise BundleError(f"{binary.path}: {error}") from error
        if source and target.is_file() and sha256_of(target) == sha256_of(source):
            continue
        placed.append(binary.path)
        if not dry_run and source:
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, target)
    return placed


def _source(binary: Binary, cache: Path, toolchains: Sequence[Path], *, dry_run: bool) -> Path | None:
    """Where its bytes are; None when they would have to be built first."""
    if binary.file:
        file = Path(binary.file)
        if not file.is_file():
            raise BundleError(f"its source {file} is missing; put it there, or declare another")
        if (found := sha256_of(file)) != binary.sha256:
            raise BundleError(f"{file} has sha256 {found}, declared is {binary.sha256}")
        return file
    toolchain = choose(binary, toolchains)
    built = cache / "go" / f"{binary.name}-{key(binary, toolchain)}" / binary.name
    if built.is_file():
        return built
    if dry_run:
        return None
    _build(binary, toolchain, built)
    return built


def key(binary: Binary, toolchain: Toolchain) -> str:
    """The name of a build: whatever could change its bytes is in it."""
    recipe = [binary.go, toolchain.version, *_FLAGS, linker_flags(binary)]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:16]


def choose(binary: Binary, toolchains: Sequence[Path]) -> Toolchain:
    """The first Go that is new enough for the module."""
    found = list(_versions(toolchains))
    needed = _needed(binary, found[0].command) if found else ""
    for toolchain in found:
        if _number(toolchain.version) >= _number(needed):
            return toolchain
    seen = ", ".join(f"{each.command} is {each.version}" for each in found) or "there is none"
    raise BundleError(
        f"{binary.go} needs Go {needed or 'to be built'}, and {seen}. Install a newer Go on the PATH, "
        "set bundle_go_wheel, or give the program as source: {file, sha256}"
    )


def _versions(toolchains: Iterable[Path]) -> Iterator[Toolchain]:
    for command in toolchains:
        if shutil.which(command):
            yield Toolchain(command, _run([str(command), "env", "GOVERSION"]).strip())


def _needed(binary: Binary, command: Path) -> str:
    """What the module's go.mod asks for. A program may lie deeper than its module."""
    path, _, version = binary.go.partition("@")
    parts = path.split("/")
    refused = ""
    for length in range(min(3, len(parts)), len(parts) + 1):
        module = f"{'/'.join(parts[:length])}@{version}"
        try:
            said = json.loads(_run([str(command), "list", "-m", "-json", module]))
        except BundleError as error:
            refused = refused or str(error)
            continue
        return str(said.get("GoVersion", "1.0"))
    raise BundleError(refused)


def _number(version: str) -> tuple[int, ...]:
    match = _GO_VERSION.match(version)
    return tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)


def linker_flags(binary: Binary) -> str:
    """What is linked in: MinIO says its version only when it is told by the linker, and else DEVELOPMENT."""
    module, _, version = binary.go.partition("@")
    match = _PSEUDO.fullmatch(version)
    if module != "github.com/minio/minio" or not match:
        return _STRIP
    year, month, day, hour, minute, second, commit = match.groups()
    stamps = {
        "Version": f"{year}-{month}-{day}T{hour}:{minute}:{second}Z",
        "ReleaseTag": f"RELEASE.{year}-{month}-{day}T{hour}-{minute}-{second}Z",
        "CommitID": commit,
        "ShortCommitID": commit,
        "CopyrightYear": year,
    }
    return " ".join([_STRIP, *(f"-X {module}/cmd.{name}={value}" for name, value in stamps.items())])


def _build(binary: Binary, toolchain: Toolchain, built: Path) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent, prefix="build-") as folder:
        command = [str(toolchain.command), "install", *_FLAGS, f"-ldflags={linker_flags(binary)}", binary.go]
        _run(command, GOBIN=folder)
        # go names a program after the last part of its path; a site may call it otherwise.
        (result,) = Path(folder).iterdir()
        result.replace(built)


def _run(command: list[str], **more: str) -> str:
    """With nothing of the builder's own settings but the way out: a proxy for modules, and the caches."""
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", **more}
    environment = {
        name: text for name, text in os.environ.items() if name not in ("GOROOT", "GOOS", "GOARCH")
    }
    done = subprocess.run(
        command, env={**environment, **settings}, cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BundleError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout
