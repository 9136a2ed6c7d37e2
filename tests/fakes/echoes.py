"""The nosiest other side there can be: whatever it is told, it tells back, in every place where an answer has text."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable
from urllib.parse import quote

from tests.fakes.fault_server import Fault, read_request, reset

# (status, whether to add the echo to the headers)
STATUSES = (400, 401, 403, 404, 407, 409, 410, 413, 418, 422, 429, 500, 502, 503, 302, 308, 200, 204)


def echo(status: int) -> Fault:
    """Answer with this status; body, headers and reason hold the request as it is, URL-encoded and in base64."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        request = read_request(connection)
        line = request.split(b"\r\n", 1)[0].decode("latin-1")
        flat = request.replace(b"\r\n", b" | ").decode("latin-1")
        body = "\n".join((flat, quote(flat), base64.b64encode(request).decode(), request.hex())).encode("latin-1")
        head = f"HTTP/1.1 {status} {line}\r\nLocation: http://127.0.0.1:9/{quote(flat)}\r\nRetry-After: {line}\r\n"
        head += f"X-Echo: {flat[:2000]}\r\nContent-Type: text/plain\r\nx-amzn-RequestId: {flat[:500]}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)

    return fault


def aws_error(status: int) -> Fault:
    """An error of AWS's query protocol whose code and message are what was sent."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        told = read_request(connection).decode("latin-1").replace("&", "&amp;").replace("<", "&lt;")
        error = f"<Type>Sender</Type><Code>{told}</Code><Message>{told}</Message>"
        body = f"<ErrorResponse><Error>{error}</Error><RequestId>{told}</RequestId></ErrorResponse>".encode("latin-1")
        head = f"HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)

    return fault


def no_http(connection: socket.socket, over: threading.Event) -> None:
    """Send the request itself back as the answer."""
    connection.sendall(read_request(connection))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def half(connection: socket.socket, over: threading.Event) -> None:
    """Promise more than comes, then reset."""
    request = read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + request)
    reset(connection)


def smtp(code: int, *, at: str = "AUTH") -> Fault:
    """A mail server that answers from this command on with the code and all that it was told so far, decoded too."""

    def fault(connection: socket.socket, over: threading.Event) -> None:
        stream = connection.makefile("rb")
        told: list[str] = []
        connection.sendall(b"220 echo\r\n")
        for line in stream:
            told.append(line.decode("latin-1").strip())
            told += list(_decoded(told[-1]))
            words = " ".join(told)[-400:]
            if told[0] and any(one.upper().startswith(at) for one in told):
                connection.sendall(f"{code} 5.7.8 {words}\r\n".encode("latin-1", "replace"))
            elif line.upper().startswith(b"EHLO"):
                connection.sendall(b"250-echo\r\n250 AUTH PLAIN LOGIN\r\n")
            else:
                connection.sendall(b"250 ok\r\n")

    return fault


def _decoded(line: str) -> list[str]:
    with contextlib.suppress(ValueError):
        return [base64.b64decode(line.rsplit(maxsplit=1)[-1], validate=True).decode("latin-1").replace("\0", " ")]
    return []


class Changing:
    """A fault that can be another one for the next connection. `heard` counts connections."""

    def __init__(self, fault: Fault) -> None:
        self.now: Callable[[socket.socket, threading.Event], None] = fault
        self.heard = 0

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        self.heard += 1
        self.now(connection, over)
