"""Thresholds on a plan: spend beside what was planned by then, and what it will have been when the plan is through."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.evaluate import evaluate
from alarms.model import (
    OPEN_END,
    RUN_START,
    Alarm,
    AlarmKey,
    AlarmStatus,
    Budget,
    DataStatus,
    Foreseen,
    Kind,
    Limit,
    Notification,
    Period,
    Reading,
    Reason,
    Severity,
    Threshold,
)
from alarms.notifiers.webhook import payload
from alarms.render import render
from alarms.state import CALM_FOR, Situation, advance
from monitor.store.payload import from_payload, to_payload

RUN = Period(datetime(2026, 12, 1, tzinfo=UTC), OPEN_END)
START = datetime(2026, 12, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(text: str) -> Limit:
    if text.endswith("%"):
        return Limit(text, percent=Decimal(text[:-1]))
    return Limit(text, amount=Decimal(text.split(maxsplit=1)[0]))


def ahead(limit: str = "120%") -> Threshold:
    return Threshold("plan", at(limit), Severity.WARNING)


COMPLETION = Threshold("at_completion", at("100%"), Severity.CRITICAL)


def reading(spent: str | None, planned: str | None = "1000", left: str = "9000", **more: object) -> Reading:
    spend = None if spent is None else Decimal(spent)
    completion = None if spend is None else spend + Decimal(left)
    foreseen = None if planned is None else Foreseen(Decimal(planned), spend, completion)
    known = Reading("training", RUN, "USD", spend, billed=spend, as_of=START, foreseen=foreseen, run=True)
    return replace(known, **more)


def budget(*thresholds: Threshold) -> Budget:
    return Budget("training", Decimal(10000), "USD", thresholds, ("oncall",), {})


class World:
    def __init__(self, *thresholds: Threshold) -> None:
        self.budget = budget(*thresholds)
        self.alarms: dict[AlarmKey, Alarm] = {}
        self.messages: list[Notification] = []
        self.now = START

    def see(self, known: Reading, *, after: timedelta = HOUR, current: bool = True) -> AlarmStatus:
        self.now += after
        situation = Situation(self.alarms, self.now, lambda *_: frozenset({"oncall"}), current=current)
        step = advance(self.budget, known, situation)
        self.alarms |= {alarm.key: alarm for alarm in step.alarms}
        self.messages += step.notifications
        return step.alarms[0].status

    def told(self) -> list[tuple[Kind, Reason]]:
        return [(message.facts.kind, message.facts.reason) for message in self.messages]


@pytest.mark.parametrize(
    ("limit", "spent", "planned", "over"),
    [
        ("120%", "1199.99", "1000", False),
        ("120%", "1200", "1000", True),
        ("120%", "5000", "0", False),  # before the plan starts
        ("200 USD", "1199.99", "1000", False),
        ("200 USD", "1200", "1000", True),
        ("200 USD", "5000", "0", False),
        ("120%", None, "1000", False),
        ("120%", "5000", None, False),
    ],
)
def test_spend_is_held_against_what_was_planned_by_then(
    limit: str, spent: str | None, planned: str | None, *, over: bool
) -> None:
    found = evaluate(budget(ahead(limit)), ahead(limit), reading(spent, planned))
    assert found.over is over
    assert found.data is (DataStatus.NO_DATA if spent is None or planned is None else DataStatus.OK)
    assert found.key.period_start == RUN_START


@pytest.mark.parametrize(("left", "over"), [("8999.99", False), ("9000", True)])
def test_the_estimate_at_completion_is_held_against_the_amount(left: str, *, over: bool) -> None:
    found = evaluate(budget(COMPLETION), COMPLETION, reading("1000", left=left))
    assert (found.over, found.limit) == (over, Decimal(10000))


@pytest.mark.parametrize("threshold", [ahead(), COMPLETION])
def test_old_or_partial_data_can_fire_it_but_never_end_it(threshold: Threshold) -> None:
    for doubt in ({"stale": ("aws",)}, {"lower_bound": True}):
        assert evaluate(budget(threshold), threshold, reading("1300", left="9500", **doubt)).over
        assert not evaluate(budget(threshold), threshold, reading("10", left="0", **doubt)).under


@pytest.mark.parametrize(("limit", "ends_under"), [("120%", "1140"), ("200 USD", "1190")])
def test_it_is_over_when_clearly_below_for_a_day(limit: str, ends_under: str) -> None:
    world = World(ahead(limit))
    assert world.see(reading("1200")) is AlarmStatus.FIRING
    assert world.see(reading(ends_under), after=2 * CALM_FOR) is AlarmStatus.FIRING
    below = str(Decimal(ends_under) - Decimal("0.01"))
    assert world.see(reading(below)) is AlarmStatus.FIRING
    assert world.see(reading(below), after=CALM_FOR - HOUR) is AlarmStatus.FIRING
    assert world.see(reading(below)) is AlarmStatus.OK
    assert world.told() == [(Kind.FIRING, Reason.CROSSED), (Kind.RESOLVED, Reason.STAYED_BELOW)]


steps = st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 6)), min_size=1, max_size=60)


@given(steps)
def test_however_it_swings_an_episode_has_two_messages_and_lasts_a_day(some: list[tuple[int, int]]) -> None:
    world = World(ahead())
    for spent, hours in some:
        world.see(reading(str(spent)), after=hours * HOUR)
    kinds = [kind for kind, _ in world.told()]
    assert kinds == [Kind.FIRING, Kind.RESOLVED] * (len(kinds) // 2) + [Kind.FIRING] * (len(kinds) % 2)
    days = sum((hours * HOUR for _, hours in some), timedelta(0)) // CALM_FOR
    assert kinds.count(Kind.RESOLVED) <= days


def test_a_run_that_starts_another_day_keeps_its_alarms() -> None:
    world = World(Threshold("actual", at("80%"), Severity.WARNING))
    world.see(reading("8000"))
    moved = replace(RUN, start=RUN.start + timedelta(days=1))
    assert world.see(reading("8000", period=moved)) is AlarmStatus.FIRING
    assert len(world.alarms) == 1
    assert world.told() == [(Kind.FIRING, Reason.CROSSED)]


def lines(world: World) -> dict[str, str]:
    found = render(world.messages[-1], now=world.now)
    return {line.label: line.value for line in found.lines} | {"subject": found.headline}


def test_a_message_about_a_lead_says_what_was_planned() -> None:
    world = World(ahead())
    world.see(reading("1300", left="8000"))
    assert lines(world) == {
        "subject": "WARNING training: 1,300.00 spent, 1,000.00 USD planned by then, over 120% of the plan",
        "Spent": "1,300.00 USD (13.0%) billed; what is used but not billed yet comes on top",
        "Planned": "1,000.00 USD by 3 Dec 2026 00:00 UTC; spend is 300.00 USD ahead (130.0% of the plan)",
        "At completion": "9,300.00 USD: what is spent, and what the plan still foresees",
        "Limit": "120% of what was planned by then = 1,200.00 USD, spent, warning, over by 100.00 USD",
        "Data": "up to 3 Dec 2026 00:00 UTC, 1 h old",
        "Change": "this is the first message about this limit",
        "Why": "spend runs ahead of what the plan foresaw by then",
        "Budget": "training, 10,000.00 USD for the run from 1 Dec 2026 00:00 UTC on",
    }


def test_a_message_about_the_end_says_how_much_it_will_be() -> None:
    world = World(COMPLETION)
    world.see(reading("900", left="9500"))
    said = lines(world)
    assert said["subject"] == (
        "CRITICAL training: 10,400.00 of 10,000.00 USD expected at completion, over 100% at completion"
    )
    assert said["Planned"] == "1,000.00 USD by 3 Dec 2026 00:00 UTC; spend is 100.00 USD behind (90.0% of the plan)"
    assert said["Limit"] == ("100% of the budget = 10,000.00 USD, expected at completion, critical, over by 400.00 USD")
    assert said["Why"] == "what will have been spent in the end has crossed the limit"


def test_a_lead_in_money_reads_as_such_and_a_restart_keeps_all_of_it() -> None:
    world = World(ahead("200 USD"))
    world.see(reading("1300"))
    assert lines(world)["Limit"] == "200 USD above the plan = 1,200.00 USD, warning, over by 100.00 USD"
    (message,) = world.messages
    assert from_payload(to_payload(message.facts)) == message.facts
    posted = payload(message, render(message, now=world.now))
    assert posted["foreseen"] == {
        "planned": "1000",
        "spent": "1300",
        "at_completion": "10300",
        "done": None,
        "done_at": None,
    }
    assert posted["period"] == {"start": "2026-12-01T00:00:00Z", "end": None}


def test_a_run_that_says_how_far_it_is_needs_no_plan() -> None:
    world = World(COMPLETION)
    told = Foreseen(None, Decimal(3000), Decimal(12000), Decimal("0.25"), START)
    world.see(reading("3000", None, foreseen=told))
    said = lines(world)
    assert said["At completion"] == "12,000.00 USD: what is spent, for 25.0% of the work"
    assert "Planned" not in said
    (message,) = world.messages
    assert from_payload(to_payload(message.facts)) == message.facts
    assert not evaluate(budget(ahead()), ahead(), reading("3000", None, foreseen=told)).over


@pytest.mark.parametrize(
    ("hours", "known"),
    [
        (24, "what is spent, for 25.0% of the work"),
        (25, "what was spent, for 25.0% of the work, as the run said 1 d 1 h ago and not since"),
    ],
)
def test_what_a_run_said_long_ago_says_how_long(hours: int, known: str) -> None:
    world = World(COMPLETION)
    told = Foreseen(None, Decimal(3000), Decimal(12000), Decimal("0.25"), START)
    world.see(reading("3000", None, foreseen=told), after=hours * HOUR)
    assert lines(world)["At completion"] == f"12,000.00 USD: {known}"


def test_what_is_no_longer_known_is_not_said() -> None:
    world = World(ahead())
    world.see(reading("1300"))
    world.see(reading("1300"), current=False)
    said = lines(world)
    assert said["subject"] == (
        "RESOLVED training: 1,300.00 of 10,000.00 USD spent, the period has ended, and 120% of the plan with it"
    )
    assert not {"Planned", "At completion"} & said.keys()
