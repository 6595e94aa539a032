# SPDX-License-Identifier: GPL-3.0-or-later
"""Run on a host: `ask_many.py SOCKET MODEL COUNT` asks COUNT questions at once, streamed from the server's
own socket, and prints {"seconds", "tokens"}: until the last answer was whole, and tokens of each.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

TOKENS = 64


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(300)
        self.sock.connect(self.host)


def answered(path: str, model: str, number: int) -> int:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"Tell me a long story about {number} castles."}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    connection = UnixConnection(path)
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(body),
        {"Host": "localhost", "Content-Type": "application/json"},
    )
    lines = [line for line in connection.getresponse() if line.startswith(b"data: {")]
    return sum(1 for line in lines if json.loads(line[6:])["choices"][0]["delta"].get("content"))


if __name__ == "__main__":
    path, model, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    begin = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        tokens = list(pool.map(lambda number: answered(path, model, number), range(count)))
    print(json.dumps({"seconds": time.monotonic() - begin, "tokens": tokens}))
