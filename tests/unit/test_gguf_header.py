# SPDX-License-Identifier: GPL-3.0-or-later
"""A GGUF file's header is read as the format's own library reads it, and damage is refused by byte."""

from __future__ import annotations

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
    writer.add_rope_freq_base(10000.0)
    writer.add_token_list(["<s>", "ä", "c"])
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
    assert header.metadata["tokenizer.ggml.tokens"] == 3  # of an array its length
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
