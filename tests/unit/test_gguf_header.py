# SPDX-License-Identifier: GPL-3.0-or-later
"""A GGUF file's header is read as the format's own library reads it, and damage is refused by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy
import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.planning import gguf_header
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError
from gguf import GGUFReader, GGUFWriter


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv([2, 1])
    writer.add_rope_freq_base(10000.0)
    writer.add_token_list(["<s>", "ä", "c"])
    writer.add_token_types([1, 1, 1])
    writer.add_tensor("token_embd.weight", numpy.zeros((3, 32), dtype=numpy.float16))
    writer.add_tensor("blk.0.attn_q.weight", numpy.zeros((32, 32), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_says_what_the_formats_own_library_says(model: Path) -> None:
    header, theirs = gguf_header.read(model), GGUFReader(model)
    assert header.metadata["llama.block_count"] == 2
    assert header.metadata["llama.attention.head_count"] == 4
    assert header.metadata["llama.attention.head_count_kv"] == (2, 1)  # one for each layer
    assert header.metadata["tokenizer.ggml.tokens"] == 3  # of the vocabulary its length
    assert header.metadata["tokenizer.ggml.token_type"] == 3
    # The place of the next tensor is all that tells a tensor's end, so up to 31 bytes of padding count.
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in theirs.tensors}
    assert header.tensors.keys() == sizes.keys()
    assert all(0 <= header.tensors[name] - size < 32 for name, size in sizes.items())


def test_a_header_cut_anywhere_is_refused_by_byte(model: Path) -> None:
    whole = model.read_bytes()
    ends = len(whole) - 3 * 32 * 2 - 32 * 32 * 4
    for end in range(4, ends, 7):
        model.write_bytes(whole[:end])
        with pytest.raises(PlanError, match=r"m\.gguf.*(cut off|damaged|not read here)"):
            gguf_header.read(model)


@pytest.mark.parametrize(
    ("place", "bytes_", "said"),
    [
        (0, b"JSON", "it does not begin with GGUF"),
        (4, b"\x09\0\0\0", "GGUF version 9 is not read here"),
        (8, b"\xff" * 8, "entries are more than any model has"),
    ],
)
def test_what_is_no_gguf_is_refused(model: Path, place: int, bytes_: bytes, said: str) -> None:
    whole = bytearray(model.read_bytes())
    whole[place : place + len(bytes_)] = bytes_
    model.write_bytes(bytes(whole))
    with pytest.raises(PlanError, match=said):
        gguf_header.read(model)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def array(kind: int, length: int) -> bytes:
    return struct.pack("<IIQ", 9, kind, length)


ALIGNMENT = text(b"general.alignment")
TENSOR = text(b"token_embd.weight") + struct.pack("<IQIQ", 1, 8, 0, 0)


def written(path: Path, pair: bytes, *tensors: bytes) -> Path:
    path.write_bytes(
        b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1) + pair + b"".join(tensors) + b"\0" * 64
    )
    return path


@pytest.mark.parametrize(
    ("pair", "tensors", "said"),
    [
        (ALIGNMENT + struct.pack("<II", 4, 0), [TENSOR], "general.alignment: 0 is no number of bytes"),
        (ALIGNMENT + struct.pack("<I", 8) + text(b"wide"), [TENSOR], "general.alignment: 'wide' is no"),
        (ALIGNMENT + array(4, 1) + b"\0" * 4, [TENSOR], r"general.alignment: \(0,\) is no number"),
        (text(b"a") + array(9, 2**20) + array(9, 1) * 2000, [TENSOR], "an array of type 9 is not read here"),
        (text(b"a") + array(99, 1), [TENSOR], "an array of type 99 is not read here"),
        (text(b"a") + array(12, 2**24), [TENSOR], "cut off"),
        (text(b"a") + struct.pack("<II", 4, 0), [], "it has no tensors"),
        (text(b"a") + struct.pack("<II", 4, 0), [TENSOR, TENSOR], "two tensors have the same name"),
        (text(b"a") + struct.pack("<II", 4, 0), [text(b"t") + struct.pack("<I", 2**31)],
         "a tensor of 2147483648 dimensions"),
    ],
)  # fmt: skip
def test_what_no_model_says_is_refused(tmp_path: Path, pair: bytes, tensors: list[bytes], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        gguf_header.read(written(tmp_path / "m.gguf", pair, *tensors))


def test_numbers_are_kept_as_long_as_they_are_one_for_each_layer(tmp_path: Path) -> None:
    for length, kept in ((4096, (0,) * 4096), (4097, 4097)):
        pair = text(b"a") + array(4, length) + b"\0" * 4 * length
        assert gguf_header.read(written(tmp_path / "m.gguf", pair, TENSOR)).metadata == {"a": kept}


def test_a_header_without_end_is_not_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_header, "LONGEST", 64)
    with pytest.raises(PlanError, match="a header is never this long"):
        gguf_header.read(written(tmp_path / "m.gguf", text(b"a" * 100) + struct.pack("<II", 4, 0), TENSOR))
