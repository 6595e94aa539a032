# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a GGUF file: what the model is, and how many bytes each tensor has; standard library only.

Form: github.com/ggml-org/ggml, docs/gguf.md, version 3 (2 has the same). Of an array only its length is kept:
the vocabulary is most of a header.
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

    def value(self, kind: int) -> Any:
        if kind in _FORMATS:
            return self.number(_FORMATS[kind])
        if kind == _TEXT:
            return self.text()
        if kind == _ARRAY:
            of, length = int(self.number("<I")), self.count()
            if of in _FORMATS:
                self.bytes(struct.calcsize(_FORMATS[of]) * length)
            else:
                for _ in range(length):
                    self.value(of)
            return length
        raise self.problem(f"{kind} is no type of value known here")


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
            metadata[key] = reader.value(int(reader.number("<I")))
        places = []
        for _ in range(tensors):
            name = reader.text()
            for _ in range(int(reader.number("<I"))):
                reader.number("<Q")
            reader.number("<I")  # its type: the places of the tensors say how many bytes it takes
            places.append((int(reader.number("<Q")), name))
        alignment = int(metadata.get("general.alignment", 32))
        start = -(-stream.tell() // alignment) * alignment
        end = path.stat().st_size - start
        places.sort()
        ends = [place for place, _ in places[1:]] + [end]
        sizes = {name: after - place for (place, name), after in zip(places, ends, strict=True)}
        if any(size < 0 for size in sizes.values()):
            raise PlanError(f"{path}: the file ends before its tensors do: it is cut off, bring it again")
        return Header(metadata, sizes)
