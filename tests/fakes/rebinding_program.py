"""In a network of its own, where 203.0.113.x would be too honest: a DNS server on port 53, a public address, metadata.

Started by `unshare --mount --net`, as root there. Prints one JSON line: for each scenario what was raised, and how
often each address was connected to. Everything is real: getaddrinfo, resolv.conf, TLS, the receivers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import trustme

from alarms import registry
from alarms.errors import OutsideError
from tests.fakes.dns_server import RebindingDns
from tests.fakes.messages import MESSAGE, NOW

PUBLIC, ELSEWHERE, METADATA, HOME = "93.184.216.34", "93.184.216.35", "169.254.169.254", "127.0.0.1"
NAMES = ("rebind", "naive", "mixed", "mixed6", "flip", "redirect", "mail", "fixed")
ZONE = {
    "rebind.example": [[PUBLIC], [HOME], [METADATA]],
    "naive.example": [[PUBLIC], [HOME]],
    "mixed.example": [[PUBLIC, "10.0.0.7"]],
    "mixed6.example": [[PUBLIC, "::1"]],
    "flip.example": [[METADATA], [PUBLIC]],
    "redirect.example": [[PUBLIC]],
    "mail.example": [[PUBLIC, HOME]],
    "fixed.example": [[PUBLIC]],
}
LITERALS = ("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::1]", METADATA, "localhost")
_SIOCSIFFLAGS, _SIOCSIFADDR, _UP = 0x8914, 0x8916, 0x1


class Places:
    """Listens at each address on 443 (TLS) and 80, and counts who comes."""

    def __init__(self, ca: trustme.CA) -> None:
        self.visits: dict[str, int] = {}
        self.said: list[bytes] = []
        self.names: list[str | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*(f"{name}.example" for name in NAMES)).configure_cert(self._context)
        self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        for address in (PUBLIC, ELSEWHERE, METADATA, HOME):
            for port in (443, 80, 587):
                listener = socket.create_server((address, port))
                threading.Thread(target=self._serve, args=(f"{address}:{port}", listener), daemon=True).start()

    def _serve(self, place: str, listener: socket.socket) -> None:
        self.visits[place] = 0
        while True:
            connection, _ = listener.accept()
            self.visits[place] += 1
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                if place.endswith(":443"):
                    with self._context.wrap_socket(connection, server_side=True) as inside:
                        self._answer(inside)

    def _answer(self, connection: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(65536)
        self.said.append(asked)
        if b"Host: redirect.example" in asked:
            where = f"Location: http://{METADATA}/latest/meta-data/"
            connection.sendall(f"HTTP/1.1 302 Found\r\n{where}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)


def main() -> None:
    make_network(Path(sys.argv[1]))
    ca = trustme.CA()
    authority = Path(sys.argv[1], "ca.pem")
    ca.cert_pem.write_to_path(str(authority))
    os.environ["SSL_CERT_FILE"] = str(authority)
    places = Places(ca)
    with RebindingDns(ZONE, (HOME, 53)) as dns:
        results = {
            "rebind": [outcome(webhook("rebind.example")) for _ in range(3)],
            "naive": naive("naive.example"),
            "mixed": outcome(webhook("mixed.example")),
            "mixed6": outcome(webhook("mixed6.example")),
            "flip": outcome(webhook("flip.example")),
            "redirect": outcome(webhook("redirect.example")),
            "mail": outcome(mail("mail.example")),
            "sns": outcome(sns("mixed.example")),
            "literals": {host: outcome(webhook(host)) for host in LITERALS},
        }
        visits = dict(places.visits)
        results["proxied literals"] = proxied_literals()
        results["proxied name"] = outcome(webhook("mixed.example"))
        through_proxy = places.visits[f"{HOME}:80"] - visits[f"{HOME}:80"]
    asked = {f"{name} {'A' if kind == 1 else 'AAAA'}": count for (name, kind), count in dns.asked.items()}
    more = {"visits": visits, "asked": asked, "names": places.names, "through_proxy": through_proxy}
    heads = [said.decode().split("\r\n")[:2] for said in places.said]
    print(json.dumps({**results, **more, "heads": heads}))


def make_network(directory: Path) -> None:
    """Bring loopback up with the addresses of the play, and make our DNS server the resolver."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP))
        for number, address in enumerate((PUBLIC, ELSEWHERE, METADATA)):
            family = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("16s16s", f"lo:{number}".encode(), family))
    files = {"resolv.conf": f"nameserver {HOME}\noptions timeout:2 attempts:2\n", "nsswitch.conf": "hosts: files dns\n"}
    for name, text in files.items():
        made = directory / name
        made.write_text(text)
        subprocess.run(["mount", "--bind", str(made), str(Path("/etc", name).resolve())], check=True)


def naive(name: str) -> str:
    """What many programs do: look, then connect by name. Shows that the trap works."""
    seen = [str(answer[4][0]) for answer in socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)]
    with socket.create_connection((name, 443), 5) as connection:
        return f"saw {seen[0]}, reached {connection.getpeername()[0]}"


def proxied_literals() -> dict[str, str]:
    """With a proxy, which looks names up itself, an address in the URL is judged all the same."""
    os.environ["HTTPS_PROXY"] = f"http://{HOME}:80"
    return {host: outcome(webhook(host)) for host in LITERALS if host != "localhost"}


def webhook(host: str) -> Callable[[], Any]:
    return sender({"name": "hook", "type": "webhook", "url": f"https://{host}/canary"})


def mail(host: str) -> Callable[[], Any]:
    addresses = {"sender": "a@example.com", "to": ["b@example.com"]}
    return sender({"name": "mail", "type": "email", "host": host, **addresses})


def sns(host: str) -> Callable[[], Any]:
    topic = "arn:aws:sns:us-east-1:123456789012:alarms"
    return sender({"name": "topic", "type": "sns", "topic_arn": topic, "endpoint_url": f"https://{host}"})


def sender(settings: dict[str, Any]) -> Callable[[], Any]:
    module = registry.load(settings["type"])
    made = module.create(module.Settings.model_validate(settings), now=lambda: NOW, deadline_s=10)
    return lambda: made.send(replace(MESSAGE, receiver=settings["name"]))


def outcome(send: Callable[[], Any]) -> str:
    try:
        send()
    except OutsideError as error:
        return f"{type(error).__name__}: {error}"
    return "sent"


if __name__ == "__main__":
    main()
