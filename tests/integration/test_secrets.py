# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of the site lies in clear on any of its hosts."""

from __future__ import annotations

import subprocess

import pytest

from lab.__main__ import SSH_CONFIG
from lab.site import Site
from tests.integration.conftest import secret

PLACES = "/etc /home /opt/stronghold /root /run /srv/stronghold /tmp /usr/local /var/lib/stronghold /var/log"


def run(host: str, command: str, text: str) -> str:
    """The text goes there on standard input only: command lines are logged, and searched here as well."""
    ssh = ["ssh", "-F", str(SSH_CONFIG), host, command]
    return subprocess.run(ssh, input=text, text=True, capture_output=True, check=False).stdout


def places_of(text: str, host: str) -> list[str]:
    """Files and command lines on the host that hold the text."""
    search = f"sudo grep -rlsF --devices=skip -f /dev/stdin {PLACES} /proc/[0-9]*/cmdline"
    return run(host, search, text).split()


@pytest.mark.parametrize("name", ["api_key_demo", "api_key_verify", "root_passphrase"])
def test_a_secret_of_the_controller_is_on_no_host(lab: Site, name: str) -> None:
    assert {host.name: found for host in lab.hosts if (found := places_of(secret(name), host.name))} == {}


def test_the_search_finds_what_is_there(lab: Site, on) -> None:
    canary = "a-canary-that-is-written-in-clear-and-found"
    host = lab.hosts[0].name
    run(host, "sudo install -m 600 /dev/stdin /etc/canary", canary)
    try:
        assert places_of(canary, host) == ["/etc/canary"]
    finally:
        on(host).check_output("rm /etc/canary")


def test_private_keys_are_read_by_root_only(lab: Site, on) -> None:
    for host in lab.hosts:
        if host.zone.name == "client":  # no host of the site's own
            continue
        key = on(host.name).file("/etc/stronghold/tls/host.key")
        assert (key.user, key.mode) == ("root", 0o600)
