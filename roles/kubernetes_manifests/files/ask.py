#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""ask.py TLS PORT PATH [WORD]: whether the engine in this pod answers 200, and names WORD, over mutual TLS.

The pod's own certificate vouches for both ends, so nothing but the engine of this site is taken for it.
"""

import http.client
import ssl
import sys


def answer(tls: str, port: int, path: str) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=f"{tls}/ca.crt")
    context.check_hostname = False  # the name is the host's, and this is the loopback
    context.load_cert_chain(f"{tls}/tls.crt", f"{tls}/tls.key")
    connection = http.client.HTTPSConnection("localhost", port, timeout=4, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def main(tls: str, port: str, path: str, word: str = "") -> int:
    try:
        status, text = answer(tls, int(port), path)
    except (OSError, http.client.HTTPException) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    if status != 200 or word not in text:
        print(f"{path}: {status}, and {word or 'nothing'} was looked for in it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
