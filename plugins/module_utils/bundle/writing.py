# SPDX-License-Identifier: GPL-3.0-or-later
"""From a collected tree to the signed, content-addressed folder, and to the tree that is served."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.bundle import manifest as manifests
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import (
    BundleError,
    Entry,
    Manifest,
    blob_path,
    blobs,
    sha256_of,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.openpgp import Signer, sign
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.verification import verify

# What apt leaves beside the packages that it downloads: a file, and a folder.
_APT_LOCK, _APT_PARTIAL = "debian/pool/lock", "debian/pool/partial/"


@dataclass(frozen=True)
class Outcome:
    """What a step did, or would do; `digest` is that of the manifest."""

    changed: bool
    digest: str = ""


def scan(tree: Path) -> Iterator[Entry]:
    """Every file of a collected tree, in the manifest's order."""
    for name in sorted(_files(tree)):
        path = tree / name
        if name == _APT_LOCK or name.startswith(_APT_PARTIAL):
            continue
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path} is not a plain file: only plain files go into a bundle")
        yield Entry(name, sha256_of(path), path.stat().st_size)


def write(
    tree: Path, path: Path, manifest: Manifest, signer: Signer, public_key: Path, *, dry_run: bool = False
) -> Outcome:
    """Make `path` the bundle of `tree`; a bundle that already is, and verifies, is left alone.

    The manifest comes last: until then the folder verifies as before, or not at all.
    """
    manifests.check_entries(manifest.files)
    present = verify(path, public_key)
    if present.sound and present.manifest and present.manifest.same_content(manifest):
        return Outcome(False, present.digest)
    if dry_run:
        return Outcome(True)
    _store_blobs(tree, path, manifest)
    new, new_signature = path / f"{manifests.NAME}.new", path / f"{manifests.SIGNATURE}.new"
    new.write_bytes(manifest.dump())
    sign(signer, new, new_signature, "--detach-sign")
    new_signature.replace(path / manifests.SIGNATURE)
    new.replace(path / manifests.NAME)
    _remove_strangers(path, manifest)
    return Outcome(True, sha256_of(path / manifests.NAME))


def _store_blobs(tree: Path, path: Path, manifest: Manifest) -> None:
    """Hard links: a file is on the disk once. A blob that is another file may be damaged, and is replaced."""
    (path / blob_path("")).mkdir(parents=True, exist_ok=True)
    for entry in manifest.files:
        blob, source = path / blob_path(entry.sha256), tree / entry.path
        if not (blob.is_file() and blob.samefile(source)):
            link_or_copy(source, blob)


def _remove_strangers(path: Path, manifest: Manifest) -> None:
    listed = {entry.sha256 for entry in manifest.files}
    for blob in blobs(path):
        if blob.name not in listed:
            shutil.rmtree(blob) if blob.is_dir() and not blob.is_symlink() else blob.unlink()


def link_or_copy(source: Path, destination: Path) -> None:
    """Put a file in place at once; a copy where the folders are on different file systems."""
    new = destination.with_name(destination.name + ".new")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:
        shutil.copyfile(source, new)
    new.replace(destination)


def publish(path: Path, manifest: Manifest, digest: str, root: Path, *, dry_run: bool = False) -> Outcome:
    """Lay a verified bundle out as the tree `root/current`, of hard links, switched in one step.

    Call it with the manifest that `verify` found sound: this function looks at no digest.
    """
    current = root / "current"
    served = current.resolve()
    if served.name.startswith(f"tree-{digest}") and _is_laid_out(path, manifest, served):
        stale = _trees(root) - {served}
        if not dry_run:
            _remove(stale)
        return Outcome(bool(stale), digest)
    if dry_run:
        return Outcome(True, digest)
    root.mkdir(parents=True, exist_ok=True)
    _remove({tree for tree in _trees(root) if tree != served})
    # The tree that is served may be of this digest, but not whole: it stays until the switch.
    release = root / (f"tree-{digest}" if served.name != f"tree-{digest}" else f"tree-{digest}-again")
    for entry in manifest.files:
        target = release / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path / blob_path(entry.sha256), target)
    link = root / "current.new"
    link.unlink(missing_ok=True)
    link.symlink_to(release.name)
    link.replace(current)
    _remove({served} & _trees(root))
    return Outcome(True, digest)


def _is_laid_out(path: Path, manifest: Manifest, release: Path) -> bool:
    """The same files, and each the very blob that was verified."""
    return _files(release) == {entry.path for entry in manifest.files} and all(
        (release / entry.path).samefile(path / blob_path(entry.sha256)) for entry in manifest.files
    )


def _files(root: Path) -> set[str]:
    """Whatever is no folder, links to folders included, as paths below the root."""
    found = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(root).as_posix() for path in found}


def _trees(root: Path) -> set[Path]:
    return {tree.resolve() for tree in root.glob("tree-*")}


def _remove(trees: set[Path]) -> None:
    for tree in trees:
        shutil.rmtree(tree)
