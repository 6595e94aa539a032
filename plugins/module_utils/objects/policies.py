# SPDX-License-Identifier: GPL-3.0-or-later
"""From verbs to policies: what each verb means is said once, and nothing else can be given."""

from __future__ import annotations

from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.objects.declaration import User

_READ_OBJECTS = ("s3:GetObject", "s3:GetObjectVersion")
_READ_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket")
# Put, and what a put of several parts needs. Without the right to look: a leaked key of logs reads nothing.
_PUT = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject")
# What a killed put has left unfinished is found, and taken away, by whoever puts again.
_UNFINISHED = ("s3:ListBucketMultipartUploads",)
# Where there are versions a delete leaves a marker; the versions are nobody's to delete. MinIO takes the
# right to the one for a right to the other unless that is denied.
_FOR_GOOD = ("s3:DeleteObjectVersion",)

# Verb -> (actions on the bucket, actions on its objects).
_ACTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "read": (_READ_BUCKET, _READ_OBJECTS),
    "append": (("s3:GetBucketLocation", *_UNFINISHED), _PUT),
    "write": ((*_READ_BUCKET, *_UNFINISHED), (*_READ_OBJECTS, *_PUT, "s3:DeleteObject")),
}


def document(user: User) -> dict[str, Any]:
    """The policy of a user, in the shape that S3 servers read."""
    statements = []
    for verb, buckets in sorted(user.may.items()):
        on_bucket, on_objects = _ACTIONS[verb]
        for bucket in sorted(buckets):
            resource = f"arn:aws:s3:::{bucket}"
            statements.append(_statement("Allow", on_bucket, resource))
            statements.append(_statement("Allow", on_objects, f"{resource}/*"))
            if verb == "write":
                statements.append(_statement("Deny", _FOR_GOOD, f"{resource}/*"))
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(effect: str, actions: tuple[str, ...], resource: str) -> dict[str, Any]:
    return {"Effect": effect, "Action": sorted(actions), "Resource": [resource]}


def same(one: Any, other: Any) -> bool:
    """Whether two policies say the same: servers reorder statements and actions."""
    return bool(_normal(one) == _normal(other))


def _normal(policy: Any) -> Any:
    if isinstance(policy, dict):
        return {key: _normal(value) for key, value in policy.items() if key not in ("Sid", "ID", "Id")}
    if isinstance(policy, list):
        return sorted((_normal(value) for value in policy), key=repr)
    return policy
