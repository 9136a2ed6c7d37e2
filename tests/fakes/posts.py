"""A server on loopback that keeps every post, headers included, and gives scripted answers first."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from monitor.simulation.slack import Answer


@dataclass(frozen=True)
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


class PostServer:
    """Answers with `script` first, then as `answer` says. `posts` are all requests, oldest first."""

    def __init__(self, *script: Answer) -> None:
        self.posts: list[Post] = []
        self.script = list(script)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, post: Post) -> Answer:
        return Answer(200, b"")

    def take(self, post: Post) -> Answer:
        self.posts.append(post)
        return self.script.pop(0) if self.script else self.answer(post)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(owner: PostServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            assert len(self.headers.items()) == len({name.lower() for name in self.headers}), "a header came twice"
            answer = owner.take(Post(self.path, dict(self.headers.items()), body))
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *args: object) -> None:
            pass

    return Handler
