"""What every notifier must do, found by discovery: a new module in alarms/notifiers is held to it without a line here.

It does need its receiver on loopback and its answers in tests/contract/receivers.py.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alarms import registry
from alarms.digest import digest_of
from alarms.errors import OutsideError, PermanentError, TemporaryError
from alarms.model import Delivery, DeliveryState, Facts, Kind, Reason, Severity
from alarms.ports import Notifier
from alarms.settings import ReceiverSettings
from tests.contract.receivers import CANARY, CASES, RIGS, Case, Rig
from tests.fakes.messages import FACTS, MESSAGE, NOW

FOREIGN = (
    "FOREIGN\r\nBcc: evil@example.com\x00\x1b[2J <!channel> <@U1> <http://evil|ok> <script> *b* |'=1 "
    "\u202e\u2028\u0085 &amp; "
)
# The deadline for those who do not answer, and for those who do on a machine that is busy.
SHORT_S, LONG_S = 0.7, 20.0


@pytest.fixture(autouse=True)
def _aws_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


@pytest.fixture(params=registry.names())
def name(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    assert kind in RIGS, (
        f"alarms/notifiers/{kind}.py has no receiver on loopback: add one to tests/contract/receivers.py"
    )
    return kind


@pytest.fixture
def rig(name: str, tmp_path: Path) -> Iterator[Rig]:
    with RIGS[name](tmp_path) as working:
        yield working


def notifier_of(settings: dict[str, Any], *, deadline_s: float = LONG_S) -> Notifier:
    module = registry.load(settings["type"])
    notifier: Notifier = module.create(module.Settings.model_validate(settings), now=lambda: NOW, deadline_s=deadline_s)
    return notifier


def all_cases() -> list[Any]:
    return [pytest.param(case, id=f"{kind}: {case.name}") for kind in registry.names() for case in CASES.get(kind, ())]


def test_module_has_settings_and_create(name: str) -> None:
    module = registry.load(name)
    settings = getattr(module, "Settings", None)
    assert inspect.isclass(settings), f"alarms/notifiers/{name}.py lacks a class Settings"
    assert issubclass(settings, ReceiverSettings), f"{name}: Settings has to inherit from ReceiverSettings"
    create = getattr(module, "create", None)
    assert callable(create), (
        f"alarms/notifiers/{name}.py lacks a function create(settings, *, now, timezone, deadline_s)"
    )
    wanted = {"settings", "now", "timezone", "deadline_s"}
    assert set(inspect.signature(create).parameters) == wanted, (
        f"{name}: create has to take {', '.join(sorted(wanted))}"
    )
    assert CASES.get(name), f"{name} has no answers in tests/contract/receivers.py: what does it raise for which?"


def test_settings_are_strict(rig: Rig) -> None:
    model = registry.settings_of(rig.settings["type"])
    assert model.model_validate(rig.settings | {"min_severity": "critical"}).min_severity == "critical"
    for wrong in ({"nonsense": 1}, {"min_severity": "loud"}, {"name": 7}, {"allow_private": "yes"}):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(rig.settings | wrong)
        assert CANARY not in str(caught.value)


def test_message_says_everything(rig: Rig) -> None:
    receipt = notifier_of(rig.settings).send(MESSAGE)
    assert receipt.refused == ()
    (got,) = rig.got()
    for fact in ("CRITICAL training", "1,004.20", "1,000.00 USD", "over 100%"):
        assert fact in got.subject
        assert fact in got.text
    facts = (
        "962.80",
        "41.40",
        "actual, critical",
        "4 h old",
        "November 2026",
        "4.20 USD",
        "spend has crossed",
        MESSAGE.id,
    )
    for fact in (*facts, "first message", "monitor status --budget training"):
        assert fact in got.text
    assert "repeat" not in got.subject + got.text


def test_every_kind_arrives_in_order(rig: Rig) -> None:
    notifier = notifier_of(rig.settings)
    own = Facts(
        kind=Kind.FIRING, severity=Severity.WARNING, reason=Reason.FAULT, title="Disk is full", detail="99% used"
    )
    messages = [
        MESSAGE,
        replace(MESSAGE, id="e/l/2", facts=replace(FACTS, kind=Kind.REPEAT, reason=Reason.STILL_OVER)),
        replace(MESSAGE, id="e/l/3", facts=replace(FACTS, kind=Kind.RESOLVED, reason=Reason.PERIOD_ENDED)),
        replace(MESSAGE, id="t/t/1", facts=replace(own, kind=Kind.TEST, title="This is a test")),
        replace(MESSAGE, id="h/h/1", facts=own),
        replace(
            MESSAGE, id="d/d/1", facts=replace(own, kind=Kind.SUMMARY, title="all", sections=(("Budgets", ("x: 1",)),))
        ),
        replace(MESSAGE, id="e/l/4", facts=replace(FACTS, reason=Reason.SILENCE_OVER, silenced_until=NOW)),
    ]
    for message in messages:
        notifier.send(message)
    leads = [
        "CRITICAL training: ",
        "STILL CRITICAL training: ",
        "RESOLVED training: ",
        "TEST: This is",
        "WARNING: Disk",
        "DIGEST: all",
        "CRITICAL training: ",
    ]
    assert [got.subject.startswith(lead) for got, lead in zip(rig.got(), leads, strict=True)] == [True] * len(leads)
    *_, digest, after_silence = rig.got()
    assert "x: 1" in digest.text
    assert "it was silenced until 23 Nov 2026 18:00 UTC, and is still over" in after_silence.text


def test_repeat_and_stand_in_are_marked(rig: Rig) -> None:
    notifier_of(rig.settings).send(replace(MESSAGE, possible_repeat=True, instead_of="topic"))
    (got,) = rig.got()
    assert "(possible repeat)" in got.subject
    assert "(possible repeat)" in got.text
    assert "topic did not accept this; sent here instead" in got.text


def test_foreign_text_is_inert(name: str, rig: Rig) -> None:
    long = FOREIGN + "x" * 5000
    own = Facts(kind=Kind.FIRING, severity=Severity.WARNING, reason=Reason.FAULT, title=long, detail=long)
    notifier = notifier_of(rig.settings)
    notifier.send(replace(MESSAGE, facts=replace(FACTS, budget=long, stale=(long, FOREIGN)), instead_of=long))
    notifier.send(replace(MESSAGE, id=f"{FOREIGN}/{long}/1", facts=own))
    for got in rig.got():
        assert "FOREIGN" in got.subject
        for text in (got.subject, got.text):
            assert not set(text) & set("\r\x00\x1b\u202e\u2028\u0085")
        assert len(got.text) < 20_000
        assert name in INERT, f"{name}: say in INERT what makes its message inert"
        INERT[name](got.raw)


@pytest.mark.parametrize("count", [12, 700])
def test_a_flood_comes_as_one_list_cut_where_the_receiver_cuts(name: str, rig: Rig, count: int) -> None:
    facts = replace(FACTS, budget=None, title=FOREIGN) if count == 12 else replace(FACTS, budget=f"&<>{FOREIGN}")
    held = [replace(MESSAGE, id=f"b{number}/l/1", facts=replace(facts, subject=f"{number}")) for number in range(count)]
    digest = digest_of([Delivery(each, DeliveryState.DUE, 0, NOW) for each in held]).notification
    assert notifier_of(rig.settings).send(replace(digest, possible_repeat=True)).refused == ()
    (got,) = rig.got()
    assert got.subject.startswith(f"CRITICAL: {count} alarms: {count} critical")
    assert "(possible repeat)" in got.subject
    shown = got.text.count("CRITICAL FOREIGN") + got.text.count("CRITICAL: FOREIGN") + got.text.count("CRITICAL &")
    if count == 12:
        assert shown == 12
        assert "more: monitor status" not in got.text
    else:
        assert f"and {count - shown} more: monitor status" in got.text
        assert shown >= 15
    INERT[name](got.raw)


def slack_is_inert(payload: dict[str, Any]) -> None:
    objects = list(text_objects(payload["blocks"]))
    assert len(objects) > 3
    for kind, text in [*objects, ("top", payload["text"])]:
        assert not set(text) & set("<>"), text
        assert "&amp;amp;" in text or "FOREIGN" not in text or "..." in text
        assert kind != "mrkdwn" or "FOREIGN" not in text
    assert (payload["link_names"], payload["unfurl_links"], payload["unfurl_media"]) == (False, False, False)
    assert len(payload["blocks"][0]["text"]["text"]) <= 150
    assert max(len(text) for _, text in objects) <= 3000


def text_objects(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict) and node.get("type") in ("plain_text", "mrkdwn"):
        yield node["type"], node["text"]
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from text_objects(child)


def mail_is_inert(mail: Any) -> None:
    assert mail.recipients == ("ml-leads@example.com", "oncall@example.com")
    assert mail.message["To"] == "ml-leads@example.com, oncall@example.com"
    assert "Bcc" not in mail.message
    assert mail.message.defects == []
    assert mail.message.get_content_type() == "text/plain"


def sns_is_inert(delivered: Any) -> None:
    assert len(delivered.subject) <= 99
    assert delivered.subject.isascii()
    assert set(delivered.attributes) <= {"budget", "severity", "kind", "id"}


def webhook_is_inert(post: Any) -> None:
    assert post.body.isascii()
    assert set(post.headers) == WEBHOOK_HEADERS
    assert re.fullmatch(r"[!-~]{1,128}", post.headers["Idempotency-Key"])
    for text in texts(json.loads(post.body) | {"text": ""}):
        assert "\n" not in clean_of(text)


def pagerduty_is_inert(event: Any) -> None:
    assert len(event["dedup_key"]) <= 255
    details = event["payload"]["custom_details"]
    clean_of(details.get("More", ""))  # a list: the one text with several lines
    for text in texts({**event, "payload": {**event["payload"], "custom_details": details | {"More": ""}}}):
        assert "\n" not in clean_of(text)


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from texts(child)


def clean_of(text: str) -> str:
    assert not set(text) & set("\r\x00\x1b\u202e\u2028\u0085")
    return text


WEBHOOK_HEADERS = {
    *("Host", "Accept-Encoding", "Connection", "Content-Length", "Content-Type", "User-Agent"),
    *("Authorization", "Idempotency-Key", "X-Monitor-Signature"),
}
INERT = {
    "slack": slack_is_inert,
    "email": mail_is_inert,
    "sns": sns_is_inert,
    "webhook": webhook_is_inert,
    "pagerduty": pagerduty_is_inert,
}


@pytest.mark.parametrize("case", all_cases())
def test_answer_means(case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.handler.addFilter(lambda record: record.name.startswith(("alarms", "monitor")))
    with case.settings(tmp_path) as settings:
        deadline_s = SHORT_S if case.timed else LONG_S
        notifier = notifier_of(settings, deadline_s=deadline_s)
        started = time.monotonic()
        with pytest.raises(OutsideError) as caught:
            notifier.send(MESSAGE)
        assert time.monotonic() - started < deadline_s + 3, "the deadline did not hold"
    error = caught.value
    assert isinstance(error, case.error), repr(error)
    if isinstance(error, TemporaryError):
        assert (error.uncertain, error.retry_after) == (case.uncertain, case.retry_after), repr(error)
    if isinstance(error, PermanentError):
        assert error.whole_receiver is case.whole_receiver, repr(error)
    assert_is_a_sentence(str(error))
    shown = str(error) + repr(error) + repr(notifier) + repr(settings_of(settings)) + caplog.text
    assert CANARY not in shown


def settings_of(settings: dict[str, Any]) -> ReceiverSettings:
    return registry.settings_of(settings["type"]).model_validate(settings)


def assert_is_a_sentence(text: str) -> None:
    assert 20 < len(text) < 300, text
    assert "\n" not in text
    assert not text.endswith(".")  # others put it into theirs


def test_nobody_listening_is_temporary_and_certain(name: str, tmp_path: Path) -> None:
    with RIGS[name](tmp_path) as working:
        settings = working.settings
    with pytest.raises(TemporaryError) as caught:
        notifier_of(settings, deadline_s=3).send(MESSAGE)
    assert not caught.value.uncertain
    assert CANARY not in str(caught.value) + repr(caught.value)


def test_nothing_secret_in_logs_and_reprs_of_a_success(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    notifier = notifier_of(rig.settings)
    receipt = notifier.send(MESSAGE)
    assert CANARY not in caplog.text + repr(notifier) + repr(settings_of(rig.settings)) + repr(receipt)


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(PermanentError, match='no receiver of type "slak": did you mean "slack"'):
        registry.load("slak")
    with pytest.raises(PermanentError, match="types of receiver are email, pagerduty, slack, sns, webhook"):
        registry.load("../x")
