# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the HTTP status of an answer, or how the handshake failed. Sent to a host as text."""

import http.client
import ssl
import sys

address, port, path, certificate, newest = sys.argv[1:]
context = ssl.create_default_context(cafile="/etc/stronghold/tls/ca.pem")
context.maximum_version = getattr(ssl.TLSVersion, newest)
if certificate == "own":
    context.load_cert_chain("/etc/stronghold/tls/host.pem", "/etc/stronghold/tls/host.key")
connection = http.client.HTTPSConnection(address, int(port), context=context, timeout=10)
try:
    connection.request("GET", path)
    print(connection.getresponse().status)
except ssl.SSLError as error:
    print(error.reason)
