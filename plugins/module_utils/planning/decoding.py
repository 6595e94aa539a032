# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast tokens can come at the most, from memory bandwidth alone.

To make one token for each running sequence, a rank reads the weights that take part and the KV cache of those
sequences, once. With pipeline parallel the sequences go through the stages in as many batches as there are
stages; a token waits for all stages in turn, and all stages work all the time:

    step = (weights read + sequences / stages x cache of one sequence) / bandwidth
    each = 1 / (stages x step), together = sequences x each

Computing, communication and what the engine does between steps come on top: what is measured is below this.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.stronghold.llm.plugins.module_utils.planning import engine
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import Architecture
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    Device,
    Serving,
    Weights,
)


@dataclass(frozen=True)
class Rates:
    """Tokens/s of a replica: of all running sequences together, and of each."""

    together: float
    each: float


def rates(
    architecture: Architecture, weights: Weights, device: Device, serving: Serving, cache: float
) -> Rates | None:
    """`cache`: bytes that a rank holds, and reads, for one sequence. None without a known bandwidth."""
    if device.bandwidth_gb_s is None:
        return None
    sequences, stages = serving.max_num_seqs or 1, serving.pipeline_parallel
    batch = max(1.0, sequences / stages)
    read = engine.read_bytes(architecture, weights, serving, batch) + batch * cache
    step = read / (device.bandwidth_gb_s * 1e9)
    each = 1 / (stages * step)
    return Rates(sequences * each, each)
