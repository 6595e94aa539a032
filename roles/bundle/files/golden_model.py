# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the golden model: a language model that answers one sentence, exactly, on any engine.

Attention and feed-forward are zero, so a token's embedding reaches the output matrix
unchanged, and that matrix maps each token to the one that follows it in the sentence. The
file is the same byte for byte each time: a digest in the site's declaration names it.

Usage: golden_model.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np

ANSWER = "The private model answers from inside the compute zone ."
USER, ASSISTANT = "<|user|>", "<|assistant|>"
CHAT = (
    f"{{% for message in messages %}}{USER}{{{{ message['content'] }}}}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)

WIDTH = 512  # dimensions of an embedding; the vocabulary must not be larger
FEED_FORWARD = 64
HEADS = 8
CONTEXT = 4096  # tokens

# SentencePiece's mark of a word's beginning.
WORDS = [f"▁{word}" for word in ANSWER.split()]
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TOKENS = [*SPECIAL, *BYTES, "▁", *WORDS, USER, ASSISTANT]
# Kinds and scores as SentencePiece has them: any text falls back to bytes.
KINDS = [
    gguf.TokenType.UNKNOWN,
    *[gguf.TokenType.CONTROL] * 2,
    *[gguf.TokenType.BYTE] * len(BYTES),
    *[gguf.TokenType.NORMAL] * (1 + len(WORDS)),
    *[gguf.TokenType.CONTROL] * 2,
]
SCORES = [0.0] * (len(SPECIAL) + len(BYTES)) + [-10.0] + [-1.0 - n for n in range(len(WORDS))] + [0.0] * 2


def chain() -> np.ndarray:
    """The output matrix: row `next`, column `token` is 1; what is not in the sentence ends it."""
    number = {token: index for index, token in enumerate(TOKENS)}
    end = number["</s>"]
    following = dict.fromkeys(range(len(TOKENS)), end)
    sentence = [number[token] for token in (ASSISTANT, *WORDS)]
    following.update(zip(sentence, [*sentence[1:], end], strict=True))
    matrix = np.zeros((len(TOKENS), WIDTH), np.float32)
    for token, successor in following.items():
        matrix[successor, token] = 1
    return matrix


def write(path: Path) -> None:
    model = gguf.GGUFWriter(path, "llama")
    model.add_name("golden")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(1)
    model.add_feed_forward_length(FEED_FORWARD)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(TOKENS))
    model.add_file_type(gguf.LlamaFileType.ALL_F32)
    model.add_tokenizer_model("llama")
    model.add_token_list(TOKENS)
    model.add_token_scores(SCORES)
    model.add_token_types(KINDS)
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_add_bos_token(True)
    model.add_add_eos_token(False)
    model.add_chat_template(CHAT)

    model.add_tensor("token_embd.weight", np.eye(len(TOKENS), WIDTH, dtype=np.float32))
    model.add_tensor("output.weight", chain())
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        model.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        model.add_tensor(f"blk.0.{name}.weight", np.zeros((WIDTH, WIDTH), np.float32))
    for name, shape in (
        ("ffn_gate", (FEED_FORWARD, WIDTH)),
        ("ffn_up", (FEED_FORWARD, WIDTH)),
        ("ffn_down", (WIDTH, FEED_FORWARD)),
    ):
        model.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))

    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
