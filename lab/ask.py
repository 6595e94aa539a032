# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a model a question and prints the tokens as they arrive; standard library only.

Runs on the client's host, where it is sent as text. What it needs comes as JSON on its standard input, so
that the key is in no command line:

    {"address": …, "port": 443, "name": …, "ca": PEM, "key": …, "model": …, "question": …}
"""

import http.client
import json
import socket
import ssl
import sys
import time


def stream(request: dict) -> None:
    context = ssl.create_default_context(cadata=request["ca"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    connection = http.client.HTTPSConnection(request["name"], request["port"], context=context, timeout=120)
    # The certificate is checked against the name, whatever address it is reached at.
    raw = socket.create_connection((request["address"], request["port"]), timeout=120)
    connection.sock = context.wrap_socket(raw, server_hostname=request["name"])
    print(f"{connection.sock.version()}, certificate of {request['name']} by the site's own CA\n")
    body = {
        "model": request["model"],
        "stream": True,
        "max_tokens": 120,
        "messages": [{"role": "user", "content": request["question"]}],
    }
    headers = {"Authorization": f"Bearer {request['key']}", "Content-Type": "application/json"}
    asked = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        sys.exit(f"{response.status}: {response.read().decode()}")
    arrivals = []
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            if text := choice["delta"].get("content"):
                arrivals.append(time.monotonic())
                print(text, end="", flush=True)
    if not arrivals:
        sys.exit("the stream held no token")
    first, last = arrivals[0], arrivals[-1]
    speed = f", {(len(arrivals) - 1) / (last - first):.0f} tokens/s" if last > first else ""
    print(f"\n\ntime to first token {(first - asked) * 1000:.0f} ms{speed}, {len(arrivals)} tokens")


if __name__ == "__main__":
    stream(json.load(sys.stdin))
