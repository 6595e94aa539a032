# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway adds to the time to first byte, against the model's own socket in the same run.

The golden model is served meanwhile, as its own time is short and always the same; the declared one comes
back at the end. Its tokenizer takes a byte for a token (a prompt of 200 bytes is 204 tokens, with the chat's
own), and it has room for 4,096: hence the small prompts.

Three ways are asked in turn, over connections that stand, so that what else the machine does hits all alike:

    socket    on the core host, HTTP over the Unix socket
    endpoint  from the edge host, mutual TLS to the core's nginx: no WAF and no njs
    gateway   from the client's host, TLS to the edge's nginx: njs, ModSecurity with CRS, the endpoint's way

No switch turns the WAF off, as the gateway refuses what was not inspected: `endpoint` is the way without it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.site.table import text_table

from lab import site
from lab.__main__ import SSH_CONFIG
from tests.bench import labs, report
from tests.bench.runs import play

ROUNDS = 300
WARM_UP = 20
SIZES = (200, 1000, 3000)  # bytes of prompt
WAYS = ("socket", "endpoint", "gateway")
# What is between two ways.
ADDED = {
    "endpoint_adds": ("endpoint", "socket"),
    "waf_adds": ("gateway", "endpoint"),
    "gateway_adds": ("gateway", "socket"),
}
MODEL = "golden"


class Client:
    """tests/bench/first_byte.py on a host of the lab."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process, self._name = process, name

    def ask(self, body: str) -> float:
        """Milliseconds to the first byte of the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(body + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"The client on {self._name} has ended; what it said stands above.")
        return float(answer.split()[0]) * 1000


@contextmanager
def client(host: str, python: str, where: dict[str, Any]) -> Iterator[Client]:
    program = shlex.quote(Path(__file__).with_name("first_byte.py").read_text())
    ssh = ["ssh", "-F", str(SSH_CONFIG), host, f"{python} -c {program}"]
    with subprocess.Popen(ssh, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        process.stdin.write(json.dumps(where) + "\n")
        process.stdin.flush()
        yield Client(process, host)
        process.stdin.close()  # which ends it


def clients(lab: site.Site) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Way -> the host that asks, the Python there (as root where a socket or a key is not for everyone), and
    where it has to ask.
    """
    core, edge = lab.host("core"), lab.host("edge")
    tls = "/etc/stronghold/tls"
    socket = {"socket": "/run/stronghold-model/api.sock", "headers": {}}
    endpoint = {
        "address": str(core.ipv4),
        "port": 8443,
        "name": core.name,
        "ca": f"{tls}/ca.pem",
        "certificate": [f"{tls}/host.pem", f"{tls}/host.key"],
        "headers": {},
    }
    key = (site.STATE / "secrets/api_key_verify").read_text().strip()
    gateway = {
        "address": str(edge.ipv4),
        "port": 443,
        "name": edge.name,
        "ca": (site.STATE / "pki/root.pem").read_text(),
        "headers": {"Authorization": f"Bearer {key}"},
    }
    return {
        "socket": (core.name, "sudo python3", socket),
        "endpoint": (edge.name, "sudo python3", endpoint),
        "gateway": (lab.host("client").name, "python3", gateway),
    }


def body(size: int, number: int) -> str:
    """A request whose prompt has `size` bytes. Another number makes another one, within the prompt and around
    it, so that no cache of verdicts has seen it. The prompt's end differs, as its beginning is in the model's
    cache then: what the model computes is small, and nearly the same for all.
    """
    prompt = "what is kept in the zone? " * (size // 25 + 1)
    return json.dumps(
        {
            "model": MODEL,
            "stream": True,
            "max_tokens": 4,
            "seed": number,
            "messages": [{"role": "user", "content": f"{prompt[: size - 9]} {number:08d}"}],
        }
    )


def compare(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """p50 and p99 of each way, and how far they lie apart, in milliseconds.

    What is added is the difference of two percentiles, not a percentile of differences: no two requests
    belong together.
    """
    ranks = {"p50": 50, "p99": 99}
    found = {way: {rank: report.percentile(times[way], ranks[rank]) for rank in ranks} for way in WAYS}
    for name, (far, near) in ADDED.items():
        found[name] = {rank: found[far][rank] - found[near][rank] for rank in ranks}
    return found


def measure(lab: site.Site) -> list[dict[str, Any]]:
    numbers = count(1)
    found = []
    with ExitStack() as stack:
        asked = {way: stack.enter_context(client(*how)) for way, how in clients(lab).items()}
        for size in SIZES:
            for bodies in ("same", "new"):
                labs.step(f"{size} bytes of prompt, {bodies} body each time: {ROUNDS} requests each way")
                fixed = body(size, next(numbers))
                times: dict[str, list[float]] = {way: [] for way in WAYS}
                for turn in range(-WARM_UP, ROUNDS):
                    for place in range(len(WAYS)):  # each way comes first, second and third equally often
                        way = WAYS[(turn + place) % len(WAYS)]
                        taken = asked[way].ask(fixed if bodies == "same" else body(size, next(numbers)))
                        if turn >= 0:
                            times[way].append(taken)
                found.append({"prompt_bytes": size, "bodies": bodies, "milliseconds": compare(times)})
    return found


@contextmanager
def golden_model() -> Iterator[None]:
    arguments = ("site.yml", "--tags", "model,gateway")
    try:
        labs.step("The golden model is served")
        play(*arguments, "-e", f"stronghold_model={MODEL}")
        yield
    finally:
        labs.step("The declared model is served again")
        play(*arguments)


def show(measured: list[dict[str, Any]]) -> None:
    labs.step("Time to first byte of a streamed answer, milliseconds: p50 / p99")
    rows = [
        [
            f"{case['prompt_bytes']} bytes, {case['bodies']} body",
            *("{p50:.2f} / {p99:.2f}".format(**case["milliseconds"][column]) for column in (*WAYS, *ADDED)),
        ]
        for case in measured
    ]
    header = ["prompt", *WAYS, *(f"{far} - {near}" for far, near in ADDED.values())]
    print(text_table(header, rows))
    print(
        f"\n{ROUNDS} requests a cell, one at a time, on connections that stand. A byte of prompt is a token."
        "\nsocket: HTTP on the core host. endpoint: mutual TLS from the edge host, without WAF."
        "\ngateway: TLS from the client's host, njs, ModSecurity with CRS, and the endpoint's way behind it."
        "\nThe WAF cannot be turned off, so gateway - endpoint is WAF, njs and one more hop together."
        "\nDifferences are those of the percentiles."
    )


def main() -> None:
    with labs.a_lab() as bare:
        if bare or not labs.is_built():
            labs.bundle()
            labs.step("The site is built")
            play("site.yml")
        with golden_model():
            measured = measure(site.load())
    show(measured)
    report.keep("gateway", {"requests": ROUNDS, "model": MODEL, "cases": measured})


if __name__ == "__main__":
    main()
