# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's machine protocol, as much of it as pulling out a disk takes.

https://www.qemu.org/docs/master/interop/qmp-spec.html
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

SECONDS = 60.0  # a guest has to let go of a device first


@contextmanager
def _session(monitor: Path) -> Iterator[IO[str]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(monitor))
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.readline()  # the greeting
            _send(stream, "qmp_capabilities", {})
            yield stream


def _send(stream: IO[str], command: str, arguments: dict[str, Any]) -> Any:
    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    stream.flush()
    while True:
        answer = json.loads(stream.readline())
        if "error" in answer:
            raise RuntimeError(f"QEMU refuses {command} {arguments}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]


def ask(monitor: Path, command: str, **arguments: Any) -> Any:
    with _session(monitor) as stream:
        return _send(stream, command, arguments)


def remove_device(monitor: Path, device: str) -> None:
    """Returns when the guest has let go of it."""
    with _session(monitor) as stream:
        _send(stream, "device_del", {"id": device})
        while True:
            event = json.loads(stream.readline())
            if event.get("event") == "DEVICE_DELETED" and event["data"].get("device") == device:
                return
