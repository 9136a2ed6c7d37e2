"""A server that misbehaves below the protocol: each connection is handed to one function."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

Fault = Callable[[socket.socket, threading.Event], None]


class FaultServer:
    """Listens on loopback; runs `fault` for each connection, in a thread, until the test is over."""

    def __init__(self, fault: Fault, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.connections = 0
        self._fault = fault
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/B0/canary-in-the-path"

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._stop_listening()
        for thread in self._threads:
            thread.join(5)

    def _listen(self) -> None:
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if self._tls is not None:
                with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                    self._fault(wrapped, self._over)
            else:
                self._fault(connection, self._over)


def hang(connection: socket.socket, over: threading.Event) -> None:
    """Accept and never say a word."""
    over.wait(30)


def answer(data: bytes) -> Fault:
    """Read the whole request, send exactly this, close in good order."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(data)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)

    return fault


def answer_then_hang(data: bytes) -> Fault:
    """Read the whole request, send this, and keep the connection open."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(data)
        over.wait(30)

    return fault


def reset_after(count: int) -> Fault:
    """Read so many bytes, then reset the connection."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        read = 0
        while read < count and (data := connection.recv(min(4096, count - read))):
            read += len(data)
        reset(connection)

    return fault


def reset_unanswered(connection: socket.socket, over: threading.Event) -> None:
    """Read the whole request, then reset instead of answering."""
    read_request(connection)
    reset(connection)


def byte_by_byte(data: bytes, *, every_s: float, unasked: bool = False) -> Fault:
    """Read the whole request, then send one byte at a time: no read of the other side ever times out."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        if not unasked:
            read_request(connection)
        for byte in data:
            connection.sendall(bytes([byte]))
            if over.wait(every_s):
                return

    return fault


def huge(head: bytes, size: int, *, unasked: bool = False) -> Fault:
    """Read the whole request, then send `head` and a body of so many bytes, as far as the other side takes it."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        if not unasked:
            read_request(connection)
        connection.sendall(head)
        block = b"x" * 65_536
        for _ in range(size // len(block)):
            connection.sendall(block)

    return fault


def smtp(*lines: bytes) -> Fault:
    """Speak these lines of SMTP, one per line heard, the first unasked; then hang. An empty line says nothing."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        stream = connection.makefile("rb")
        for number, line in enumerate(lines):
            if number:
                heard = stream.readline()
                while lines[number - 1].startswith(b"354") and heard not in (b".\r\n", b""):
                    heard = stream.readline()
            if line:
                connection.sendall(line + b"\r\n")
        over.wait(30)

    return fault


def smtp_until_close(*lines: bytes) -> Fault:
    """Like `smtp`, but hear one more line (or the message) and close the connection."""
    spoken = smtp(*lines, b"")

    def fault(connection: socket.socket, over: threading.Event) -> None:
        done = threading.Event()
        done.set()
        spoken(connection, done)

    return fault


def read_request(connection: socket.socket) -> bytes:
    """Read one HTTP request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65_536)
        if not got:
            return data
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        got = connection.recv(65_536)
        if not got:
            break
        body += got
    return head + b"\r\n\r\n" + body


def reset(connection: socket.socket) -> None:
    """Close with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
