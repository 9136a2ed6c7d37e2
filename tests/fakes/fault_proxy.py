"""A proxy on loopback in front of a real server, which does to each connection what its script says.

The words are those of `fault_server`: a fault is a function that is handed the connection. Without one, bytes are
passed on, both ways, as far and as fast as the plan says. It can speak TLS in front of a server that does not, with a
good certificate or a bad one.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme

from tests.fakes.fault_server import Fault, FaultServer, answer, byte_by_byte, hang, huge, reset, reset_after

_BLOCK = 65_536


@dataclass(frozen=True)
class Plan:
    """What to do with a connection.

    `tls`: the certificate to show, None for not even a handshake (only where the proxy speaks TLS). `fault` instead of
    passing bytes on. Else `asked` and `answered`: so many bytes of either direction are passed on, then it is reset
    (`then="reset"`) or closed; `pace_s`: an answer goes out a byte at a time, so long apart. `refuse`: nobody listens.
    """

    fault: Fault | None = None
    tls: str | None = "good"
    asked: int | None = None
    answered: int | None = None
    then: str = "close"
    pace_s: float = 0.0
    refuse: bool = False


PASS = Plan()


def half_close(connection: socket.socket, over: threading.Event) -> None:
    """End our half at once, and keep the other open."""
    connection.shutdown(socket.SHUT_WR)
    over.wait(30)


def http_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; underscores in the names of headers stand for hyphens."""
    named = {"Content-Length": str(len(body)), "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Answer\r\n{head}\r\n".encode() + body


HTML = b"<!doctype html><html><title>Sign in to the Wi-Fi</title><form action=/login></form></html>"
DEEP = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
_JSON = {"Content_Type": "application/x-amz-json-1.0"}

# What can happen to a connection whatever is spoken over it.
TCP = {
    "refused": Plan(refuse=True),
    "accepted and hung": Plan(hang, tls=None),
    "half closed": Plan(half_close),
    "reset at once": Plan(reset_after(0), tls=None),
    "reset after 40 bytes": Plan(asked=40, then="reset"),
    "answer reset after 10 bytes": Plan(answered=10, then="reset"),
    "answer cut off after 10 bytes": Plan(answered=10),
    "one byte a second": Plan(pace_s=1.0),
}
# And to one that speaks TLS.
TLS = {
    "certificate of another host": Plan(hang, tls="elsewhere"),
    "certificate expired": Plan(hang, tls="expired"),
    "certificate of nobody": Plan(hang, tls="unknown"),
    "only TLS 1.0": Plan(hang, tls="old"),
}
# And where HTTP is spoken.
HTTP = {
    "hung after the handshake": Plan(hang),
    "HTML with 200": Plan(answer(http_answer(200, HTML, Content_Type="text/html"))),
    "empty with 200": Plan(answer(http_answer(200))),
    "429": Plan(answer(http_answer(429))),
    "429 with Retry-After": Plan(answer(http_answer(429, Retry_After="600"))),
    "500": Plan(answer(http_answer(500))),
    "502": Plan(answer(http_answer(502, HTML))),
    "503 with Retry-After": Plan(answer(http_answer(503, Retry_After="600"))),
    "100 MB": Plan(huge(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", 104_857_600)),
    "deep JSON": Plan(answer(http_answer(200, DEEP, **_JSON))),
    "JSON with a key twice": Plan(answer(http_answer(200, b'{"ok": true, "ok": false}', **_JSON))),
    "no JSON": Plan(answer(http_answer(200, b'{"ok": tru', **_JSON))),
    "a header without end": Plan(byte_by_byte(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100, every_s=1.0)),
}


def json_answer(document: Any) -> Plan:
    """What AWS JSON 1.0 says with 200; NaN and Infinity are written as Python does."""
    return Plan(answer(http_answer(200, json.dumps(document).encode(), **_JSON)))


class Authority:
    """Certificates by name, for 127.0.0.1 unless the name says otherwise; `file` makes the good one trusted."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.file = directory / "authority.pem"
        authority.cert_pem.write_to_path(str(self.file))
        certificates = {
            "good": authority.issue_cert("127.0.0.1"),
            "elsewhere": authority.issue_cert("elsewhere.example"),
            "expired": authority.issue_cert("127.0.0.1", not_after=datetime(2001, 1, 1, tzinfo=UTC)),
            "unknown": trustme.CA().issue_cert("127.0.0.1"),
            "old": authority.issue_cert("127.0.0.1"),
        }
        self.contexts: dict[str, ssl.SSLContext] = {}
        for name, certificate in certificates.items():
            self.contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self.contexts[name])
        # OpenSSL speaks what is as old as that only without any security, and says so.
        self.contexts["old"].set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.contexts["old"].minimum_version = self.contexts["old"].maximum_version = ssl.TLSVersion.TLSv1


class FaultProxy(FaultServer):
    """Stands before `upstream`, a port of 127.0.0.1, and counts what comes.

    `always` is what happens to every connection (a change ends those that are open), `script` to the next ones before
    that. `times`: when each came, in monotonic seconds. `authority`: TLS is spoken with whoever connects.
    """

    def __init__(self, upstream: int, authority: Authority | None = None) -> None:
        # Keeps the port from others while nobody listens on it.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        super().__init__(hang, port=self._holder.getsockname()[1])
        self.script: deque[Plan] = deque()
        self.times: list[float] = []
        self._upstream = upstream
        self._authority = authority
        self._always = PASS
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    @property
    def port(self) -> int:
        port: int = self._holder.getsockname()[1]
        return port

    @property
    def always(self) -> Plan:
        return self._always

    @always.setter
    def always(self, plan: Plan) -> None:
        was, self._always = self._always, plan
        with self._lock:
            # Or a client that keeps its connection would not notice.
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        if plan.refuse and not was.refuse:
            self._stop_listening()
        elif was.refuse and not plan.refuse:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listen()

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self._holder.close()

    def _serve(self, connection: socket.socket) -> None:
        self.times.append(time.monotonic())
        plan = self.script.popleft() if self.script else self._always
        with contextlib.suppress(OSError), connection, self._known(connection):
            connection.settimeout(10)
            if self._authority is None or plan.tls is None:
                self._follow(plan, connection)
                return
            with self._authority.contexts[plan.tls].wrap_socket(connection, server_side=True) as wrapped:
                self._follow(plan, wrapped)

    @contextlib.contextmanager
    def _known(self, connection: socket.socket) -> Iterator[None]:
        """Among the open ones; a duplicate, for TLS takes the original's file descriptor away."""
        with connection.dup() as duplicate:
            with self._lock:
                self._open.add(duplicate)
            try:
                yield
            finally:
                with self._lock:
                    self._open.discard(duplicate)

    def _follow(self, plan: Plan, connection: socket.socket) -> None:
        if plan.fault is not None:
            plan.fault(connection, self._over)
            return
        with socket.create_connection(("127.0.0.1", self._upstream), 10) as upstream:
            self._pass_on(plan, connection, upstream)

    def _pass_on(self, plan: Plan, connection: socket.socket, upstream: socket.socket) -> None:
        left = {connection: plan.asked, upstream: plan.answered}
        while not self._over.is_set():
            for source in _readable(connection, upstream):
                data = source.recv(_BLOCK)
                rest = left[source]
                if rest is not None:
                    data = data[:rest]
                    left[source] = rest - len(data)
                if source is connection:
                    upstream.sendall(data)
                else:
                    self._send(connection, data, plan.pace_s)
                if not data or left[source] == 0:
                    if plan.then == "reset" and left[source] == 0:
                        reset(connection)
                    return

    def _send(self, connection: socket.socket, data: bytes, pace_s: float) -> None:
        if not pace_s:
            connection.sendall(data)
            return
        for byte in data:
            connection.sendall(bytes([byte]))
            if self._over.wait(pace_s):
                return


def _readable(connection: socket.socket, upstream: socket.socket) -> list[socket.socket]:
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return [connection]
    return select.select([connection, upstream], [], [], 0.1)[0]
