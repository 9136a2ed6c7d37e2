"""Takes answers of Azure from the SDK's pipeline as they come, before anybody makes floats of their numbers."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from alarms.clients import dates
from alarms.clients.azure_refusals import Asked, refused
from alarms.errors import TemporaryError

_LARGEST = 32 * 1024 * 1024
_LARGEST_REFUSAL = 64 * 1024


class Body:
    """The text of one answer; None if it has no content. `take` is a `raw_response_hook`."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.content: bytes | None = None

    def take(self, response: Any) -> None:
        """Read it to its end, with a limit. Raises OutsideError for what is no success."""
        answer = response.http_response
        headers = {name.lower(): value for name, value in answer.headers.items()}
        dates.note(urlsplit(answer.request.url).netloc, headers.get("date"), cached="age" in headers)
        if answer.status_code in (200, 201):
            self.content = _bytes_of(answer, _LARGEST)
        elif answer.status_code != 204:  # noqa: PLR2004 - HTTP
            try:
                said = _bytes_of(answer, _LARGEST_REFUSAL)
            except TemporaryError:  # a refusal is a refusal, however long its explanation is
                said = b""
            raise self.refusal(answer.status_code, headers, said)

    def refusal(self, status: int, headers: dict[str, str], body: bytes) -> Exception:
        """The error for an answer that is no success."""
        return refused(status, headers, body, self._asked)


def token_of(link: Any) -> str:
    """Which page a `nextLink` names; "" if it names none."""
    try:
        query = parse_qsl(urlsplit(link).query) if isinstance(link, str) else []
    except ValueError:
        return ""
    return next((value for name, value in query if name.lower().lstrip("$") == "skiptoken"), "")


def _bytes_of(answer: Any, limit: int) -> bytes:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > limit:
            answer.close()
            raise TemporaryError(f"Azure sent an answer of more than {limit // 2**20} MB, which is not read")
    return bytes(body)
