"""A Slack webhook on loopback, which keeps what is posted to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to one request."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class SlackServer:
    """Answers `ok` to JSON with a text, `invalid_payload` to anything else. Use as a context.

    `messages` are the payloads taken, oldest first; `on_message` is called with each, from the server's thread.
    """

    def __init__(self, on_message: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self._on_message = on_message
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The webhook's address."""
        return f"http://127.0.0.1:{self._server.server_port}/services/T00000000/B00000000/simulated"

    def answer(self, body: bytes) -> Answer:
        """Take one post."""
        try:
            message = json.loads(body)
        except ValueError:
            return Answer(400, b"invalid_payload")
        if not isinstance(message, dict) or not message.get("text"):
            return Answer(400, b"no_text")
        self.messages.append(message)
        if self._on_message is not None:
            self._on_message(message)
        return Answer(200, b"ok")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(owner: SlackServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            answer = owner.answer(self.rfile.read(min(length, _LARGEST)))
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Stay silent: the demo prints the messages themselves."""

    return Handler
