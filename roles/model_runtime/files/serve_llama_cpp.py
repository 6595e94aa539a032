#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""serve_llama_cpp.py CONFIG: llama.cpp's own server, on a Unix socket, as CONFIG (JSON) says.

llama.cpp shares its context out among the slots, so it is given as many tokens as all slots need together.
"""

import json
import signal
import sys
from pathlib import Path

import xllamacpp


def parameters(config: dict) -> "xllamacpp.CommonParams":
    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(Path(config["folder"], config["file"]))
    wanted.model_alias = {config["model"]}
    wanted.hostnames = [config["socket"]]
    wanted.n_parallel = config["slots"]
    wanted.n_ctx = config["context_tokens"] * config["slots"]
    wanted.endpoint_metrics = True
    wanted.endpoint_slots = False
    wanted.ui = False
    wanted.offline = True
    return wanted


if __name__ == "__main__":
    # Blocked before the engine starts its threads, or one of them would take the signal and die of it.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = xllamacpp.Server(parameters(json.loads(Path(sys.argv[1]).read_text())))
    print(f"serving on {server.listening_address}", flush=True)
    signal.sigwait(ends)
    del server
