#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts have against what their inventory expects of them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_topology
short_description: Compare what hosts have with what the inventory expects, and draw it
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Compares GPUs, their links, memory, modes and PCIe, network cards, NVSwitches and NUMA nodes with
    C(stronghold_accelerators). Each difference is a finding of its own, which names the host, the GPU by its
    index and PCI address, what was found and expected, why that matters, and what to do.
  - A host of which nothing is expected still gets findings about lost GPUs, broken memory rows, dead NVLinks,
    an NVLink fabric that is not set up, PCIe links narrower than they could be, and detours of ACS and IOMMU.
  - What is expected and was not read is a finding too, of severity C(note).
  - Runs on the controller. A finding is no failure of this module, but its answer, so that a play can say
    everything that is wrong at once. It fails on what cannot be read only.
options:
  topologies:
    description: What M(stronghold.llm.gpu_topology_info) has read, one for each host.
    type: list
    elements: dict
    required: true
  expected:
    description:
      - Host to what is expected of it; what is not named is free.
      - C(count); C(name) (the whole name, C(*) and C(?) stand for more); C(memory_mib_min); C(link) of every
        pair (C(NV), C(NV18) for that many lanes at least, C(XGMI), or C(PIX), C(PXB), C(PHB), C(NODE), C(SYS)
        for that near or nearer); C(links) of single pairs, such as C(0-1); C(pcie) with C(generation) and
        C(width); C(mig), C(ecc), C(persistence), C(open_kernel_module); C(nvswitches); C(numa) (node to GPU
        indices); C(nics) (name to C(near) and C(class), C(rate_gbps), C(link_layer)).
    type: dict
    default: {}
  drawings:
    description: A folder that gets a drawing of each host, C(<host>.svg). Without it nothing is drawn.
    type: path
seealso:
  - module: stronghold.llm.gpu_topology_info
  - module: stronghold.llm.model_plan
attributes:
  check_mode: {support: full, description: Says which drawings would be written.}
  diff_mode: {support: none, description: A drawing is read with the eyes.}
"""

EXAMPLES = r"""
- name: Every host is what the inventory says, and is drawn
  stronghold.llm.gpu_topology:
    topologies: "{{ groups.core | map('extract', hostvars, ['host_topology_read', 'topology']) }}"
    expected:
      gpu1:
        count: 8
        name: NVIDIA H100 80GB HBM3
        memory_mib_min: 81000
        link: NV18
        nvswitches: 4
        pcie: {generation: 5, width: 16}
        mig: false
        nics:
          mlx5_0: {near: [0], class: PXB, rate_gbps: 200, link_layer: InfiniBand}
    drawings: build/topology
  register: compared

- name: Nothing impossible is planned
  ansible.builtin.assert:
    that: not compared.refused
    fail_msg: "{{ compared.findings | map(attribute='message') | join('\n') }}"
"""

RETURN = r"""
findings:
  description: Worst first.
  returned: success
  type: list
  elements: dict
  sample:
    - severity: refuse
      host: gpu1
      subject: "GPU 3 (0000:61:00.0): PCIe width"
      found: x8
      expected: x16
      rule: "lanes are never lowered to save power: missing ones are a bad contact or the wrong slot"
      remedy: seat the card and its riser anew
      source: ""
      message: "gpu1: GPU 3 (0000:61:00.0): PCIe width: found x8, expected x16 (…); seat the card anew"
refused:
  description: Whether a finding is of severity C(refuse).
  returned: success
  type: bool
drawn:
  description: Drawings that were written, or in check mode would be; what was right is left alone.
  returned: success
  type: list
  elements: path
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import records, refused
from ansible_collections.stronghold.llm.plugins.module_utils.topology import checking
from ansible_collections.stronghold.llm.plugins.module_utils.topology.expectation import ExpectationError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "topologies": {"type": "list", "elements": "dict", "required": True},
            "expected": {"type": "dict", "default": {}},
            "drawings": {"type": "path"},
        },
        supports_check_mode=True,
    )
    folder = module.params["drawings"]
    try:
        hosts = checking.topologies(module.params["topologies"])
        expected = checking.expectations(module.params["expected"], [host.host for host in hosts])
        found = checking.findings(hosts, expected)
        drawings = checking.stale(hosts, Path(folder)) if folder else {}
        if not module.check_mode:
            checking.write(drawings)
    except (TopologyError, ExpectationError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(drawings),
        findings=records(found),
        refused=refused(found),
        drawn=[str(path) for path in drawings],
    )


if __name__ == "__main__":
    main()
