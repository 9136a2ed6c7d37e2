"""A DNS server that changes its mind: each name has a list of answers, one per query, the last for ever."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections import Counter
from typing import Self

_A, _AAAA = 1, 28
_TTL_S = 0

# By name: for each query of a kind, the addresses to give.
Zone = dict[str, list[list[str]]]


class RebindingDns:
    """Answers A and AAAA over UDP on `address`. `asked`: how often each (name, kind) was."""

    def __init__(self, zone: Zone, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self._zone = zone
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()
        return str(host), int(port)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over = True
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
            waking.sendto(b"", self.address)
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, peer = self._socket.recvfrom(4096)
            if self._over:
                return
            self._socket.sendto(self._answer(query), peer)

    def _answer(self, query: bytes) -> bytes:
        name, kind, end = _question(query)
        number = self.asked[(name, kind)]
        self.asked[(name, kind)] += 1
        answers = self._zone.get(name)
        found = [] if answers is None else answers[min(number, len(answers) - 1)]
        version = 4 if kind == _A else 6
        records = [one for one in map(ipaddress.ip_address, found) if one.version == version and kind in (_A, _AAAA)]
        flags = 0x8180 if answers is not None else 0x8183  # no such name
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        body = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, _TTL_S, len(r.packed)) + r.packed for r in records)
        return head + query[12:end] + body


def ask(server: tuple[str, int], name: str) -> list[str]:
    """The IPv4 addresses of a name, straight from this server."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00" + struct.pack("!HH", _A, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(query, server)
        answer = client.recv(4096)
    (count,) = struct.unpack("!H", answer[6:8])
    records = answer[len(query) :]
    return [str(ipaddress.ip_address(records[16 * i + 12 : 16 * i + 16])) for i in range(count)]


def _question(query: bytes) -> tuple[str, int, int]:
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
    return ".".join(labels).lower(), kind, at + 5
