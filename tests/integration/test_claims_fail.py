# SPDX-License-Identifier: GPL-3.0-or-later
"""Each control is broken for real, exactly the claims about it fail, and the next run mends them."""

from __future__ import annotations

import json
from collections.abc import Callable

from testinfra.host import Host

from tests.integration.conftest import EVIDENCE, playbook
from tests.integration.test_preflight import more_slots_than_fit

On = Callable[[str], Host]

UNIT = "stronghold-model.service"
OVERRIDE = f"/etc/systemd/system/{UNIT}.d/broken.conf"
LIVE = "/etc/nginx/stronghold/live"


def give_the_model_a_network(on: On) -> None:
    settings = "[Service]\\nPrivateNetwork=no\\nRestrictAddressFamilies=\\nIPAddressDeny=\\n"
    on("core").check_output(f"mkdir -p $(dirname {OVERRIDE}); printf '{settings}' >{OVERRIDE}")
    on("core").check_output(f"systemctl daemon-reload && systemctl restart {UNIT}")


def change_a_byte_of_the_running_models_weights(on: On) -> None:
    flip_byte(on("core"), "$(ls /srv/models/smollm2-135m-instruct/*/*.gguf)")


def change_a_byte_on_the_mirror(on: On) -> None:
    flip_byte(on("mgmt"), "$(ls -S /srv/stronghold/bundle/blobs/sha256/* | head -1)")


def flip_byte(host: Host, path: str) -> None:
    """Bit 0 of one byte; twice is as before."""
    program = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(9999); b = f.read(1)[0]; f.seek(9999); "
    host.check_output(f'python3 -c "{program} f.write(bytes([b ^ 1]))" {path}')


def let_passwords_in(on: On) -> None:
    on("data").check_output("echo 'PasswordAuthentication yes' >/etc/ssh/sshd_config.d/05-broken.conf")


def add_a_source_of_packages(on: On) -> None:
    on("offsite").check_output(
        "echo 'deb http://mirror.example/debian trixie main' >/etc/apt/sources.list.d/broken.list"
    )


def let_older_clients_through_to_the_object_store(on: On) -> None:
    gate = "/etc/stronghold/minio/gate.conf"
    on("data").check_output(f"sed -i 's/default unix:.*/default 127.0.0.1:9000;/' {gate}")
    on("data").check_output("systemctl restart stronghold-objects-gate.service")


def speak_tls_12_and_switch_the_waf_off(on: On) -> None:
    on("edge").check_output(
        f"sed -i 's/ssl_protocols TLSv1.3/ssl_protocols TLSv1.2 TLSv1.3/' {LIVE}/nginx.conf"
    )
    on("edge").check_output(f"sed -i 's/modsecurity on/modsecurity off/' {LIVE}/*.conf")
    on("edge").check_output("systemctl reload nginx.service")


BROKEN: dict[Callable[[On], None], set[tuple[str, str]]] = {
    give_the_model_a_network: {("runtime.no_network", "core1")},
    change_a_byte_of_the_running_models_weights: {("model.weights_verified", "core1")},
    change_a_byte_on_the_mirror: {("mirror.bundle_verified", "mgmt1")},
    let_passwords_in: {("host.ssh_keys_only", "data1")},
    add_a_source_of_packages: {("packages.only_from_mirror", "offsite1")},
    let_older_clients_through_to_the_object_store: {("objects.tls_only", "data1")},
    speak_tls_12_and_switch_the_waf_off: {
        ("edge.tls13_only", "edge1"),
        # Without a verdict nobody is let in: the gateway fails closed.
        ("edge.waf_blocks_attacks", "edge1"),
        ("edge.prompts_pass", "edge1"),
        ("edge.keys_required", "edge1"),
        ("model.answers_through_gateway", "edge1"),
    },
}


EIGHT_GPUS = json.dumps({"stronghold_accelerators": {"count": 8}})
DECLARED_WRONG = {("core.topology_as_declared", "core1"), ("core.model_fits", "core1")}
"""What a declaration breaks that asks more of a host than it has."""


def failed_claims() -> set[tuple[str, str]]:
    claims = json.loads(EVIDENCE.read_text())
    return {(claim["id"], claim["host"]) for claim in claims if claim["status"] == "failed"}


def test_each_broken_control_fails_its_own_claims_and_the_site_mends_them(on: On) -> None:
    try:
        for breaks in BROKEN:
            breaks(on)
        done = playbook("--tags", "verify", "-e", more_slots_than_fit(), "-e", EIGHT_GPUS)
        assert done.returncode != 0
        assert failed_claims() == set().union(*BROKEN.values(), DECLARED_WRONG)
        for claim, host in failed_claims():
            assert f"{claim} on {host}" in done.stdout
    finally:
        # What no role may guess (somebody's drop-ins, damaged weights) is mended by hand, the rest is not.
        on("core").check_output(f"rm -f {OVERRIDE}")
        change_a_byte_of_the_running_models_weights(on)
        change_a_byte_on_the_mirror(on)
        on("data").check_output("rm -f /etc/ssh/sshd_config.d/05-broken.conf")
        on("core").check_output(f"systemctl daemon-reload && systemctl restart {UNIT}")
        mended = playbook()
    assert mended.returncode == 0, mended.stdout
    assert failed_claims() == set()
