# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of every host reach the archive, whatever is away for a while, and come back from the object store."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from testinfra.host import Host

from lab.__main__ import SSH_CONFIG
from lab.site import Site

On = Callable[[str], Host]
WARM = "/srv/stronghold/warm/journal"
ARCHIVE = "/opt/stronghold/objects/bin/python -B /usr/local/lib/stronghold/logs/archive_logs.py"


@contextmanager
def stopped(host: Host, *units: str) -> Iterator[None]:
    host.check_output(f"systemctl stop {' '.join(units)}")
    try:
        yield
    finally:
        host.check_output(f"systemctl start {' '.join(units)}")


def received(archive: Host, source: str, tag: str) -> list[str]:
    """The messages of that tag in the files of that host, each once."""
    found = archive.check_output(
        f"journalctl -q --directory={WARM}/{source} --output=cat SYSLOG_IDENTIFIER={tag}"
    )
    return sorted(set(found.splitlines()))


def wait_until(what: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(1)


def log_lines(host: Host, tag: str, count: int) -> list[str]:
    host.check_output(f"for n in $(seq 1 {count}); do echo line $n; done | systemd-cat -t {tag}")
    return sorted(f"line {n}" for n in range(1, count + 1))


def test_while_the_receiver_is_away_nothing_is_lost(on: On, lab: Site) -> None:
    tag, archive = f"away-{uuid4().hex[:8]}", on("data")
    with stopped(archive, "nginx"):
        written = log_lines(on("core"), tag, 500)
        time.sleep(3)
        assert received(archive, lab.host("core").name, tag) == []
    wait_until(lambda: received(archive, lab.host("core").name, tag) == written)


def test_a_receiver_that_is_killed_in_a_burst_loses_nothing(on: On, lab: Site) -> None:
    tag, archive, name = f"killed-{uuid4().hex[:8]}", on("data"), lab.host("core").name
    burst = subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), name, f"seq -f 'line %.0f' 1 4000 | sudo systemd-cat -t {tag}"]
    )
    for _ in range(3):
        time.sleep(0.3)
        archive.check_output(f"systemctl kill --signal=KILL stronghold-log-receive@{name} || true")
    assert burst.wait(60) == 0
    wait_until(lambda: len(received(archive, name, tag)) == 4000)


def test_every_request_of_a_burst_is_in_the_archive_also_when_its_log_is_rotated(on: On, lab: Site) -> None:
    """On the mirror's host, asked from the core zone."""
    word, archive = uuid4().hex[:8], on("data")
    program = (
        "import http.client, ssl\n"
        "context = ssl.create_default_context(cafile='/etc/stronghold/tls/ca.pem')\n"
        "for part in range(20):\n"
        f"    asked = http.client.HTTPSConnection('{lab.host('mgmt').name}', context=context)\n"
        "    for n in range(100):\n"
        f"        asked.request('GET', f'/{word}-{{part * 100 + n}}'); asked.getresponse().read()\n"
    )
    burst = subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), lab.host("core").name, f"python3 -c {shlex.quote(program)}"]
    )
    time.sleep(1)
    on("mgmt").check_output("logrotate --force /etc/logrotate.d/nginx")
    assert burst.wait(120) == 0

    def requests() -> set[str]:
        found = archive.run(  # exits with 1 while none of them is here
            f"journalctl -q --directory={WARM}/{lab.host('mgmt').name} --output=cat"
            f" LOG_FILE=/var/log/nginx/mirror.access.log --grep={word} | grep -o '{word}-[0-9]*'"
        )
        return set(found.stdout.split())

    wait_until(lambda: len(requests()) == 2000)


# Sends nothing, well-formed, and prints the status, or the name of the error that the handshake ended in.
SEND = """
import http.client, ssl, sys
archive, newest, *certificate = sys.argv[1:]
context = ssl.create_default_context(cafile="/etc/stronghold/tls/ca.pem")
context.maximum_version = ssl.TLSVersion[newest]
if certificate:
    context.load_cert_chain(*certificate)
asked = http.client.HTTPSConnection(archive, 19532, context=context)
try:
    asked.request("POST", "/upload", headers={"Content-Type": "application/vnd.fdo.journal"})
    print(asked.getresponse().status)
except ssl.SSLError as error:
    print(error.reason)
"""
OWN = ("/etc/stronghold/tls/host.pem", "/etc/stronghold/tls/host.key")


def send(host: Host, archive: str, *certificate: str, newest: str = "TLSv1_3") -> str:
    return host.check_output(shlex.join(["python3", "-c", SEND, archive, newest, *certificate]))


def test_only_certificates_of_the_sites_ca_may_send(on: On, lab: Site) -> None:
    """None, one of the very same name by another CA, and then the host's own."""
    core, archive, name = on("core"), lab.host("data").name, lab.host("core").name
    core.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
        f" -subj /CN={name} -keyout /run/stranger.key -out /run/stranger.pem"
    )
    assert send(core, archive) == "400"
    assert send(core, archive, "/run/stranger.pem", "/run/stranger.key") == "400"
    assert send(core, archive, *OWN) == "202"


def test_nothing_older_than_tls_1_3_is_spoken(on: On, lab: Site) -> None:
    core, archive = on("core"), lab.host("data").name
    assert send(core, archive, *OWN, newest="TLSv1_2") == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert send(core, archive, *OWN) == "202"


def test_while_the_store_is_away_files_stay_and_are_moved_when_it_is_back(on: On, lab: Site) -> None:
    archive, edge = on("data"), lab.host("edge").name
    tag = f"store-{uuid4().hex[:8]}"
    written = log_lines(on("edge"), tag, 50)
    wait_until(lambda: received(archive, edge, tag) == written)
    before = set(archive.check_output(f"{ARCHIVE} list {edge}").split())
    with stopped(archive, "stronghold-minio"):
        refused = archive.run(f"{ARCHIVE} run --now {edge}")
        assert refused.rc == 1
        assert "the store is away" in refused.stderr
        assert archive.check_output(f"ls {WARM}/{edge}/*.zst")
    archive.check_output(f"for n in $(seq 30); do {ARCHIVE} list >/dev/null && break; sleep 2; done")
    archive.check_output(f"{ARCHIVE} run --now {edge}")
    assert archive.run(f"ls {WARM}/{edge}/*.zst").rc != 0
    found: set[str] = set()
    for key in sorted(set(archive.check_output(f"{ARCHIVE} list {edge}").split()) - before):
        file = archive.check_output(f"{ARCHIVE} fetch {key} /run")
        found |= set(archive.check_output(f"journalctl -q --file={file} -t {tag} -o cat").splitlines())
        archive.check_output(f"rm {file}")
    assert found >= set(written)


def test_a_full_tier_takes_no_more_and_loses_nothing(on: On, lab: Site) -> None:
    """Full is what its rule calls so: the rule is set above what is free, for the time of the test."""
    archive, edge = on("data"), on("edge")
    tag, name = f"full-{uuid4().hex[:8]}", lab.host("edge").name
    config = "/etc/stronghold/log-archive.json"
    archive.check_output(f"""sed -i.kept 's/"keep_free_mib": .*,/"keep_free_mib": 900000000,/' {config}""")
    try:
        archive.check_output("systemctl start stronghold-log-archive")
        assert archive.file("/run/stronghold-logs/full").exists
        written = log_lines(edge, tag, 100)
        time.sleep(5)
        assert received(archive, name, tag) == []
        metrics = archive.file("/var/lib/prometheus/node-exporter/log_archive.prom").content_string
        assert "stronghold_log_archive_receiving 0" in metrics
    finally:
        archive.check_output(f"mv {config}.kept {config}")
    archive.check_output("systemctl start stronghold-log-archive")
    assert not archive.file("/run/stronghold-logs/full").exists
    wait_until(lambda: received(archive, name, tag) == written)


def test_the_stores_secret_is_for_root_only(on: On) -> None:
    kept = on("data").file("/etc/stronghold/log-archive.credentials")
    assert (kept.user, kept.mode) == ("root", 0o600)


@pytest.mark.parametrize("zone", ["edge", "core", "data", "mgmt", "offsite"])
def test_a_journal_is_kept_on_disk_within_bounds(on: On, zone: str) -> None:
    host = on(zone)
    assert host.check_output("ls -d /var/log/journal/*/system.journal")
    settings = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert "\nSystemMaxUse=1G\n" in settings
