# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a GGUF file: what the model is, and how many bytes each tensor has; standard library only.

Form: github.com/ggml-org/ggml, docs/gguf.md, version 3 (2 has the same). Of an array of texts, of a
tokenizer's, and of a long one only the length is kept: the vocabulary is most of a header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError

MAGIC = b"GGUF"
LIMIT = 2**24
"""Entries of anything, and bytes of a text: more than any model has, less than fills the memory."""
LONGEST = 2**28
"""Bytes of a header: a vocabulary of a million words has a tenth of it."""
KEPT = 4096
"""Numbers of an array that is kept: one for each layer."""
DIMENSIONS = 4
"""Of a tensor (github.com/ggml-org/ggml, include/ggml.h, GGML_MAX_DIMS)."""

_FORMATS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT, _ARRAY = 8, 9


@dataclass(frozen=True)
class Header:
    """`tensors`: name -> bytes, padding not counted."""

    metadata: dict[str, Any]
    tensors: dict[str, int]


class _Reader:
    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream, self._where = stream, where

    def problem(self, text: str) -> PlanError:
        return PlanError(f"{self._where}: byte {self._stream.tell()}: {text}")

    def bytes(self, size: int) -> bytes:
        if self._stream.tell() + size > LONGEST:
            raise self.problem("a header is never this long: the file is damaged")
        data = self._stream.read(size)
        if len(data) < size:
            raise self.problem("the header ends here: the file is cut off, bring it again")
        return data

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.bytes(struct.calcsize(code)))[0]

    def count(self) -> int:
        found = int(self.number("<Q"))
        if found > LIMIT:
            raise self.problem(f"{found} entries are more than any model has: the file is damaged")
        return found

    def text(self) -> str:
        return self.bytes(self.count()).decode("utf-8", "replace")

    def value(self, kind: int, keep: bool) -> Any:
        """Of an array the numbers as a tuple if they are to be kept, or else how many entries it has."""
        if kind in _FORMATS:
            return self.number(_FORMATS[kind])
        if kind == _TEXT:
            return self.text()
        if kind == _ARRAY:
            return self.array(int(self.number("<I")), self.count(), keep)
        raise self.problem(f"{kind} is no type of value known here: the file is damaged")

    def array(self, kind: int, length: int, keep: bool) -> Any:
        if kind == _TEXT:
            for _ in range(length):
                self.bytes(self.count())
            return length
        if kind not in _FORMATS:
            raise self.problem(f"an array of type {kind} is not read here: the file is damaged")
        code = _FORMATS[kind]
        data = self.bytes(struct.calcsize(code) * length)
        if keep and length <= KEPT:
            return tuple(number for [number] in struct.iter_unpack(code, data))
        return length

    def tensor(self) -> tuple[int, str]:
        """Where it begins, and its name."""
        name, dimensions = self.text(), int(self.number("<I"))
        if dimensions > DIMENSIONS:
            raise self.problem(f"a tensor of {dimensions} dimensions: the file is damaged")
        for _ in range(dimensions):
            self.number("<Q")
        self.number("<I")  # its type: the places of the tensors say how many bytes it takes
        return int(self.number("<Q")), name


def read(path: Path) -> Header:
    """
    Raises:
        PlanError: no GGUF, cut off, or damaged; names file and byte.
        OSError: it is not there.
    """
    with path.open("rb") as stream:
        reader = _Reader(stream, str(path))
        if stream.read(4) != MAGIC:
            raise PlanError(f"{path}: it does not begin with GGUF: this is no GGUF file")
        version = int(reader.number("<I"))
        if version not in (2, 3):
            raise PlanError(f"{path}: GGUF version {version} is not read here: convert it to version 3")
        tensors, pairs = reader.count(), reader.count()
        metadata = {}
        for _ in range(pairs):
            key = reader.text()
            metadata[key] = reader.value(int(reader.number("<I")), not key.startswith("tokenizer."))
        places = sorted(reader.tensor() for _ in range(tensors))
        if not places:
            raise PlanError(f"{path}: it has no tensors: this is a vocabulary, not a model")
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1:
            raise PlanError(f"{path}: general.alignment: {alignment!r} is no number of bytes: it is damaged")
        start = -(-stream.tell() // alignment) * alignment
        end = path.stat().st_size - start
        ends = [place for place, _ in places[1:]] + [end]
        sizes = {name: after - place for (place, name), after in zip(places, ends, strict=True)}
        if any(size < 0 for size in sizes.values()):
            raise PlanError(f"{path}: the file ends before its tensors do: it is cut off, bring it again")
        if len(sizes) < tensors:
            raise PlanError(f"{path}: two tensors have the same name: the file is damaged")
        return Header(metadata, sizes)
