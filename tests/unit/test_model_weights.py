# SPDX-License-Identifier: GPL-3.0-or-later
"""What must never be loaded is refused by name, and what arrives broken is never moved into place."""

from __future__ import annotations

import io
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.models import fetch, weights

CONTENTS = {"config.json": b'{"model_type": "llama"}', "part/model.gguf": b"GGUF and many weights"}
FILES = [weights.File(name, sha256(data).hexdigest(), len(data)) for name, data in CONTENTS.items()]


class Mirror:
    """Serves CONTENTS by URL, remembers what was asked, can cut a transfer off or change a byte."""

    def __init__(self, cut_at: int | None = None, changed: str = "", ranges: bool = True) -> None:
        self.cut_at, self.changed, self.ranges = cut_at, changed, ranges
        self.asked: list[tuple[str, int]] = []

    def __call__(self, url: str, offset: int) -> tuple[io.BytesIO, bool]:
        name = url.removeprefix("https://mirror.example/m/")
        self.asked.append((name, offset))
        data = CONTENTS[name]
        if name == self.changed:
            data = b"X" + data[1:]
        resumed = bool(offset) and self.ranges
        return io.BytesIO(data[offset if resumed else 0 : self.cut_at]), resumed


def bring(store: Path, mirror: Mirror) -> Path:
    return fetch.fetch("m", FILES, "https://mirror.example/m/", store, mirror)


def test_a_whole_set_lies_read_only_under_its_digest(tmp_path: Path) -> None:
    folder = bring(tmp_path, Mirror())
    assert folder == tmp_path / "m" / weights.digest(FILES)
    assert weights.problems(folder, folder.name) == []
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o444}


def test_the_list_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    folder = bring(tmp_path, Mirror())
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", weights.SUMS], cwd=folder, check=False, capture_output=True
    )
    assert checked.returncode == 0


def test_a_second_run_asks_the_mirror_for_nothing(tmp_path: Path) -> None:
    bring(tmp_path, Mirror())
    again = Mirror()
    bring(tmp_path, again)
    assert again.asked == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_transfer_is_not_moved_into_place_and_is_taken_up_again(tmp_path: Path, ranges: bool) -> None:
    with pytest.raises(fetch.FetchError):
        bring(tmp_path, Mirror(cut_at=5))
    assert not (tmp_path / "m").exists()
    # What a cut leaves is a part, not a whole of another digest: put it back as the interruption left it.
    incoming = tmp_path / ".incoming" / f"m-{weights.digest(FILES)}" / "part/model.gguf"
    incoming.parent.mkdir(parents=True, exist_ok=True)
    incoming.write_bytes(CONTENTS["part/model.gguf"][:5])
    mirror = Mirror(ranges=ranges)
    folder = bring(tmp_path, mirror)
    assert ("part/model.gguf", 5) in mirror.asked
    assert weights.problems(folder, folder.name) == []


def test_other_bytes_than_declared_are_named_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match=r"part/model\.gguf: sha256 is"):
        bring(tmp_path, Mirror(changed="part/model.gguf"))
    assert not (tmp_path / "m").exists()
    bring(tmp_path, Mirror())  # nothing of it is in the way of a good one


def test_a_folder_that_is_not_what_its_name_says_is_not_written_to(tmp_path: Path) -> None:
    folder = fetch.wanted("m", FILES, tmp_path)
    folder.mkdir(parents=True)
    (folder / "keep").write_text("mine")
    with pytest.raises(fetch.FetchError, match="move it away"):
        bring(tmp_path, Mirror())
    assert (folder / "keep").read_text() == "mine"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            lambda folder: change(folder / "part/model.gguf", b"GGUF and many weightz"),
            "part/model.gguf: sha256",
        ),
        (lambda folder: (folder / "config.json").unlink(), "config.json: missing"),
        (lambda folder: (folder / "extra.gguf").write_bytes(b""), "extra.gguf: not a file of this model"),
        (lambda folder: (folder / "w.pt").write_bytes(b""), "w.pt: this format can run code"),
        (lambda folder: (folder / "l.gguf").symlink_to("/etc/passwd"), "l.gguf: a link"),
        (lambda folder: change(folder / weights.SUMS, b""), "is not the list of"),
        (lambda folder: (folder / weights.SUMS).unlink(), "No such file"),
    ],
)
def test_a_damaged_folder_is_refused_and_the_file_is_named(tmp_path: Path, damage, named: str) -> None:
    folder = bring(tmp_path, Mirror())
    damage(folder)
    # As the unit runs it: a program of its own, whose exit status stops the start.
    done = subprocess.run(
        [sys.executable, weights.__file__, folder, weights.digest(FILES)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert named in done.stderr


def change(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_auto_map_in_a_config_is_refused_though_its_digest_is_right(tmp_path: Path) -> None:
    data = b'{"auto_map": {"AutoModel": "modeling.Evil"}}'
    files = [weights.File("config.json", sha256(data).hexdigest(), len(data))]
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes(data)
    (folder / weights.SUMS).write_text(weights.sums(files))
    assert "config.json: auto_map" in weights.problems(folder, weights.digest(files))[0]


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "a/b.PT", "x.pkl", "m.ckpt", "modeling_evil.py", "l.so"]
)
def test_a_format_that_can_run_code_is_refused(name: str) -> None:
    assert "can run code" in weights.name_problems([name])[0]


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.gguf", "a/../../b", "", "a//b", "a\nb"])
def test_a_name_outside_the_models_folder_is_refused(name: str) -> None:
    assert "below the model's folder" in weights.name_problems([name])[0]


def test_the_digest_does_not_depend_on_the_order_of_files() -> None:
    assert weights.digest(FILES) == weights.digest(reversed(FILES))
