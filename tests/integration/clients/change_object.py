# SPDX-License-Identifier: GPL-3.0-or-later
"""change_object.py ADDRESS KEY: one byte of the object in the cold bucket is another one.

Runs on the object store's host as a user who may write: what whoever holds that user's secret could do.
"""

import io
import ssl
import sys
from pathlib import Path

import urllib3
from minio import Minio

address, key = sys.argv[1:]
secret = Path("/etc/stronghold/objects/weights-write.secret").read_text().strip()
context = ssl.create_default_context(cafile="/etc/stronghold/tls/ca.pem")
client = Minio(
    f"{address}:9000",
    "weights-write",
    secret,
    region="us-east-1",
    http_client=urllib3.PoolManager(ssl_context=context),
)
data = bytearray(client.get_object("weights", key).data)
data[1000] ^= 1
client.put_object("weights", key, io.BytesIO(bytes(data)), len(data))
