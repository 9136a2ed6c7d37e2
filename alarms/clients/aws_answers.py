"""What botocore lets pass in an answer, and we do not: no end, the same key twice, being asked to wait."""

from __future__ import annotations

from typing import Any

from alarms.clients import strict_json
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
    # There is no public way to bound what botocore reads, nor to choose how.
    endpoint = client._endpoint  # noqa: SLF001
    endpoint.http_session = _Bounded(endpoint.http_session)
    endpoint._response_parser_factory = _StrictParsers(endpoint._response_parser_factory)  # noqa: SLF001


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


class _StrictParsers:
    """The parsers of botocore; those of JSON read it with `_strict_json`."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def create_parser(self, protocol: str) -> Any:
        parser = self._factory.create_parser(protocol)
        if hasattr(parser, "_parse_body_as_json"):
            parser._parse_body_as_json = _strict_json  # noqa: SLF001 - a second reading before it would cost a tenth
        return parser


def _strict_json(body: bytes) -> Any:
    """As botocore reads it; but it takes the last of two equal keys, and falls over what is nested too deeply."""
    text = body.decode()
    try:
        return strict_json.loads(text, "AWS") if text else {}
    except ValueError:
        return {"message": text}


def _check(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """Before botocore reads it: what a gateway says is no answer of AWS, and its header would be lost."""
    body, headers, status = response_dict["body"], response_dict["headers"], response_dict["status_code"]
    if status in _LATER and "retry-after" in headers and not (b"<Code>" in body or body.lstrip().startswith(b"{")):
        raise TemporaryError(
            f"{operation_model.name} was answered with status {status}, but not by AWS",
            retry_after=parse_retry_after(headers.get("retry-after"), headers.get("date")),
        )


def _obey(response: Any, operation: Any, **_: Any) -> None:
    """Who asks us to wait is not asked again within the call: whoever made it sees to that."""
    from botocore.exceptions import ClientError

    if response is None:
        return
    answer = response[1]
    metadata = answer.get("ResponseMetadata", {})
    if metadata.get("HTTPStatusCode", 0) >= 300 and "retry-after" in metadata.get("HTTPHeaders", {}):  # noqa: PLR2004 - not a success
        raise ClientError(answer, operation.name)
