# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `model_plan` answers, in plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.planning import gguf_header, reading, words
from ansible_collections.stronghold.llm.plugins.module_utils.planning.architecture import (
    Architecture,
    from_gguf,
    read_config,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import (
    Plan,
    PlanError,
    Refusal,
)
from ansible_collections.stronghold.llm.plugins.module_utils.planning.plan import plan
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import from_data


def answer(
    model: str,
    config: str | None,
    gguf: str | None,
    weights: Mapping[str, Any],
    wish: Mapping[str, Any],
    topologies: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """{plan, refusal, table}: one of the first two is None.

    Raises:
        PlanError, TopologyError: something that cannot be read, with its file or field.
        OSError: a file that is not there.
    """
    stored = reading.read_weights(weights)
    if config:
        architecture = _config(Path(config))
    else:
        header = gguf_header.read(Path(str(gguf)))
        architecture = from_gguf(header.metadata, header.tensors, str(gguf))
        stored = replace(stored, total_bytes=sum(header.tensors.values()))
    fleet = [from_data(topology) for topology in topologies]
    found = plan(model, architecture, stored, reading.read_wish(wish), fleet)
    return {
        "plan": asdict(found) if isinstance(found, Plan) else None,
        "refusal": {**asdict(found), "message": words.message(found)} if isinstance(found, Refusal) else None,
        "table": words.table(found, fleet),
    }


def _config(path: Path) -> Architecture:
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path}: it is no JSON ({error}): give the model's own config.json") from error
    return read_config(config, str(path))
