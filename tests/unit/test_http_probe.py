# SPDX-License-Identifier: GPL-3.0-or-later
"""http_probe: what passes, and what it says of a server that does not behave."""

from __future__ import annotations

import shutil
import socket

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.probes import http, wire
from ansible_collections.stronghold.llm.plugins.module_utils.probes.http import Answer, Case

needs_openssl = pytest.mark.skipif(
    not shutil.which("openssl"), reason="openssl makes the control's certificate"
)


@pytest.mark.parametrize(
    ("case", "answer", "expected"),
    [
        (Case("a", expect_status=[200]), Answer(status=200), True),
        (Case("a", expect_status=[403, 404]), Answer(status=404), True),
        (Case("a", expect_status=[403]), Answer(status=200), False),
        (Case("a", expect_status=[403]), Answer(error="timeout: after 30 s"), False),
        (
            Case("a", expect_status=[404], expect_body="unknown_url"),
            Answer(404, body="<html>nginx</html>"),
            False,
        ),
        (
            Case("a", expect_status=[404], expect_body="unknown_url"),
            Answer(404, body='{"unknown_url"}'),
            True,
        ),
        (Case("a", expect_error="tls:"), Answer(error="tls: TLSV1_ALERT_PROTOCOL_VERSION"), True),
        (Case("a", expect_error="tls:"), Answer(error="connection: [Errno 111] Connection refused"), False),
        (Case("a", expect_error="tls:"), Answer(status=200), False),
    ],
)
def test_a_case_passes_only_on_what_it_expects(case: Case, answer: Answer, expected: bool) -> None:
    assert http.passed(case, answer) is expected


@pytest.mark.parametrize("answer", [Answer(status=200), Answer(error="timeout: after 30 s"), Answer()])
def test_a_case_that_expects_nothing_never_passes(answer: Answer) -> None:
    assert not http.passed(Case("a"), answer)


def test_a_body_given_as_data_is_json_and_text_is_sent_as_it_is() -> None:
    as_data = http.case({"name": "a", "body": {"n": 1}, "headers": {"X-A": 1}, "tls": None})
    assert (as_data.body, as_data.headers) == (b'{"n": 1}', {"X-A": "1", "Content-Type": "application/json"})
    as_text = http.case({"name": "a", "body": '{"n": '})
    assert (as_text.body, as_text.headers) == (b'{"n": ', {})


def test_the_report_names_what_was_missed_in_each_group_and_cuts_bodies() -> None:
    cases = [Case("a", "x", expect_status=[200]), Case("b", "x", expect_status=[200]), Case("c", "y")]
    groups = http.report(cases, [Answer(200, body="é" * 999), Answer(503), Answer(200)])
    assert {name: (group["asked"], group["missed"]) for name, group in groups.items()} == {
        "x": (2, ["b"]),
        "y": (1, ["c"]),
    }
    assert len(groups["x"]["results"][0]["body_excerpt"]) == http.EXCERPT


@pytest.mark.parametrize("url", ["http://edge1", "edge1:443", "https://"])
def test_a_url_that_is_not_https_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be https"):
        wire.Target.of(url, "", "/ca.pem")


def test_an_ipv6_address_and_a_port_are_read_from_the_url() -> None:
    assert wire.Target.of("https://[fd77::1]:8443", "edge1", "/c") == wire.Target(
        "fd77::1", 8443, "edge1", "/c"
    )


@needs_openssl
@pytest.mark.parametrize(("tls", "spoken"), [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")])
def test_the_control_listener_speaks_both_versions(tls: str, spoken: str) -> None:
    (answer,) = wire.ask_all([Case("a", tls=tls, control=True)], wire.Target("", 0, "", ""), "", 5)
    assert (answer.status, answer.tls_version, answer.error) == (200, spoken, "")


@needs_openssl
def test_one_bad_client_does_not_end_the_control_listener() -> None:
    with wire.listener() as target:
        socket.create_connection((target.host, target.port)).close()
        assert wire.ask(Case("a"), target, "", 5).status == 200


@needs_openssl
def test_a_certificate_for_another_name_is_an_error_and_no_status() -> None:
    with wire.listener() as target:
        stranger = wire.Target(target.host, target.port, "someone-else", target.ca_path)
        answer = wire.ask(Case("a"), stranger, "", 5)
    assert answer.status is None
    assert answer.error.startswith("certificate: ")


@needs_openssl
def test_a_server_that_is_not_there_is_an_answer_too() -> None:
    with wire.listener() as target:
        gone = target
    assert wire.ask(Case("a"), wire.Target(gone.host, gone.port, "x", ""), "", 5).status is None
