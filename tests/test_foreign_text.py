"""Foreign text is inert: thousands of hostile strings, wherever others may choose one, read back by parsers."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alarms.model import AlarmKey, AlarmStatus, DeliveryState, Facts, Kind, Notification, Reason, Severity, Transition
from alarms.notifiers import email as mail
from alarms.notifiers import pagerduty, slack, sns, webhook
from alarms.render import Rendered, render
from monitor import once, spend, status_command
from monitor.clock import to_text
from monitor.cycle import SourceReport, TurnReport
from monitor.model import Series
from monitor.status.judge import judge
from monitor.status.nagios import nagios
from monitor.status.render import render as as_table
from monitor.store.outbox import Standing
from tests.fakes.foreign import foreign_texts, read_plugin_output, read_slack, slack_markup, unsafe_characters
from tests.fakes.messages import FACTS, MONTH, NOW
from tests.fakes.pagerduty_server import faults_of

SEED = int(os.environ.get("SEED", "20261123"))
# All of them take minutes; `MONITOR_TORTURE=1` says that there are some.
TORTURE = os.environ.get("MONITOR_TORTURE") == "1"
COUNT = 10_000 if TORTURE else 200
pytestmark = [pytest.mark.timeout(1200), *([pytest.mark.slow] if TORTURE else [])]
TOPICS = ("arn:aws:sns:us-east-1:123456789012:alarms", "arn:aws:sns:us-east-1:123456789012:alarms.fifo")
MAIL = mail.Settings.model_validate(
    {
        "name": "mail",
        "type": "email",
        "host": "smtp.example.com",
        "sender": "budget@example.com",
        "to": ["ml-leads@example.com", "oncall@example.com"],
    }
)
MAIL_HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "References", "In-Reply-To", "Auto-Submitted"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
}
CONTROL = re.compile(r"\x1b\[\d+m")


def messages(text: str, number: int) -> Iterator[Notification]:
    """The text in every place of a message: a budget's alarm, and one of the monitor itself."""
    kind = tuple(Kind)[number % len(Kind)]
    reason = tuple(Reason)[number % len(Reason)]
    facts = replace(FACTS, kind=kind, reason=reason, budget=text, title=text, detail=text)
    facts = replace(facts, stale=(text, text))  # `on`, `at` and the currency are checked by the config
    possible = number % 2 == 0
    yield Notification(f"{text}/{text}/1", text, NOW, facts, possible_repeat=possible, instead_of=text)
    own = Facts(kind=kind, severity=Severity.WARNING, reason=reason, title=text, detail=text)
    yield Notification("e/l/1", "oncall", NOW, own, instead_of=text if possible else "")


def rendered_messages() -> Iterator[tuple[Notification, Rendered]]:
    for number, text in enumerate(foreign_texts(SEED, COUNT)):
        for message in messages(text, number):
            yield message, render(message, now=NOW)


def say(capsys: pytest.CaptureFixture[str], what: str) -> None:
    with capsys.disabled():
        print(f"\n{COUNT:,} foreign texts (seed {SEED}): {what}")


def assert_clean(value: Any, *, newlines: bool = True) -> None:
    if isinstance(value, str):
        assert not unsafe_characters(value, newlines=newlines), value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_clean(child, newlines=newlines)


def test_the_parsers_find_what_is_wrong() -> None:
    assert read_slack("a <!channel> b &lt;x&gt;") == ("a <!channel> b <x>", ["<!channel>"])
    with pytest.raises(ValueError, match="bare &"):
        read_slack("a &bogus; b")
    assert slack_markup("*bold* and _it_, but 2 * 3 * 4") == ["*bold*", " _it_"]
    assert read_plugin_output("OK - x | 'a'=1;2;3;0; 'b_s'=U;;;;\n") == ("OK - x", {"a": "1", "b_s": None})
    for wrong in (
        "a\nb\n",
        "a | 'x'=1;;;; | 'y'=2;;;;\n",
        "a | x=1;;;;\n",
        "a | 'x'=1,5;;;;\n",
        "a | 'x'=1\n",
        "a\u2028b\n",
    ):
        with pytest.raises(ValueError, match=r"."):
            read_plugin_output(wrong)
    assert unsafe_characters("a\u202eb\x1b[2J\ud800") == {"\u202e", "\x1b", "\ud800"}


def test_slack_shows_text_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    objects = 0
    for message, rendered in rendered_messages():
        payload = json.loads(json.dumps(slack.payload(rendered, message.facts)))
        assert (payload["mrkdwn"], payload["link_names"]) == (False, False)
        texts = list(slack_texts(payload["blocks"]))
        for kind, text in [*texts, ("plain_text", payload["text"])]:
            shown, controls = read_slack(text)
            assert controls == [], text
            assert not unsafe_characters(shown, newlines=True)
            assert 0 < len(text) <= 3000
            if kind == "mrkdwn":  # our own words alone: a bold label above a value
                label, _, value = text.partition("\n")
                assert slack_markup(label) == [label]
                assert slack_markup(value) == []
        assert len(payload["blocks"][0]["text"]["text"]) <= 150
        objects += len(texts) + 1
    say(capsys, f"{objects:,} Slack texts, 0 control sequences")


def slack_texts(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict) and node.get("type") in ("plain_text", "mrkdwn"):
        assert node["type"] == "mrkdwn" or node.get("emoji") is False
        yield node["type"], node["text"]
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from slack_texts(child)


def test_a_mail_has_its_own_headers_and_recipients(capsys: pytest.CaptureFixture[str]) -> None:
    size = 0
    for message, rendered in rendered_messages():
        made = mail.compose(message, rendered, MAIL)
        raw = made.as_bytes()  # with the message's own policy, as smtplib sends it
        size += len(raw)
        assert raw.isascii()
        assert b"\r" not in raw.replace(b"\r\n", b"")
        assert b"\n" not in raw.replace(b"\r\n", b"")
        assert max(map(len, raw.split(b"\r\n"))) <= 998
        read = email.message_from_bytes(raw, policy=email.policy.default)
        assert sorted(read.keys()) == sorted(MAIL_HEADERS)
        assert [str(address) for address in read["To"].addresses] == MAIL.to
        assert str(read["From"].addresses[0]) == MAIL.sender
        assert re.fullmatch(r"<[A-Za-z0-9_/.-]+@example\.com>", read["Message-ID"])
        assert read.defects == []
        assert {name: read[name].defects for name in read if read[name].defects} == {}
        assert read.get_content().replace("\r\n", "\n") == rendered.text
        assert not unsafe_characters(rendered.text, newlines=True)
        assert not unsafe_characters(read["Subject"])
    say(capsys, f"{2 * COUNT:,} mails, {size:,} bytes, no other header")


def test_sns_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    largest = 0
    for message, rendered in rendered_messages():
        for topic in TOPICS:
            made = sns.publication(message, rendered, topic)
            attributes = made["MessageAttributes"]
            values = [part for one in attributes.values() for part in (one["DataType"], one["StringValue"])]
            size = sum(len(part.encode()) for part in (made["Message"], made["Subject"], *attributes, *values))
            largest = max(largest, size)
            assert size <= 262_144
            assert re.fullmatch(r"[!-~]([ -~]{0,97}[!-~])?", made["Subject"]), made["Subject"]
            assert_clean(made)
            assert all(values)
            if topic.endswith(".fifo"):
                assert re.fullmatch(r"[!-~]{1,128}", made["MessageDeduplicationId"])
                assert re.fullmatch(r"[!-~]{1,128}", made["MessageGroupId"])
    say(capsys, f"{4 * COUNT:,} publications, the largest {largest:,} bytes")


def test_webhook_and_pagerduty_bodies_come_back_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    size = 0
    for message, rendered in rendered_messages():
        made = webhook.payload(message, rendered)
        body = json.dumps(made).encode()
        assert body.isascii()
        assert json.loads(body) == made
        assert_clean(made | {"text": ""}, newlines=False)
        assert_clean(made)
        assert re.fullmatch(r"[!-~]{1,128}", webhook.idempotency_key(message.id))
        size += len(body)
        for event in pagerduty.events(message, rendered):
            body = json.dumps({"routing_key": "0" * 32, **event}, ensure_ascii=False).encode()
            assert faults_of(json.loads(body), body) == []
            assert_clean(event)
            size += len(body)
    say(capsys, f"{2 * COUNT:,} webhook bodies and as many PagerDuty events, {size:,} bytes")


def document(text: str, number: int) -> dict[str, Any]:
    """A facts document with the text in every place where one can be."""
    since, firing = to_text(NOW - timedelta(hours=2)), number % 3
    alarm = {"on": "actual", "at": "80%", "severity": "critical", "state": "FIRING" if firing else "OK", "data": "OK"}
    budget = {
        "name": text,
        "currency": "USD",
        "amount": "1000",
        "spend": "900",
        "billed": "900",
        "accrued": "0",
        "period": {"start": to_text(MONTH.start), "end": to_text(MONTH.end)},
        "data_as_of": since,
        "lower_bound": False,
        "sources": [text],
        "alarms": [alarm | {"since": since}],
    }
    source = {
        "name": text,
        "type": "aws_cloudwatch",
        "every_s": 3600,
        "first_attempt": since,
        "last_attempt": since,
        "last_poll": since,
        "data_as_of": since,
        "access": number % 2 == 0,
        "missing": [text],
        "error": text,
        "late_poll_s": 10800,
        "stale_poll_s": 93600,
        "late_data_s": 129600,
        "stale_data_s": 172800,
    }
    receiver = {
        "name": text,
        "state": "DEAD" if number % 5 else "OK",
        "since": since,
        "error": text,
        "last_delivery": None,
        "undelivered": 1,
        "oldest_due": since,
    }
    return {
        "schema": 1,
        "version": "0",
        "written_at": to_text(NOW),
        "turn_at": to_text(NOW),
        "poll_s": 300,
        "timezone": "UTC",
        "sources": [source],
        "budgets": [budget, budget | {"name": f"{text}x"}],
        "health": [{"subject": text, "severity": "warning", "state": "FIRING", "since": since, "detail": text}],
        "receivers": [receiver],
        "native": [{"budget": text, "cloud": text, "state": "DRIFTED"}],
    }


def test_a_monitoring_system_reads_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    labels = 0
    for number, text in enumerate(foreign_texts(SEED, COUNT)):
        status = judge(document(text, number), NOW, running=True)
        said, data = read_plugin_output(nagios(status) + "\n")
        assert re.match(r"BUDGET (OK|WARNING|CRITICAL|UNKNOWN) - ", said)
        assert len(said) < 80
        assert not unsafe_characters(said)
        assert not set(said) & set("|<>`$&")
        assert len(data) == 2 + 2 + 1 + 1
        assert not any(unsafe_characters(label) for label in data)
        labels += len(data)
    say(capsys, f"{COUNT:,} plugin lines, {labels:,} labels")


def test_a_terminal_shows_rows(capsys: pytest.CaptureFixture[str]) -> None:
    lines = 0
    for number, text in enumerate(foreign_texts(SEED, COUNT)):
        status = judge(document(text, number), NOW, running=True)
        plain, coloured = as_table(status, colour=False), as_table(status, colour=True)
        assert re.sub(r" +\n", "\n", CONTROL.sub("", coloured)) == re.sub(r" +\n", "\n", plain)
        shown = [*plain.split("\n"), *spend_table(text).split("\n"), *once_text(text).split("\n")]
        assert [line for line in shown if unsafe_characters(line)] == []
        assert len(spend_table(text).split("\n")) == 6
        assert len(once_text(text).split("\n")) == 4
        written = json.dumps(status)
        assert json.dumps(json.loads(written)) == written
        lines += len(shown)
    say(capsys, f"{COUNT:,} times three tables, {lines:,} lines")


def spend_table(text: str) -> str:
    series = Series(source="aws", account=text, service=text, currency="USD")
    rows = spend.group([spend.DayTotal(series, date(2026, 11, 3), Decimal(5), NOW)], "service", frozenset())
    assert len(json.loads(spend.as_json(rows, "service", MONTH))["rows"]) == 1
    return spend.as_table(rows, "service", MONTH, NOW)


def once_text(text: str) -> str:
    key = AlarmKey(text, "actual", "80%", Severity.WARNING, MONTH.start)
    change = Transition(key, AlarmStatus.OK, AlarmStatus.FIRING, Reason.CROSSED, NOW, "e")
    source = SourceReport(text, ok=False, error=text, missing=(text,))
    report = TurnReport(NOW, sources={text: source}, transitions=[change])
    json.loads(once.as_json(report, []))
    facts = Facts(kind=Kind.FIRING, severity=Severity.WARNING, reason=Reason.CROSSED, title=text)
    return once.as_text(report, [Standing(text, text, DeliveryState.DEAD, facts, text)])


def test_the_command_itself_says_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sample through the whole command, from the file that it reads."""
    codes = set()
    for number, text in enumerate(foreign_texts(SEED + 1, 100)):
        found = document(text, number)
        (tmp_path / "status.json").write_text(json.dumps(found), encoding="utf-8")
        place = ["--state-dir", str(tmp_path), "--as-of", to_text(NOW)]
        codes.add(status_command.main(["status", "--nagios", *place]))
        output = capsys.readouterr().out
        read_plugin_output(output)
        assert output.encode()
        codes.add(status_command.main(["status", *place, "--budget", text]))
        assert not unsafe_characters(capsys.readouterr().out, newlines=True)
    assert codes <= {1, 2, 3}
