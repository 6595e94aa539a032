# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab that a benchmark runs in: the one that is up, or one of its own that is taken down at the end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from lab import machines, site
from lab.__main__ import SSH_CONFIG, WHOLE, down, up
from tests.bench.runs import Run, play


def step(text: str) -> None:
    print(f"\n{text}", flush=True)


def is_up() -> bool:
    hosts = {host.name for host in site.load().hosts}
    return WHOLE.exists() and hosts <= machines.running().keys()


def is_built() -> bool:
    """Whether the gateway answers on its host: what site.yml brings last."""
    edge = site.load().host("edge").name
    ssh = ["ssh", "-F", str(SSH_CONFIG), edge, "systemctl is-active --quiet nginx.service"]
    return is_up() and subprocess.run(ssh, check=False).returncode == 0


@contextmanager
def a_lab() -> Iterator[bool]:
    """True if its hosts are bare, just booted."""
    if is_up():
        yield False
        return
    try:
        down(site.load())  # what a killed run may have left
        up(site.load())
        yield True
    finally:
        down(site.load())


def bundle() -> Run:
    step("Bundle")
    return play("playbooks/bundle.yml")
