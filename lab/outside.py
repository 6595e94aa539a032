# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers where the outside would be: TCP 443, UDP 9999 (echo) and DNS 53, IPv4 and IPv6.

The kernel answers the pings. A probe that cannot reach this through an open firewall is broken, and a
firewall that lets it through has a hole.
"""

from __future__ import annotations

import socket
import socketserver
import threading

ADDRESSES = ("198.51.100.53", "2001:db8:53::53")


class Greeting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"outside\n")


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


class Dns(socketserver.BaseRequestHandler):
    """Answers every question with NXDOMAIN (RFC 1035, 4.1.1): an answer is all a probe needs."""

    def handle(self) -> None:
        data, sock = self.request
        if len(data) >= 12:
            sock.sendto(data[:2] + b"\x81\x83" + data[4:6] + b"\0" * 6 + data[12:], self.client_address)


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Tcp6(Tcp):
    address_family = socket.AF_INET6


class Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


class Udp6(Udp):
    address_family = socket.AF_INET6


def servers(address: str) -> list[socketserver.BaseServer]:
    tcp, udp = (Tcp6, Udp6) if ":" in address else (Tcp, Udp)
    return [
        tcp((address, 443), Greeting),
        tcp((address, 53), Greeting),
        udp((address, 9999), Echo),
        udp((address, 53), Dns),
    ]


if __name__ == "__main__":
    threads = [
        threading.Thread(target=server.serve_forever) for address in ADDRESSES for server in servers(address)
    ]
    for thread in threads:
        thread.start()
