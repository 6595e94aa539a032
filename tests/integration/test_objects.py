# SPDX-License-Identifier: GPL-3.0-or-later
"""The object store refuses what would be unsafe, keeps its secrets, and its claims were proven."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

from tests.integration.conftest import playbook, secret

UNIT = "stronghold-minio.service"
FOREIGN = "/srv/foreign"
CLAIMS = ("objects.tls_only", "objects.sse", "objects.lock_holds", "objects.keys_required")


@pytest.fixture(scope="module")
def data(on: Callable[[str], Host]) -> Iterator[Host]:
    """The node, with a folder that belongs to somebody else."""
    host = on("data")
    host.check_output(f"mkdir -p {FOREIGN} && echo dear >{FOREIGN}/letter")
    yield host
    host.check_output(f"rm -r {FOREIGN}")


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_claim_was_proven(evidence: dict[tuple[str, str], dict[str, Any]], claim: str) -> None:
    assert evidence[claim, "data1"]["status"] == "proven"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"minio_root_password": "minioadmin"}, "20 or more"),
        ({"minio_nodes": [{"name": "data1", "ipv4": "0.0.0.0"}]}, "0.0.0.0, which is not an address"),
        ({"minio_nodes": [{"name": "data1", "ipv4": "10.77.50.40"}]}, "10.77.50.40, which is not an address"),
        ({"minio_kms_key": "A" * 43 + "="}, "Put that key back"),
        ({"minio_allow_root_disk": False}, "is on the root file system"),
        ({"minio_data": [FOREIGN]}, "letter"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_a_declaration_that_would_be_unsafe_is_refused_before_anything_is_changed(
    data: Host, declared: dict[str, Any], said: str
) -> None:
    before = data.check_output("cat /etc/stronghold/minio/environment | sha256sum")
    done = playbook("--tags=minio", f"--extra-vars={json.dumps(declared)}", book="playbooks/objects.yml")
    assert done.returncode != 0
    assert said in " ".join((done.stdout + done.stderr).split())
    assert data.check_output("cat /etc/stronghold/minio/environment | sha256sum") == before
    assert data.check_output(f"cat {FOREIGN}/letter") == "dear"


def test_secrets_of_the_store_are_in_one_file_that_root_alone_reads(data: Host) -> None:
    environment = data.file("/etc/stronghold/minio/environment")
    assert (environment.user, environment.mode) == ("root", 0o600)
    words = [secret(name) for name in ("objects_root", "objects_kms", "weights_read", "backup")]
    # Looked for here: a search over there would put them into its journal.
    places = {
        "files": "find /etc/systemd/system /var/lib/stronghold -type f -exec cat {} +",
        "journal": "journalctl --no-pager",
        "commands": "ps -eo args",
    }
    for place, read in places.items():
        text = data.check_output(read)
        assert text
        assert not [word for word in words if word in text], place
    pid = data.check_output(f"systemctl show --property=MainPID --value {UNIT}")
    assert words[0] in data.check_output(f"cat /proc/{pid}/environ")  # the look would see it
    assert data.run(f"runuser -u nobody -- cat /proc/{pid}/environ").rc != 0


def test_the_store_runs_without_rights(data: Host) -> None:
    show = f"systemctl show --property=User,CapabilityBoundingSet,NoNewPrivileges,ProtectSystem {UNIT}"
    shown = dict(line.split("=", 1) for line in data.check_output(show).splitlines())
    assert shown == {
        "User": "stronghold-minio",
        "CapabilityBoundingSet": "",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
    }


def test_the_key_of_the_host_stays_roots(data: Host) -> None:
    assert data.run("runuser -u stronghold-minio -- cat /etc/stronghold/tls/host.key").rc != 0


def test_another_program_of_the_same_address_is_not_taken_for_the_declared_one(data: Host) -> None:
    """The program's name says its digest: what it holds is what the manifest names."""
    program = data.check_output(f"systemctl show --property=ExecStart --value {UNIT}").split()[1]
    path = program.partition("=")[2]
    digest = data.check_output(f"sha256sum {path}").split()[0]
    assert path.endswith(digest[:12])
