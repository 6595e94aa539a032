# SPDX-License-Identifier: GPL-3.0-or-later
"""Times streaming requests, each when it is told to, on a connection that stands; standard library only.

Runs on a host of the site, where it is sent as text. The first line of its standard input is JSON, and says
where to ask (a key comes this way, so that it is in no command line):

    {"socket": PATH}  or  {"address": …, "port": …, "name": …, "ca": PATH or PEM, "certificate": [PATH, PATH]}
    and, with both, "headers": {…}

Each later line is the body of a request. It is answered with a line: seconds from the first byte sent until
the first byte of the answer's body, and until its last.
"""

import http.client
import json
import socket
import ssl
import sys
import time
from typing import Any


def connect(where: dict[str, Any]) -> socket.socket:
    if "socket" in where:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(60)
        connection.connect(where["socket"])
        return connection
    pem = "BEGIN CERTIFICATE" in where["ca"]
    context = ssl.create_default_context(**{"cadata" if pem else "cafile": where["ca"]})
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if "certificate" in where:
        context.load_cert_chain(*where["certificate"])
    raw = socket.create_connection((where["address"], where["port"]), timeout=60)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname=where["name"])


def head(where: dict[str, Any], length: int) -> bytes:
    fields = {"Host": where.get("name", "localhost"), "Content-Type": "application/json", **where["headers"]}
    lines = [f"{name}: {value}" for name, value in {**fields, "Content-Length": length}.items()]
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""]).encode()


def ask(connection: socket.socket, request: bytes) -> tuple[float, float, bool]:
    """Seconds to the first and to the last byte of the answer, and whether the server closes now."""
    began = time.perf_counter()
    connection.sendall(request)  # in one piece: no wait for an acknowledgement between head and body
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    text = response.read1(1)
    first = time.perf_counter() - began
    text += response.read()
    if response.status != 200:
        sys.exit(f"{response.status}: {text.decode()}")
    return first, time.perf_counter() - began, response.will_close


def main() -> None:
    where = json.loads(sys.stdin.readline())
    connection = None  # not before something is asked: a server does not wait for long
    for line in sys.stdin:
        body = line.strip().encode()
        connection = connection or connect(where)
        first, last, closes = ask(connection, head(where, len(body)) + body)
        # nginx says so after 1,000 requests; llama.cpp closes after each streamed answer, and says nothing.
        if closes or "socket" in where:
            connection.close()
            connection = None
        print(first, last, flush=True)


if __name__ == "__main__":
    main()
