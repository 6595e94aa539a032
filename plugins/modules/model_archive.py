#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_archive
short_description: A model's files are in the cold bucket, by their digests
description:
  - Copies the files of one model from an HTTPS server inside the site to C(sha256/<digest>) in an S3
    bucket. They stream through, never whole in memory or on a disk, and become objects only when their
    SHA-256 is right.
  - C(models/<name>/<digest>.json) says what the model consists of; C(parts/<digest>.json) has the sums of
    a file's parts, so that a reader can say where a file is damaged.
  - What is already there is known by size and by the digest that it carries, without reading it. A run
    that was killed goes on with the file that is not whole; what was sent of it is taken back.
  - Needs the C(minio) SDK, which role C(object_client) brings.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  name:
    description: The model's name.
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
  url:
    description: The folder of the files on the mirror.
    type: str
    required: true
  ca_path:
    description: The root that vouches for the mirror.
    type: path
    required: true
  bucket:
    description: The cold bucket, and a user who may write to it.
    type: dict
    required: true
    suboptions:
      endpoint: {description: Host and port of the S3 server; TLS always., type: str, required: true}
      bucket: {description: Its name., type: str, default: weights}
      access_key: {description: Who asks., type: str, required: true}
      secret_file: {description: A file of root's alone with the secret key., type: path, required: true}
      ca_path: {description: The root that vouches for the server., type: path, required: true}
      region: {description: As the server knows it., type: str, default: us-east-1}
  part_mib:
    description: MiB a part; S3 takes no less than 5 MiB and no more than 10,000 parts a file.
    type: int
    default: 64
attributes:
  check_mode: {support: full, description: Says which files would be brought.}
"""

EXAMPLES = r"""
- name: The weights are in the cold bucket
  stronghold.llm.model_archive:
    name: smollm2-135m-instruct
    files:
      - name: SmolLM2-135M-Instruct.Q4_1.gguf
        sha256: 6e1a3f3d8f0f5e0f6c3d3d4d1f8a1bb1c1f1b7a9c9d3b2f4e5a6b7c8d9e0f1a2
        size: 98362432
    url: https://10.77.50.11/models/smollm2-135m-instruct
    ca_path: /etc/stronghold/tls/ca.pem
    bucket:
      endpoint: 10.77.40.11:9000
      access_key: weights-write
      secret_file: /etc/stronghold/objects/weights-write.secret
      ca_path: /etc/stronghold/tls/ca.pem
"""

RETURN = r"""
archived:
  description: The files that were brought.
  type: list
  elements: str
  returned: success
  sample: [SmolLM2-135M-Instruct.Q4_1.gguf]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.models import arguments, sources


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": arguments.FILES,
            "url": {"type": "str", "required": True},
            "ca_path": {"type": "path", "required": True},
            "bucket": {**arguments.BUCKET, "required": True},
            "part_mib": {"type": "int", "default": 64},
        },
        supports_check_mode=True,
    )
    try:
        from ansible_collections.stronghold.llm.plugins.module_utils.models import archive, objects
    except ImportError as error:
        if module.check_mode:  # a bare host: the client comes with the same run
            module.exit_json(changed=True, archived=[file["name"] for file in module.params["files"]])
        module.fail_json(msg=f"{error}: role object_client brings the client of the object store")
    params, files = module.params, arguments.files(module.params["files"])
    try:
        cold = objects.connect(params["bucket"])
        missing = archive.missing(cold, params["name"], files)
        if missing is not None and not module.check_mode:
            mirror = sources.Mirror(params["url"], params["ca_path"])
            archive.archive(cold, params["name"], files, mirror, archive.Manner(params["part_mib"] * 2**20))
    except (archive.ArchiveError, sources.SourceError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=missing is not None, archived=[file.name for file in missing or []])


if __name__ == "__main__":
    main()
