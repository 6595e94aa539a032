# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of damage to a bundle, with a real key: each is refused, and the bad file is named."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.bundle import manifest as manifests
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import (
    BundleError,
    Debian,
    Entry,
    Manifest,
    blob_path,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.openpgp import Signer, dearmor, sign
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.verification import explain, verify
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.writing import publish, scan, write

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")

DEBIAN = Debian("trixie", "amd64", ("nginx",))
WEIGHTS = "models/golden/golden.gguf"
PACKAGE = "debian/pool/nginx_1%3a1.26_amd64.deb"
FILES = {WEIGHTS: b"weights", PACKAGE: b"a package", "python/llama_cpp.requirements.txt": b"x==1\n"}


def make_key(home: Path, name: str) -> tuple[Signer, Path]:
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch"]
    wanted = (
        f"Key-Type: EDDSA\nKey-Curve: ed25519\nName-Real: {name}\nExpire-Date: 0\n%no-protection\n%commit\n"
    )
    subprocess.run([*gpg, "--generate-key"], input=wanted, text=True, check=True, capture_output=True)
    listed = subprocess.run(
        [*gpg, "--with-colons", "--list-keys"], text=True, check=True, capture_output=True
    )
    fingerprint = next(line.split(":")[9] for line in listed.stdout.splitlines() if line.startswith("fpr:"))
    public = home / "public.asc"
    subprocess.run([*gpg, "--armor", "--output", str(public), "--export", fingerprint], check=True)
    return Signer(home, fingerprint), public


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Signer, Path]]]:
    folder = tmp_path_factory.mktemp("keys")
    try:
        yield {name: make_key(folder / name, name) for name in ("site", "stranger")}
    finally:
        for home in folder.iterdir():
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(content)
    return tmp_path / "tree"


@pytest.fixture
def bundle(tree: Path, tmp_path: Path, keys: dict[str, tuple[Signer, Path]]) -> Path:
    write(tree, tmp_path / "bundle", new_manifest(tree), *keys["site"])
    return tmp_path / "bundle"


@pytest.fixture
def public(keys: dict[str, tuple[Signer, Path]]) -> Path:
    return keys["site"][1]


def new_manifest(tree: Path, created: str = "2026-01-01T00:00:00+00:00") -> Manifest:
    return Manifest(created, "inputs", DEBIAN, tuple(scan(tree)))


def blob_of(bundle: Path, path: str) -> Path:
    manifest = manifests.load((bundle / manifests.NAME).read_bytes())
    return bundle / blob_path(next(entry.sha256 for entry in manifest.files if entry.path == path))


def rewrite(blob: Path, content: bytes) -> None:
    """Damage the bundle's copy only: its blobs are hard links to the tree."""
    blob.unlink()
    blob.write_bytes(content)


def test_a_written_bundle_verifies_and_says_who_signed(
    bundle: Path, keys: dict[str, tuple[Signer, Path]]
) -> None:
    signer, public = keys["site"]
    report = verify(bundle, public)
    assert report.sound
    assert (report.files, report.bytes) == (len(FILES), sum(map(len, FILES.values())))
    assert report.fingerprint == signer.fingerprint
    assert report.inputs == "inputs"


def test_the_manifest_survives_being_written_and_read(tree: Path) -> None:
    manifest = new_manifest(tree)
    assert manifests.load(manifest.dump()) == manifest
    assert manifest.dump() == new_manifest(tree).dump()


def flip_a_byte(bundle: Path) -> None:
    rewrite(blob_of(bundle, WEIGHTS), b"weightz")


def cut_short(bundle: Path) -> None:
    rewrite(blob_of(bundle, WEIGHTS), b"weig")


def take_away(bundle: Path) -> None:
    blob_of(bundle, WEIGHTS).unlink()


def replace_by_a_link(bundle: Path) -> None:
    blob = blob_of(bundle, WEIGHTS)
    blob.rename(bundle / "elsewhere")
    blob.symlink_to(bundle / "elsewhere")


def add_a_file(bundle: Path) -> None:
    (bundle / blob_path("stowaway")).write_bytes(b"?")


def cut_the_manifest(bundle: Path) -> None:
    path = bundle / manifests.NAME
    path.write_bytes(path.read_bytes()[:-40])


def lose_the_manifest(bundle: Path) -> None:
    (bundle / manifests.NAME).unlink()


def lose_the_signature(bundle: Path) -> None:
    (bundle / manifests.SIGNATURE).unlink()


def change_a_digest(bundle: Path) -> None:
    path = bundle / manifests.NAME
    path.write_bytes(path.read_bytes().replace(b'"size": 7', b'"size": 8'))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_byte, f"corrupt: {WEIGHTS} "),
        (cut_short, "it has 4 bytes instead of 7"),
        (take_away, f"missing: {WEIGHTS} "),
        (replace_by_a_link, "it is not a plain file"),
        (add_a_file, "not in the manifest: blobs/sha256/stowaway"),
        (cut_the_manifest, "not what the owner of the pinned public key signed"),
        (lose_the_manifest, "manifest.json is not there"),
        (lose_the_signature, "manifest.json.asc is not there"),
        (change_a_digest, "not what the owner of the pinned public key signed"),
    ],
)
def test_damage_is_refused_and_named(
    bundle: Path, public: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(bundle)
    report = verify(bundle, public)
    assert not report.sound
    assert said in explain(report, bundle)


def test_a_bundle_signed_by_another_key_is_refused(
    bundle: Path, keys: dict[str, tuple[Signer, Path]]
) -> None:
    stranger, _ = keys["stranger"]
    sign(stranger, bundle / manifests.NAME, bundle / manifests.SIGNATURE, "--detach-sign")
    assert "pinned public key" in verify(bundle, keys["site"][1]).refusal


def test_a_file_that_is_no_key_is_refused_as_such(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN CERTIFICATE-----")
    assert "no armored OpenPGP key" in verify(bundle, tmp_path / "key").refusal


def test_all_bad_files_are_named_at_once(bundle: Path, public: Path) -> None:
    flip_a_byte(bundle)
    blob_of(bundle, PACKAGE).unlink()
    report = verify(bundle, public)
    assert [len(report.corrupt), len(report.missing)] == [1, 1]


@pytest.mark.parametrize("tool", ["gpgv", "sqv"])
def test_either_verifier_accepts_ours_and_refuses_a_strangers(
    bundle: Path,
    keys: dict[str, tuple[Signer, Path]],
    tool: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if not (found := shutil.which(tool)):
        pytest.skip(f"{tool} is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert verify(bundle, keys["site"][1]).fingerprint == keys["site"][0].fingerprint
    assert not verify(bundle, keys["stranger"][1]).sound


@pytest.mark.parametrize(
    "path", ["../outside", "debian/../../outside", "/etc/passwd", "debian//x", "debian/./x", "a b", "", "x\n"]
)
def test_a_path_that_leaves_the_root_is_refused_even_when_signed(path: str) -> None:
    manifest = Manifest("", "", DEBIAN, (Entry(path, "0" * 64, 1),))
    with pytest.raises(BundleError, match="not a plain path"):
        manifests.load(manifest.dump())


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("b", "0" * 64, 1), ("a", "0" * 64, 1)], "not sorted"),
        ([("a", "0" * 64, 1), ("a", "0" * 64, 1)], "there twice"),
        ([("a", "0" * 64, 1), ("a/b", "0" * 64, 1)], "both a file and a folder"),
        ([("a", "../../etc/passwd", 1)], "no sha256 digest"),
        ([("a", "0" * 64, -1)], "no sha256 digest"),
    ],
)
def test_a_tree_that_cannot_be_laid_out_is_refused(entries: list[tuple[str, str, int]], said: str) -> None:
    manifest = Manifest("", "", DEBIAN, tuple(Entry(*entry) for entry in entries))
    with pytest.raises(BundleError, match=said):
        manifests.load(manifest.dump())


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"schema": 99}', b'{"schema": 1, "created": ""}'])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleError):
        manifests.load(raw)


def test_an_unchanged_tree_is_not_written_again(
    tree: Path, bundle: Path, keys: dict[str, tuple[Signer, Path]]
) -> None:
    before = (bundle / manifests.NAME).read_bytes()
    assert not write(tree, bundle, new_manifest(tree, "later"), *keys["site"]).changed
    assert (bundle / manifests.NAME).read_bytes() == before


def test_writing_again_mends_a_damaged_bundle(
    tree: Path, bundle: Path, keys: dict[str, tuple[Signer, Path]]
) -> None:
    flip_a_byte(bundle)
    add_a_file(bundle)
    assert write(tree, bundle, new_manifest(tree), *keys["site"]).changed
    assert verify(bundle, keys["site"][1]).sound


def test_a_file_that_left_the_tree_leaves_the_bundle(
    tree: Path, bundle: Path, keys: dict[str, tuple[Signer, Path]]
) -> None:
    gone = blob_of(bundle, WEIGHTS)
    (tree / WEIGHTS).unlink()
    write(tree, bundle, new_manifest(tree), *keys["site"])
    assert not gone.exists()
    assert verify(bundle, keys["site"][1]).files == len(FILES) - 1


def test_what_apt_leaves_beside_packages_does_not_travel(tree: Path) -> None:
    (tree / "debian/pool/lock").touch()
    (tree / "debian/pool/partial").mkdir()
    (tree / "debian/pool/partial/half.deb").touch()
    (tree / "debian/pool/lockfile-progs_1_amd64.deb").touch()  # begins like apt's lock, and is a package
    assert {entry.path for entry in scan(tree)} == {*FILES, "debian/pool/lockfile-progs_1_amd64.deb"}


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc"])
def test_a_link_in_the_tree_does_not_travel(tree: Path, target: str) -> None:
    (tree / "python/link").symlink_to(target)
    with pytest.raises(BundleError, match="not a plain file"):
        list(scan(tree))


def publish_found(bundle: Path, public: Path, root: Path) -> bool:
    report = verify(bundle, public)
    assert report.sound
    assert report.manifest is not None
    return publish(bundle, report.manifest, report.digest, root).changed


def test_the_published_tree_is_the_verified_one_and_stays_so(
    bundle: Path, public: Path, tmp_path: Path
) -> None:
    root = tmp_path / "mirror"
    assert publish_found(bundle, public, root)
    assert {path: (root / "current" / path).read_bytes() for path in FILES} == FILES
    assert not publish_found(bundle, public, root)


def test_a_new_bundle_replaces_the_old_tree(
    tree: Path, bundle: Path, keys: dict[str, tuple[Signer, Path]], tmp_path: Path
) -> None:
    root, public = tmp_path / "mirror", keys["site"][1]
    publish_found(bundle, public, root)
    (tree / WEIGHTS).unlink()
    (tree / WEIGHTS).write_bytes(b"newer weights")
    write(tree, bundle, new_manifest(tree), *keys["site"])
    assert publish_found(bundle, public, root)
    assert (root / "current" / WEIGHTS).read_bytes() == b"newer weights"
    assert len(list(root.iterdir())) == 2  # the tree, and the link to it


def test_a_served_tree_that_someone_changed_is_laid_out_anew(
    bundle: Path, public: Path, tmp_path: Path
) -> None:
    root = tmp_path / "mirror"
    publish_found(bundle, public, root)
    (root / "current/python/evil.whl").touch()
    rewrite(root / "current" / WEIGHTS, b"weightz")
    assert publish_found(bundle, public, root)
    assert not (root / "current/python/evil.whl").exists()
    assert (root / "current" / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert not publish_found(bundle, public, root)


def test_a_publication_that_was_killed_is_caught_up_with(bundle: Path, public: Path, tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    half = root / f"tree-{verify(bundle, public).digest}"
    (half / "models").mkdir(parents=True)
    (root / "current.new").symlink_to("nowhere")
    assert publish_found(bundle, public, root)
    assert not publish_found(bundle, public, root)


def test_armor_with_and_without_headers_and_checksum_is_read() -> None:
    block = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n{head}\nAAEC\n{tail}-----END PGP PUBLIC KEY BLOCK-----\n"
    for head, tail in (("", ""), ("Comment: x\n", "=abcd\n")):
        assert dearmor(block.format(head=head, tail=tail)) == b"\x00\x01\x02"
        assert dearmor(block.format(head=head, tail=tail).replace("\n", "\r\n")) == b"\x00\x01\x02"


def test_the_schema_is_in_the_manifest(tree: Path) -> None:
    assert json.loads(new_manifest(tree).dump())["schema"] == manifests.SCHEMA
