# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM's launcher takes no other server's socket, and finds what the installed version would stumble over."""

from __future__ import annotations

import importlib.util
import os
import socket
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NEAR = ", the nearest that is known is --max-model-len"
LAUNCHER = Path(__file__).parents[2] / "roles/model_runtime/files/serve_vllm.py"


@pytest.fixture(scope="module")
def launcher() -> ModuleType:
    spec = importlib.util.spec_from_file_location("serve_vllm", LAUNCHER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path() -> Iterator[Path]:
    """Of a socket; its name may have 107 characters, which pytest's own folders do not leave room for."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "api.sock")


@pytest.fixture
def parser() -> ArgumentParser:
    """Constructed: a few arguments of vLLM's, one with its two names."""
    made = ArgumentParser()
    made.add_argument("model_tag", nargs="?")
    made.add_argument("--max-model-len", type=int)
    made.add_argument("--max-num-seqs", type=int)
    made.add_argument("--gpu-memory-utilization", "--device-memory-utilization", type=float)
    made.add_argument("--dtype", choices=["auto", "bfloat16"])
    made.add_argument("--compilation-config")
    return made


def bound(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


def test_a_socket_that_a_killed_server_left_is_taken_away(launcher: ModuleType, path: Path) -> None:
    bound(path).close()
    launcher.free(str(path))
    assert not path.exists()


def test_no_socket_is_no_problem(launcher: ModuleType, path: Path) -> None:
    launcher.free(str(path))


def test_a_socket_on_which_somebody_answers_stays(launcher: ModuleType, path: Path) -> None:
    with bound(path) as server:
        server.listen()
        with pytest.raises(SystemExit, match=r"api.sock: another server answers .*stop it first"):
            launcher.free(str(path))
    assert path.exists()


def test_a_socket_whose_server_has_no_time_stays(launcher: ModuleType, path: Path) -> None:
    with bound(path) as server, socket.socket(socket.AF_UNIX) as first:
        server.listen(0)
        first.connect(str(path))
        with pytest.raises(SystemExit, match=r"a server holds this socket .*stop it first"):
            launcher.free(str(path))
    assert path.exists()


def test_a_file_in_the_place_of_the_socket_is_not_deleted(launcher: ModuleType, path: Path) -> None:
    path.write_text("notes")
    with pytest.raises(SystemExit, match="is no socket: move it away"):
        launcher.free(str(path))
    assert path.read_text() == "notes"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--max-modle-len=1", ["--max-modle-len is not known" + NEAR]),
        # The parser would take it for the whole.
        ("--max-model=1", ["--max-model is not known" + NEAR]),
        ("--zzz", ["--zzz is not known"]),
        ("--max_model_len=1", []),
        ("--compilation-config.mode=3", []),
    ],
)
def test_a_name_that_is_not_exactly_there_is_found_with_its_nearest(
    launcher: ModuleType, parser: ArgumentParser, argument: str, said: list[str]
) -> None:
    assert list(launcher.unknown(["/folder", argument], parser)) == said


def test_one_thing_said_under_two_names_is_found(launcher: ModuleType, parser: ArgumentParser) -> None:
    said = ["--gpu-memory-utilization=0.9", "--dtype=auto", "--device-memory-utilization=0.5"]
    assert list(launcher.repeated(said, parser)) == [
        "--gpu-memory-utilization and --device-memory-utilization: say the same thing"
    ]


def test_parts_of_one_object_are_not_the_same_thing(launcher: ModuleType, parser: ArgumentParser) -> None:
    said = ["--compilation-config.mode=3", "--compilation-config.backend=inductor"]
    assert list(launcher.repeated(said, parser)) == []


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--dtype=bf16", "argument --dtype: invalid choice: 'bf16'"),
        ("--max-num-seqs=many", "invalid int value"),
    ],
)
def test_a_value_that_the_parser_does_not_take_is_an_answer_and_no_exit(
    launcher: ModuleType, parser: ArgumentParser, argument: str, said: str
) -> None:
    [found] = launcher.unreadable(["/folder", argument], parser)
    assert said in found


def test_a_refusal_is_its_sentence_without_what_pydantic_prints_around_it(launcher: ModuleType) -> None:
    class ValidationError(ValueError):
        def errors(self) -> list[dict[str, Any]]:
            return [
                {
                    "msg": "Value error, heads (9) must be divisible by tensor parallel size (2).",
                    "input": "...",
                }
            ]

    assert launcher.said(ValidationError("long")) == "heads (9) must be divisible by tensor parallel size (2)"
    assert launcher.said(OSError("no such folder")) == "no such folder"


def test_the_server_gets_its_environment_and_its_arguments_as_they_are_written(
    launcher: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *call: called.append(call))
    monkeypatch.setattr("sys.executable", "/opt/stronghold/vllm-0/bin/python")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    bound(path).close()
    config = {
        "socket": str(path),
        "environment": {"HF_HUB_OFFLINE": "1"},
        "arguments": ["/folder", "--dtype=auto"],
    }
    launcher.main(config, checks=False)
    vllm = "/opt/stronghold/vllm-0/bin/vllm"
    assert called == [(Path(vllm), [vllm, "serve", "/folder", "--dtype=auto"])]
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert not path.exists()
