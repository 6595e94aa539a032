#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""wait_ready.py SOCKET SECONDS: returns once GET /health on the Unix socket answers 200.

The unit counts as started only then, so whatever is ordered after it finds a model that answers. Beside the
socket, start.json keeps when each step was reached, in seconds of the monotonic clock: the socket is there
(the program is loaded), somebody listens on it, the engine is ready.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

from model_socket import request


def listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def ready(path: str) -> bool:
    try:
        return request(path, "/health")[0] == 200
    except OSError:  # not there yet, or still loading
        return False


def runs(process: str) -> bool:
    """The unit's main process, as systemd names it; what has none is not asked about."""
    return not process or Path("/proc", process).exists()


def main(path: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    steps = [("bound", os.path.exists), ("listening", listens), ("ready", ready)]
    reached: dict[str, float] = {}
    while steps:
        if steps[0][1](path):
            reached[steps.pop(0)[0]] = time.monotonic()
            continue
        if not runs(os.environ.get("MAINPID", "")):
            sys.exit("the server has ended while it was waited for; the journal of this unit says why")
        if time.monotonic() > end:
            sys.exit(f"{path}: no healthy answer within {seconds:.0f} s; the journal of this unit says why")
        time.sleep(0.1)
    Path(path).with_name("start.json").write_text(json.dumps(reached) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
