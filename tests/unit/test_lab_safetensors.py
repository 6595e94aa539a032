# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's model for vLLM is the GGUF's numbers, tensor by tensor, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import yaml

from lab import safetensors

SITE = Path(__file__).parents[2] / "inventories/lab-vllm"
WIDTH, HEADS, KV_HEADS, LAYERS = 32, 4, 2, 1
WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Constructed: a llama of one layer in F32, its numbers random and known."""
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages }}")
    made = np.random.default_rng(7)
    for name, rows in (("token_embd", len(WORDS)), ("blk.0.attn_q", WIDTH), ("blk.0.attn_k", WIDTH // 2)):
        writer.add_tensor(f"{name}.weight", made.standard_normal((rows, WIDTH), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def unpacked(model: Path, folder: Path) -> dict[str, str]:
    folder.mkdir()
    safetensors.unpack(model, folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and numbers, as the format's description has them."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (-2.0, 0xC000),
        (1.00390625, 0x3F80),  # half way: to the even one below
        (1.01171875, 0x3F82),  # half way: to the even one above
        (1.0040, 0x3F81),
        (0.0, 0),
    ],
)
def test_numbers_are_rounded_to_the_nearest_and_ties_to_even(value: float, bits: int) -> None:
    assert safetensors.bf16(np.array([value], dtype=np.float32))[0] == bits


def test_rows_of_a_head_go_back_where_they_were() -> None:
    """Rows 0 and 1, 2 and 3 are turned together by llama.cpp; 0 and 2, 1 and 3 by Llama."""
    rows = np.arange(8).reshape(8, 1)
    assert safetensors.halves(rows, heads=2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_each_tensor_has_its_name_its_shape_and_its_numbers(model: Path, tmp_path: Path) -> None:
    unpacked(model, tmp_path / "there")
    header, numbers = read(tmp_path / "there/model.safetensors")
    assert header.pop("__metadata__") == {"format": "pt"}
    assert {name: about["shape"] for name, about in header.items()} == {
        "model.embed_tokens.weight": [len(WORDS), WIDTH],
        "model.layers.0.self_attn.k_proj.weight": [WIDTH // 2, WIDTH],
        "model.layers.0.self_attn.q_proj.weight": [WIDTH, WIDTH],
    }
    begin, end = header["model.embed_tokens.weight"]["data_offsets"]
    source = gguf.GGUFReader(model).tensors[0].data
    found = np.frombuffer(numbers[begin:end], "<u2").astype(np.uint32) << 16
    assert np.allclose(found.view(np.float32).reshape(source.shape), source, rtol=2**-8)
    assert len(numbers) == max(about["data_offsets"][1] for about in header.values())


def test_the_same_gguf_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    assert unpacked(model, tmp_path / "one") == unpacked(model, tmp_path / "two")


def test_a_tokenizer_that_cuts_texts_in_another_way_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"tokenizer\.ggml\.pre is llama-bpe"):
        safetensors.tokenizer({"tokenizer.ggml.pre": "llama-bpe"})


def test_a_tensor_of_another_architecture_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"ssm_a: this tensor has no name"):
        safetensors.renamed("blk.0.inner.ssm_a")


def test_the_configuration_that_is_planned_with_is_the_declared_file() -> None:
    [model] = yaml.safe_load((SITE / "group_vars/all/model.yml").read_text())["stronghold_models"]
    [declared] = [file for file in model["files"] if file["name"] == "config.json"]
    content = (SITE / model["config"]).read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (declared["sha256"], declared["size"])


def test_the_declared_files_come_from_where_they_are_unpacked_to() -> None:
    site = yaml.safe_load((SITE / "group_vars/all/model.yml").read_text())
    assert site["lab_safetensors"].endswith("stronghold-llm/models/" + safetensors.FOLDER.name)
    for file in site["stronghold_models"][0]["files"]:
        assert file["source"]["file"] == "{{ lab_safetensors }}/" + file["name"]
