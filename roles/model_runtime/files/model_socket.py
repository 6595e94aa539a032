#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the model server on its Unix socket, for the programs of the unit and for proofs.

model_socket.py SOCKET MODEL QUESTION  prints {"status", "text", "seconds"} of one answer

A question is asked at temperature 0, so the same server gives the same answer. Status 0 is no answer at all.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import time
from dataclasses import asdict, dataclass

# They grow with the engine's work, whoever asked: of vLLM (v1/metrics/loggers.py, 0.32.0), of llama.cpp.
PROGRESS = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total", "llamacpp:n_decode_total")


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


@dataclass(frozen=True)
class Answer:
    status: int
    """Of HTTP; 0 where nothing came in time."""
    text: str
    seconds: float


def request(path: str, target: str, body: dict | None = None, timeout: float = 5) -> tuple[int, str]:
    """Status and text.

    Raises:
        OSError: nobody there, or no time.
    """
    connection = UnixConnection(path, timeout=timeout)
    try:
        connection.request(
            "GET" if body is None else "POST",
            target,
            None if body is None else json.dumps(body),
            {"Host": "localhost", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()


def ask(path: str, model: str, question: str, tokens: int = 32, timeout: float = 120) -> Answer:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": tokens,
    }
    begin = time.monotonic()
    try:
        status, text = request(path, "/v1/chat/completions", body, timeout)
    except OSError as error:
        return Answer(0, str(error) or type(error).__name__, time.monotonic() - begin)
    if status == 200:
        try:
            text = json.loads(text)["choices"][0]["message"]["content"] or ""
        except (ValueError, LookupError, TypeError):
            return Answer(0, f"no answer in OpenAI's form: {text[:200]}", time.monotonic() - begin)
    return Answer(status, text, time.monotonic() - begin)


def progress(path: str) -> float | None:
    """What the engine has done since it was started, as a number that only grows; None: it does not say."""
    try:
        status, text = request(path, "/metrics")
    except OSError:
        return None
    lines = re.findall(r"^([a-z_:]+)(?:\{[^}]*\})? ([0-9.e+]+)", text, re.MULTILINE)
    found = [float(value) for name, value in lines if name in PROGRESS]
    return sum(found) if status == 200 and found else None


if __name__ == "__main__":
    print(json.dumps(asdict(ask(*sys.argv[1:4]))))
