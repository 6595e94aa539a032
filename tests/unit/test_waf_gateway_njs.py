# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's pure njs modules, under node: what the WAF gets to see, and what the model may be asked.

node reads more JavaScript than njs does; the lab's nginx is where the syntax is proven.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NJS = Path(__file__).parents[2] / "roles/waf_gateway/files/njs"
ATTACK = "1' UNION SELECT password FROM users --"
LIMITS = {"max_n": 4, "default_max_tokens": 100}

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed, and njs needs nginx")

# Answers a list of calls, [module, function, arguments], with the result of each or the code of its refusal.
RUNNER = """
import envelope from './envelope.js';
import errors from './errors.js';
import fields from './fields.js';
import policy from './policy.js';
import {readFileSync} from 'fs';
const calls = {
    parse: text => envelope.parse(text),
    skeleton: (api, text) => JSON.parse(
        envelope.skeleton(envelope.parse(text), envelope.compile(fields[api]))),
    bound: (body, most, limits) => { policy.bound(body, {max_tokens: most}, limits); return body; },
    model: (body, names) => { policy.model(body, names); return true; },
    endpoint: (method, path) => policy.endpoint(method, path).body,
    bearer: header => policy.bearer(header),
    holder: (keys, digest) => policy.holder(keys, digest),
    mediaType: (type, encoding) => { policy.mediaType(type, encoding); return true; },
    minute: now => policy.minute(now),
    admit: (most, spent, rest) => { policy.admit({requests_per_minute: most}, spent, rest); return true; },
    page: status => { const r = answer({status}); errors.page(r); return r.sent; },
    fault: () => {
        const r = answer({});
        errors.reply(r, new TypeError('boom'));
        return [r.sent, r.variables];
    },
};
function answer(variables) {
    return {variables, headersOut: {}, return(status, text) {
        this.sent = [status, JSON.parse(text).error.code];
    }};
}
const results = JSON.parse(readFileSync(0, 'utf8')).map(([name, ...args]) => {
    try {
        return {value: calls[name](...args)};
    } catch (e) {
        return {refused: e.code || String(e.stack), more: e.more};
    }
});
console.log(JSON.stringify(results));
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("njs")
    for source in NJS.glob("*.js"):
        shutil.copy(source, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "runner.js").write_text(RUNNER)
    return folder / "runner.js"


def ask(runner: Path, *calls: list[Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["node", runner], input=json.dumps(calls), capture_output=True, text=True, check=True, timeout=60
    )
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def one(runner: Path, *call: Any) -> Any:
    """The value of one call, or the code of its refusal."""
    (result,) = ask(runner, list(call))
    return result.get("refused", result.get("value"))


def skeleton(runner: Path, api: str, body: Any) -> Any:
    return one(runner, "skeleton", api, json.dumps(body))


def test_prompts_become_placeholders_and_everything_else_stays(runner: Path) -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": ATTACK},
            {"role": "user", "content": [{"type": "text", "text": ATTACK}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": ATTACK}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": ATTACK},
        ],
        "tools": [{"function": {"name": "f", "parameters": {"properties": {"q": {"description": ATTACK}}}}}],
        "temperature": 0.5,
    }
    assert skeleton(runner, "CHAT", body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "x"},
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
            {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "x"}}]},
            {"role": "tool", "tool_call_id": "x", "content": "x"},
        ],
        "tools": [{"function": {"name": "f", "parameters": {"properties": {"q": {"description": "x"}}}}}],
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    "body",
    [
        {"content": ATTACK},
        {"metadata": {"content": ATTACK}},
        {"metadata": {"messages": [{"content": ATTACK}]}},
        {"messages": {"content": ATTACK}},
        {"messages": {"[]": {"content": ATTACK}}},
        {"messages": [{"content": {"text": ATTACK}}]},
        {"messages": [[{"content": ATTACK}]]},
        {"messages": [{"role": ATTACK, "content": "a"}]},
        {
            "messages": [{"role": "user", "content": "a"}] * 99
            + [{"role": "user", "content": "a", "x": ATTACK}]
        },
        {"messages": [{"tool_call_id": ATTACK}]},
        {"tools": [{"function": {"name": ATTACK, "description": "a"}}]},
        {"tools": [{"description": ATTACK}]},
        {"constructor": ATTACK},
        {"keys": {"content": ATTACK}, "deep": ATTACK, "element": ATTACK},
        {ATTACK: 1},
        {"prompt": ATTACK},
        {"input": ATTACK},
    ],
    ids=lambda body: next(iter(body)),
)
def test_an_attack_outside_the_prompt_reaches_the_waf(runner: Path, body: dict[str, Any]) -> None:
    assert ATTACK in json.dumps(skeleton(runner, "CHAT", body))


def test_thousands_of_messages_make_a_small_envelope(runner: Path) -> None:
    messages = [{"role": ("user", "assistant")[i % 2], "content": f"{i}"} for i in range(5000)]
    assert len(skeleton(runner, "CHAT", {"messages": messages})["messages"]) == 2


def test_a_prompt_in_token_numbers_is_a_prompt(runner: Path) -> None:
    body = {"prompt": [[1, 2, 3], [4, 5]], "input": [1]}
    assert skeleton(runner, "COMPLETION", body)["prompt"] == [[0]]
    assert skeleton(runner, "EMBEDDING", {"input": list(range(9))})["input"] == [0]


@pytest.mark.parametrize(
    "text",
    ['{"__proto__": {"a": "x"}}', '{"a": [{"__proto__": 1}]}', '{"a": 9007199254740993}', '{"a": 1e400}'],
)
def test_what_would_not_go_on_as_it_was_inspected_is_refused(runner: Path, text: str) -> None:
    assert one(runner, "skeleton", "CHAT", text) == "invalid_value"


@pytest.mark.parametrize(
    "extra", [{"a": "y" * 17000}, {"a": list(range(9000))}, {"messages": [{"role": "y" * 17000}]}]
)
def test_an_envelope_too_large_to_inspect_is_refused(runner: Path, extra: dict[str, Any]) -> None:
    assert skeleton(runner, "CHAT", extra) == "invalid_value"


def test_nesting_has_an_end(runner: Path) -> None:
    assert one(runner, "skeleton", "CHAT", '{"a":' * 30 + "1" + "}" * 30) == "invalid_value"


def test_of_two_fields_with_one_name_the_same_is_inspected_and_passed_on(runner: Path) -> None:
    text = f'{{"user": "good", "user": "{ATTACK}"}}'
    assert one(runner, "skeleton", "CHAT", text) == one(runner, "parse", text) == {"user": ATTACK}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"a"', "{'a': 1}", '{"a": 1} x'])
def test_only_a_json_object_is_a_body(runner: Path, text: str) -> None:
    assert one(runner, "parse", text) == "invalid_json"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=8).map("u_".__add__), json_values, max_size=4),
        min_size=1,
        max_size=40,
    )
)
def test_without_prompt_fields_everything_reaches_the_waf(runner: Path, bodies: list[dict[str, Any]]) -> None:
    asked = ask(runner, *(["skeleton", "CHAT", json.dumps(body)] for body in bodies))
    for body, result in zip(bodies, asked, strict=True):
        assert leaves(result["value"]) == leaves(body)


def leaves(value: Any) -> set[str]:
    """Every key and every scalar, whatever its place."""
    if isinstance(value, dict):
        return set(value).union(*(leaves(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(leaves(inner) for inner in value))
    return {json.dumps(value)}


@pytest.mark.parametrize(
    ("body", "bounded"),
    [
        ({}, {"max_tokens": 50}),
        ({"max_tokens": None}, {"max_tokens": 50}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": 9999}, {"max_tokens": 50}),
        ({"max_completion_tokens": 9999}, {"max_completion_tokens": 50}),
        ({"n_predict": 9999}, {"n_predict": 50, "max_tokens": 50}),
        ({"max_tokens": 1, "n_predict": 9999}, {"max_tokens": 1, "n_predict": 50}),
        ({"n": 4, "max_tokens": 1}, {"n": 4, "max_tokens": 1}),
        ({"prompt": [1] * 99, "max_tokens": 1}, {"prompt": [1] * 99, "max_tokens": 1}),
    ],
)
def test_tokens_are_filled_in_and_clamped_by_every_name(runner: Path, body: Any, bounded: Any) -> None:
    assert one(runner, "bound", body, 50, LIMITS) == bounded


def test_the_default_holds_where_the_key_allows_more(runner: Path) -> None:
    assert one(runner, "bound", {}, 5000, LIMITS) == {"max_tokens": 100}


@pytest.mark.parametrize(
    "body",
    [
        *(
            {name: value}
            for name in ("max_tokens", "n_predict", "n")
            for value in (0, -1, 1.5, "9", True, [1])
        ),
        *({name: 5} for name in ("n", "best_of", "n_cmpl")),
        {"prompt": ["a"] * 5},
        {"prompt": [[1]] * 5},
    ],
    ids=json.dumps,
)
def test_what_escapes_a_limit_is_refused(runner: Path, body: dict[str, Any]) -> None:
    assert one(runner, "bound", body, 50, LIMITS) == "invalid_value"


@pytest.mark.parametrize("name", [None, "other", "constructor", ["m"], {"m": 1}, "m "])
def test_only_a_listed_model_exists(runner: Path, name: Any) -> None:
    assert one(runner, "model", {"model": name}, ["m"]) == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("HEAD", "/v1/models"),
        ("GET", "//v1/models"),
        ("GET", "/v1/x/../models"),
        ("GET", "/v1/%6dodels"),
        ("GET", "/v1/models/"),
        ("constructor", ""),
        ("", ""),
    ],
)
def test_only_exact_endpoints_exist(runner: Path, method: str, path: str) -> None:
    assert one(runner, "endpoint", method, path) == "unknown_url"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "bearer abc", "Bearer a b", "Bearer ä"]
)
def test_a_header_without_a_key_is_refused(runner: Path, header: str) -> None:
    assert one(runner, "bearer", header) == "invalid_api_key"


def test_a_key_is_found_by_its_digest_only(runner: Path) -> None:
    keys = {"ab" * 32: {"name": "team"}}
    assert one(runner, "holder", keys, "ab" * 32) == {"name": "team"}
    assert one(runner, "holder", keys, "cd" * 32) == "invalid_api_key"


def test_the_minute_ends_and_says_when(runner: Path) -> None:
    assert one(runner, "minute", 119_999) == {"number": 1, "rest": 1}
    assert one(runner, "minute", 120_000) == {"number": 2, "rest": 60}
    assert one(runner, "admit", 3, 3, 20) is True
    (refused,) = ask(runner, ["admit", 3, 4, 20])
    assert (refused["refused"], refused["more"]["headers"]) == ("rate_limit_exceeded", {"Retry-After": "20"})


@pytest.mark.parametrize(
    ("content_type", "encoding", "answer"),
    [
        ("application/json", None, True),
        ("Application/JSON; charset=utf-8", None, True),
        ("application/json", "gzip", "unsupported_media_type"),
        ("application/jsonp", None, "unsupported_media_type"),
        ("text/plain", None, "unsupported_media_type"),
        (None, None, "unsupported_media_type"),
    ],
)
def test_only_plain_json_is_read(runner: Path, content_type: str, encoding: str, answer: Any) -> None:
    assert one(runner, "mediaType", content_type, encoding) == answer


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("400", [400, "bad_request"]),
        ("494", [400, "bad_request"]),
        ("404", [404, "unknown_url"]),
        ("413", [413, "body_too_large"]),
        ("502", [502, "model_unavailable"]),
        ("504", [504, "model_unavailable"]),
        ("500", [500, "internal_error"]),
    ],
)
def test_what_nginx_refuses_has_openais_form(runner: Path, status: str, answer: Any) -> None:
    assert one(runner, "page", status) == answer


def test_a_fault_of_ours_is_told_to_the_operator_only(runner: Path) -> None:
    sent, variables = one(runner, "fault")
    assert sent == [500, "internal_error"]
    assert "boom" in variables["gateway_fault"]
