# SPDX-License-Identifier: GPL-3.0-or-later
"""Knocking: one try for each case, all at the same time, from the host on which this runs."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

AT_ONCE = 512  # tries in flight; each is a socket
# No route, no address of that family, nobody on the link, or a router says so. Any other error is one of ours
# (too many open files, say) and must not pass for a closed way.
NO_WAY = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EACCES,
    errno.EADDRNOTAVAIL,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
}

# "site." A, recursion desired (RFC 1035, 4.1). Any answer will do.
DNS_QUESTION = struct.pack(">6H", 0x5354, 0x0100, 1, 0, 0, 0) + b"\x04site\x00" + struct.pack(">2H", 1, 1)
ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}  # type of request and of reply (RFC 792, 4443)


class Knock(Protocol):
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int | None: ...
    @property
    def proto(self) -> str: ...
    @property
    def expect(self) -> str: ...


@dataclass(frozen=True)
class _Try:
    """A socket's family, address and the seconds that an answer may take."""

    family: socket.AddressFamily
    address: tuple[str, int]
    seconds: float


def knock_all(cases: Sequence[Knock], seconds: float) -> list[str]:
    """The outcome of each case, in their order: open, refused, filtered or unreachable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2 * AT_ONCE), hard), hard))
    return asyncio.run(_knock_all(cases, seconds))


async def _knock_all(cases: Sequence[Knock], seconds: float) -> list[str]:
    turn = asyncio.Semaphore(AT_ONCE)

    async def patiently(case: Knock) -> str:
        async with turn:
            outcome = await _knock(case, seconds)
            if outcome == "filtered" and case.expect == "open":
                # A packet may get lost on a busy day: silence on an open way is asked once more.
                outcome = await _knock(case, 3 * seconds)
            return outcome

    return await asyncio.gather(*map(patiently, cases))


async def _knock(case: Knock, seconds: float) -> str:
    family = socket.AF_INET6 if ":" in case.address else socket.AF_INET
    attempt = _Try(family, (case.address, case.port or 0), seconds)
    try:
        if case.proto == "tcp":
            await _tcp(attempt)
        elif case.proto == "icmp":
            await _echo(attempt)
        else:
            await _udp(attempt, DNS_QUESTION if case.proto == "dns" else b"stronghold probe\n")
    except OSError as error:
        return _outcome(error)
    return "open"


def _outcome(error: OSError) -> str:
    if isinstance(error, ConnectionError):  # a reset, or ICMP port unreachable: the packet arrived
        return "refused"
    if isinstance(error, TimeoutError) or error.errno == errno.EPERM:  # EPERM: this host's own firewall
        return "filtered"
    if error.errno in NO_WAY:
        return "unreachable"
    raise error


async def _tcp(attempt: _Try) -> None:
    with _socket(attempt, socket.SOCK_STREAM) as sock:
        await asyncio.wait_for(
            asyncio.get_running_loop().sock_connect(sock, attempt.address), attempt.seconds
        )


async def _udp(attempt: _Try, datagram: bytes) -> None:
    with _socket(attempt, socket.SOCK_DGRAM) as sock:
        sock.connect(attempt.address)
        sock.send(datagram)
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 2048), attempt.seconds)


async def _echo(attempt: _Try) -> None:
    """An echo request over a raw socket, which root always has; ping sockets may be switched off."""
    request, reply = ECHO[attempt.family]
    proto = socket.IPPROTO_ICMP if attempt.family == socket.AF_INET else socket.IPPROTO_ICMPV6
    token = os.urandom(16)
    with _socket(attempt, socket.SOCK_RAW, proto) as sock:
        sock.connect(attempt.address)  # from now on, only packets of that address
        sock.send(echo_packet(request, token))
        await asyncio.wait_for(_matching(sock, reply, token), attempt.seconds)


async def _matching(sock: socket.socket, reply: int, token: bytes) -> None:
    while True:
        packet = await asyncio.get_running_loop().sock_recv(sock, 2048)
        if sock.family == socket.AF_INET:  # a raw IPv4 socket gives the IP header too
            packet = packet[(packet[0] & 0x0F) * 4 :]
        if packet[0] == reply and packet[4:] == token:
            return


def echo_packet(kind: int, token: bytes) -> bytes:
    """Type, code, checksum, then identifier, sequence and data, all three by chance.

    With a fixed identifier, a firewall would take a second try for one more packet of the first one's flow.
    For ICMPv6 the kernel fills the checksum in anew.
    """
    blank = struct.pack(">BBH", kind, 0, 0) + token
    return blank[:2] + struct.pack(">H", checksum(blank)) + blank[4:]


def checksum(data: bytes) -> int:
    """RFC 1071: the ones' complement of the ones' complement sum of all 16-bit words."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _socket(attempt: _Try, kind: socket.SocketKind, proto: int = 0) -> socket.socket:
    sock = socket.socket(attempt.family, kind, proto)
    sock.setblocking(False)
    return sock
