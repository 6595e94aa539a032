# SPDX-License-Identifier: GPL-3.0-or-later
"""How the engines lay out the KV cache.

vLLM hands out blocks of 16 tokens. Layers that remember alike form groups of one size, padded to it, and a
block belongs to one group (vllm/v1/core/kv_cache_utils.py of 0.9.2 on); up to 0.9.0 there was one group, in
which every layer remembered everything. A layer with a state takes one block for each sequence, for which
blocks are made long enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    LayerKind,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import KvPrecision, Serving
from ansible_collections.stronghold.llm.plugins.module_utils.planning.versions import version_numbers

BLOCK = 16
BYTES: dict[KvPrecision, float] = {"auto": 2, "bf16": 2, "fp16": 2, "fp8": 1, "q8_0": 34 / 32}
"""Of a value. q8_0 has a scale of 2 bytes for 32 values (github.com/ggml-org/ggml, docs/gguf.md)."""


@dataclass(frozen=True)
class Layout:
    """On one rank. `page` is what a block takes in each layer of a group, of `depth` layers."""

    block: int
    page: float
    depth: int
    groups: tuple[LayerKind, ...]
    window: int
    counted: int = 0
    """Tokens of the sequence in whose numbers the engine counts (0.21.0 and 0.33.0, log of the KV cache's
    size; 0.20.0 counts blocks); 0: it counts blocks."""

    @property
    def block_bytes(self) -> float:
        return self.page * self.depth

    def blocks(self, tokens: int) -> int:
        """That a sequence of this many tokens holds."""
        held = {"full": tokens, "sliding": min(tokens, self.window), "state": 1}
        # A window that does not begin where a block begins reaches into one more.
        more = {"full": 0, "sliding": int(tokens > self.window), "state": 0}
        return sum(ceil(held[kind] / self.block) + more[kind] for kind in self.groups)

    def tokens(self, left: float) -> int:
        """That the engine prints for this many bytes: of as many whole sequences as fit, or of blocks shared
        out evenly among the groups.
        """
        if self.counted:
            return max(0, int(int(left / self.block_bytes) / self.blocks(self.counted) * self.counted))
        return max(0, int(left / self.block_bytes) // len(self.groups) * self.block)


def layer_bytes(architecture: Architecture, serving: Serving) -> float:
    """Of one token in one attending layer on one rank.

    Key and value for each head that the rank has, and it has one at least: with more ranks than heads they
    are copied. What latent attention keeps is one vector for all heads, so every rank keeps it whole; 0.7.3
    padded its 576 values to 640 (vllm-project/vllm pull request 14842 took that away).
    """
    each = BYTES[serving.kv_cache]
    if latent := architecture.latent:
        values = latent.rank + latent.rope
        padded = serving.engine == "vllm" and (0, 7, 3) <= version_numbers(serving.version) < (0, 8, 0)
        return (-(-values // 128) * 128 if padded else values) * each
    heads = max(1, architecture.kv_heads // serving.tensor_parallel)
    return 2 * heads * architecture.head_dim * each


@lru_cache(maxsize=4096)
def layout(architecture: Architecture, serving: Serving) -> Layout:
    """Of the stage with the most layers."""
    a, token = architecture, layer_bytes(architecture, serving)
    stages = serving.pipeline_parallel
    counts = {kind: ceil(a.layers.count(kind) / stages) for kind in dict.fromkeys(sorted(a.layers))}
    window = a.window or 0
    if serving.engine == "llama_cpp":
        return Layout(1, token, ceil(len(a.layers) / stages), ("full",), window)
    release = version_numbers(serving.version)
    if release < (0, 9, 2) and "state" not in counts:
        return Layout(BLOCK, BLOCK * token, sum(counts.values()), ("full",), window)
    if len(counts) == 1:
        [kind] = counts
        return Layout(BLOCK, BLOCK * token, counts[kind], (kind,), window)
    block = BLOCK
    if a.state:
        state = (a.state.convolution + a.state.recurrence) * 2 / serving.tensor_parallel
        block = ceil(ceil(state / token) / BLOCK) * BLOCK
    least, most = min(counts.values()), max(counts.values())
    padded = 1.5 if release >= (0, 18, 0) else 1.25  # as the wheels of 0.18.0 and 0.17.0 have it
    depth = most if most < padded * least else least
    groups = tuple(kind for kind, count in counts.items() for _ in range(ceil(count / depth)))
    # A window is held with what one step adds to it.
    held = window + (serving.max_num_batched_tokens or 2048)
    counted = (serving.max_model_len or a.longest(serving.version) or 0) if release >= (0, 21, 0) else 0
    return Layout(block, block * token, depth, groups, held, counted)


def sequence_bytes(architecture: Architecture, serving: Serving, tokens: int) -> float:
    """That a rank holds for one sequence of this many tokens."""
    found = layout(architecture, serving)
    return found.blocks(tokens) * found.block_bytes
