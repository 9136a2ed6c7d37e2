"""Thresholds on what swings: a forecast and a burn rate. They have hysteresis, what was spent has none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import (
    Alarm,
    AlarmKey,
    AlarmStatus,
    Budget,
    DataStatus,
    Facts,
    Forecast,
    Kind,
    Limit,
    Notification,
    Period,
    Reading,
    Reason,
    Severity,
    Threshold,
)
from alarms.render import render
from alarms.silence import ALOUD, Quiet, Silence, SilenceKind
from alarms.state import CALM_FOR, Situation, advance, retire

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
START = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHORT, LONG = 6 * HOUR, 24 * HOUR
FORECAST = Threshold("forecast", Limit("100%", percent=Decimal(100)), Severity.WARNING)
RATE = Threshold("burn_rate", Limit("2.0", rate=Decimal("2.0")), Severity.CRITICAL, over=(SHORT, LONG))
ACTUAL = Threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING)


def estimate(amount: str) -> Forecast:
    return Forecast(Decimal(amount), Decimal(amount) - 100, Decimal(amount) + 150, 42)


class World:
    def __init__(self, *thresholds: Threshold) -> None:
        repeat = {Severity.CRITICAL: 4 * HOUR, Severity.WARNING: 24 * HOUR}
        self.budget = Budget("training", Decimal(1000), "USD", thresholds, ("oncall",), dict(repeat))
        self.alarms: dict[AlarmKey, Alarm] = {}
        self.messages: list[Notification] = []
        self.now = START

    def see(
        self,
        expected: str | None = None,
        rates: tuple[str, str] | None = None,
        *,
        after: timedelta = HOUR,
        current: bool = True,
        quiet: Quiet = ALOUD,
        **more: object,
    ) -> AlarmStatus:
        self.now += after
        reading = Reading(
            "training",
            NOVEMBER,
            "USD",
            Decimal("500"),
            billed=Decimal("500"),
            as_of=self.now - 5 * HOUR,
            forecast=None if expected is None else estimate(expected),
            burn_rates={} if rates is None else dict(zip((SHORT, LONG), map(Decimal, rates), strict=True)),
        )
        situation = Situation(self.alarms, self.now, lambda *_: frozenset({"oncall"}), current=current, quiet=quiet)
        step = advance(self.budget, replace(reading, **more), situation)
        self.alarms |= {alarm.key: alarm for alarm in step.alarms}
        self.messages += step.notifications
        return step.alarms[0].status

    def kinds(self) -> list[Kind]:
        return [message.facts.kind for message in self.messages]


SWINGS = {
    "within the band": ("1000", "960"),
    "around the limit": ("1001", "999"),
    "wildly": ("100000", "1"),
}


@pytest.mark.parametrize("swing", SWINGS)
@pytest.mark.parametrize("after", [timedelta(minutes=5), HOUR, 23 * HOUR])
def test_a_hundred_crossings_are_one_episode_of_two_messages(swing: str, after: timedelta) -> None:
    """Fault 70. What is below for less than a day is below between two jobs."""
    world = World(FORECAST)
    world.budget.repeat.clear()
    high, low = SWINGS[swing]
    for _ in range(100):
        assert world.see(high, after=after) is AlarmStatus.FIRING
        assert world.see(low, after=after) is AlarmStatus.FIRING
    world.see("1", after=HOUR)
    assert world.see("1", after=CALM_FOR) is AlarmStatus.OK
    assert world.kinds() == [Kind.FIRING, Kind.RESOLVED]
    assert world.messages[-1].facts.reason is Reason.STAYED_BELOW
    assert len({message.id.split("/")[0] for message in world.messages}) == 1


@given(st.lists(st.sampled_from(["1", "949", "951", "999", "1000", "5000", None]), max_size=200))
def test_however_it_swings_an_episode_has_two_messages_and_takes_a_day_to_end(values: list[str | None]) -> None:
    world = World(FORECAST)
    world.budget.repeat.clear()
    for value in values:
        world.see(value)
    told = [message.facts.kind for message in world.messages]
    assert told == [Kind.FIRING if place % 2 == 0 else Kind.RESOLVED for place in range(len(told))]
    episodes = [message.id.split("/")[0] for message in world.messages]
    assert all(episodes.count(episode) <= 2 for episode in episodes)
    assert len(set(episodes)) <= 1 + len(values) / (CALM_FOR / HOUR)


def test_below_the_limit_but_not_clearly_is_not_calm() -> None:
    world = World(FORECAST)
    world.see("1000")
    world.see("949")
    world.see("951", after=23 * HOUR)
    assert world.see("949", after=2 * HOUR) is AlarmStatus.FIRING
    assert world.see("949", after=CALM_FOR) is AlarmStatus.OK


def test_what_was_spent_has_no_hysteresis() -> None:
    world = World(ACTUAL)
    assert world.see(spend=Decimal(800)) is AlarmStatus.FIRING
    assert world.see(spend=Decimal("799.99")) is AlarmStatus.OK


def test_calm_but_not_resolved_is_not_repeated_as_still_over() -> None:
    world = World(FORECAST)
    world.see("1000")
    world.see("900", after=12 * HOUR)
    world.see("900", after=14 * HOUR)
    assert world.kinds() == [Kind.FIRING]
    world.see("1100")
    assert world.kinds() == [Kind.FIRING, Kind.REPEAT]


def test_the_end_of_a_silence_does_not_say_that_it_fires_while_it_is_calm() -> None:
    world = World(FORECAST)
    over = Silence("training", SilenceKind.SILENCE, START, START + 2 * HOUR, "ann")
    world.see("1100", quiet=Quiet(silenced=True))
    world.see("900", quiet=Quiet(ended=over))
    assert world.kinds() == []
    world.see("1100")
    assert [message.facts.reason for message in world.messages] == [Reason.SILENCE_OVER]


def test_a_forecast_that_is_not_known_keeps_the_state_and_says_so() -> None:
    world = World(FORECAST)
    assert world.see(None) is AlarmStatus.OK
    assert next(iter(world.alarms.values())).data is DataStatus.NO_DATA
    world.see("1000")
    for _ in range(50):
        assert world.see(None) is AlarmStatus.FIRING


def test_stale_data_neither_fires_nor_calms_an_estimate() -> None:
    world = World(FORECAST)
    assert world.see("5000", stale=("aws",)) is AlarmStatus.OK
    world.see("5000")
    world.see("1", stale=("aws",))
    assert world.see("1", after=2 * CALM_FOR, stale=("aws",)) is AlarmStatus.FIRING


def test_a_lower_bound_can_fire_but_not_resolve() -> None:
    world = World(FORECAST)
    assert world.see("1000", lower_bound=True) is AlarmStatus.FIRING
    world.see("1", lower_bound=True)
    assert world.see("1", after=2 * CALM_FOR, lower_bound=True) is AlarmStatus.FIRING


@pytest.mark.parametrize(
    ("rates", "status"),
    [
        (("2", "2"), AlarmStatus.FIRING),
        (("9", "1.999999999"), AlarmStatus.OK),
        (("1.999999999", "9"), AlarmStatus.OK),
    ],
)
def test_a_burn_rate_fires_when_every_window_is_at_the_limit(rates: tuple[str, str], status: AlarmStatus) -> None:
    assert World(RATE).see(rates=rates) is status


def test_a_window_that_is_not_covered_says_nothing() -> None:
    world = World(RATE)
    assert world.see(burn_rates={SHORT: Decimal(50)}) is AlarmStatus.OK
    assert next(iter(world.alarms.values())).data is DataStatus.NO_DATA


def test_one_window_that_is_calm_for_a_day_ends_it() -> None:
    world = World(RATE)
    world.see(rates=("3", "3"))
    world.see(rates=("0.1", "2.5"))
    assert world.see(rates=("0.1", "2"), after=CALM_FOR) is AlarmStatus.OK


def test_at_the_periods_end_it_closes_with_one_message() -> None:
    world = World(FORECAST)
    world.see("1100")
    world.now = NOVEMBER.end
    assert world.see(None, current=False) is AlarmStatus.CLOSED
    last = world.messages[-1].facts
    assert (last.kind, last.reason) == (Kind.RESOLVED, Reason.PERIOD_ENDED)
    headline = render(world.messages[-1], now=world.now).headline
    assert headline == (
        "RESOLVED training: 500.00 of 1,000.00 USD spent, the period has ended, and forecast 100% with it"
    )


def test_what_was_spent_is_higher_than_what_is_expected() -> None:
    """While the higher one fires, the lower one does not repeat."""
    world = World(FORECAST, ACTUAL)
    world.see("1100", spend=Decimal(850))
    world.see("1100", spend=Decimal(850), after=25 * HOUR)
    repeated = [(message.facts.on, message.facts.kind) for message in world.messages][2:]
    assert repeated == [("actual", Kind.REPEAT)]


def test_the_message_of_a_forecast_says_what_is_expected_when_and_how_sure_that_is() -> None:
    world = World(FORECAST)
    world.see("1204.10")
    message = render(world.messages[0], now=world.now)
    assert message.subject == ("WARNING training: 1,204.10 of 1,000.00 USD expected by 1 Dec 2026, over forecast 100%")
    lines = {line.label: line.value for line in message.lines}
    assert lines["Expected"] == (
        "1,204.10 USD by 1 Dec 2026 00:00 UTC, in 8 of 10 cases between 1,104.10 and 1,354.10; from 42 days of data"
    )
    assert lines["Limit"] == (
        "100% of the budget = 1,000.00 USD, expected at the period's end, warning, over by 204.10 USD"
    )
    assert lines["Why"] == "the spend expected at the period's end has crossed the limit"


def test_the_message_of_a_burn_rate_says_how_fast_in_each_window() -> None:
    world = World(RATE)
    world.see("1204.10", rates=("2.319", "2.1"))
    message = render(world.messages[0], now=world.now)
    assert message.subject == "CRITICAL training: 500.00 of 1,000.00 USD spent, burn rate 2.10, over burn rate 2.0"
    lines = {line.label: line.value for line in message.lines}
    assert lines["Burn rate"] == (
        "2.31 over 6 h, 2.10 over 24 h up to where data ends; at 1 the budget lasts until the period's end"
    )
    assert lines["Limit"] == "2.0 times as fast as the budget lasts, burn rate, critical"
    assert lines["Expected"].startswith("1,204.10 USD by 1 Dec 2026")


def test_a_message_about_spend_carries_the_forecast_too() -> None:
    world = World(ACTUAL)
    world.see("1204.10", spend=Decimal(800))
    assert any(line.label == "Expected" for line in render(world.messages[0], now=world.now).lines)
    facts: Facts = world.messages[0].facts
    assert facts.forecast == estimate("1204.10")


def test_of_a_budget_that_is_gone_nothing_is_expected() -> None:
    world = World(FORECAST, RATE)
    world.see("1204.10", rates=("3", "3"))
    said = {message.id.split("/")[1]: message.facts for message in world.messages}
    step = retire(world.alarms.values(), world.now, lambda *_: frozenset({"oncall"}), lambda _, level: said[level])
    for message in step.notifications:
        rendered = render(message, now=world.now)
        assert {"Expected", "Burn rate"}.isdisjoint(line.label for line in rendered.lines)
        assert "500.00 of 1,000.00 USD spent, " in rendered.headline
        assert rendered.headline.endswith("is no longer watched")


def test_at_first_sight_one_message_names_the_estimates_that_are_over_as_well() -> None:
    world = World(FORECAST, ACTUAL, RATE)
    reading = Reading(
        "training",
        NOVEMBER,
        "USD",
        Decimal(850),
        forecast=estimate("1100"),
        burn_rates={SHORT: Decimal(3), LONG: Decimal(3)},
    )
    step = advance(world.budget, reading, Situation({}, START, lambda *_: frozenset(), first_sight=True))
    (message,) = step.notifications
    assert (message.facts.on, message.facts.also_over) == ("burn_rate", ("80%", "forecast 100%"))


def test_what_is_not_known_any_more_is_not_claimed() -> None:
    world = World(FORECAST)
    world.see("1204.10")
    world.see(None, after=25 * HOUR)
    message = render(world.messages[1], now=world.now)
    assert message.headline == "STILL WARNING training: 500.00 of 1,000.00 USD spent, over forecast 100%"
    assert ("Expected", "not known: there is not enough data") in [(line.label, line.value) for line in message.lines]
