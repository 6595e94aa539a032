# SPDX-License-Identifier: GPL-3.0-or-later
"""Four nodes, one of them killed while it is written to: nothing that was acknowledged is lost, and it heals.

Needs the lab of inventories/lab-objects; `make molecule SCENARIO=objects` builds it and runs this.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from lab import site as lab_site
from lab.__main__ import SSH_CONFIG, WHOLE
from lab.network import inside

PROGRAM = Path(__file__).with_name("objects.py")
UNIT, GATE = "stronghold-minio.service", "stronghold-objects-gate.service"
BUCKET = "/srv/stronghold/cold/objects/stronghold-proof"
Objects = list[dict[str, str]]


@pytest.fixture(scope="module")
def lab() -> lab_site.Site:
    if lab_site.STATE.name != "lab-objects" or not WHOLE.exists():
        pytest.fail("needs the lab of four nodes: run `make molecule SCENARIO=objects`", pytrace=False)
    return lab_site.load()


def on(name: str) -> Host:
    return testinfra.get_host(f"ssh://{name}?ssh_config={SSH_CONFIG}&sudo=true")


def start(lab: lab_site.Site, act: str, node: str, **more: Any) -> subprocess.Popen[str]:
    """The program, with an address of the management zone, talking to one node."""
    told = {
        "endpoints": [f"{lab.host(node).ipv4}:9000"],
        "ca": str(lab_site.STATE / "pki/root.pem"),
        "user": "stronghold-root",
        "secret": (lab_site.STATE / "secrets/objects_root").read_text().strip(),
        **more,
    }
    command = inside(lab, [sys.executable, str(PROGRAM), act])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    return process


def lost(lab: lab_site.Site, node: str, objects: Objects) -> list[Any]:
    output, _ = start(lab, "read", node, objects=objects).communicate(timeout=300)
    return [json.loads(line) for line in output.splitlines()]


def kill(node: str) -> None:
    """As a power cut to the store: no goodbye, and it stays away."""
    on(node).check_output(
        f"mkdir -p /run/systemd/system/{UNIT}.d && printf '[Service]\\nRestart=no\\n' "
        f">/run/systemd/system/{UNIT}.d/dead.conf && systemctl daemon-reload && "
        f"kill -9 $(systemctl show --property=MainPID --value {UNIT}) && systemctl stop {GATE}"
    )


def revive(lab: lab_site.Site, node: str) -> None:
    on(node).check_output(
        f"rm -rf /run/systemd/system/{UNIT}.d && systemctl daemon-reload && systemctl start {GATE} {UNIT}"
    )
    health = f"https://{lab.host(node).ipv4}:9000/minio/health/cluster"
    wait = f"curl --silent --fail --retry 60 --retry-delay 1 --retry-all-errors --cacert {{ca}} {health}"
    on(node).check_output(wait.format(ca="/etc/stronghold/tls/ca.pem"))


@contextmanager
def dead(lab: lab_site.Site, *nodes: str) -> Iterator[None]:
    for node in nodes:
        kill(node)
    try:
        yield
    finally:
        for node in nodes:
            revive(lab, node)


def on_disk(node: str, seed: str) -> set[str]:
    """The objects of which a node holds a part, by the raw files of its drive: a folder alone may be what was
    left of the write that it died in."""
    listed = on(node).run(f"cd {BUCKET}/{seed} && ls */xl.meta").stdout.split()
    return {f"{seed}/{path.partition('/')[0]}" for path in listed}


@pytest.fixture(scope="module")
def acknowledged(lab: lab_site.Site) -> Iterator[Objects]:
    """What was written while data4 was killed; some before, and some after it was gone."""
    seed = f"run{int(time.time())}"
    writing = start(lab, "write", "data1", seed=seed)
    time.sleep(8)
    kill("data4")
    time.sleep(12)
    output, _ = writing.communicate(timeout=120)
    lines = [json.loads(line) for line in output.splitlines()]
    refused = [line for line in lines if "refused" in line]
    # The one request that the node died under may fail; the store as a whole must go on.
    assert len(refused) <= 1, refused
    objects = [line for line in lines if "key" in line]
    missing = {line["key"] for line in objects} - on_disk("data4", seed)
    print(f"{len(objects)} acknowledged, {len(missing)} of them while data4 was dead, {len(refused)} refused")
    assert len(missing) >= 5, "hardly anything was written while the node was dead: this would prove nothing"
    yield objects
    start(lab, "remove", "data1", objects=objects).communicate(timeout=300)


def test_every_acknowledged_object_is_read_back_while_the_node_is_dead(
    lab: lab_site.Site, acknowledged: Objects
) -> None:
    assert lost(lab, "data2", acknowledged) == []


def test_the_reader_sees_an_object_that_is_gone_or_changed(lab: lab_site.Site, acknowledged: Objects) -> None:
    changed = {**acknowledged[0], "sha256": "0" * 64}
    gone = {**acknowledged[1], "key": "never/written"}
    assert {each["key"] for each in lost(lab, "data2", [changed, gone])} == {changed["key"], "never/written"}


def test_the_node_comes_back_and_gets_what_it_missed(lab: lab_site.Site, acknowledged: Objects) -> None:
    revive(lab, "data4")
    seed = acknowledged[0]["key"].partition("/")[0]
    wanted = {each["key"] for each in acknowledged}
    deadline = time.monotonic() + 180
    while (missing := wanted - on_disk("data4", seed)) and time.monotonic() < deadline:
        # Whoever reads an object with a part missing has the store mend it.
        assert lost(lab, "data1", [each for each in acknowledged if each["key"] in missing]) == []
        time.sleep(2)
    assert not missing


def test_the_healed_node_carries_its_share(lab: lab_site.Site, acknowledged: Objects) -> None:
    """Two other nodes die: what is left is one node and the healed one, so every object needs its part."""
    with dead(lab, "data1", "data2"):
        assert lost(lab, "data3", acknowledged) == []


def test_a_drive_that_was_replaced_is_filled_again(lab: lab_site.Site, acknowledged: Objects) -> None:
    """An empty disk in the place of the old one; nobody reads, the store mends by itself."""
    seed = acknowledged[0]["key"].partition("/")[0]
    with dead(lab, "data3"):
        on("data3").check_output("find /srv/stronghold/cold/objects -mindepth 1 -delete")
    deadline = time.monotonic() + 180
    while (missing := {each["key"] for each in acknowledged} - on_disk("data3", seed)) and (
        time.monotonic() < deadline
    ):
        time.sleep(3)
    assert not missing
    with dead(lab, "data1", "data4"):
        assert lost(lab, "data3", acknowledged) == []


def test_with_half_of_the_nodes_dead_writes_are_refused_and_nothing_is_torn(
    lab: lab_site.Site, acknowledged: Objects
) -> None:
    with dead(lab, "data3", "data4"):
        writing = start(lab, "write", "data1", seed=f"half{int(time.time())}")
        time.sleep(6)
        output, _ = writing.communicate(timeout=120)
        assert output
        assert all("refused" in json.loads(line) for line in output.splitlines())
        assert lost(lab, "data1", acknowledged) == []
