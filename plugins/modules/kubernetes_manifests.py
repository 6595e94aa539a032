#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned model as a folder of Kubernetes manifests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_manifests
short_description: A planned model is a folder of Kubernetes manifests, or is refused with a way out
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Renders for a cluster what M(stronghold.llm.model_plan) has planned. Runs on the controller and reaches no
    cluster.
  - Writes one file for each object, named so that C(kubectl apply -f FOLDER) applies them in order. Files of
    this form that are there from before and no longer wanted are removed; no other file is touched.
options:
  plan:
    description: The C(plan.json) that the role C(plan_preflight) has kept.
    type: path
    required: true
  site:
    description:
      - Of the site's declaration C(model) (C(name) and C(files)), C(tiers) (host to
        C(stronghold_storage_tiers)), C(zones), C(matrix), and the C(zone) that the model servers stand in.
    type: dict
    required: true
  settings:
    description: What the cluster has and the plan does not know; the role's arguments say what each means.
    type: dict
    default: {}
  programs:
    description: Programs of ours that the pods run.
    type: list
    elements: path
    required: true
  folder:
    description: Where the manifests go.
    type: path
    required: true
attributes:
  check_mode: {support: full, description: Says what would be written.}
  diff_mode: {support: full, description: Shows every file that changes.}
"""

EXAMPLES = r"""
- name: The planned model is a folder of manifests
  stronghold.llm.kubernetes_manifests:
    plan: build/plan.json
    site:
      model: "{{ stronghold_models | first }}"
      tiers: {gpu1: "{{ stronghold_storage_tiers }}"}
      zones: "{{ stronghold_zones }}"
      matrix: "{{ stronghold_zone_matrix }}"
      zone: core
    settings:
      images:
        nvidia: registry:5000/vllm@sha256:5f0a7c1f9d7e7b1b6a9f2c2d8e4b3a1c0f9e8d7c6b5a49382716050403020100
    programs: [plugins/module_utils/models/weights.py, roles/kubernetes_manifests/files/ask.py]
    folder: build/kubernetes/datacentre-70b
"""

RETURN = r"""
files:
  description: Names of all files that are wanted, in order.
  returned: success
  type: list
  elements: str
  sample: [00-namespace-stronghold-llm.yml, 60-deployment-deepseek-r1-distill-llama-70b-0.yml]
notes:
  description: What works otherwise than a reader of the plan would think.
  returned: success
  type: list
  elements: str
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes import manifests, reading, writing
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import ManifestError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "path", "required": True},
            "site": {"type": "dict", "required": True},
            "settings": {"type": "dict", "default": {}},
            "programs": {"type": "list", "elements": "path", "required": True},
            "folder": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    plan, folder = Path(module.params["plan"]), Path(module.params["folder"])
    if module.check_mode and not plan.exists():  # preflight keeps none in check mode
        module.exit_json(changed=True, files=[], notes=[f"{plan} is not there yet: nothing can be shown"])
    try:
        planned = json.loads(plan.read_text())
        settings = reading.settings(module.params["settings"])
        programs = {Path(path).name: Path(path).read_text() for path in module.params["programs"]}
        wanted = writing.files(manifests.manifests(planned, module.params["site"], settings, programs))
        changed = writing.changes(wanted, folder)
        if not module.check_mode:
            writing.write(changed, folder)
    except (ManifestError, OSError, ValueError) as error:
        module.fail_json(msg=f"{error}")
    module.exit_json(
        changed=bool(changed),
        files=sorted(wanted),
        notes=manifests.notes(planned, settings),
        diff=[
            {"before_header": name, "after_header": name, "before": before, "after": after}
            for name, (before, after) in changed.items()
        ],
    )


if __name__ == "__main__":
    main()
