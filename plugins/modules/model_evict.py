#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_evict
short_description: The hot tier has room for a model, because others that nobody uses have left
description:
  - When the model's files do not fit, takes those models off the tier that have not been used for longest,
    as many as are needed and no more.
  - Never one that is used, and that is asked of the system, not of the declaration. A loaded unit that
    names it, a process that names it, has a file of it open or mapped, each keeps it.
  - Never one that is not whole in the cold bucket, and nothing that is not a model by its own list of
    sums.
  - Takes nothing when all that may go would not be enough, and says by how much.
  - Needs the C(minio) SDK, which role C(object_client) brings.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  name:
    description: The model that needs room; it never leaves.
    type: str
    required: true
  files:
    description: The files, as the site declares them.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Path below the model's folder., type: str, required: true}
      sha256: {description: In hex., type: str, required: true}
      size: {description: In bytes., type: int, required: true}
      source: {description: Where the bundle has it from; of no use here., type: dict}
  bucket:
    description: The cold bucket, and a user who may read it.
    type: dict
    required: true
    suboptions:
      endpoint: {description: Host and port of the S3 server; TLS always., type: str, required: true}
      bucket: {description: Its name., type: str, default: weights}
      access_key: {description: Who asks., type: str, required: true}
      secret_file: {description: A file of root's alone with the secret key., type: path, required: true}
      ca_path: {description: The root that vouches for the server., type: path, required: true}
      region: {description: As the server knows it., type: str, default: us-east-1}
  store:
    description: The folder of all models, on the hot tier.
    type: path
    required: true
  keep_gib:
    description: GiB that stay free on the tier when the model has come.
    type: float
    default: 0
attributes:
  check_mode: {support: full, description: Says which models would go.}
"""

EXAMPLES = r"""
- name: The hot tier has room for the model
  stronghold.llm.model_evict:
    name: smollm2-135m-instruct
    files:
      - name: SmolLM2-135M-Instruct.Q4_1.gguf
        sha256: 6e1a3f3d8f0f5e0f6c3d3d4d1f8a1bb1c1f1b7a9c9d3b2f4e5a6b7c8d9e0f1a2
        size: 98362432
    bucket:
      endpoint: 10.77.40.11:9000
      access_key: weights-read
      secret_file: /etc/stronghold/objects/weights-read.secret
      ca_path: /etc/stronghold/tls/ca.pem
    store: /srv/models
    keep_gib: 50
"""

RETURN = r"""
evicted:
  description: The models that went, as name and digest.
  type: list
  elements: str
  returned: success
  sample: [golden/0123456789abcdef]
freed:
  description: Bytes that this gave.
  type: int
  returned: success
  sample: 5715552
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.models import arguments, room, sources


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": arguments.FILES,
            "bucket": {**arguments.BUCKET, "required": True},
            "store": {"type": "path", "required": True},
            "keep_gib": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        from ansible_collections.stronghold.llm.plugins.module_utils.models import objects
    except ImportError as error:
        if module.check_mode:  # a bare host: the client comes with the same run, and nothing is stored yet
            module.exit_json(changed=False, evicted=[], freed=0)
        module.fail_json(msg=f"{error}: role object_client brings the client of the object store")
    params, store = module.params, Path(module.params["store"])
    keep = int(params["keep_gib"] * 2**30)
    try:
        gone = room.make_room(
            store,
            params["name"],
            arguments.files(params["files"]),
            keep,
            lambda file: objects.connect(params["bucket"]).missing(file),
            dry_run=module.check_mode,
        )
    except (room.NoRoomError, sources.SourceError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(gone), evicted=[model.name for model in gone], freed=sum(model.size for model in gone)
    )


if __name__ == "__main__":
    main()
