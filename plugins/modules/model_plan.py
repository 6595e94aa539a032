#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a model goes on a fleet, or why it cannot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_plan
short_description: Plan a model on the hosts that are there, or refuse with numbers and a way out
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Computes what the engine would make of each host's memory, version by version, and places replicas on
    groups of GPUs that are near to each other. Runs on the controller, reaches no host and changes nothing.
  - A model that does not fit is no failure of this module, but its answer, so that a play can say everything
    that is wrong at once. It fails on what cannot be read only.
options:
  model:
    description: The model's name, for the messages.
    type: str
    required: true
  config:
    description: The model's own C(config.json).
    type: path
  gguf:
    description: The model's GGUF file, whose header says what C(config.json) would.
    type: path
  weights:
    description:
      - How the weights are stored, C(precision) (C(fp32), C(bf16), C(fp16), C(fp8), C(int8), C(int4),
        C(nvfp4), C(mxfp4), C(gguf)); where known C(total_bytes), the sum of the files, and C(group_size).
      - Of a GGUF file the sum of its tensors is read from the file.
    type: dict
    required: true
  wish:
    description:
      - C(engine) (C(vllm), C(llama_cpp)), C(engine_version), C(context_tokens) and C(sequences) of a replica.
      - Optionally C(typical_tokens), C(replicas), C(kv_cache), C(tokens_per_second) for each sequence,
        C(tensor_parallel), C(pipeline_parallel), C(gpu_memory_utilization), C(max_num_batched_tokens) and
        C(enforce_eager).
    type: dict
    required: true
  topologies:
    description: What M(stronghold.llm.gpu_topology_info) has read, one for each host.
    type: list
    elements: dict
    required: true
seealso:
  - module: stronghold.llm.gpu_topology_info
  - module: stronghold.llm.gpu_topology
attributes:
  check_mode: {support: full, description: Changes nothing in any mode.}
"""

EXAMPLES = r"""
- name: The model is planned
  stronghold.llm.model_plan:
    model: deepseek-r1-distill-llama-70b
    config: inventories/datacentre-70b/models/deepseek-r1-distill-llama-70b/config.json
    weights: {precision: bf16, total_bytes: 141107412992}
    wish:
      engine: vllm
      engine_version: 0.33.0
      context_tokens: 65536
      sequences: 128
      typical_tokens: 8192
      replicas: 2
    topologies: "{{ groups.core | map('extract', hostvars, ['host_topology_read', 'topology']) }}"
  register: planned

- name: What was found and planned, for people
  ansible.builtin.debug:
    msg: "{{ planned.table | stronghold.llm.text_table }}"
"""

RETURN = r"""
plan:
  description: >-
    Replicas in order, each with its hosts and GPUs, how the engine is started, where the memory goes, upper
    bounds of tokens/s and the devices' watts; null where it is refused.
  returned: success
  type: dict
refusal:
  description: >-
    What binds (C(constraint), C(why)), the C(nearest) wish that has a plan, and all of it in one line as
    C(message); null where there is a plan.
  returned: success
  type: dict
table:
  description: A header and a row for each host; what was found, what is planned, the cache beyond the wish.
  returned: success
  type: list
  elements: list
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.planning import answers
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import PlanError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "str", "required": True},
            "config": {"type": "path"},
            "gguf": {"type": "path"},
            "weights": {"type": "dict", "required": True},
            "wish": {"type": "dict", "required": True},
            "topologies": {"type": "list", "elements": "dict", "required": True},
        },
        mutually_exclusive=[("config", "gguf")],
        required_one_of=[("config", "gguf")],
        supports_check_mode=True,
    )
    try:
        answer = answers.answer(**module.params)
    except (PlanError, TopologyError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
