"""Where a message may go: addresses, and names that lead elsewhere on a second look."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from alarms.clients import http, sockets
from alarms.errors import PermanentError
from tests.fakes import fault_server as faults
from tests.fakes.dns_server import RebindingDns, Zone, ask
from tests.fakes.fault_server import FaultServer

ROOT = Path(__file__).parents[2]
PUBLIC, METADATA = "93.184.216.34", "169.254.169.254"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

NOT_PUBLIC = {
    "0.0.0.0": "this machine",  # noqa: S104  # judged, not bound to
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "100.64.0.1": "shared",
    "100.100.100.200": "Alibaba's metadata",
    "100.127.255.255": "shared, its last",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback, far",
    "168.63.129.16": "Azure's host",
    "169.254.169.254": "metadata of most clouds",
    "169.254.170.2": "credentials of ECS",
    "172.16.0.1": "private",
    "172.31.255.255": "private, its last",
    "192.0.0.1": "IETF",
    "192.0.0.192": "Oracle's metadata",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relay",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "this machine",
    "::1": "loopback",
    "::7f00:1": "IPv4-compatible loopback",
    "::a9fe:a9fe": "IPv4-compatible metadata",
    "::ffff:127.0.0.1": "mapped loopback",
    "::ffff:169.254.169.254": "mapped metadata",
    "::ffff:100.100.100.200": "mapped metadata",
    "::ffff:0:127.0.0.1": "translated loopback",
    "64:ff9b::a9fe:a9fe": "NAT64 of metadata",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1::1": "NAT64, local",
    "100::1": "discard",
    "2001::1": "Teredo",
    "2001:0:a9fe:a9fe::1": "Teredo",
    "2001:db8::1": "documentation",
    "2001:10::1": "ORCHID",
    "2002:7f00:1::": "6to4 of loopback",
    "2002:a9fe:a9fe::1": "6to4 of metadata",
    "3fff::1": "documentation",
    "5f00::1": "SRv6",
    "fc00::1": "unique local",
    "fd00:ec2::254": "Amazon's metadata",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local, scoped",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "ff0e::1": "multicast, global",
}
ARE_PUBLIC = (
    *("1.1.1.1", "8.8.8.8", PUBLIC, "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
    *("168.63.129.15", "168.63.129.17", "169.253.255.255", "172.32.0.0", "192.0.1.0", "192.169.0.0", "223.255.255.255"),
    *("2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2003::1", "::ffff:1.1.1.1"),
)


@pytest.mark.parametrize(("address", "what"), NOT_PUBLIC.items(), ids=NOT_PUBLIC)
def test_what_is_not_on_the_internet(address: str, what: str) -> None:
    assert not sockets._is_public(address), what
    with pytest.raises(PermanentError, match="allow_private"):
        sockets.refuse_private_literal(address.partition("%")[0])


@pytest.mark.parametrize("address", ARE_PUBLIC)
def test_what_is(address: str) -> None:
    assert sockets._is_public(address)
    sockets.refuse_private_literal(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0xa9fea9fe"])
def test_other_notations_of_an_address_are_judged_and_a_name_is_not(host: str) -> None:
    with pytest.raises(PermanentError, match="allow_private"):
        sockets.refuse_private_literal(host)
    sockets.refuse_private_literal(f"{host}.example")


class Diverted(socket.socket):
    """Notes where it should connect to, and ends up at `port` here: nothing of a test reaches the internet."""

    asked: list[Any] = []  # noqa: RUF012  # shared by all, on purpose
    port = 0

    def connect(self, address: Any) -> None:
        self.asked.append(address)
        super().connect(("127.0.0.1", self.port))


def from_server(dns: RebindingDns) -> Any:
    """getaddrinfo, with that server instead of the system's."""

    def look_up(host: str, port: int, **more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ask(dns.address, host)]

    return look_up


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def post(host: str) -> http.Response:
    return http.request("POST", http.parse_target(f"https://{host}/x"), body=b"{}", deadline_s=10)


@pytest.mark.usefixtures("direct")
def test_the_address_that_was_judged_is_the_one_connected_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca, seen, names = trustme.CA(), [], []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("hook.example").configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def fault(connection: socket.socket, over: threading.Event) -> None:
        seen.append(faults.read_request(connection))
        connection.sendall(OK)

    zone: Zone = {"hook.example": [[PUBLIC], ["127.0.0.1"], [METADATA]]}
    with RebindingDns(zone) as dns, FaultServer(fault, tls=context) as server:
        monkeypatch.setattr("socket.getaddrinfo", from_server(dns))
        monkeypatch.setattr(Diverted, "port", server.port)
        monkeypatch.setattr(Diverted, "asked", [])
        monkeypatch.setattr("alarms.clients.sockets.socket.socket", Diverted)
        assert post("hook.example").status == 200
        assert Diverted.asked == [(PUBLIC, 443)]
        assert dns.asked[("hook.example", 1)] == 1, "looked up once"
        assert names == ["hook.example"]
        assert b"\r\nHost: hook.example\r\n" in seen[0]
        for _ in range(2):
            with pytest.raises(PermanentError, match="allow_private"):
                post("hook.example")
        assert Diverted.asked == [(PUBLIC, 443)], "the second and third answer were refused before any connection"


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("answer", [[PUBLIC, "10.0.0.7"], ["10.0.0.7", PUBLIC], [PUBLIC, PUBLIC, METADATA]])
def test_one_private_address_among_public_ones_refuses_the_name(
    answer: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RebindingDns({"mixed.example": [answer]}) as dns:
        monkeypatch.setattr("socket.getaddrinfo", from_server(dns))
        with pytest.raises(PermanentError, match="allow_private"):
            post("mixed.example")


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened in a network of its own, with the system's own resolver asking our server."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("needs Linux with unshare and mount")
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    inside = ["unshare", *own, "--mount", "--net"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not make namespaces here")
    done = subprocess.run(
        [*inside, sys.executable, "-m", "tests.fakes.rebinding_program", str(tmp_path_factory.mktemp("play"))],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.root
def test_a_name_that_is_bound_anew_reaches_nothing_private(play: dict[str, Any]) -> None:
    first, *later = play["rebind"]
    assert first == "sent"
    assert all(one.startswith("PermanentError: rebind.example is at a private") for one in later), later
    assert play["asked"]["rebind.example A"] == 3, "each attempt looks up once"
    assert play["naive"] == f"saw {PUBLIC}, reached 127.0.0.1", "the trap does work on others"
    assert play["names"] == ["rebind.example", "redirect.example"]
    assert play["heads"][0] == ["POST /canary HTTP/1.1", "Host: rebind.example"]


@pytest.mark.root
@pytest.mark.parametrize("scenario", ["mixed", "mixed6", "flip", "mail", "sns"])
def test_a_name_with_a_private_address_is_refused(play: dict[str, Any], scenario: str) -> None:
    assert play[scenario].startswith("PermanentError: "), play[scenario]
    assert "allow_private" in play[scenario]


@pytest.mark.root
def test_a_redirect_to_the_metadata_service_is_not_followed(play: dict[str, Any]) -> None:
    assert play["redirect"].startswith("PermanentError: The webhook's server redirects (status 302)")


@pytest.mark.root
def test_nothing_private_was_connected_to(play: dict[str, Any]) -> None:
    assert all("allow_private" in one for one in play["literals"].values()), play["literals"]
    # The naive program's one visit aside.
    reached = {place: count for place, count in play["visits"].items() if count}
    assert reached == {f"{PUBLIC}:443": 2, "127.0.0.1:443": 1}


@pytest.mark.root
def test_behind_a_proxy_addresses_are_judged_and_names_are_its_business(play: dict[str, Any]) -> None:
    assert all("allow_private" in one for one in play["proxied literals"].values()), play["proxied literals"]
    assert play["proxied name"].startswith("TemporaryError: The proxy 127.0.0.1")
    assert play["through_proxy"] == 1
