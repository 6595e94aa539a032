# SPDX-License-Identifier: GPL-3.0-or-later
"""Run inside the lab's network: `write` puts objects and prints each that was acknowledged, until its input
is closed; `read` gets what it is told and prints each that is lost or changed; `remove` tidies up.

What it is told comes as one line of JSON: the endpoints, the root of trust, user and secret, the seed.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import select
import ssl
import sys
import time
from typing import Any

import urllib3
from minio import Minio

BUCKET = "stronghold-proof"
# In each way that MinIO keeps an object: in its metadata, in one file, in a file of several blocks.
SIZES = (2_000, 300_000, 6_000_000)


def client(told: dict[str, Any], endpoint: str) -> Minio:
    context = ssl.create_default_context(cafile=told["ca"])
    pool = urllib3.PoolManager(
        ssl_context=context, retries=False, timeout=urllib3.Timeout(connect=3, read=30)
    )
    return Minio(endpoint, told["user"], told["secret"], region="us-east-1", http_client=pool)


def write(told: dict[str, Any]) -> None:
    made = random.Random(told["seed"])
    store = client(told, told["endpoints"][0])
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        content = made.randbytes(SIZES[number % len(SIZES)])
        key = f"{told['seed']}/{number:05}"
        try:
            store.put_object(BUCKET, key, io.BytesIO(content), len(content))
        except Exception as error:  # what was not acknowledged may be there or not
            print(json.dumps({"refused": key, "why": str(error)}), flush=True)
        else:
            print(json.dumps({"key": key, "sha256": hashlib.sha256(content).hexdigest()}), flush=True)
        number += 1


def read(told: dict[str, Any]) -> None:
    store = client(told, told["endpoints"][0])
    for wanted in told["objects"]:
        for attempt in range(3):
            try:
                found = hashlib.sha256(store.get_object(BUCKET, wanted["key"]).read()).hexdigest()
                break
            except Exception as error:
                found = str(error)
                time.sleep(attempt)
        if found != wanted["sha256"]:
            print(json.dumps({"key": wanted["key"], "found": found}), flush=True)


def remove(told: dict[str, Any]) -> None:
    store = client(told, told["endpoints"][0])
    for wanted in told["objects"]:
        store.remove_object(BUCKET, wanted["key"])


if __name__ == "__main__":
    {"write": write, "read": read, "remove": remove}[sys.argv[1]](json.loads(sys.stdin.readline()))
