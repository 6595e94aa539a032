#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_files
short_description: A model's files are in the store, read-only and digest by digest
description:
  - Brings the files of one model from the site's cold bucket, or from an HTTPS server inside the site, in
    parts and several at once, and moves them into place only when every SHA-256 is right. A run that was
    killed is gone on with where it was; a source that has changed meanwhile is begun anew.
  - Files that are already there are compared by list and size; their bytes are read again by the model
    server's unit before each start, and by C(verify).
  - Says every 5 seconds or 5 % how far it is, in C(/run/stronghold/model-fetch.json) and in the journal
    (C(journalctl -t stronghold-model-fetch)).
  - With I(bucket) it needs the C(minio) SDK, which role C(object_client) brings.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  name:
    description: The model's name; its folder below I(store).
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
    description: The folder of the files on the mirror; this or I(bucket).
    type: str
  ca_path:
    description: The root that vouches for the mirror.
    type: path
  bucket:
    description: The cold bucket, as role C(model_archive) fills it; this or I(url).
    type: dict
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
  workers:
    description: How many parts are copied at the same time.
    type: int
    default: 4
  part_mib:
    description: MiB a part, where the bucket does not say in which parts it has the sums of a file.
    type: int
    default: 64
  keep_gib:
    description: GiB that stay free on the tier; less is refused before anything is copied.
    type: float
    default: 0
attributes:
  check_mode: {support: full, description: Says whether anything would be brought.}
"""

EXAMPLES = r"""
- name: The weights are on the hot tier
  stronghold.llm.model_files:
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
"""

RETURN = r"""
folder:
  description: Where the files lie.
  type: str
  returned: success
  sample: /srv/models/smollm2-135m-instruct/0123456789abcdef
digest:
  description: What this set of files is known by.
  type: str
  returned: success
  sample: 0123456789abcdef
copied:
  description: Bytes that came in this run.
  type: int
  returned: changed, not in check mode
  sample: 98362432
bytes_per_second:
  description: How fast they came, checked and on the disk.
  type: int
  returned: changed, not in check mode
  sample: 412000000
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.models import (
    arguments,
    fetch,
    progress,
    sources,
)

PROGRESS = Path("/run/stronghold/model-fetch.json")


def source(module: AnsibleModule) -> sources.Source:
    if module.params["url"]:
        return sources.Mirror(f"{module.params['url']}", module.params["ca_path"])
    from ansible_collections.stronghold.llm.plugins.module_utils.models import objects  # needs the SDK

    return objects.connect(module.params["bucket"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": arguments.FILES,
            "url": {"type": "str"},
            "ca_path": {"type": "path"},
            "bucket": arguments.BUCKET,
            "store": {"type": "path", "required": True},
            "workers": {"type": "int", "default": 4},
            "part_mib": {"type": "int", "default": 64},
            "keep_gib": {"type": "float", "default": 0},
        },
        mutually_exclusive=[("url", "bucket")],
        required_one_of=[("url", "bucket")],
        required_by={"url": "ca_path"},
        supports_check_mode=True,
    )
    params = module.params
    name, store, files = params["name"], Path(params["store"]), arguments.files(params["files"])
    folder = fetch.wanted(name, files, store)
    result = {"folder": str(folder), "digest": folder.name, "changed": not fetch.is_stored(folder, files)}
    if result["changed"] and not module.check_mode:
        manner = fetch.Manner(params["workers"], params["part_mib"] * 2**20, int(params["keep_gib"] * 2**30))
        try:
            report = progress.to_file_and_journal(PROGRESS)
            brought = fetch.fetch(name, files, source(module), store, manner, report)
        except (fetch.FetchError, sources.SourceError) as error:
            module.fail_json(msg=str(error))
        except ImportError as error:
            module.fail_json(msg=f"{error}: role object_client brings the client of the object store")
        result |= {"copied": brought.copied, "bytes_per_second": brought.bytes_per_second}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
