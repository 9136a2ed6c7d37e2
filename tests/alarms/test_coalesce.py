"""Several messages about one alarm, none of which got through, become one that says it all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from alarms.coalesce import as_made, merged, unprepared
from alarms.model import Kind, Notification, Reason, Severity
from alarms.render import render
from tests.fakes.messages import FACTS, NOW, OWN

HOUR = timedelta(hours=1)


def made(number: int, kind: Kind, *, episode: str = "e1", hours: int = 0, **more: Any) -> Notification:
    reason = {Kind.FIRING: Reason.CROSSED, Kind.REPEAT: Reason.STILL_OVER, Kind.RESOLVED: Reason.RESTATED_BELOW}[kind]
    told = {} if kind is Kind.FIRING else {"previous_spend": Decimal(1004), "previous_told": NOW}
    facts = replace(FACTS, kind=kind, reason=reason, **{**told, **more})
    return Notification(f"{episode}/actual-100pct-critical/{number}", "oncall", NOW + hours * HOUR, facts)


FIRING = made(1, Kind.FIRING)
REPEAT = made(2, Kind.REPEAT, hours=4, spend=Decimal(1100))
RESOLVED = made(3, Kind.RESOLVED, hours=9, spend=Decimal(950))


def one(old: Notification, new: Notification) -> Notification:
    both = merged(old, new)
    assert both is not None
    return both


def test_a_repeat_in_place_of_the_first_message_is_the_first_message_with_todays_figures() -> None:
    both = one(FIRING, REPEAT)
    assert (both.id, both.created_at) == (REPEAT.id, REPEAT.created_at)
    assert (both.facts.kind, both.facts.reason, both.facts.spend) == (Kind.FIRING, Reason.CROSSED, Decimal(1100))
    assert (both.facts.previous_told, both.facts.first_detected) == (None, NOW)
    text = render(both, now=NOW + 5 * HOUR).text
    assert text.startswith("CRITICAL training: 1,100.00 of 1,000.00 USD spent, over 100%\n")
    assert "Change: this is the first message about this limit" in text
    assert "First detected at: 23 Nov 2026 18:00 UTC, 5 h ago" in text


def test_a_repeat_in_place_of_a_repeat_tells_the_change_since_what_was_heard() -> None:
    both = one(REPEAT, made(3, Kind.REPEAT, hours=8, spend=Decimal(1200), previous_told=NOW + 4 * HOUR))
    assert both.facts.kind is Kind.REPEAT
    assert (both.facts.previous_spend, both.facts.previous_told) == (Decimal(1004), NOW)


def test_an_alarm_that_came_and_went_is_one_message_that_says_both() -> None:
    both = one(FIRING, RESOLVED)
    assert both.facts.kind is Kind.RESOLVED
    message = render(both, now=NOW + 30 * HOUR)
    assert message.subject == "WAS CRITICAL training: 950.00 of 1,000.00 USD spent, over 100% for 9 h, back under"
    assert message.notes == ("It did not get through to you while it lasted.",)
    lasted = {line.label: line.value for line in message.lines}["Lasted"]
    assert lasted == "from 23 Nov 2026 18:00 UTC to 24 Nov 2026 03:00 UTC, 1,004.20 USD"


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        (Reason.RESTATED_BELOW, "for 9 h, back under"),
        (Reason.LIMIT_RAISED, "for 9 h, until that was raised"),
        (Reason.PERIOD_ENDED, "for 9 h, until the period ended"),
        (Reason.BUDGET_REMOVED, "for 9 h, no longer watched"),
    ],
)
def test_however_it_ended_it_never_reads_like_an_all_clear_alone(reason: Reason, ending: str) -> None:
    both = one(FIRING, replace(RESOLVED, facts=replace(RESOLVED.facts, reason=reason)))
    message = render(both, now=NOW + 30 * HOUR)
    assert message.subject.startswith("WAS CRITICAL training: ")
    assert message.subject.endswith(ending)


def test_through_all_of_them_it_is_still_one() -> None:
    both = one(one(FIRING, REPEAT), RESOLVED)
    assert both.facts.over_until == NOW + 9 * HOUR
    assert both.facts.over_spend == Decimal(1100)
    assert merged(FIRING, both) is not None, "the first, refused for good while the last was made already"
    assert one(FIRING, both).facts.over_spend == Decimal(1100)


def test_who_knows_that_it_fires_gets_a_plain_all_clear() -> None:
    both = one(replace(REPEAT, possible_repeat=True), RESOLVED)
    assert both.facts.over_until is None
    assert both.facts.previous_told == NOW
    assert not both.possible_repeat, "it was never sent"


def test_a_fault_that_came_and_went() -> None:
    fired = Notification("e1/health-stale-warning/1", "oncall", NOW, OWN)
    over = Notification(
        "e1/health-stale-warning/2",
        "oncall",
        NOW + 3 * HOUR,
        replace(OWN, kind=Kind.RESOLVED, reason=Reason.FAULT_OVER, title="source aws is no longer stale", detail=""),
    )
    message = render(one(fired, over), now=NOW + 4 * HOUR)
    assert message.headline == "WAS WARNING: source aws is no longer stale"
    assert "Lasted: from 23 Nov 2026 18:00 UTC to 23 Nov 2026 21:00 UTC\n" in message.text


def test_what_may_have_arrived_stays_marked_and_a_stand_in_says_for_whom() -> None:
    both = one(replace(FIRING, possible_repeat=True, instead_of="mail"), RESOLVED)
    assert (both.possible_repeat, both.instead_of) == (True, "mail")


def test_a_stay_nobody_heard_of_shrinks_to_a_remark() -> None:
    past = one(FIRING, RESOLVED)
    for number in range(3):
        again = made(1, Kind.FIRING, episode=f"f{number}", hours=20 + number)
        past = one(one(past, again), made(2, Kind.RESOLVED, episode=f"f{number}", hours=21 + number))
    assert (past.facts.missed, past.facts.missed_since) == (3, NOW)
    text = render(past, now=NOW + 30 * HOUR).text
    assert "Before: 3 times, the first at 23 Nov 2026 18:00 UTC, it did not get through to you" in text
    once = render(one(one(FIRING, RESOLVED), made(1, Kind.FIRING, episode="f")), now=NOW).text
    assert "Before: once at 23 Nov 2026 18:00 UTC, it did not get through to you" in once


def test_what_must_be_heard_stays_apart() -> None:
    assert merged(FIRING, made(2, Kind.FIRING)) is None
    assert merged(RESOLVED, made(4, Kind.REPEAT)) is None
    assert merged(RESOLVED, made(1, Kind.FIRING, episode="f")) is None, "it knows of the first stay: that is over"
    past = one(FIRING, RESOLVED)
    assert merged(past, made(2, Kind.REPEAT, episode="f")) is None
    doubtful = replace(past, possible_repeat=True)
    assert merged(doubtful, made(1, Kind.FIRING, episode="f")) is None, "it may know of the first stay"
    assert merged(past, made(2, Kind.RESOLVED, episode="f")) is None


def test_for_somebody_who_has_heard_nothing() -> None:
    first = unprepared(REPEAT)
    assert first.facts.kind is Kind.FIRING
    assert render(first, now=NOW).subject.startswith("CRITICAL training: ")
    assert "Change: this is the first message about this limit" in render(first, now=NOW).text
    assert "Why: it was over before and still is" in render(first, now=NOW).text
    assert render(unprepared(RESOLVED), now=NOW).subject.startswith("WAS CRITICAL training: ")
    assert unprepared(FIRING) == FIRING


def test_what_one_was_told_alone_is_not_passed_on() -> None:
    for number, (old, new) in enumerate([(FIRING, REPEAT), (FIRING, RESOLVED)]):
        back = as_made(one(old, new).facts, new.facts.kind)
        assert (back.kind, back.reason, back.over_until) == (new.facts.kind, new.facts.reason, None), number
    fault = replace(OWN, kind=Kind.REPEAT)
    assert as_made(replace(fault, kind=Kind.FIRING), Kind.REPEAT) == fault


def test_an_alarm_has_one_name_in_all_its_episodes_and_no_other_has_it() -> None:
    assert FIRING.alarm == made(7, Kind.RESOLVED, episode="f").alarm
    others = [
        replace(FIRING, facts=replace(FACTS, budget="other")),
        replace(FIRING, facts=replace(FACTS, period=None)),
        replace(FIRING, id="e1/actual-80pct-critical/1"),
        Notification("e1/actual-100pct-critical/1", "oncall", NOW, replace(OWN, subject="source aws")),
        Notification("e1/actual-100pct-critical/1", "oncall", NOW, OWN),
    ]
    assert len({FIRING.alarm, *(each.alarm for each in others)}) == 6
    assert replace(FIRING, facts=replace(FACTS, severity=Severity.WARNING)).stay == "e1/actual-100pct-critical"
