"""What botocore lets pass in an answer, and we do not: no end, the same key twice, being asked to wait."""

from __future__ import annotations

import json
from typing import Any

from alarms.clients.http import parse_retry_after
from alarms.errors import TemporaryError

# The longest honest answer, 100,800 readings of 500 metrics, has 3 MB.
LARGEST = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_LATER = (429, 503)


def guard(client: Any) -> None:
    """Hold the answers to this client of boto3 to that. Its calls then raise OutsideError as well."""
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-parse.{service}", _check, unique_id="monitor-check")
    client.meta.events.register(f"needs-retry.{service}", _obey, unique_id="monitor-retry-after")
    # There is no public way to bound what botocore reads.
    client._endpoint.http_session = _Bounded(client._endpoint.http_session)  # noqa: SLF001


class _Bounded:
    """An HTTP session of botocore whose answers have an end."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def send(self, request: Any) -> Any:
        # Or it would read the answer itself, to the end, and keep all of it.
        request.stream_output = True
        response = self._session.send(request)
        response._content = _read(response, request)  # noqa: SLF001 - where its property `content` looks first
        return response

    def close(self) -> None:
        self._session.close()


def _read(response: Any, request: Any) -> bytes:
    """The body; what breaks off raises what botocore itself would raise, so that it is tried again the same way."""
    from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
    from urllib3.exceptions import HTTPError, ProtocolError
    from urllib3.exceptions import ReadTimeoutError as TooSlowError

    body = bytearray()
    try:
        for chunk in response.raw.stream(_CHUNK):
            body += chunk
            if len(body) > LARGEST:
                response.raw.close()
                body.clear()  # the error's traceback would keep it until the garbage is collected
                raise TemporaryError(f"AWS sent an answer of more than {LARGEST // 2**20} MB, which is not read")
    except TooSlowError as error:
        raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
    except ProtocolError as error:
        raise ConnectionClosedError(endpoint_url=request.url, error=error, request=request) from error
    except (HTTPError, OSError) as error:
        raise HTTPClientError(error=error) from error
    return bytes(body)


def _check(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """Before botocore reads it."""
    body, headers = response_dict["body"], response_dict["headers"]
    if isinstance(body, bytes) and body.lstrip().startswith((b"{", b"[")):
        _check_json(operation_model, body)
    elif response_dict["status_code"] in _LATER and "retry-after" in headers and b"<Code>" not in body:
        # Of a gateway: what is no answer of AWS botocore does not read, and the header would be lost.
        raise TemporaryError(
            f"{operation_model.name} was answered with status {response_dict['status_code']}, but not by AWS",
            retry_after=parse_retry_after(headers.get("retry-after"), headers.get("date")),
        )


def _check_json(operation_model: Any, body: bytes) -> None:
    """Of two equal keys botocore takes the last, and it falls over what is nested too deeply."""
    try:
        json.loads(body, object_pairs_hook=_once_each)
    except RecursionError:
        raise _nonsense(operation_model, "nested too deeply") from None
    except _TwiceError:
        raise _nonsense(operation_model, "with the same key twice") from None
    except ValueError:
        return  # no JSON at all: botocore says what it makes of that


class _TwiceError(Exception):
    """A key stands twice in one object."""


def _once_each(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _TwiceError


def _nonsense(operation_model: Any, how: str) -> TemporaryError:
    return TemporaryError(f"AWS answered {operation_model.name} with JSON that is {how}")


def _obey(response: Any, operation: Any, **_: Any) -> None:
    """Who asks us to wait is not asked again within the call: whoever made it sees to that."""
    from botocore.exceptions import ClientError

    if response is None:
        return
    answer = response[1]
    metadata = answer.get("ResponseMetadata", {})
    if metadata.get("HTTPStatusCode", 0) >= 300 and "retry-after" in metadata.get("HTTPHeaders", {}):  # noqa: PLR2004 - not a success
        raise ClientError(answer, operation.name)
