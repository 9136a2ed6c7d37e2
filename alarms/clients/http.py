"""A small HTTP client for messages: one request, one bounded answer, one total deadline, no redirects, verified TLS.

No message of an error holds a path or a query: for webhooks, those are the secret.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import unquote, urlsplit

from alarms.clients import dates
from alarms.clients.sockets import Deadline, connect, refuse_private_literal, resolve
from alarms.errors import PermanentError, TemporaryError

MAX_ANSWER = 64 * 1024
DEADLINE_S = 30.0
# A broken clock or value over there must not silence a receiver for longer than this.
_LONGEST_WAIT = timedelta(days=1)
_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
# A gateway that lost the answer of what is behind it.
_GATEWAY = (502, 504)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. `retry_after`: how long the other side asks to wait, at most a day."""

    status: int
    body: bytes
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads. `path` (with the query) is a secret: it appears in no message."""

    scheme: str
    host: str
    port: int
    path: str

    def __repr__(self) -> str:
        return f"Target({self.scheme}://{self.host}:{self.port})"


@dataclass(frozen=True, slots=True, repr=False)
class _Proxy:
    host: str
    port: int
    login: str


def parse_target(url: str, *, allow_private: bool = False) -> Target:
    """Take a URL apart: https, or plain http if `allow_private`. Raises ValueError, which never echoes the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if not _PRINTABLE.fullmatch(url) or not parts.hostname:
        raise ValueError("not a URL with a host, such as https://example.com/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user name or password in it is not accepted")
    if parts.scheme not in ("https", "http"):
        raise ValueError("not an https URL")
    if parts.scheme == "http" and not allow_private:
        raise ValueError("plain http is accepted only with allow_private = true: use https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path)


def request(
    method: Literal["GET", "POST"],
    target: Target,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_S,
    allow_private: bool = False,
) -> Response:
    """Make one request and read at most 64 KiB of the answer, whatever its status, within `deadline_s` in all.

    Raises TemporaryError when nobody answered (`uncertain` once the request was out), PermanentError when the other
    side is not who it should be or is not to be talked to.
    """
    with Deadline(deadline_s) as deadline:
        connection = _open(target, deadline, allow_private=allow_private)
        try:
            return _exchange(connection, method, target, body, dict(headers or {}), deadline)
        finally:
            connection.close()


def get(url: str, *, deadline_s: float = DEADLINE_S, allow_private: bool = False) -> Response:
    """GET a URL whose answer matters only by its status. Raises like `request`, and for every status but 2xx."""
    try:
        target = parse_target(url, allow_private=allow_private)
    except ValueError as error:
        raise PermanentError(f"The URL is unusable: {error}") from None
    response = request("GET", target, deadline_s=deadline_s, allow_private=allow_private)
    if response.status // 100 == 2:  # noqa: PLR2004 - 2xx
        return response
    if is_temporary(response.status):
        raise put_off(target.host, response)
    raise PermanentError(f"{target.host} answered with status {response.status}")


def require_public(target: Target, *, deadline_s: float = DEADLINE_S) -> None:
    """Judge a target as `request` would, for an SDK that then connects by itself.

    Between the two the name may lead elsewhere; only a server with a certificate for it gets any further, so the target
    has to be https. Raises PermanentError for a private address, TemporaryError when the name is not found.
    """
    if _proxy_for(target) is not None:
        refuse_private_literal(target.host)
        return
    with Deadline(deadline_s) as deadline:
        resolve(target.host, target.port, deadline=deadline, allow_private=False)


def is_temporary(status: int) -> bool:
    """Whether a refusal with this status may pass by itself: 408, 425, 429 and 5xx."""
    return status in (408, 425, 429) or status >= 500  # noqa: PLR2004 - named in the docstring


def put_off(who: str, response: Response) -> TemporaryError:
    """What to raise for such a status: with the wait that was asked for, uncertain where a gateway lost the answer."""
    wait = response.retry_after
    asked = "" if wait is None else f" and asks to wait {wait.total_seconds():.0f} s"
    return TemporaryError(
        f"{who} answered with status {response.status}{asked}",
        retry_after=wait,
        uncertain=response.status in _GATEWAY,
    )


def parse_retry_after(value: str | None, date: str | None) -> timedelta | None:
    """Read `Retry-After`: seconds, or an HTTP date counted from the answer's own `Date`. None if absent or unusable."""
    text = (value or "").strip()
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return min(timedelta(seconds=int(text)), _LONGEST_WAIT)
    until, answered = dates.parse(text), dates.parse(date or "")
    if until is None or answered is None:
        return None
    return min(max(until - answered, timedelta(0)), _LONGEST_WAIT)


def _open(target: Target, deadline: Deadline, *, allow_private: bool) -> socket.socket:
    proxy = _proxy_for(target)
    if proxy is None:
        connection = connect(target.host, target.port, deadline=deadline, allow_private=allow_private)
    else:
        if not allow_private:
            refuse_private_literal(target.host)
        connection = _tunnel(target, proxy, deadline)
    if target.scheme == "http":
        return connection
    try:
        # The default context verifies chain and name, and honours SSL_CERT_FILE.
        return ssl.create_default_context().wrap_socket(connection, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise PermanentError(
            f"The certificate of {target.host} was refused ({error.verify_message}): "
            "it has to be valid, or its authority named in SSL_CERT_FILE"
        ) from error
    except OSError as error:
        connection.close()
        raise TemporaryError(f"{target.host} refused or broke off the TLS handshake") from error


def _proxy_for(target: Target) -> _Proxy | None:
    """Find the proxy of HTTPS_PROXY, unless NO_PROXY names the host. Plain http is for private networks: direct."""
    proxies = urllib.request.getproxies_environment()
    url = proxies.get("https", "")
    if target.scheme != "https" or not url:
        return None
    if urllib.request.proxy_bypass(f"{target.host}:{target.port}", proxies):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname if parts.scheme == "http" else None, parts.port or 3128
    except ValueError:  # it quotes what may be the login
        host, port = None, 0
    if not host:
        raise PermanentError("HTTPS_PROXY is not usable: it has to look like http://proxy.example.com:3128") from None
    login = "" if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return _Proxy(host, port, login)


def _tunnel(target: Target, proxy: _Proxy, deadline: Deadline) -> socket.socket:
    # The proxy resolves the name, so the target's address cannot be judged here; the proxy itself may be private.
    connection = connect(proxy.host, proxy.port, deadline=deadline, allow_private=True)
    host = f"[{target.host}]" if ":" in target.host else target.host
    login = ""
    if proxy.login:
        login = f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}\r\n"
    asked = f"CONNECT {host}:{target.port} HTTP/1.1\r\nHost: {host}:{target.port}\r\n{login}\r\n"
    answer = http.client.HTTPResponse(connection, method="CONNECT")
    try:
        connection.sendall(asked.encode())
        answer.begin()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise _no_answer(f"The proxy {proxy.host}", deadline, error) from error
    finally:
        answer.close()
    if answer.status != http.client.OK:
        connection.close()
        raise TemporaryError(f"The proxy {proxy.host} did not let us through to {target.host} (status {answer.status})")
    return connection


def _exchange(
    connection: socket.socket, method: str, target: Target, body: bytes, headers: dict[str, str], deadline: Deadline
) -> Response:
    # http.client writes the request and reads the answer; the connection is ours, bounded and judged.
    client = http.client.HTTPConnection(target.host, target.port)
    client.default_port = 443 if target.scheme == "https" else 80
    client.sock = connection
    sent = False
    try:
        client.request(method, target.path, body=body or None, headers={"Connection": "close", **headers})
        sent = True
        answer = client.getresponse()
        data = _body(answer, deadline)
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(target.host, deadline, error, uncertain=sent) from error
    finally:
        client.close()
    dates.note(f"{target.host}:{target.port}", answer.getheader("Date"), cached=answer.getheader("Age") is not None)
    retry_after = parse_retry_after(answer.getheader("Retry-After"), answer.getheader("Date"))
    return Response(answer.status, data, retry_after)


def _body(answer: http.client.HTTPResponse, deadline: Deadline) -> bytes:
    try:
        data = answer.read(MAX_ANSWER + 1)
        complete = len(data) <= MAX_ANSWER and not deadline.expired and not answer.length
    except (OSError, http.client.HTTPException):
        if answer.status < http.client.MULTIPLE_CHOICES:
            raise
        return b""  # a refusal is a refusal without its explanation
    finally:
        answer.close()
    if not complete and answer.status < http.client.MULTIPLE_CHOICES:
        raise http.client.IncompleteRead(b"")
    return data[:MAX_ANSWER]


def _no_answer(who: str, deadline: Deadline, error: Exception, *, uncertain: bool = False) -> TemporaryError:
    late = deadline.expired or isinstance(error, TimeoutError)
    what = f"did not answer within {deadline.seconds:g} s" if late else "broke off without a whole answer"
    return TemporaryError(f"{who} {what}", uncertain=uncertain)
