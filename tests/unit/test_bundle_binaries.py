# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the bundle are the pinned ones, and a machine that cannot build them is told its ways on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.binaries import (
    Binary,
    Toolchain,
    binaries,
    key,
    linker_flags,
    place,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
MINIO = Binary("minio", VERSION, go=f"github.com/minio/minio@{VERSION}")
PROGRAM = b"#!/bin/sh\n"

# A stand-in that answers as go does, and "builds" what it was asked for; it counts its builds.
GO = """#!/bin/sh
case "$1" in
  env) echo "go{version}" ;;
  list) echo '{{"GoVersion": "1.24.0"}}' ;;
  install) echo "$@" "CGO=$CGO_ENABLED FLAGS=$GOFLAGS" >>"{log}"; echo built >"$GOBIN/main" ;;
esac
"""


def go(folder: Path, version: str) -> Path:
    folder.mkdir()
    command = folder / "go"
    command.write_text(GO.format(version=version, log=folder.parent / "builds"))
    command.chmod(0o755)
    return command


def builds(tmp_path: Path) -> list[str]:
    log = tmp_path / "builds"
    return log.read_text().splitlines() if log.exists() else []


def test_a_program_is_built_once_and_taken_from_the_cache_after(tmp_path: Path) -> None:
    toolchain = go(tmp_path / "new", "1.26.8")
    for tree in ("one", "two"):
        placed = place([MINIO], tmp_path / tree, tmp_path / "cache", [toolchain])
        assert placed == ["binaries/minio"]
        assert (tmp_path / tree / "binaries/minio").read_text() == "built\n"
    assert place([MINIO], tmp_path / "two", tmp_path / "cache", [toolchain]) == []
    [build] = builds(tmp_path)
    assert "-trimpath" in build
    assert "CGO=0 FLAGS=" in build


def test_check_mode_builds_nothing_and_says_what_would_come(tmp_path: Path) -> None:
    toolchain = go(tmp_path / "new", "1.26.8")
    assert place([MINIO], tmp_path / "tree", tmp_path / "cache", [toolchain], dry_run=True) == [
        "binaries/minio"
    ]
    assert builds(tmp_path) == []
    assert not (tmp_path / "tree").exists()


def test_a_go_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old, new = go(tmp_path / "old", "1.19.8"), go(tmp_path / "new", "1.26.8")
    place([MINIO], tmp_path / "tree", tmp_path / "cache", [old, new])
    assert len(builds(tmp_path)) == 1


@pytest.mark.parametrize("version", ["1.19.8", None])
def test_without_a_go_that_will_do_all_ways_on_are_named(tmp_path: Path, version: str | None) -> None:
    toolchains = [go(tmp_path / "old", version)] if version else [tmp_path / "none/go"]
    with pytest.raises(BundleError) as refused:
        place([MINIO], tmp_path / "tree", tmp_path / "cache", toolchains)
    for said in ("binaries/minio", "newer Go on the PATH", "bundle_go_wheel", "{file, sha256}"):
        assert said in str(refused.value)


def test_another_toolchain_is_another_build(tmp_path: Path) -> None:
    old, new = Toolchain(tmp_path, "go1.26.8"), Toolchain(tmp_path, "go1.27.3")
    assert key(MINIO, old) != key(MINIO, new)


def test_minio_is_told_its_release_and_others_are_told_nothing() -> None:
    flags = linker_flags(MINIO)
    assert "cmd.Version=2026-02-12T20:18:48Z" in flags
    assert "cmd.ReleaseTag=RELEASE.2026-02-12T20-18-48Z" in flags
    assert linker_flags(Binary("x", "v1.0.0", go="example.org/x@v1.0.0")) == "-s -w"


def test_a_file_is_taken_by_its_digest_only(tmp_path: Path) -> None:
    file = tmp_path / "drop-in"
    file.write_bytes(PROGRAM)
    given = {"name": "minio", "version": "1", "source": {"file": str(file)}}
    given["source"]["sha256"] = hashlib.sha256(PROGRAM).hexdigest()  # type: ignore[index]
    assert place(binaries([given]), tmp_path / "tree", tmp_path, []) == ["binaries/minio"]
    file.write_bytes(PROGRAM + b"evil\n")
    with pytest.raises(BundleError, match=r"binaries/minio: .* has sha256 \w{64}, declared is"):
        place(binaries([given]), tmp_path / "other", tmp_path, [])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "../x", "version": "1", "source": {"go": "m@1"}}, "needs a name"),
        ({"name": "x", "source": {"go": "m@1"}}, "and a version"),
        ({"name": "x", "version": "2", "source": {"go": "m@latest"}}, "is not of the declared version"),
        ({"name": "x", "version": "2", "source": {"file": "/x"}}, "its source is neither"),
    ],
)
def test_a_declaration_that_pins_nothing_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        binaries([given])
