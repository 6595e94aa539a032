#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: stack_compat
short_description: Whether the versions of a site go together, and with its cards
description:
  - Checks each version lock of accelerators pair by pair (driver, CUDA, compat package, image, fabric
    manager, NVLSM, imex, kernel, torch, vLLM, ROCm) against a matrix that the collection carries, and against
    the cards of the hosts that it is for.
  - Runs on the controller, changes nothing, and never fails on what it finds; the caller decides. What the
    matrix does not have is a note, neither good nor refused.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  locks:
    description: The locks, each with its hosts, as P(stronghold.llm.accelerator_locks#filter) has them.
    type: list
    elements: dict
    required: true
    suboptions:
      group: {description: Its name; an inventory group., type: str, required: true}
      hosts: {description: The hosts that it is for., type: list, elements: str, required: true}
      stack:
        description:
          - Component to version, all optional. C(kernel) as C(uname -r) says it. C(driver) of NVIDIA,
            C(driver_flavour) (V(open) or V(proprietary)) and C(driver_source) (V(debian), V(nvidia)).
            C(fabric_manager), C(nvlsm), C(imex), C(container_toolkit). C(kernel_modules), loaded at boot.
          - C(cuda) is the user space's toolkit, C(cuda_compat) the driver version in the compat package,
            C(image_require_cuda) the image's C(NVIDIA_REQUIRE_CUDA). C(rocm_kernel) is the amdgpu driver,
            C(rocm) its user space.
          - C(torch) with its build where it is not the package index's (V(2.9.1+cu130)), C(vllm),
            C(python) that they are installed for, C(model_digests).
        type: dict
        required: true
  topologies:
    description: What M(stronghold.llm.gpu_topology_info) has read of the hosts.
    type: list
    elements: dict
    required: true
attributes:
  check_mode: {support: full, description: It only looks.}
"""

EXAMPLES = r"""
- name: Versions go together, and with the cards
  stronghold.llm.stack_compat:
    locks:
      - group: cuda
        hosts: [gpu1]
        stack: {driver: 550.163.01, driver_flavour: open, driver_source: debian, vllm: 0.33.0}
    topologies: "{{ topologies }}"
  register: versions
"""

RETURN = r"""
findings:
  description: What was found, worst first; C(message) is the line for people.
  type: list
  elements: dict
  returned: success
  sample:
    - severity: refuse
      host: lock cuda
      subject: driver and vllm
      found: driver 550.163.01 with vllm 0.33.0
      expected: driver 580.65.06 or newer
      rule: the wheel is built for CUDA 13.0, which needs driver 580 or newer
      remedy: lock driver 580.65.06 or newer, or vllm 0.19.1, the newest whose wheel works here
      source: docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
      message: "lock cuda: driver and vllm: found driver 550.163.01 with vllm 0.33.0, expected …"
refused:
  description: Whether any finding refuses.
  type: bool
  returned: success
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.compat import rules, stack
from ansible_collections.stronghold.llm.plugins.module_utils.site import findings
from ansible_collections.stronghold.llm.plugins.module_utils.topology import model


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "locks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "group": {"type": "str", "required": True},
                    "hosts": {"type": "list", "elements": "str", "required": True},
                    "stack": {"type": "dict", "required": True},
                },
            },
            "topologies": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        topologies = [model.from_data(topology) for topology in module.params["topologies"]]
        found = rules.check_locks(module.params["locks"], topologies)
    except (stack.StackError, model.TopologyError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, findings=findings.records(found), refused=findings.refused(found))


if __name__ == "__main__":
    main()
