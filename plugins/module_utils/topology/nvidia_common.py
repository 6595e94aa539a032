# SPDX-License-Identifier: GPL-3.0-or-later
"""What all outputs of nvidia-smi have in common: how it fails, and how it writes a PCI address."""

from __future__ import annotations

import re

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError

NO_NAME = "NVIDIA GPU (name not recorded)"

# Printed in place of the answer, whatever was asked; the last two are the shell's.
FAILURES = re.compile(
    r"No devices were found"
    r"|NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver"
    r"|Failed to initialize NVML"
    r"|Unable to determine the device handle for"
    r"|GPU is lost\. +Reboot the system"
    r"|Insufficient Permissions"
    r"|nvidia-smi: command not found"
    r"|nvidia-smi: No such file or directory"
)
PCI_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2}\.[0-7])", re.IGNORECASE)
# The header of a matrix is underlined. Pastes often lose the escape character, or show a picture of it.
STYLE = re.compile(r"[\x1b\u241b](?:\[[0-9;]*[A-Za-z]|\([A-Z0-9])|\[[0-9;]*m")


class DriverFailure(TopologyError):
    """nvidia-smi could not answer, and said so: nothing is known of the host's GPUs by this command."""


def at(where: str, line: int, column: int | str, message: str) -> TopologyError:
    """The error of one place; columns have the name that the header gives them, or count from 1."""
    return TopologyError(f"{where}: line {line}, column {column}: {message}")


def failure(text: str, where: str) -> DriverFailure | None:
    """What nvidia-smi says instead of an answer, if that is what it says."""
    for number, line in enumerate(text.splitlines(), start=1):
        if FAILURES.search(line):
            return DriverFailure(f"{where}: line {number}: {line.strip()}")
    return None


def refuse(text: str, where: str, wanted: str) -> TopologyError:
    """The error for a text that is not `wanted` at all."""
    seen = next((line.strip() for line in text.splitlines() if line.strip()), "")
    shown = f"begins with {seen[:60]!r}" if seen else "nothing was printed"
    return failure(text, where) or at(where, 1, 1, f"no {wanted} here: {shown}")


def plain(text: str) -> str:
    """The text without colours and underlines."""
    return STYLE.sub("", text)


def pci_address(text: str, where: str) -> str:
    """As the kernel writes it: nvidia-smi's 00000000:1B:00.0 is 0000:1b:00.0."""
    found = PCI_ADDRESS.fullmatch(text.strip())
    if not found:
        raise TopologyError(f"{where}: {text!r} is no PCI address such as 00000000:1B:00.0")
    domain, bus, device = found.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}".lower()
