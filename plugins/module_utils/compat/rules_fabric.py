# SPDX-License-Identifier: GPL-3.0-or-later
"""NVSwitch and NVLink across trays: what a host must run so that its GPUs find each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.compat import data_nvidia
from ansible_collections.stronghold.llm.plugins.module_utils.compat.stack import Hardware, Stack
from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import parse
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding, Severity

PLATFORMS: Any = data_nvidia.PLATFORMS
SOURCES: Any = data_nvidia.PLATFORM_SOURCES
TOOLKIT_IMEX: Any = data_nvidia.TOOLKIT_IMEX


def _platform(card: Hardware) -> Any:
    return PLATFORMS.get(card.platform, {"nvlsm": False, "modules": (), "imex": False, "driver": ""})


def fabric_manager_is_the_drivers(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """Where there is an NVSwitch, fabric manager runs, of the driver's version to the patch; nowhere else."""
    if card.vendor != "nvidia" or _platform(card)["imex"]:
        return
    subject = "driver and fabric manager"
    if not card.has_nvswitch:
        if stack.fabric_manager:
            yield Finding(
                "note",
                card.host,
                subject,
                f"fabric manager {stack.fabric_manager} on a host without NVSwitch",
                "none",
                "it stops at once where it finds no switch",
                "leave it out for this group",
                SOURCES["fabric_manager_useless"],
            )
    elif stack.fabric_manager is None:
        yield Finding(
            "refuse",
            card.host,
            subject,
            "no fabric manager on a host with NVSwitch",
            f"fabric manager {stack.driver or 'of the driver'}",
            "without it CUDA does not start (error 802)",
            f"lock fabric_manager: {stack.driver or 'as the driver'}",
            SOURCES["fabric_manager_missing"],
        )
    elif stack.driver and not stack.fabric_manager.same_release(stack.driver):
        yield Finding(
            "refuse",
            card.host,
            subject,
            f"fabric manager {stack.fabric_manager} with driver {stack.driver}",
            f"fabric manager {stack.driver}",
            "it starts with the driver of its own version only, to the patch",
            f"lock fabric_manager: {stack.driver}, and both in one step of every update",
            SOURCES["fabric_manager"],
        )


def blackwell_boards_need_nvlsm(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """HGX boards since B200: fabric manager needs the NVLink subnet manager, and that the module ib_umad."""
    wanted = _platform(card)
    if wanted["nvlsm"] and stack.nvlsm is None:
        yield Finding(
            "refuse",
            card.host,
            "fabric manager and NVLSM",
            f"no NVLSM for {card.gpu}",
            "NVLSM",
            "the switches of these boards are programmed by the NVLink subnet manager",
            "lock nvlsm, in the version of the driver's repository",
            SOURCES["nvlsm"],
        )
    for module in wanted["modules"]:
        if module in (stack.kernel_modules or ()):
            continue
        severity: Severity = "note" if stack.kernel_modules is None else "refuse"
        yield Finding(
            severity,
            card.host,
            "fabric manager and kernel modules",
            "kernel_modules not in the lock"
            if severity == "note"
            else ", ".join(stack.kernel_modules or ()) or "none",
            module,
            "fabric manager talks to the switches through it, and does not start before it is loaded",
            f"load {module} at boot, and list it in kernel_modules",
            SOURCES["modules"],
        )
    if stack.nvlsm and not wanted["nvlsm"] and card.vendor == "nvidia":
        yield Finding(
            "note",
            card.host,
            "fabric manager and NVLSM",
            f"NVLSM {stack.nvlsm} for {card.gpu}",
            "none",
            "only HGX boards since B200 have it",
            "leave it out for this group",
            SOURCES["nvlsm"],
        )


def trays_run_imex(stack: Stack, card: Hardware) -> Iterator[Finding]:
    """GB200 and GB300: the switches have trays and a manager of their own; compute trays run imex instead, of
    the driver's version.
    """
    subject = "driver and imex"
    if not _platform(card)["imex"]:
        if stack.imex and card.vendor == "nvidia":
            yield Finding(
                "note",
                card.host,
                subject,
                f"imex {stack.imex} for {card.gpu}",
                "none",
                "imex exports memory between the trays of an NVLink rack",
                "leave it out for this group",
                SOURCES["imex"],
            )
        return
    if stack.fabric_manager:
        yield Finding(
            "warn",
            card.host,
            "tray and fabric manager",
            f"fabric manager {stack.fabric_manager} on a compute tray",
            "none",
            "the switch trays run it, not the compute trays",
            "leave it out for this group, and lock imex",
            SOURCES["imex"],
        )
    if stack.imex is None:
        yield Finding(
            "warn",
            card.host,
            subject,
            "no imex",
            f"imex {stack.driver or 'of the driver'}",
            "memory is exported between trays through it; a model inside one tray does without",
            f"lock imex: {stack.driver or 'as the driver'}",
            SOURCES["imex"],
        )
    elif stack.driver and not stack.imex.same_release(stack.driver):
        yield Finding(
            "refuse",
            card.host,
            subject,
            f"imex {stack.imex} with driver {stack.driver}",
            f"imex {stack.driver}",
            "imex is part of the driver, and has its version",
            f"lock imex: {stack.driver}",
            SOURCES["imex_version"],
        )
    if stack.imex and stack.container_toolkit and stack.container_toolkit < parse(TOOLKIT_IMEX["version"]):
        yield Finding(
            "warn",
            card.host,
            "imex and container toolkit",
            f"container toolkit {stack.container_toolkit}",
            f"{TOOLKIT_IMEX['version']} or newer",
            "older ones hand no IMEX channels to containers",
            f"lock container_toolkit: {TOOLKIT_IMEX['version']} or newer",
            TOOLKIT_IMEX["source"],
        )


def driver_knows_the_board(stack: Stack, card: Hardware) -> Iterator[Finding]:
    first = _platform(card)["driver"]
    if first and stack.driver and stack.driver < parse(first):
        yield Finding(
            "refuse",
            card.host,
            "board and driver",
            f"driver {stack.driver} for {card.platform}",
            f"driver {first} or newer",
            "older drivers do not serve this board",
            f"lock driver {first} or newer",
            SOURCES["driver"],
        )
