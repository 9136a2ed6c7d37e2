from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from alarms.clients import http, sockets
from alarms.clients.http import parse_retry_after, parse_target, request
from alarms.errors import OutsideError, PermanentError, TemporaryError
from tests.fakes import fault_server as faults
from tests.fakes.fault_server import Fault, FaultServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def server_context(ca: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def trusted(ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return


def post(url: str, *, body: bytes = b"{}", deadline_s: float = 5, allow_private: bool = True) -> http.Response:
    target = parse_target(url, allow_private=allow_private)
    return request("POST", target, body=body, deadline_s=deadline_s, allow_private=allow_private)


def failure(fault: Fault, *, deadline_s: float = 5, body: bytes = b"{}") -> OutsideError:
    with FaultServer(fault) as server, pytest.raises(OutsideError) as caught:
        post(server.url, deadline_s=deadline_s, body=body)
    assert "canary-in-the-path" not in str(caught.value) + repr(caught.value)
    return caught.value


def test_request_arrives_whole_and_answer_is_read() -> None:
    seen: list[bytes] = []

    def fault(connection: socket.socket, over: threading.Event) -> None:
        seen.append(faults.read_request(connection))
        connection.sendall(OK)

    with FaultServer(fault) as server:
        response = post(server.url, body=b'{"a": 1}')
        head, _, body = seen[0].partition(b"\r\n\r\n")
        assert (response.status, response.body, response.retry_after) == (200, b"ok", None)
        assert head.startswith(b"POST /services/T0/B0/canary-in-the-path HTTP/1.1\r\n")
        assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in head
        assert body == b'{"a": 1}'
        assert server.connections == 1


@pytest.mark.parametrize("status", [204, 301, 302, 400, 404, 429, 500, 503])
def test_any_status_is_an_answer_and_nothing_is_followed(status: int) -> None:
    head = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    with FaultServer(faults.answer(head.encode())) as server:
        response = post(server.url)
        assert (response.status, response.retry_after) == (status, timedelta(seconds=7))
        assert server.connections == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.hang,
        faults.answer_then_hang(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"),
        faults.answer_then_hang(b"HTTP/1.1 200 OK\r\nContent-Le"),
        faults.byte_by_byte(OK * 100, every_s=0.05),
        faults.byte_by_byte(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000, every_s=0.05),
    ],
    ids=["silent", "body never ends", "head never ends", "head byte by byte", "body byte by byte"],
)
def test_deadline_holds_whatever_the_server_does(fault: Fault) -> None:
    started = time.monotonic()
    error = failure(fault, deadline_s=0.4)
    assert time.monotonic() - started < 2
    assert isinstance(error, TemporaryError)
    assert error.uncertain
    assert "did not answer within 0.4 s" in str(error)


def test_deadline_holds_while_sending() -> None:
    started = time.monotonic()
    error = failure(faults.hang, deadline_s=0.4, body=b"x" * 30_000_000)
    assert time.monotonic() - started < 2
    assert isinstance(error, TemporaryError)
    assert not error.uncertain  # a part of a request is none


def test_deadline_holds_during_the_handshake(ca: trustme.CA) -> None:
    with FaultServer(faults.hang) as server, pytest.raises(TemporaryError) as caught:
        post(f"https://127.0.0.1:{server.port}/x", deadline_s=0.4)
    assert not caught.value.uncertain


@pytest.mark.parametrize(
    "fault",
    [
        faults.reset_unanswered,
        faults.answer(b""),
        faults.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"),
        faults.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok"),
        faults.answer(b"no HTTP at all\r\n\r\n"),
        faults.answer(b"HTTP/1.1 200 OK\r\n" + b"X-Header: y\r\n" * 500 + b"\r\n"),
        faults.answer(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
        faults.huge(b"HTTP/1.1 200 OK\r\n\r\n", 100_000_000),
        faults.huge(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", 100_000_000),
    ],
    ids=[
        "reset",
        "closed",
        "truncated",
        "chunk truncated",
        "garbage",
        "500 headers",
        "long header",
        "100 MB",
        "100 MB said",
    ],
)
def test_no_whole_answer_is_temporary_and_uncertain(fault: Fault) -> None:
    error = failure(fault)
    assert isinstance(error, TemporaryError)
    assert error.uncertain
    assert "127.0.0.1 broke off without a whole answer" in str(error)


def test_no_more_is_read_than_is_kept() -> None:
    taken: list[int] = []

    def fault(connection: socket.socket, over: threading.Event) -> None:
        faults.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * 100_000)
            taken.append(100_000)

    failure(fault)
    assert sum(taken) < 50_000_000  # what the sockets buffer, of 100 MB


def test_refusal_without_its_explanation_is_still_a_refusal() -> None:
    with FaultServer(faults.answer(b"HTTP/1.1 404 X\r\nContent-Length: 20\r\n\r\nno")) as server:
        assert post(server.url).status == 404
    with FaultServer(faults.huge(b"HTTP/1.1 500 X\r\n\r\n", 10_000_000)) as server:
        response = post(server.url)
        assert (response.status, len(response.body)) == (500, http.MAX_ANSWER)


def test_reset_before_the_request_was_read_is_not_uncertain() -> None:
    error = failure(faults.reset_after(10), body=b"x" * 30_000_000)
    assert isinstance(error, TemporaryError)
    assert not error.uncertain


def test_nobody_there() -> None:
    with FaultServer(faults.hang) as server:
        url = server.url
    with pytest.raises(TemporaryError, match="cannot be reached") as caught:
        post(url)
    assert not caught.value.uncertain


def test_private_addresses_need_permission() -> None:
    with FaultServer(faults.answer(OK)) as server:
        with pytest.raises(PermanentError, match="allow_private"):
            post(f"https://127.0.0.1:{server.port}/x", allow_private=False)
        with pytest.raises(PermanentError, match="allow_private"):
            post(f"https://localhost:{server.port}/x", allow_private=False)
        assert server.connections == 0


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("168.63.129.16", False),
        ("0.1.2.3", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_public_addresses(address: str, *, public: bool) -> None:
    assert sockets._is_public(address) is public


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [(2, 1, 6, "", ("1.1.1.1", 443)), (2, 1, 6, "", ("10.0.0.1", 443))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: mixed)
    with pytest.raises(PermanentError, match="allow_private"):
        post("https://mixed.example/x", allow_private=False)


def test_unknown_name_and_slow_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with pytest.raises(TemporaryError, match="was not found"):
        post("https://nowhere.example/x")
    forever = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: forever.wait(20))
    started = time.monotonic()
    with pytest.raises(TemporaryError):
        post("https://slow.example/x", deadline_s=0.3)
    assert time.monotonic() - started < 2
    forever.set()


@pytest.mark.usefixtures("trusted")
def test_tls_is_verified_against_ssl_cert_file(ca: trustme.CA) -> None:
    with FaultServer(faults.answer(OK), tls=server_context(ca)) as server:
        assert post(f"https://127.0.0.1:{server.port}/x").body == b"ok"
    for wrong in (server_context(ca, "elsewhere.example"), server_context(trustme.CA())):
        server = FaultServer(faults.answer(OK), tls=wrong)
        with server, pytest.raises(PermanentError, match="certificate"):
            post(f"https://127.0.0.1:{server.port}/x")


@pytest.mark.usefixtures("trusted")
def test_deadline_holds_inside_tls(ca: trustme.CA) -> None:
    slow = faults.byte_by_byte(OK * 100, every_s=0.05)
    started = time.monotonic()
    with FaultServer(slow, tls=server_context(ca)) as server, pytest.raises(TemporaryError, match=r"0[.]5 s") as caught:
        post(f"https://127.0.0.1:{server.port}/x", deadline_s=0.5)
    assert time.monotonic() - started < 2
    assert caught.value.uncertain


@pytest.mark.usefixtures("trusted")
def test_https_goes_through_the_proxy(ca: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    context = server_context(ca, "hooks.slack.com")
    asked: list[bytes] = []

    def proxy(connection: socket.socket, over: threading.Event) -> None:
        asked.append(faults.read_request(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as inside:
            faults.answer(OK)(inside, over)

    with FaultServer(proxy) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@127.0.0.1:{server.port}")
        assert post("https://hooks.slack.com/x", allow_private=False).body == b"ok"
        head = asked.pop().decode()
        assert head.startswith("CONNECT hooks.slack.com:443 HTTP/1.1\r\nHost: hooks.slack.com:443\r\n")
        assert base64.b64encode(b"user:p@ss").decode() in head
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with pytest.raises(OutsideError):
            post(f"https://127.0.0.1:{server.port}/x", deadline_s=0.3)
        assert not any(head.startswith(b"CONNECT 127") for head in asked)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.answer(b"HTTP/1.1 407 No\r\n\r\n"), "status 407"),
        (faults.hang, r"within 0[.]5 s"),
        (faults.answer(b""), "broke off"),
    ],
)
def test_proxy_that_fails(fault: Fault, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(fault) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@127.0.0.1:{server.port}")
        with pytest.raises(TemporaryError, match=words) as caught:
            post("https://hooks.slack.com/x", allow_private=False, deadline_s=0.5)
        assert not caught.value.uncertain
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["http://user:hunter2/x@proxy:3128", "https://proxy:1", "http://[::1", "http://:1"])
def test_unusable_proxy_is_refused_without_an_echo(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(PermanentError, match="HTTPS_PROXY is not usable") as caught:
        post("https://hooks.slack.com/x", allow_private=False)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://h/",
        "http://h/",
        "https:///p",
        "https://h:x/",
        "https://u:p@h/",
        "https://h/a b",
        "https://h/\r\nX:y",
        "https://h/é",
    ],
)
def test_unusable_urls_are_refused_without_an_echo(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|https") as caught:
        parse_target(url)
    assert not url or len(url) < 2 or url not in str(caught.value)


def test_target_hides_its_path() -> None:
    target = parse_target("https://h/services/secret?token=secret")
    assert target.path == "/services/secret?token=secret"
    assert repr(target) == "Target(https://h:443)"


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("60", None, timedelta(seconds=60)),
        (" 0 ", None, timedelta(0)),
        ("999999999", None, timedelta(days=1)),
        ("Wed, 01 Jul 2026 10:00:30 GMT", "Wed, 01 Jul 2026 10:00:00 GMT", timedelta(seconds=30)),
        ("Wed, 01 Jul 2026 09:00:00 GMT", "Wed, 01 Jul 2026 10:00:00 GMT", timedelta(0)),
        ("Wed, 01 Jul 2026 10:00:30 GMT", None, None),
        ("-5", None, None),
        ("1e9", None, None),
        ("soon", "now", None),
        (None, None, None),
    ],
)
def test_retry_after(value: str | None, date: str | None, expected: timedelta | None) -> None:
    assert parse_retry_after(value, date) == expected


def test_get_raises_for_refusals() -> None:
    with FaultServer(faults.answer(OK)) as server:
        assert http.get(server.url, allow_private=True).status == 200
    with FaultServer(faults.answer(b"HTTP/1.1 503 X\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n")) as server:
        with pytest.raises(TemporaryError, match="503") as caught:
            http.get(server.url, allow_private=True)
        assert caught.value.retry_after == timedelta(seconds=3)
    gone = FaultServer(faults.answer(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"))
    with gone, pytest.raises(PermanentError, match="404"):
        http.get(gone.url, allow_private=True)
    with pytest.raises(PermanentError, match="unusable"):
        http.get("not a url")
