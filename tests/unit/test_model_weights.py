# SPDX-License-Identifier: GPL-3.0-or-later
"""What must never be loaded is refused by name, and what arrives broken is never moved into place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.models import fetch, sources, weights

CONTENTS = {"config.json": b'{"model_type": "llama"}', "part/model.gguf": b"GGUF and many weights"}
FILES = [weights.File(name, sha256(data).hexdigest(), len(data)) for name, data in CONTENTS.items()]


class Mirror:
    """Serves CONTENTS by ranges, remembers what was asked, can cut each transfer off or change a file."""

    remedy = "do something"

    def __init__(self, cut_at: int | None = None, changed: str = "", etag: str = "1") -> None:
        self.cut_at, self.changed, self.etag = cut_at, changed, etag
        self.asked: list[tuple[str, int]] = []

    def where(self, file: weights.File) -> str:
        return f"https://mirror.example/m/{file.name}"

    def stamp(self, file: weights.File) -> sources.Stamp:
        return sources.Stamp(len(CONTENTS[file.name]), self.etag)

    def part_sums(self, file: weights.File) -> sources.PartSums | None:
        return None

    def read(self, file: weights.File, stamp: sources.Stamp, offset: int, length: int) -> Iterator[bytes]:
        self.asked.append((file.name, offset))
        data = CONTENTS[file.name]
        if file.name == self.changed:
            data = b"X" + data[1:]
        yield data[: self.cut_at][offset : offset + length]


MANNER = fetch.Manner(workers=2, part_bytes=4, pauses=(0.0,))


def bring(store: Path, mirror: Mirror) -> Path:
    return fetch.fetch("m", FILES, mirror, store, MANNER).folder


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


def test_a_cut_transfer_is_not_moved_into_place_and_only_what_is_missing_comes_again(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match="run again, and it goes on"):
        bring(tmp_path, Mirror(cut_at=10))
    assert not (tmp_path / "m").exists()
    mirror = Mirror()
    folder = bring(tmp_path, mirror)
    assert ("config.json", 0) not in mirror.asked
    assert ("config.json", 8) in mirror.asked
    assert weights.problems(folder, folder.name) == []


def test_a_file_that_changed_at_the_source_is_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError):
        bring(tmp_path, Mirror(cut_at=10))
    mirror = Mirror(etag="2")
    bring(tmp_path, mirror)
    assert {("config.json", 0), ("part/model.gguf", 0)} <= set(mirror.asked)


def test_other_bytes_than_declared_are_named_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match=r"part/model\.gguf: sha256 is .*nothing of it was kept"):
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
