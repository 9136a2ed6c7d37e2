"""For each type of receiver: the real thing on loopback, everything that it can answer, and what that must mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from alarms.errors import AccessError, OutsideError, PermanentError, TemporaryError
from monitor.simulation.aws import AwsAccount
from monitor.simulation.slack import Answer
from tests.fakes import fault_server as faults
from tests.fakes.fault_server import Fault, FaultServer
from tests.fakes.pagerduty_server import PagerDuty
from tests.fakes.posts import PostServer
from tests.fakes.slack_server import ScriptedSlack
from tests.fakes.smtp_server import Behaviour, ScriptedMailServer

CANARY = "canary-5up3r-s3cr3t"
TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"


@dataclass(frozen=True)
class Got:
    """What a receiver got: every text that a person or a machine of theirs may see."""

    subject: str
    text: str
    raw: Any


@dataclass(frozen=True)
class Rig:
    """A receiver that works: its settings, and what it got so far."""

    settings: dict[str, Any]
    got: Callable[[], list[Got]]


@dataclass(frozen=True)
class Case:
    """An answer of the other side, and what must be raised for it."""

    name: str
    settings: Callable[[Path], AbstractContextManager[dict[str, Any]]]
    error: type[OutsideError]
    uncertain: bool = False
    retry_after: timedelta | None = None
    whole_receiver: bool = True
    timed: bool = False  # it only ends at the deadline


# Slack


def slack_settings(url: str) -> dict[str, Any]:
    return {"name": "oncall", "type": "slack", "webhook_url": url, "allow_private": True}


@contextmanager
def slack_rig(directory: Path) -> Iterator[Rig]:
    def got() -> list[Got]:
        return [
            Got(message["text"], json.dumps(message["blocks"], ensure_ascii=False), message)
            for message in server.messages
        ]

    with ScriptedSlack() as server:
        yield Rig(slack_settings(server.url.replace("simulated", CANARY)), got)


def slack_says(
    status: int, body: bytes = b"", **headers: str
) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        answer = Answer(status, body, tuple((name.replace("_", "-"), value) for name, value in headers.items()))
        with ScriptedSlack(answer) as server:
            yield slack_settings(server.url.replace("simulated", CANARY))
            assert server.posts == 1, "a notifier makes one attempt; the outbox retries"

    return settings


def slack_with(fault: Fault) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with FaultServer(fault) as server:
            yield slack_settings(f"http://127.0.0.1:{server.port}/services/T0/B0/{CANARY}")
            assert server.connections <= 1

    return settings


HTML = b"<html>Sign in to the Wi-Fi</html>"
HTTP_FAULTS: list[tuple[str, Fault, bool]] = [
    ("silent", faults.hang, True),
    ("one byte a second", faults.byte_by_byte(b"HTTP/1.1 200 OK\r\n" * 100, every_s=0.05), True),
    ("reset before the answer", faults.reset_unanswered, False),
    ("closed before the answer", faults.answer(b""), False),
    ("half an answer", faults.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nok"), False),
    ("100 MB", faults.huge(b"HTTP/1.1 200 OK\r\n\r\n", 100_000_000), False),
]
SLACK_CASES = [
    Case("429", slack_says(429, b"rate_limited", Retry_After="60"), TemporaryError, retry_after=timedelta(minutes=1)),
    Case(
        "429 until a date",
        slack_says(429, Retry_After="Wed, 01 Jul 2099 10:00:00 GMT"),
        TemporaryError,
        retry_after=timedelta(days=1),
    ),
    Case("429 without a time", slack_says(429), TemporaryError),
    Case("408", slack_says(408), TemporaryError),
    Case("500", slack_says(500, b"rollup_error"), TemporaryError),
    Case("503", slack_says(503, Retry_After="5"), TemporaryError, retry_after=timedelta(seconds=5)),
    Case("502", slack_says(502), TemporaryError, uncertain=True),
    Case("504", slack_says(504), TemporaryError, uncertain=True),
    Case("HTML with 200", slack_says(200, HTML), TemporaryError, uncertain=True),
    Case("200 and empty", slack_says(200), TemporaryError, uncertain=True),
    Case("200 and not ok", slack_says(200, b'{"ok": false, "error": "channel_not_found"}'), PermanentError),
    Case("200 and an unknown error", slack_says(200, b'{"ok": false, "error": "new_one"}'), PermanentError),
    Case("400 invalid_payload", slack_says(400, b"invalid_payload"), PermanentError, whole_receiver=False),
    Case("400 no_text", slack_says(400, b"no_text"), PermanentError, whole_receiver=False),
    Case("400", slack_says(400), PermanentError),
    Case("403", slack_says(403, b"action_prohibited"), PermanentError),
    Case("404", slack_says(404, b"no_service"), PermanentError),
    Case("410", slack_says(410, b"channel_is_archived"), PermanentError),
    Case("413", slack_says(413), PermanentError, whole_receiver=False),
    *(
        Case(str(code), slack_says(code, Location="http://169.254.169.254/"), PermanentError)
        for code in (301, 302, 307)
    ),
    *(Case(name, slack_with(fault), TemporaryError, uncertain=True, timed=timed) for name, fault, timed in HTTP_FAULTS),
]


# E-mail


def mail_settings(port: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "mail",
        "type": "email",
        "host": "127.0.0.1",
        "port": port,
        "sender": "budget@example.com",
        "to": ["ml-leads@example.com", "oncall@example.com"],
        "tls": "none",
        "allow_private": True,
        **more,
    }


def secure_mail_settings(server: ScriptedMailServer, directory: Path) -> dict[str, Any]:
    ca_file = directory / "ca.pem"
    server.ca.cert_pem.write_to_path(str(ca_file))
    tls = server.behaviour.tls
    return mail_settings(server.port, tls=tls, username="monitor", password=CANARY, ca_file=str(ca_file))


@contextmanager
def mail_rig(directory: Path) -> Iterator[Rig]:
    def got() -> list[Got]:
        return [
            Got(mail.message["Subject"], mail.message.get_content().replace("\r\n", "\n"), mail)
            for mail in server.mails
        ]

    with ScriptedMailServer(Behaviour(tls="starttls", login=("monitor", CANARY))) as server:
        yield Rig(secure_mail_settings(server, directory), got)


def mail_behaves(behaviour: Behaviour) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with ScriptedMailServer(behaviour) as server:
            if behaviour.login is None:
                yield mail_settings(server.port)
            else:
                yield secure_mail_settings(server, directory)
            assert server.mails == []

    return settings


def mail_with(fault: Fault, **more: Any) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with FaultServer(fault) as server:
            yield mail_settings(server.port, **more)
            assert server.connections <= 1

    return settings


def logs_in(answer: str | None = None, host: str = "127.0.0.1") -> Behaviour:
    return Behaviour(tls="starttls", login=("monitor", "another"), auth_answer=answer, host=host)


EVERYONE = ("ml-leads@example.com", "oncall@example.com")
HELLO = (b"220 hello", b"250 hello", b"250 sender", b"250 rcpt", b"250 rcpt")
MAIL_CASES = [
    Case("421 as greeting", mail_with(faults.smtp(b"421 busy")), TemporaryError),
    Case("554 as greeting", mail_with(faults.smtp(b"554 go away", b"554 go away")), PermanentError),
    Case("450 for the sender", mail_behaves(Behaviour(mail="450 4.1.0 greylisted")), TemporaryError),
    Case("550 for the sender", mail_behaves(Behaviour(mail="550 5.7.1 not yours")), PermanentError),
    Case("530 for the sender", mail_behaves(Behaviour(mail="530 5.7.0 log in")), AccessError),
    Case(
        "550 for everyone",
        mail_behaves(Behaviour(recipients=dict.fromkeys(EVERYONE, "550 no such user"))),
        PermanentError,
    ),
    Case(
        "451 for everyone",
        mail_behaves(Behaviour(recipients=dict.fromkeys(EVERYONE, "451 greylisted"))),
        TemporaryError,
    ),
    Case("451 for the message", mail_behaves(Behaviour(data=["451 4.3.0 later"])), TemporaryError),
    Case("554 for the message", mail_behaves(Behaviour(data=["554 5.6.0 spam"])), PermanentError, whole_receiver=False),
    Case("535 for the login", mail_behaves(logs_in()), AccessError),
    Case("534 for the login", mail_behaves(logs_in("534 5.7.9 too weak")), AccessError),
    Case("454 for the login", mail_behaves(logs_in("454 4.7.0 later")), TemporaryError),
    Case("certificate of another host", mail_behaves(logs_in(host="elsewhere.example")), PermanentError),
    Case("no STARTTLS", mail_with(faults.smtp(*HELLO), tls="starttls"), PermanentError),
    Case(
        "implicit TLS with a server that speaks first",
        mail_with(faults.smtp(b"220 hello"), tls="implicit"),
        TemporaryError,
    ),
    Case("silent", mail_with(faults.hang), TemporaryError, timed=True),
    Case("closed", mail_with(faults.reset_after(0)), TemporaryError),
    Case("speaks HTTP", mail_with(faults.smtp(b"HTTP/1.1 400 Bad Request")), TemporaryError),
    Case(
        "one byte a second",
        mail_with(faults.byte_by_byte(b"220-hello\r\n" * 100, every_s=0.05)),
        TemporaryError,
        timed=True,
    ),
    Case("silent after DATA", mail_with(faults.smtp(*HELLO)), TemporaryError, timed=True),
    Case(
        "no answer to the message",
        mail_with(faults.smtp(*HELLO, b"354 go", b"")),
        TemporaryError,
        timed=True,
        uncertain=True,
    ),
    Case(
        "closed after the message",
        mail_with(faults.smtp_until_close(*HELLO, b"354 go")),
        TemporaryError,
        uncertain=True,
    ),
    Case(
        "garbage after the message",
        mail_with(faults.smtp_until_close(*HELLO, b"354 go", b"<html>")),
        TemporaryError,
        uncertain=True,
    ),
]


# SNS


def sns_settings(url: str, topic_arn: str = TOPIC) -> dict[str, Any]:
    return {"name": "topic", "type": "sns", "topic_arn": topic_arn, "endpoint_url": url, "allow_private": True}


@contextmanager
def sns_rig(directory: Path) -> Iterator[Rig]:
    with AwsAccount() as account:
        topic = account.create_topic("alarms")

        def got() -> list[Got]:
            return [Got(each.subject or "", each.message, each) for each in account.delivered(topic)]

        yield Rig(sns_settings(account.url, topic), got)


def sns_with(fault: Fault) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with FaultServer(fault) as server:
            yield sns_settings(f"http://127.0.0.1:{server.port}")
            assert server.connections <= 1

    return settings


def sns_says(status: int, code: str, head: str = "") -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{CANARY}</Message></Error>"
    body = f"<ErrorResponse>{error}</ErrorResponse>"
    head = f"HTTP/1.1 {status} X\r\n{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return sns_with(faults.answer((head + body).encode()))


SNS_CASES = [
    Case("throttled", sns_says(400, "Throttling"), TemporaryError),
    Case(
        "429",
        sns_says(429, "TooManyRequestsException", "Retry-After: 9\r\n"),
        TemporaryError,
        retry_after=timedelta(seconds=9),
    ),
    Case("500", sns_says(500, "InternalError"), TemporaryError, uncertain=True),
    Case(
        "503",
        sns_says(503, "ServiceUnavailable", "Retry-After: 5\r\n"),
        TemporaryError,
        retry_after=timedelta(seconds=5),
    ),
    Case("not allowed", sns_says(403, "AuthorizationError"), AccessError),
    Case("wrong keys", sns_says(403, "InvalidClientTokenId"), AccessError),
    Case("no such topic", sns_says(404, "NotFound"), PermanentError),
    Case("message refused", sns_says(400, "InvalidParameter"), PermanentError, whole_receiver=False),
    *(
        Case(name, sns_with(fault), TemporaryError, uncertain=True, timed=timed)
        for name, fault, timed in HTTP_FAULTS
        if name != "100 MB"
    ),
]


# Webhook


def webhook_settings(origin: str) -> dict[str, Any]:
    return {
        "name": "hook",
        "type": "webhook",
        "url": f"{origin}/{CANARY}?token={CANARY}",
        "secret": f"secret-{CANARY}",
        "headers": {"Authorization": f"Bearer {CANARY}"},
        "allow_private": True,
    }


@contextmanager
def webhook_rig(directory: Path) -> Iterator[Rig]:
    def got() -> list[Got]:
        found = [(json.loads(post.body), post) for post in list(server.posts)]
        return [Got(message["title"], message["text"], post) for message, post in found]

    with PostServer() as server:
        yield Rig(webhook_settings(server.origin), got)


def answers(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, body, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


def webhook_says(
    status: int, body: bytes = b"", **headers: str
) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with PostServer(answers(status, body, **headers)) as server:
            yield webhook_settings(server.origin)
            assert len(server.posts) == 1, "a notifier makes one attempt; the outbox retries"

    return settings


def webhook_with(fault: Fault) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with FaultServer(fault) as server:
            yield webhook_settings(f"http://127.0.0.1:{server.port}")
            assert server.connections <= 1

    return settings


METADATA = "http://169.254.169.254/latest/meta-data/"
REDIRECTS = (301, 302, 303, 307, 308)
ECHO = f"You sent me Bearer {CANARY}".encode()
WEBHOOK_CASES = [
    Case("429", webhook_says(429, Retry_After="60"), TemporaryError, retry_after=timedelta(minutes=1)),
    Case("429 for ever", webhook_says(429, Retry_After="9999999"), TemporaryError, retry_after=timedelta(days=1)),
    *(Case(str(code), webhook_says(code), TemporaryError) for code in (408, 425, 429, 500)),
    Case("503", webhook_says(503, Retry_After="5"), TemporaryError, retry_after=timedelta(seconds=5)),
    Case("502", webhook_says(502), TemporaryError, uncertain=True),
    Case("504", webhook_says(504), TemporaryError, uncertain=True),
    *(Case(str(code), webhook_says(code, Location=METADATA), PermanentError) for code in REDIRECTS),
    *(Case(f"{code}, echo", webhook_says(code, ECHO), PermanentError) for code in (400, 401, 403, 404, 405, 410)),
    *(Case(str(code), webhook_says(code), PermanentError, whole_receiver=False) for code in (413, 422)),
    *(
        Case(name, webhook_with(fault), TemporaryError, uncertain=True, timed=timed)
        for name, fault, timed in HTTP_FAULTS
    ),
]


# PagerDuty


def pagerduty_settings(url: str) -> dict[str, Any]:
    return {"name": "pager", "type": "pagerduty", "routing_key": CANARY, "url": url, "allow_private": True}


@contextmanager
def pagerduty_rig(directory: Path) -> Iterator[Rig]:
    def got() -> list[Got]:
        # The bare end of a test says nothing.
        told = [event for event in server.events if "payload" in event]
        return [Got(event["payload"]["summary"], _pagerduty_text(event["payload"]), event) for event in told]

    with PagerDuty(CANARY) as server:
        yield Rig(pagerduty_settings(server.url), got)


def _pagerduty_text(payload: dict[str, Any]) -> str:
    return "\n".join((payload["summary"], *(f"{key}: {value}" for key, value in payload["custom_details"].items())))


def pagerduty_says(
    status: int, body: bytes = b"", **headers: str
) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with PagerDuty(CANARY, answers(status, body, **headers)) as server:
            yield pagerduty_settings(server.url)
            assert len(server.posts) == 1, "a notifier makes one attempt; the outbox retries"

    return settings


@contextmanager
def pagerduty_of_another(directory: Path) -> Iterator[dict[str, Any]]:
    with PagerDuty("0" * 32) as server:
        yield pagerduty_settings(server.url)


def pagerduty_with(fault: Fault) -> Callable[[Path], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def settings(directory: Path) -> Iterator[dict[str, Any]]:
        with FaultServer(fault) as server:
            yield pagerduty_settings(f"http://127.0.0.1:{server.port}/v2/enqueue")
            assert server.connections <= 1

    return settings


WRONG_LENGTH = b"""{"status": "invalid event", "message": "Event object is invalid",
"errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]}"""
PAGERDUTY_CASES = [
    Case("429", pagerduty_says(429, Retry_After="60"), TemporaryError, retry_after=timedelta(minutes=1)),
    *(Case(str(code), pagerduty_says(code), TemporaryError) for code in (408, 429, 500, 503)),
    Case("502", pagerduty_says(502), TemporaryError, uncertain=True),
    Case("400", pagerduty_says(400, b'{"status": "invalid event"}'), PermanentError, whole_receiver=False),
    Case("400, echo", pagerduty_says(400, ECHO), PermanentError, whole_receiver=False),
    Case("413", pagerduty_says(413), PermanentError, whole_receiver=False),
    Case("400 for the key's length", pagerduty_says(400, WRONG_LENGTH), AccessError),
    Case("400 for the key", pagerduty_of_another, AccessError),
    *(Case(str(code), pagerduty_says(code), AccessError) for code in (401, 403)),
    *(Case(f"{code}, echo", pagerduty_says(code, ECHO), PermanentError) for code in (404, 410)),
    *(Case(str(code), pagerduty_says(code, Location=METADATA), PermanentError) for code in REDIRECTS),
    Case("HTML with 200", pagerduty_says(200, HTML), TemporaryError, uncertain=True),
    *(
        Case(name, pagerduty_with(fault), TemporaryError, uncertain=True, timed=timed)
        for name, fault, timed in HTTP_FAULTS
    ),
]


RIGS: dict[str, Callable[[Path], AbstractContextManager[Rig]]] = {
    "slack": slack_rig,
    "email": mail_rig,
    "sns": sns_rig,
    "webhook": webhook_rig,
    "pagerduty": pagerduty_rig,
}
CASES = {
    "slack": SLACK_CASES,
    "email": MAIL_CASES,
    "sns": SNS_CASES,
    "webhook": WEBHOOK_CASES,
    "pagerduty": PAGERDUTY_CASES,
}
