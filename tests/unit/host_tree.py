# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as a folder, constructed: /sys and /proc for `Live`, and commands that answer as they are told."""

from __future__ import annotations

from pathlib import Path

GPU = {"vendor": "0x10de", "class": "0x030200"}
NVSWITCH = {"vendor": "0x10de", "class": "0x068000"}
BRIDGE = {"vendor": "0x1000", "class": "0x060400"}
AMD_GPU = {"vendor": "0x1002", "class": "0x120000"}
HCA = {"vendor": "0x15b3", "class": "0x020700"}


class HostTree:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.commands = folder / "bin"
        self.root.mkdir(parents=True)
        self.commands.mkdir()

    def file(self, path: str, content: str | bytes) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())

    def device(self, path: str, files: dict[str, str], **more: str) -> str:
        """Of a path below /sys/devices; the keys of `more` are names of files."""
        folder = f"/sys/devices/{path}"
        for name, content in {**files, **more}.items():
            self.file(f"{folder}/{name}", content)
        links = self.root / "sys/bus/pci/devices"
        links.mkdir(parents=True, exist_ok=True)
        (links / Path(path).name).symlink_to(f"../../../devices/{path}")
        return folder

    def port(self, device: str, name: str, rate: str, state: str = "4: ACTIVE", number: int = 1) -> None:
        ports = f"{device}/infiniband/{name}/ports/{number}"
        self.file(f"{ports}/rate", rate)
        self.file(f"{ports}/state", state)
        self.file(f"{ports}/link_layer", "InfiniBand")

    def command(self, name: str, script: str) -> None:
        """Done by sh; `$*` are its arguments."""
        place = self.commands / name
        place.write_text(f"#!/bin/sh\n{script}\n")
        place.chmod(0o755)
