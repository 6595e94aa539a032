# SPDX-License-Identifier: GPL-3.0-or-later
"""The model answers those who may ask, as their usual client expects, and is out of everyone else's reach."""

from __future__ import annotations

import contextlib
import json
import select
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.site import Site
from tests.integration.conftest import secret

UNIT = "stronghold-model.service"
Start = Callable[..., subprocess.Popen]


def events(process: subprocess.Popen) -> list[dict]:
    output, _ = process.communicate(timeout=300)
    return [json.loads(line) for line in output.splitlines()]


def test_the_unchanged_openai_client_gets_an_answer(from_clients_zone: Start) -> None:
    [answer] = events(from_clients_zone("openai_chat.py"))
    assert answer["event"] == "answer"
    assert answer["text"].strip()
    assert 0 < answer["tokens"] <= 32


def test_the_unchanged_openai_client_lists_the_model(from_clients_zone: Start, lab: Site) -> None:
    assert events(from_clients_zone("openai_chat.py", list=True)) == [
        {"event": "models", "names": [lab.model]}
    ]


def test_streams_one_right_after_the_other_are_all_answered(on, lab: Site) -> None:
    """An engine that closes a connection which nginx believes to be kept costs the next request a 502."""
    program = shlex.quote((Path(__file__).parent / "clients/streams.py").read_text())
    assert on("edge").check_output(f"python3 -c {program} {lab.host('core').ipv4} 300") == ""


@contextlib.contextmanager
def model_paused(host: Host) -> Iterator[None]:
    host.check_output(f"systemctl kill --signal=SIGSTOP {UNIT}")
    try:
        yield
    finally:
        host.check_output(f"systemctl kill --signal=SIGCONT {UNIT}")


def test_tokens_arrive_while_the_model_is_still_writing(from_clients_zone: Start, on) -> None:
    """The order of arrivals tells: a token is here, the model is stopped, and the stream must not end."""
    process = from_clients_zone(
        "openai_chat.py", stream=True, max_tokens=1000, question="Write a very long story about a castle."
    )
    assert json.loads(process.stdout.readline())["event"] == "token"
    seen = []
    with model_paused(on("core")):
        while select.select([process.stdout], [], [], 2.0)[0] and (line := process.stdout.readline()):
            seen.append(json.loads(line)["event"])
        assert "end" not in seen, "everything was there before the model had finished: the stream is buffered"
    assert events(process)[-1] == {"event": "end"}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"key": "k" * 48}, 401),
        ({"options": {"n": 1000}}, 400),
        ({"options": {"extra_headers": {"Content-Type": "text/plain"}}}, 415),
        ({"question": "x" * 2_000_000}, 413),
        ({"base_url": "https://{edge}/v2"}, 404),
    ],
)
def test_what_may_not_be_asked_is_refused_in_openais_form(
    from_clients_zone: Start, lab: Site, changed: dict, status: int
) -> None:
    if "base_url" in changed:
        changed = {"base_url": changed["base_url"].format(edge=lab.host("edge").ipv4)}
    [refused] = events(from_clients_zone("openai_chat.py", **changed))
    assert refused["event"] == "refused"
    assert refused["status"] == status
    assert {"message", "type", "code"} <= refused["body"].keys()


def test_an_answer_is_no_longer_than_the_key_allows(from_clients_zone: Start, lab: Site) -> None:
    [answer] = events(
        from_clients_zone(
            "openai_chat.py",
            key=secret("api_key_verify"),
            max_tokens=100_000,
            question="Write a very long story about a castle, with many chapters.",
        )
    )
    assert answer["tokens"] <= 256


@pytest.mark.parametrize(
    ("zone", "certificate", "newest", "answer"),
    [
        ("edge", "own", "TLSv1_3", "200"),
        ("edge", "none", "TLSv1_3", "400"),
        ("edge", "own", "TLSv1_2", "TLSV1_ALERT_PROTOCOL_VERSION"),
        # One of the site's own CA, and yet not the gateway's.
        ("core", "own", "TLSv1_3", "403"),
    ],
)
def test_only_the_gateways_certificate_opens_the_way_to_the_model(
    on, lab: Site, zone: str, certificate: str, newest: str, answer: str
) -> None:
    program = shlex.quote((Path(__file__).parent / "clients/status.py").read_text())
    asked = f"{lab.host('core').ipv4} 8443 /health {certificate} {newest}"
    assert on(zone).check_output(f"python3 -c {program} {asked}").strip() == answer


def test_nothing_but_ssh_and_the_endpoint_listens_on_the_core(on) -> None:
    listening = on("core").check_output("ss --listening --tcp --udp --numeric --no-header").splitlines()
    ports = {line.split()[4].rpartition(":")[2] for line in listening}
    assert ports == {"22", "8443"}


@contextlib.contextmanager
def one_byte_changed(host: Host, path: str, offset: int = 5_000_000) -> Iterator[None]:
    read = f"dd if={path} bs=1 skip={offset} count=1 status=none | od -An -tu1"
    before = int(host.check_output(read))

    def write(byte: int) -> None:
        host.check_output(f"printf '\\{byte:03o}' | dd of={path} bs=1 seek={offset} conv=notrunc status=none")

    write(before ^ 1)
    try:
        yield
    finally:
        write(before)


@contextlib.contextmanager
def a_pickle_beside(host: Host, path: str) -> Iterator[None]:
    pickle = str(Path(path).with_name("pytorch_model.bin"))
    host.check_output(f"touch {pickle}")
    try:
        yield
    finally:
        host.check_output(f"rm {pickle}")


@pytest.mark.parametrize(
    ("damage", "said"),
    [(one_byte_changed, "sha256 is"), (a_pickle_beside, "pytorch_model.bin: this format can run code")],
)
def test_the_unit_starts_only_with_the_declared_files(on, damage: Callable, said: str) -> None:
    core = on("core")
    served = json.loads(core.file("/etc/stronghold/model.json").content_string)
    try:
        with damage(core, f"{served['folder']}/{served['file']}"):
            core.run(f"systemctl restart {UNIT}")
            assert core.check_output(f"systemctl show --property=ActiveState --value {UNIT}") != "active"
            assert said in core.check_output(f"journalctl --unit {UNIT} --lines 20")
    finally:
        core.check_output(f"systemctl restart {UNIT}")
    assert core.service(UNIT).is_running
