#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by the engine's own Python; CONFIG is JSON, and - is standard input.

serve_vllm.py CONFIG          becomes vLLM's server, on a Unix socket, as CONFIG says
serve_vllm.py --check CONFIG  asks the installed version whether it would start so; loads no weights

The check prints {"version": ..., "problems": [...]}: of its parser and, where that has none, of its
configuration of this model, which knows that heads must be divisible and how long a context may be.
"""

import difflib
import json
import os
import socket
import stat
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn


class Refused(Exception):
    """What a parser says instead of ending the program."""


def free(path: str) -> None:
    """vLLM does not remove the socket that a killed server has left, and does not start beside it either."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        sys.exit(f"{path}: is no socket: move it away")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except ConnectionRefusedError:  # nobody listens
            Path(path).unlink()
            return
        except OSError as error:  # somebody does, and has no time
            sys.exit(f"{path}: a server holds this socket ({error}): stop it first")
    sys.exit(f"{path}: another server answers on this socket: stop it first")


def unknown(arguments: list[str], parser: ArgumentParser) -> Iterator[str]:
    """Names that are not exactly there. (The parser itself would take a beginning for the whole.)"""
    known = parser._option_string_actions
    for name in _names(arguments):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not known" + (f", the nearest that is known is {near[0]}" if near else "")


def repeated(arguments: list[str], parser: ArgumentParser) -> Iterator[str]:
    """The same thing under two names, of which only the last would count."""
    said: dict[str, list[str]] = {}
    for argument, name in zip(_flags(arguments), _names(arguments), strict=True):
        if "." not in argument.split("=")[0]:  # parts of one object may be many
            said.setdefault(parser._option_string_actions[name].dest, []).append(name)
    for names in said.values():
        if len(names) > 1:
            yield f"{' and '.join(Counter(names))}: say the same thing"


def unreadable(arguments: list[str], parser: ArgumentParser) -> Iterator[str]:
    """Values that the parser does not take."""

    def refuse(message: str) -> NoReturn:
        raise Refused(message)

    parser.error = refuse  # type: ignore[method-assign]
    try:
        parser.parse_args(arguments)
    except (Refused, ValueError) as error:
        yield str(error)


def impossible(arguments: list[str], parser: ArgumentParser) -> Iterator[str]:
    """What the engine's configuration says of this model on this host."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    parsed = parser.parse_args(arguments)
    parsed.model = parsed.model_tag
    try:
        AsyncEngineArgs.from_cli_args(parsed).create_engine_config()
    except Exception as error:  # anything that would end the start
        yield said(error)


def said(error: Exception) -> str:
    """The sentence in it, without the values that pydantic prints around."""
    details = error.errors() if hasattr(error, "errors") else ()
    texts = [detail["msg"].removeprefix("Value error, ") for detail in details] or [str(error)]
    return "; ".join(text.removesuffix(".") for text in texts)


def _flags(arguments: list[str]) -> list[str]:
    return [argument for argument in arguments if argument.startswith("--")]


def _names(arguments: list[str]) -> list[str]:
    return [flag.split("=")[0].split(".")[0].replace("_", "-") for flag in _flags(arguments)]


def check(arguments: list[str]) -> dict[str, Any]:
    try:
        import vllm
        from vllm.entrypoints.cli import serve
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except (ImportError, OSError) as error:
        return {"version": "(unknown)", "problems": [f"it cannot be loaded: {error}"]}
    [command] = serve.cmd_init()
    parser = command.subparser_init(FlexibleArgumentParser(prog="vllm").add_subparsers())
    found: list[str] = []
    for look in (unknown, repeated, unreadable, impossible):
        found = found or list(look(arguments, parser))
    return {"version": vllm.__version__, "problems": found}


def main(config: dict[str, Any], checks: bool) -> None:
    os.environ.update(config["environment"])
    if not checks:
        free(config["socket"])
        vllm = Path(sys.executable).with_name("vllm")
        os.execv(vllm, [str(vllm), "serve", *config["arguments"]])
    # The engine writes its log where the answer should go alone.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update(HOME=scratch, VLLM_CACHE_ROOT=scratch, TORCHINDUCTOR_CACHE_DIR=scratch)
        json.dump(check(config["arguments"]), answer)
    answer.close()


if __name__ == "__main__":
    *option, path = sys.argv[1:]
    main(json.loads(sys.stdin.read() if path == "-" else Path(path).read_text()), option == ["--check"])
