# SPDX-License-Identifier: GPL-3.0-or-later
"""The built lab, asked from where its users stand. `make test` builds it; by hand: `make demo`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from lab import site as lab_site
from lab.__main__ import SSH_CONFIG, WHOLE
from lab.network import inside

REPOSITORY = lab_site.REPOSITORY
INVENTORY = "inventories/lab"
EVIDENCE = REPOSITORY / "build/evidence/evidence.json"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def lab() -> lab_site.Site:
    if not WHOLE.exists():
        pytest.fail("the lab is not up: run `make demo`, or `make test` for everything", pytrace=False)
    return lab_site.load()


@pytest.fixture(scope="session")
def on(lab: lab_site.Site) -> Callable[[str], Host]:
    """on("core"): testinfra's view of a zone's first host, as root."""
    return lambda name: testinfra.get_host(f"ssh://{lab.host(name).name}?ssh_config={SSH_CONFIG}&sudo=true")


@pytest.fixture(scope="session")
def from_clients_zone(lab: lab_site.Site) -> Callable[..., subprocess.Popen[str]]:
    """Starts one of this folder's programs with an address of the client zone and what a client knows."""

    def start(program: str, **arguments: Any) -> subprocess.Popen[str]:
        known = {
            "base_url": f"https://{lab.host('edge').ipv4}/v1",
            "source": str(lab.zone("client").router[0].ip),
            "ca": str(lab_site.STATE / "pki/root.pem"),
            "key": secret("api_key_demo"),
            "model": lab.model,
            **arguments,
        }
        command = inside(lab, [sys.executable, str(Path(__file__).parent / "clients" / program)])
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin
        process.stdin.write(json.dumps(known))
        process.stdin.close()
        process.stdin = None  # communicate() would flush it
        return process

    return start


@pytest.fixture(scope="session")
def evidence() -> dict[tuple[str, str], dict[str, Any]]:
    """(claim, host) -> what was last proven of the built site."""
    claims = json.loads(EVIDENCE.read_text())
    return {(claim["id"], claim["host"]): claim for claim in claims}


def secret(name: str) -> str:
    return (lab_site.STATE / "secrets" / name).read_text().strip()


def environment(**more: str) -> dict[str, str]:
    """Ours without what molecule tells its Ansible, which is not what a user's Ansible is told."""
    return {**{name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")}, **more}


def playbook(
    *arguments: str, book: str = "site.yml", within: lab_site.Site | None = None
) -> subprocess.CompletedProcess[str]:
    """ansible-playbook against the lab, its recap as the plain callback prints it; `within` its network."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", INVENTORY, *arguments, book]
    return subprocess.run(
        inside(within, command) if within else command,
        cwd=REPOSITORY,
        env=environment(ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default", ANSIBLE_NOCOLOR="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def recap(output: str) -> dict[str, dict[str, int]]:
    """host -> {ok, changed, failed, …} from PLAY RECAP."""
    lines = output.partition("PLAY RECAP")[2].splitlines()[1:]
    found = {}
    for line in lines:
        host, colon, counts = line.partition(" : ")
        if colon:
            pairs = (count.split("=") for count in counts.split() if "=" in count)
            found[host.strip()] = {name: int(number) for name, number in pairs}
    return found
