# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model's files must be before anything loads them; standard library only.

A model is a set of files known by their SHA-256. The set has a digest of its own, which names the folder:
``<store>/<model>/<digest>/``. The same file is run on the model server by its unit before each start:

    python3 weights.py FOLDER DIGEST
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SUMS = "SHA256SUMS"  # in the form that `sha256sum --check` reads, so that anyone can check by hand

# Formats whose loading runs code that the file itself carries (pickle, and what wraps it).
EXECUTABLE_SUFFIXES = (
    ".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so",
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """One file of a model: its path below the model's folder, SHA-256 in hex, size in bytes."""

    name: str
    sha256: str
    size: int


def sums(files: Iterable[File]) -> str:
    """The set as text, one line a file, sorted by name."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda file: file.name))


def digest(files: Iterable[File]) -> str:
    """What the whole set is known by: the first 16 hex digits of the SHA-256 of its sums."""
    return hashlib.sha256(sums(files).encode()).hexdigest()[:16]


def read_sums(text: str) -> list[File]:
    """`sums` read back; sizes are not in it, and are 0 here."""
    lines = (line.partition("  ") for line in text.splitlines())
    return [File(name, wanted, 0) for wanted, _, name in lines]


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def name_problems(names: Iterable[str]) -> list[str]:
    """Names that must never be loaded, or that leave the model's folder."""
    found = []
    for name in names:
        parts = name.split("/")
        if not name or name.startswith("/") or ".." in parts or "" in parts or "\n" in name:
            found.append(f"{name!r}: a model's file lies below the model's folder")
        elif name.lower().endswith(EXECUTABLE_SUFFIXES):
            found.append(f"{name}: this format can run code when it is loaded; use safetensors or GGUF")
    return found


def config_problems(name: str, text: str) -> list[str]:
    """A config.json whose ``auto_map`` makes the loader import code from the model's folder."""
    try:
        config = json.loads(text)
    except ValueError as error:
        return [f"{name}: not JSON ({error})"]
    if isinstance(config, Mapping) and "auto_map" in config:
        return [f"{name}: auto_map would load code from the model's folder; use a model without remote code"]
    return []


def problems(folder: Path, expected: str) -> list[str]:
    """Everything that keeps the model in `folder` from being loaded, by file; empty when it is sound."""
    try:
        text = (folder / SUMS).read_text()
    except OSError as error:
        return [f"{folder / SUMS}: {error.strerror}"]
    declared = {file.name: file for file in read_sums(text)}
    if digest(declared.values()) != expected or sums(declared.values()) != text:
        return [f"{folder / SUMS}: is not the list of {expected}"]
    present = {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()}
    present.pop(SUMS)
    found = name_problems(sorted(present))
    found += [f"{name}: a link, not a file" for name, path in sorted(present.items()) if path.is_symlink()]
    found += [f"{name}: not a file of this model" for name in sorted(present.keys() - declared.keys())]
    found += [f"{name}: missing" for name in sorted(declared.keys() - present.keys())]
    both = sorted(present.keys() & declared.keys())
    # Hashing releases the interpreter's lock, so threads read several files at disk speed.
    with ThreadPoolExecutor() as pool:
        for name, actual in zip(both, pool.map(lambda name: sha256(present[name]), both), strict=True):
            if actual != declared[name].sha256:
                found.append(f"{name}: sha256 is {actual}, declared {declared[name].sha256}")
            elif Path(name).name == "config.json":
                found += config_problems(name, present[name].read_text(errors="replace"))
    return found


def main(folder: str, expected: str) -> int:
    found = problems(Path(folder), expected)
    for problem in found:
        print(f"{folder}: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
