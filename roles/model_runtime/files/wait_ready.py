#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""wait_ready.py SOCKET SECONDS: returns once GET /health on the Unix socket answers 200.

The unit counts as started only then, so whatever is ordered after it finds a model that answers.
"""

import http.client
import socket
import sys
import time


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def ready(path: str) -> bool:
    connection = UnixConnection(path, timeout=5)
    try:
        connection.request("GET", "/health", headers={"Host": "localhost"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):  # not there yet, or still loading
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    path, seconds = sys.argv[1], float(sys.argv[2])
    end = time.monotonic() + seconds
    while not ready(path):
        if time.monotonic() > end:
            sys.exit(f"{path}: no healthy answer within {seconds:.0f} s; the journal of this unit says why")
        time.sleep(0.1)
