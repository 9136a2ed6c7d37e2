"""PagerDuty: one incident per level of an episode, resolved by its end; a test leaves nothing open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from alarms.errors import PermanentError, TemporaryError
from alarms.model import Facts, Kind, Notification, Reason, Severity
from alarms.notifiers.pagerduty import Settings, create, events
from alarms.ports import Notifier
from alarms.render import Rendered, render
from monitor.simulation.slack import Answer
from tests.fakes.messages import FACTS, MESSAGE, NOW, OWN
from tests.fakes.pagerduty_server import PagerDuty

KEY = "0123456789abcdef0123456789ABCDEF"
INLINE = {"name": "pager", "type": "pagerduty", "routing_key": KEY}
TEST = Facts(kind=Kind.TEST, severity=Severity.WARNING, reason=Reason.TEST, title="Test message")


@pytest.fixture
def pager() -> Iterator[PagerDuty]:
    with PagerDuty(KEY) as working:
        yield working


def settings(**more: Any) -> Settings:
    return Settings.model_validate(INLINE | more)


def notifier_of(pager: PagerDuty) -> Notifier:
    return create(settings(url=pager.url, allow_private=True), now=lambda: NOW)


def message(kind: Kind, sequence: int, *, severity: Severity = Severity.CRITICAL, level: str = "l") -> Notification:
    facts = replace(FACTS, kind=kind, severity=severity)
    return replace(MESSAGE, id=f"episode/{level}/{sequence}", facts=facts)


def test_a_crossing_word_for_word() -> None:
    (made,) = events(MESSAGE, render(MESSAGE, now=NOW))
    assert made == {
        "event_action": "trigger",
        "dedup_key": "4f2a9c01d7be/actual-100pct-critical",
        "client": "cloud-budget-monitor",
        "payload": {
            "summary": "CRITICAL training: 1,004.20 of 1,000.00 USD spent, over 100%",
            "source": "training",
            "severity": "critical",
            "timestamp": "2026-11-23T18:00:00Z",
            "class": "crossed",
            "custom_details": {
                "Spent": "1,004.20 USD (100.4%) = 962.80 billed + 41.40 accrued (used, not billed yet)",
                "Limit": "100% of the budget = 1,000.00 USD, actual, critical, over by 4.20 USD",
                "Data": "up to 23 Nov 2026 14:00 UTC, 4 h old",
                "Change": "this is the first message about this limit",
                "Why": "spend has crossed the limit",
                "Budget": "training, 1,000.00 USD for November 2026 (UTC), 7 d 6 h left",
                "See": "monitor status --budget training; monitor spend --by service",
                "Id": "4f2a9c01d7be/actual-100pct-critical/1",
            },
        },
    }


def test_a_whole_episode_is_one_incident(pager: PagerDuty) -> None:
    notifier = notifier_of(pager)
    for number, kind in enumerate((Kind.FIRING, Kind.REPEAT, Kind.REPEAT, Kind.RESOLVED), 1):
        notifier.send(message(kind, number))
    (incident,) = pager.incidents
    assert (len(incident.log), incident.open, pager.dropped) == (3, False, 0)
    assert [one["event_action"] for one in pager.events] == ["trigger", "trigger", "trigger", "resolve"]


def test_two_levels_are_two_incidents_and_each_ends_for_itself(pager: PagerDuty) -> None:
    notifier = notifier_of(pager)
    notifier.send(message(Kind.FIRING, 1, severity=Severity.WARNING, level="80"))
    notifier.send(message(Kind.FIRING, 1, level="100"))
    notifier.send(message(Kind.RESOLVED, 2, level="100"))
    assert [(one.dedup_key, one.open) for one in pager.incidents] == [("episode/80", True), ("episode/100", False)]
    assert [one["payload"]["severity"] for one in pager.events] == ["warning", "critical", "critical"]


def test_the_end_of_what_never_was_told_does_no_harm(pager: PagerDuty) -> None:
    notifier_of(pager).send(message(Kind.RESOLVED, 2))
    assert (pager.incidents, pager.dropped) == ([], 1)


def test_a_message_that_may_have_come_before_changes_nothing(pager: PagerDuty) -> None:
    notifier = notifier_of(pager)
    notifier.send(message(Kind.FIRING, 1))
    notifier.send(replace(message(Kind.FIRING, 1), possible_repeat=True))
    assert len(pager.incidents) == 1


def test_a_test_rings_as_info_and_leaves_nothing_open(pager: PagerDuty) -> None:
    receipt = notifier_of(pager).send(replace(MESSAGE, id="test-1/test/1", facts=TEST))
    (incident,) = pager.incidents
    assert not incident.open
    assert pager.events[0]["payload"]["severity"] == "info"
    assert pager.events[1] == {"routing_key": KEY, "event_action": "resolve", "dedup_key": "test-1/test"}
    assert receipt.remote_id == "test-1/test"


def test_a_test_whose_end_is_not_taken_is_not_called_delivered(pager: PagerDuty) -> None:
    pager.script = [Answer(202, b""), Answer(503, b"")]
    with pytest.raises(TemporaryError):
        notifier_of(pager).send(replace(MESSAGE, facts=TEST))


def flood(kind: Kind, *held: Notification) -> Notification:
    facts = Facts(kind=kind, severity=Severity.CRITICAL, reason=Reason.DIGEST, title="many alarms", held=held)
    return replace(MESSAGE, id="flood/digest/1", facts=facts)


def test_many_alarms_in_one_message_page_once_and_end_those_that_are_over(pager: PagerDuty) -> None:
    notifier = notifier_of(pager)
    notifier.send(message(Kind.FIRING, 1, level="old"))
    fresh = [message(Kind.FIRING, 1, level=f"new{number}") for number in range(20)]
    notifier.send(flood(Kind.FIRING, *fresh, message(Kind.RESOLVED, 2, level="old")))
    assert [(one.dedup_key, one.open) for one in pager.incidents] == [("episode/old", False), ("flood/digest", True)]
    notifier.send(flood(Kind.RESOLVED, *(message(Kind.RESOLVED, 2, level=f"new{number}") for number in range(20))))
    assert len(pager.incidents) == 2, "the ends of what was one incident are dropped"


def test_what_was_over_before_it_got_through_is_told_and_closed(pager: PagerDuty) -> None:
    notifier = notifier_of(pager)
    was = message(Kind.RESOLVED, 1)
    was = replace(was, facts=replace(was.facts, over_until=NOW, first_detected=NOW - timedelta(hours=3)))
    notifier.send(was)
    notifier.send(flood(Kind.RESOLVED, *(replace(was, id=f"e/{number}/1") for number in range(20))))
    assert [(one.dedup_key, one.open) for one in pager.incidents] == [("episode/l", False), ("flood/digest", False)]
    assert pager.incidents[0].log[0].startswith("WAS CRITICAL training")
    assert pager.events[0]["payload"]["severity"] == "info"


def test_what_was_taken_of_many_events_is_not_sent_again(pager: PagerDuty) -> None:
    over = [message(Kind.RESOLVED, 2, level=str(number)) for number in range(5)]
    pager.script = [Answer(202, b""), Answer(202, b""), Answer(429, b"")]
    notifier = notifier_of(pager)
    digest = flood(Kind.FIRING, message(Kind.FIRING, 1), *over)
    with pytest.raises(TemporaryError) as caught:
        notifier.send(digest)
    assert caught.value.uncertain, "the outbox must not make another digest of it"
    notifier.send(digest)
    keys = [json.loads(post.body)["dedup_key"] for post in pager.posts]
    assert keys == ["flood/digest", *(f"episode/{number}" for number in (0, 1, 1, 2, 3, 4))]


def test_what_is_not_in_the_lines_is_among_the_details() -> None:
    rendered = render(MESSAGE, now=NOW)

    class Longer(Rendered):
        @property
        def text(self) -> str:
            return "CRITICAL a: over 80%\nWARNING b: over 50%\n" + rendered.text

    longer = Longer(**{name: getattr(rendered, name) for name in Rendered.__dataclass_fields__})
    (made,) = events(MESSAGE, longer)
    assert made["payload"]["custom_details"]["More"] == "CRITICAL a: over 80%\nWARNING b: over 50%"


def test_what_the_answer_holds_is_not_kept(pager: PagerDuty) -> None:
    pager.script = [Answer(202, f'{{"dedup_key": "{KEY}"}}'.encode())]
    assert KEY not in repr(notifier_of(pager).send(MESSAGE))


@pytest.mark.parametrize("identity", ["é/l/1", "x" * 300 + "/l/1", "a b/l/1", "no-slash", "\ud800/l/1", "/"])
def test_any_id_gives_a_key_that_pagerduty_takes(pager: PagerDuty, identity: str) -> None:
    notifier = notifier_of(pager)
    notifier.send(replace(MESSAGE, id=identity))
    notifier.send(replace(MESSAGE, id=identity, facts=replace(FACTS, kind=Kind.RESOLVED)))
    assert [one.open for one in pager.incidents] == [False]


def test_an_alarm_of_the_monitor_itself(pager: PagerDuty) -> None:
    notifier_of(pager).send(replace(MESSAGE, facts=OWN))
    payload = pager.events[0]["payload"]
    assert payload["source"] == "cloud-budget-monitor"
    assert payload["summary"] == "WARNING: Source aws has given no data for 26 h"


def test_the_largest_message_is_small_enough(pager: PagerDuty) -> None:
    names = tuple("\N{PILE OF POO}" * 1000 for _ in range(1000))
    facts = replace(FACTS, budget=names[0], detail=names[0] * 10, stale=names, also_over=names)
    notifier_of(pager).send(replace(MESSAGE, facts=facts, possible_repeat=True, instead_of=names[0]))
    assert len(pager.posts[0].body) < 512 * 1024


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"routing_key": "canary-of-the-rest-api"}, "not an integration key"),
        ({"routing_key": "canary with spaces", "allow_private": True}, "not an integration key"),
        ({"url": "https://events.example.com/canary"}, "not one of PagerDuty's"),
        ({"url": "https://events.pagerduty.com:8443/v2/enqueue"}, "not one of PagerDuty's"),
        ({"url": "http://events.pagerduty.com/v2/enqueue"}, "not one of PagerDuty's"),
        ({"url": "https://events.pagerduty.com.evil.example/v2/enqueue"}, "not one of PagerDuty's"),
        ({"url": "canary"}, "not a URL"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_an_echo(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        settings(**wrong)
    assert "canary" not in str(caught.value)


def test_a_key_that_is_none_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "canary")
    with pytest.raises(PermanentError, match="not an integration key") as caught:
        create(settings(routing_key="env:PAGER"), now=lambda: NOW)
    assert "canary" not in str(caught.value)
    monkeypatch.setenv("PAGER", KEY)
    eu = settings(routing_key="env:PAGER", url="https://events.eu.pagerduty.com/v2/enqueue")
    assert KEY not in repr(create(eu, now=lambda: NOW))
