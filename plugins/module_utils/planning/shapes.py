# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model is: numbers that memory and speed follow from; standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ansible_collections.stronghold.llm.plugins.module_utils.planning.versions import version_numbers

LayerKind = Literal["full", "sliding", "state"]
"""What a layer remembers of a sequence: every token, those in its window, or a state of one size."""


@dataclass(frozen=True)
class Experts:
    """Of a mixture of experts. `shared` is the intermediate size of all shared experts together."""

    count: int
    per_token: int
    intermediate: int
    layers: int
    shared: int = 0


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention: what is kept of a token is `rank` + `rope` values, for all heads."""

    rank: int
    rope: int
    nope: int
    value: int
    query_rank: int | None = None


@dataclass(frozen=True)
class State:
    """A layer with a state: values of its convolution and of its recurrence, and its parameters."""

    convolution: int
    recurrence: int
    parameters: int


@dataclass(frozen=True)
class Vision:
    """The part that sees. `merge` patches become one token."""

    layers: int
    hidden: int
    intermediate: int
    merge: int = 1
    deepstack: int = 0
    """Layers whose view is handed to the decoder beside that of the last one."""


@dataclass(frozen=True)
class Architecture:
    """A decoder. Sizes are numbers of values; `layers` has one entry for each layer."""

    kind: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    """Of layers without experts."""
    vocabulary: int
    layers: tuple[LayerKind, ...]
    tied: bool = False
    """Embedding and head are one matrix."""
    window: int | None = None
    context: int | None = None
    """Longest sequence that the model was made for, as the newest engine has it: see `longest`."""
    experts: Experts | None = None
    latent: Latent | None = None
    state: State | None = None
    vision: Vision | None = None
    extra_layers: int = 0
    """Layers for predicting several tokens: in the files, and not loaded without being asked for."""
    method: str | None = None
    """Of quantisation, as the config names it."""
    block: int | None = None
    """Weights that share a scale, along the sides that tensor parallel cuts."""
    notes: tuple[str, ...] = ()
    yarn_context: int | None = None
    """Longest sequence for the engines that multiply what YaRN stretches themselves."""

    @property
    def dense_layers(self) -> int:
        return len(self.layers) - (self.experts.layers if self.experts else 0)

    def longest(self, version: str) -> int | None:
        """Sequence that this vLLM accepts: with YaRN original_max_position_embeddings x factor up to 0.21.0,
        in 0.33.0 max_position_embeddings as it stands, which the files of some models have unstretched
        (_get_and_verify_max_len in vllm/config.py of 0.6.4 to 0.8.5 and vllm/config/model.py of 0.11.0 to
        0.33.0). Between the two the shorter is what both accept.
        """
        if self.context is None or self.yarn_context is None:
            return self.context
        release = version_numbers(version)
        if release <= (0, 21, 0):
            return self.yarn_context
        return self.context if release >= (0, 33, 0) else min(self.context, self.yarn_context)
