# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the endpoint for short streams, one right after the other on one connection; prints statuses but 200.

Sent as text to the gateway's host, whose certificate opens the endpoint.
"""

import http.client
import json
import ssl
import sys

address, times = sys.argv[1], int(sys.argv[2])
context = ssl.create_default_context(cafile="/etc/stronghold/tls/ca.pem")
context.load_cert_chain("/etc/stronghold/tls/host.pem", "/etc/stronghold/tls/host.key")
connection = http.client.HTTPSConnection(address, 8443, context=context, timeout=30)
body = json.dumps({"stream": True, "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})
for _ in range(times):
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        print(response.status)
