#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_topology_info
short_description: Read a host's GPUs, how they are linked, and what stands around them
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Asks the driver's tools (C(nvidia-smi), C(amd-smi), C(rocm-smi)), all at once and for a minute at most,
    and reads C(/sys) and C(/proc). The result has the same form for NVIDIA and AMD.
  - A host without GPUs has an empty list of them, which is no error. What could not be read, for instance
    because the driver is not installed yet, is a sentence in C(unread).
  - Output that is not what it should be is an error that names the command or file, and the line.
options:
  name:
    description: What the host is called in the result.
    type: str
    required: true
  facts_from:
    description:
      - A folder of recordings, on the machine where the module runs, to read in place of that machine.
      - Its files are named after the commands that made them; C(docs/topology.md) says how to make one.
    type: path
  recordings:
    description: Whether the result also holds all that was read, as such a folder would.
    type: bool
    default: false
attributes:
  check_mode:
    description: It only looks, so it also runs in check mode.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  platform:
    description: The systems it works on.
    platforms: debian
    support: full
notes:
  - Without root it reads all but ACS, and the management ports of Blackwell's NVSwitches.
"""

EXAMPLES = r"""
- name: GPUs, links, network cards and processors are read
  stronghold.llm.gpu_topology_info:
    name: "{{ inventory_hostname }}"
  register: read

- name: The same, of a host that is not there yet
  stronghold.llm.gpu_topology_info:
    name: gpu1
    facts_from: inventories/datacentre-70b/facts/gpu1
  delegate_to: localhost
"""

RETURN = r"""
topology:
  description: What the host has.
  returned: success
  type: dict
  sample:
    host: gpu1
    gpus: [{index: 0, vendor: nvidia, name: NVIDIA A10, memory_mib: 23028, pcie: {generation: 4, width: 16}}]
    links: []
    driver: 580.95.05
    unread: []
recordings:
  description: File name and text of all that was read.
  returned: when O(recordings=true)
  type: dict
  sample: {"nvidia-smi-topo-m.txt": "\tGPU0\tCPU Affinity\n"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.topology.collect import COMMANDS, collect
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError, to_data
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import Live, Recorded


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "facts_from": {"type": "path"},
            "recordings": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    name, folder = module.params["name"], module.params["facts_from"]
    try:
        source = Recorded(folder) if folder else Live(COMMANDS)
        topology = collect(name, source)
    except TopologyError as error:
        module.fail_json(msg=f"{name}: {error}")
    recordings = {"recordings": source.recordings()} if module.params["recordings"] else {}
    module.exit_json(changed=False, topology=to_data(topology), **recordings)


if __name__ == "__main__":
    main()
