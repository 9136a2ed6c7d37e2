"""Every kind of receiver there is, each real and behind a proxy that misbehaves on demand."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from alarms import registry
from alarms.model import Notification, Receipt
from alarms.ports import Notifier
from monitor import wiring
from monitor.clock import Clock
from monitor.config import load
from monitor.config.model import Config
from monitor.simulation.mail import MailServer
from tests.contract.receivers import CANARY, RIGS, Got, Rig, mail_settings
from tests.fakes.cloudwatch_indexed import IndexedCloudWatch
from tests.fakes.fault_proxy import HTTP, PASS, TCP, TLS, Authority, FaultProxy, Plan, http_answer
from tests.fakes.fault_server import answer, byte_by_byte, huge, smtp, smtp_until_close

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
# The deadline of a send to whoever is made not to answer, and to those who do on a machine that is busy.
SHORT_S, LONG_S = 0.8, 20.0


@dataclass(frozen=True)
class Trouble:
    """One fault, as it is over HTTP and over SMTP.

    `slow`: it may end only with the deadline of a send. `nameless`: the name of the host is not found. `wait`: it asks
    to be left alone for ten minutes.
    """

    name: str
    http: Plan
    smtp: Plan
    slow: bool = False
    nameless: bool = False
    wait: bool = False


_HELLO = (b"220 hello", b"250 hello", b"250 sender", b"250 rcpt", b"250 rcpt")
_SMTP = {
    "hung after the handshake": Plan(smtp(*_HELLO, b"354 go", b"")),
    "HTML with 200": Plan(smtp_until_close(b"<html>Sign in to the Wi-Fi</html>")),
    "empty with 200": Plan(smtp_until_close(b"")),
    "429": Plan(smtp(b"421 too many connections", b"221 bye")),
    "429 with Retry-After": Plan(smtp(b"220 hello", b"250 hello", b"451 later", b"221 bye")),
    "500": Plan(smtp(*_HELLO, b"451 local error", b"250 reset", b"221 bye")),
    "502": Plan(smtp(b"220 hello", b"250 hello", b"250 sender", b"450 grey", b"450 grey", b"250 reset", b"221 bye")),
    "503 with Retry-After": Plan(smtp(b"450 busy", b"221 bye")),
    "100 MB": Plan(huge(b"220-", 104_857_600, unasked=True)),
    "deep JSON": Plan(smtp_until_close(b'{"a":' * 100)),
    "JSON with a key twice": Plan(smtp_until_close(*_HELLO, b"354 go", b'{"ok": true, "ok": false}')),
    "no JSON": Plan(smtp_until_close(*_HELLO, b"354 go", b'{"ok": tru')),
    "a header without end": Plan(byte_by_byte(b"220-hello" * 100, every_s=1.0, unasked=True)),
}
_SLOW = {
    "accepted and hung",
    "one byte a second",
    "hung after the handshake",
    "a header without end",
    "half closed",
    "empty with 200",
}
_TO_EVERYBODY = {**TCP, **TLS}
TROUBLES = [
    *(Trouble(name, plan, plan, slow=name in _SLOW) for name, plan in _TO_EVERYBODY.items()),
    *(
        Trouble(name, plan, _SMTP[name], slow=name in _SLOW, wait="Retry-After" in name and "50" not in name)
        for name, plan in HTTP.items()
    ),
    *(
        Trouble(str(code), Plan(answer(http_answer(code))), Plan(smtp(b"554 go away", b"221 bye")))
        for code in (401, 403, 404, 410)
    ),
    Trouble("no such name", PASS, PASS, nameless=True),
]
# What a kind of receiver has to take for an acceptance: to a webhook, every 2xx is one.
BELIEVED = {
    "webhook": {"HTML with 200", "empty with 200", "deep JSON", "JSON with a key twice", "no JSON"},
}


@dataclass
class Member:
    """A receiver: its settings lead to the proxy, `rig` is what stands behind."""

    name: str
    kind: str
    settings: dict[str, Any]
    rig: Rig
    proxy: FaultProxy
    impatient: bool = False

    def got(self, budget: str) -> list[Got]:
        """The messages about a budget that it has got."""
        return [got for got in self.rig.got() if f" {budget}:" in f"{got.subject}"]


@dataclass
class Farm:
    """All of them, and the bill that they hear of."""

    members: dict[str, Member]
    bill: IndexedCloudWatch
    nameless: set[int]

    def trouble(self, names: Collection[str], trouble: Trouble) -> None:
        """Let this happen to every connection to these receivers."""
        for name in names:
            member = self.members[name]
            member.impatient = trouble.slow
            member.proxy.always = trouble.smtp if member.kind == "email" else trouble.http
            if trouble.nameless:
                self.nameless.add(member.proxy.port)

    def lift(self) -> None:
        """All is well again."""
        self.nameless.clear()
        for member in self.members.values():
            member.impatient = False
            member.proxy.always = PASS

    def config(self, directory: Path, *budgets: tuple[str, str, Collection[str]]) -> Config:
        """A config with these budgets (name, amount, receivers), written and read."""
        lines = ["[monitor]", 'state_dir = "state"']
        lines += ["[[sources]]", 'name = "aws"', 'type = "aws_cloudwatch"', 'every = "5m"', 'backfill = "1d"']
        lines += [f'endpoint_url = "{self.bill.url}"']
        for member in self.members.values():
            lines += ["[[receivers]]", *(f"{key} = {_toml(value)}" for key, value in member.settings.items())]
        for name, amount, receivers in budgets:
            lines += ["[[budgets]]", f'name = "{name}"', f'amount = "{amount}"', 'currency = "USD"', 'period = "month"']
            lines += [f"receivers = {json.dumps(sorted(receivers))}", 'repeat = { critical = "never" }']
            lines += ['thresholds = [{ on = "actual", at = "100%", severity = "critical" }]']
        path = directory / "config.toml"
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        return load(path)


@contextmanager
def farm_of(directory: Path, kinds: Collection[str]) -> Iterator[Farm]:
    """A farm with a receiver of each of these kinds; the same kind may be there more than once (but for SNS)."""
    authority = Authority(directory)
    with ExitStack() as stack:
        members: dict[str, Member] = {}
        for number, kind in enumerate(kinds):
            place = directory / f"{number}"
            place.mkdir()
            rig = stack.enter_context(_plain_mail(authority) if kind == "email" else RIGS[kind](place))
            proxy = stack.enter_context(FaultProxy(_port_of(rig.settings), authority))
            name = f"{kind}-{number}"
            members[name] = Member(name, kind, _moved(rig.settings, proxy.port) | {"name": name}, rig, proxy)
        bill = stack.enter_context(IndexedCloudWatch())
        farm = Farm(members, bill, set())
        certificates = {"SSL_CERT_FILE": str(authority.file), "AWS_CA_BUNDLE": str(authority.file)}
        environment = {name: value for name, value in bill.environment.items() if "ENDPOINT" not in name}
        stack.enter_context(mock.patch.dict("os.environ", {**environment, **certificates, "NO_PROXY": "127.0.0.1"}))
        stack.enter_context(mock.patch.object(socket, "getaddrinfo", _resolver(farm.nameless)))
        stack.enter_context(mock.patch.object(wiring, "build_notifiers", _builder(farm)))
        yield farm


class Impatient:
    """A notifier whose deadline is short while its receiver is made not to answer: a test has no 30 seconds to lose."""

    def __init__(self, member: Member, short: Notifier, long: Notifier) -> None:
        self._member, self._short, self._long = member, short, long

    def send(self, notification: Notification) -> Receipt:
        return (self._short if self._member.impatient else self._long).send(notification)


def _builder(farm: Farm) -> Any:
    def build(config: Config, clock: Clock) -> dict[str, Notifier]:
        built: dict[str, Notifier] = {}
        for settings in config.receivers:
            create = registry.load(settings.type).create
            short, long = (create(settings, now=clock.now, deadline_s=seconds) for seconds in (SHORT_S, LONG_S))
            built[settings.name] = Impatient(farm.members[settings.name], short, long)
        return built

    return build


def _resolver(nameless: set[int]) -> Any:
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if port in nameless:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, port, *args, **kwargs)

    return resolve


@contextmanager
def _plain_mail(authority: Authority) -> Iterator[Rig]:
    def got() -> list[Got]:
        return [Got(mail.message["Subject"], mail.message.get_content(), mail) for mail in server.mails]

    with MailServer() as server:
        more = {"tls": "implicit", "username": None, "password": None}
        settings = mail_settings(server.port, **more, ca_file=str(authority.file))
        yield Rig({key: value for key, value in settings.items() if value is not None}, got)


def _port_of(settings: dict[str, Any]) -> int:
    """Where a receiver really is: its settings name one place on loopback, by URL or by host and port."""
    urls = [urlsplit(text) for text in settings.values() if isinstance(text, str) and text.startswith("http://127.")]
    (port,) = [url.port for url in urls] or [settings["port"]]
    return int(port or 0)


def _moved(settings: dict[str, Any], port: int) -> dict[str, Any]:
    """The same settings, leading to the proxy, with TLS."""
    moved = {key: port if key == "port" else value for key, value in settings.items()}
    for key, value in moved.items():
        if isinstance(value, str) and value.startswith("http://127."):
            moved[key] = urlsplit(value)._replace(scheme="https", netloc=f"127.0.0.1:{port}").geturl()
    return moved


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


__all__ = ["BELIEVED", "CANARY", "START", "TROUBLES", "Farm", "Member", "Trouble", "farm_of"]
