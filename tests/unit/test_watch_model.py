# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog restarts a server that hangs, and no other: not one that loads, not one that is busy."""

from __future__ import annotations

import importlib
import json
import os
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILES = Path(__file__).parents[2] / "roles/model_runtime/files"
UNIT = {
    "ActiveState": "active",
    "InvocationID": "one",
    "ConditionTimestampMonotonic": "100000000",
    "ExecMainStartTimestampMonotonic": "103000000",
}


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """program("watch_model"): one of the unit's programs, which find each other in their folder."""
    monkeypatch.syspath_prepend(str(FILES))
    yield importlib.import_module
    for name in ("watch_model", "wait_ready", "model_socket"):
        sys.modules.pop(name, None)


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "api.sock")


@contextmanager
def server(
    path: Path, chat: Callable[[], tuple[int, str] | None], steps: Callable[[], float]
) -> Iterator[None]:
    """An engine: `chat` says status and text, or None where it hangs; `steps` what it has computed."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self) -> None:
            said = f'# TYPE x counter\nvllm:generation_tokens_total{{engine="0"}} {steps()}\nvllm:other 9\n'
            self.answer(200, said if self.path == "/metrics" else "")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            told = chat()
            if told is None:
                ended.wait()
            else:
                self.answer(*told)

        def log_message(self, *_: Any) -> None: ...

        def address_string(self) -> str:
            return ""

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        block_on_close = False

    with Server(str(path), Handler) as serving:
        threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            serving.shutdown()
            path.unlink()


ANSWER = json.dumps({"choices": [{"message": {"content": "Hello"}}]})


def growing() -> Callable[[], float]:
    seen = iter(range(1000))
    return lambda: float(next(seen))


@pytest.mark.parametrize(
    ("chat", "steps", "serves", "silent"),
    [
        ((200, ANSWER), lambda: 5.0, True, False),
        (None, lambda: 5.0, False, True),  # hangs: /health and /metrics still answer
        (None, growing(), True, False),  # busy with others
        ((503, "full"), growing(), True, False),
        ((500, "dead"), lambda: 5.0, False, True),
        ((404, "no such model"), lambda: 5.0, False, False),  # a restart would not help
        ((200, "{}"), lambda: 5.0, False, True),
    ],
    ids=["answers", "hangs", "busy", "full and busy", "dead", "refuses", "nonsense"],
)
def test_silence_is_told_from_work(
    program: Callable[[str], ModuleType],
    path: Path,
    chat: tuple[int, str] | None,
    steps: Callable[[], float],
    serves: bool,
    silent: bool,
) -> None:
    with server(path, lambda: chat, steps):
        seen = program("watch_model").look(UNIT, str(path), "m", 0.3)
    assert (seen.serves, seen.silent) == (serves, silent)


def test_a_server_that_nobody_hears_is_silent(program: Callable[[str], ModuleType], path: Path) -> None:
    assert program("watch_model").look(UNIT, str(path), "m", 0.3).silent


@pytest.mark.parametrize("active", ["activating", "deactivating", "failed", "inactive"])
def test_a_server_that_is_not_up_is_not_asked(
    program: Callable[[str], ModuleType], path: Path, active: str
) -> None:
    seen = program("watch_model").look({**UNIT, "ActiveState": active}, str(path), "m", 0.3)
    assert seen.answer is None
    assert not seen.silent


def follow(watch: ModuleType, looks: str, invocations: str = "") -> list[bool]:
    """Which looks restart: `s` silent, `a` answered, `l` loading, each of the start below it."""
    state, found = watch.State(), []
    for kind, invocation in zip(looks, invocations or "1" * len(looks), strict=True):
        answer = {"s": watch.model_socket.Answer(0, "", 1), "a": watch.model_socket.Answer(200, "", 1)}
        seen = watch.Look("activating" if kind == "l" else "active", invocation, answer.get(kind))
        state, restart = watch.judge(state, seen, 3)
        found.append(restart)
    return found


@pytest.mark.parametrize(
    ("looks", "invocations", "restarts"),
    [
        ("sss", "111", [False, False, True]),
        ("ssa" * 4, "1" * 12, [False] * 12),
        ("sslss", "11222", [False] * 5),
        ("l" * 20, "1" * 20, [False] * 20),
        ("sss" * 2, "111222", [False, False, True] * 2),
        ("sss", "112", [False] * 3),  # somebody else has restarted it
    ],
)
def test_three_silences_of_one_start_restart_and_nothing_else_does(
    program: Callable[[str], ModuleType], looks: str, invocations: str, restarts: list[bool]
) -> None:
    assert follow(program("watch_model"), looks, invocations) == restarts


@pytest.fixture
def watched(
    program: Callable[[str], ModuleType], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[list[str]]]:
    """watched(chat, times): the whole program, and what it asked of systemctl."""
    watch = program("watch_model")
    config = tmp_path / "model.json"
    config.write_text(json.dumps({"socket": str(path), "model": "m"}))
    path.with_name("start.json").write_text(json.dumps({"bound": 110.0, "listening": 141.5, "ready": 142.0}))

    def run(
        chat: tuple[int, str] | None, times: int, invocations: Iterator[str] | None = None
    ) -> list[list[str]]:
        called: list[list[str]] = []
        monkeypatch.setattr(watch.subprocess, "run", lambda command, **_: called.append(command))
        monkeypatch.setattr(
            watch, "shown", lambda: {**UNIT, "InvocationID": next(invocations) if invocations else "one"}
        )
        with server(path, lambda: chat, lambda: 5.0):
            for _ in range(times):
                watch.main(str(config), str(tmp_path / "state"), str(tmp_path / "model.prom"), "0.2", "3")
        return called

    return run


def told(tmp_path: Path) -> dict[str, float]:
    lines = (tmp_path / "model.prom").read_text().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("stronghold_model_"): float(value) for name, value in pairs}


def test_a_server_that_hangs_is_restarted_and_the_restart_is_counted(
    watched: Callable[..., list[list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watched(None, 2) == []
    assert told(tmp_path)["watchdog_silences"] == 2
    assert watched(None, 1) == [["systemctl", "restart", "--no-block", "stronghold-model.service"]]
    found = told(tmp_path)
    assert (found["serving"], found["watchdog_silences"], found["watchdog_restarts_total"]) == (0, 0, 1)
    assert "3 questions in a row without an answer" in capsys.readouterr().out
    watched((200, ANSWER), 1)
    found = told(tmp_path)
    assert (found["serving"], found["watchdog_restarts_total"]) == (1, 1)


def test_a_start_that_somebody_else_made_meanwhile_is_left_alone(
    watched: Callable[..., list[list[str]]], tmp_path: Path
) -> None:
    assert watched(None, 3, iter(["one", "one", "one", "two"])) == []
    assert told(tmp_path)["watchdog_restarts_total"] == 0


def test_the_phases_of_the_start_are_told_from_its_beginning(
    watched: Callable[..., list[list[str]]], tmp_path: Path
) -> None:
    watched((200, ANSWER), 1)
    phases = {name: value for name, value in told(tmp_path).items() if name.startswith("start_seconds")}
    assert phases == {
        'start_seconds{phase="weights_verified"}': 3,
        'start_seconds{phase="program_loaded"}': 10,
        'start_seconds{phase="engine_loaded"}': 41.5,
        'start_seconds{phase="ready"}': 42,
    }


def test_phases_of_an_older_start_are_not_told(program: Callable[[str], ModuleType]) -> None:
    found = dict(program("watch_model").phases(UNIT, {"bound": 50.0, "listening": 60.0, "ready": 61.0}))
    assert found == {"weights_verified": 3}


def test_a_damaged_state_is_begun_anew(program: Callable[[str], ModuleType], tmp_path: Path) -> None:
    watch = program("watch_model")
    for text in ("", "{", "[]", '{"other": 1}'):
        (tmp_path / "state").write_text(text)
        assert watch.State.load(tmp_path / "state") == watch.State()


def test_the_steps_of_a_start_are_kept(program: Callable[[str], ModuleType], path: Path) -> None:
    begin = time.monotonic()
    with server(path, lambda: None, lambda: 0.0):
        program("wait_ready").main(str(path), 5)
    kept = json.loads(path.with_name("start.json").read_text())
    assert list(kept) == ["bound", "listening", "ready"]
    assert begin <= kept["bound"] <= kept["listening"] <= kept["ready"] <= time.monotonic()


def test_a_server_that_has_ended_is_not_waited_for(
    program: Callable[[str], ModuleType], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = os.fork()
    if not ended:
        os._exit(0)
    os.waitpid(ended, 0)
    monkeypatch.setenv("MAINPID", str(ended))
    begin = time.monotonic()
    with pytest.raises(SystemExit, match="has ended while it was waited for"):
        program("wait_ready").main(str(path), 60)
    assert time.monotonic() - begin < 5


def test_a_server_that_does_not_come_is_waited_for_so_long_and_no_longer(
    program: Callable[[str], ModuleType], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAINPID", raising=False)
    with pytest.raises(SystemExit, match="no healthy answer within 0 s"):
        program("wait_ready").main(str(path), 0.3)
