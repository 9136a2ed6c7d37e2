"""What requests lets pass in an answer of Google, and we do not: no end, the same key twice, nesting without end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from alarms.clients import dates, strict_json
from alarms.errors import TemporaryError

# A page of BigQuery has 20 MB at most.
LARGEST = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_REFUSED = 300


def bounded(count: Callable[[], None]) -> HTTPAdapter:
    """An adapter for a session of requests that holds its answers to that; `count` is called before each request."""
    return _Bounded(count)


class _Bounded(HTTPAdapter):
    def __init__(self, count: Callable[[], None]) -> None:
        super().__init__(max_retries=0)
        self._count = count

    def send(self, request: PreparedRequest, *args: Any, **more: Any) -> Response:
        self._count()
        response = super().send(request, *args, **(more | {"stream": True}))
        dates.note(urlsplit(request.url or "").netloc, response.headers.get("Date"), cached="Age" in response.headers)
        body = _read(response)
        # There is no public way to bound what requests reads: where its property `content` looks first.
        response._content = body  # noqa: SLF001
        if response.status_code < _REFUSED:
            _check(body)
        return response


def _read(response: Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > LARGEST:
            response.close()
            body.clear()  # the error's traceback would keep it until the garbage is collected
            raise TemporaryError(f"Google sent an answer of more than {LARGEST // 2**20} MB, which is not read")
    return bytes(body)


def _check(body: bytes) -> None:
    """As the SDK reads it; but it takes the last of two equal keys, and falls over what is nested too deeply."""
    try:
        strict_json.loads(body or b"{}", "Google")
    except ValueError:
        return  # the SDK falls over it in its own way
