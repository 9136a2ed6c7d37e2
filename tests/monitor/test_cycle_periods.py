"""Whole turns over periods of every kind: what is counted, forecast and told, on a real store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from alarms.model import Kind, Limit, Period, Reason, Receipt, Severity, Threshold
from monitor.config.model import BudgetConfig, Config, MonitorSection
from monitor.cycle import Cycle
from monitor.model import Batch, Charge, Scope, Series, Window
from monitor.period import Calendar, PeriodKind, midnight
from monitor.status.judge import judge
from monitor.store import facts
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
STEP = 6 * HOUR
BEGIN = datetime(2026, 9, 1, tzinfo=UTC)
# A bill is that old when it is published.
LAG = 6 * HOUR


@dataclass(frozen=True)
class SourceSettings:
    name: str = "aws"
    type: str = "fake"
    every: timedelta = STEP
    currency: str = "USD"
    late_after: timedelta = 36 * HOUR
    stale_after: timedelta = 48 * HOUR
    published_every: ClassVar[timedelta] = STEP


@dataclass(frozen=True)
class ReceiverSettings:
    name: str = "oncall"
    type: str = "fake"
    min_severity: Severity | None = None


@dataclass(eq=False)
class Bill:
    """Charges of six hours each since `since`, by what an hour costs then. Each read brings everything.

    `asked_from`: how far back the source is asked, before its first charge too.
    """

    per_hour: Callable[[datetime], str | int]
    since: datetime = BEGIN
    name: str = "aws"
    asked_from: datetime | None = None
    later: Decimal = Decimal(0)
    """What is charged in addition, on the last day before the newest data."""

    def windows(self, now: datetime, *_: object) -> tuple[Window, ...]:
        return (Window(Period(self.asked_from or self.since, now - LAG)),)

    def fetch(self, window: Window) -> Batch:
        series, found, at = Series(self.name, "USD", service="AmazonEC2"), [], self.since
        while at + STEP <= window.period.end:
            found.append(Charge(series, Period(at, at + STEP), Decimal(self.per_hour(at)) * 6))
            at += STEP
        if self.later:
            found[-1] = replace(found[-1], billed_cost=found[-1].billed_cost + self.later)
        return Batch(tuple(found), {series: window.period}, at)

    def probe(self) -> str:
        return ""


def threshold(on: str, limit: Limit, severity: Severity, *over: timedelta) -> Threshold:
    return Threshold(on, limit, severity, over=over)


WARNING = threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING)
EXPECTED = threshold("forecast", Limit("100%", percent=Decimal(100)), Severity.WARNING)
RATE = threshold("burn_rate", Limit("2.0", rate=Decimal(2)), Severity.CRITICAL, STEP, DAY)


class World:
    """One daemon that is never restarted, so that what it remembers between turns is used; `fresh` is another one."""

    def __init__(self, store: Store, source: Bill, calendar: Calendar, *thresholds: Threshold, amount: str = "1000"):
        self.store, self.source = store, source
        budget = BudgetConfig(
            "training", Decimal(amount), "USD", calendar, Scope(), None, ("oncall",), thresholds or (WARNING,), {}
        )
        self.config = Config(
            path=Path("config.toml"),
            monitor=MonitorSection(Path("state"), timedelta(minutes=5), "UTC", ("oncall",)),
            sources=(SourceSettings(),),
            receivers=(ReceiverSettings(),),
            budgets=(budget,),
        )
        self.cycle = self.fresh()

    def fresh(self) -> Cycle:
        return Cycle(self.config, [self.source], self.store, StoredOutbox(self.store))

    def turn(self, now: datetime) -> dict[str, Any]:
        self.cycle.turn(now, everything=True)
        return self.budget()

    def budget(self) -> dict[str, Any]:
        with self.store.read() as connection:
            document = json.loads(facts.read_facts(connection) or "{}")
        (budget,) = document["budgets"]
        return dict(budget)

    def messages(self) -> list[tuple[Kind, str, Reason]]:
        outbox, found = StoredOutbox(self.store), []
        while (delivery := next(iter(outbox.owed("oncall")), None)) is not None:
            said = delivery.notification.facts
            found.append((said.kind, said.at or said.title, said.reason))
            outbox.sent(delivery, Receipt(), delivery.notification.created_at)
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "state") as store:
        yield store


def day(text: str) -> datetime:
    return midnight(date.fromisoformat(text))


@pytest.mark.parametrize(
    ("kind", "spend", "start", "end"),
    [
        (PeriodKind.DAY, "6", "2026-11-18", "2026-11-19"),
        (PeriodKind.WEEK, "54", "2026-11-16", "2026-11-23"),
        (PeriodKind.MONTH, "414", "2026-11-01", "2026-12-01"),
        (PeriodKind.QUARTER, "1158", "2026-10-01", "2027-01-01"),
        (PeriodKind.YEAR, "1878", "2026-01-01", "2027-01-01"),
        (Period(day("2026-11-17"), day("2026-11-20")), "30", "2026-11-17", "2026-11-20"),
    ],
)
def test_each_kind_counts_its_own_days(store: Store, kind: Calendar, spend: str, start: str, end: str) -> None:
    """A dollar an hour since the first of September, up to six hours into a Wednesday."""
    budget = World(store, Bill(lambda _: 1), kind).turn(day("2026-11-18") + 12 * HOUR)
    assert budget["spend"] == spend
    assert budget["period"] == {"start": f"{start}T00:00:00Z", "end": f"{end}T00:00:00Z"}


@pytest.mark.parametrize("kind", PeriodKind)
def test_what_is_remembered_between_turns_is_what_a_new_process_finds(store: Store, kind: PeriodKind) -> None:
    """Through the end of a year and a restatement."""
    world = World(store, Bill(lambda at: at.day), kind, WARNING, EXPECTED, RATE)
    now = day("2026-12-26") + HOUR
    while now < day("2027-01-09"):
        world.source.later = Decimal(7 * (now.day % 3))
        remembered = world.turn(now)
        world.fresh().turn(now, everything=True)
        assert world.budget() == remembered
        now += 11 * HOUR


def test_month_rollover_during_a_turn_evaluates_both_periods(store: Store) -> None:
    """Fault 26: the old month takes its late charges, the new one starts at what is its own."""
    world = World(store, Bill(lambda _: 1), PeriodKind.MONTH, amount="900")
    assert world.turn(day("2026-11-30") + 23 * HOUR)["spend"] == "708"
    world.messages()
    early = world.turn(day("2026-12-01") + HOUR)
    assert early["period"]["start"] == "2026-12-01T00:00:00Z"
    assert early["spend"] is None
    assert world.messages() == []
    # The old month goes over its 720 of 900 with the last charges, which are published in the new one.
    assert world.turn(day("2026-12-01") + 13 * HOUR)["spend"] == "6"
    assert world.messages() == [(Kind.FIRING, "80%", Reason.LATE_CHARGES)]
    world.turn(day("2026-12-02") + 7 * HOUR)
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.PERIOD_ENDED)]


SPRINT = Period(day("2026-12-01"), day("2026-12-15"))


def test_before_fixed_dates_begin_nothing_counts_and_nothing_fires(store: Store) -> None:
    world = World(store, Bill(lambda _: 100), SPRINT, WARNING, EXPECTED, RATE)
    for hours in (1, 12, 23):
        budget = world.turn(day("2026-11-30") + hours * HOUR)
        assert (budget["spend"], budget["forecast"], budget["alarms"]) == ("0", None, [])
    assert world.messages() == []
    assert state(world, day("2026-11-30") + 23 * HOUR) == "OK"


def test_fixed_dates_fire_close_and_never_open_again(store: Store) -> None:
    world = World(store, Bill(lambda _: 1), SPRINT, amount="300")
    world.turn(day("2026-11-30"))
    world.turn(day("2026-12-05"))
    assert world.messages() == []
    world.turn(day("2026-12-12"))
    assert world.messages() == [(Kind.FIRING, "80%", Reason.CROSSED)]
    world.turn(day("2026-12-15") + HOUR)
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.PERIOD_ENDED)]
    for days in range(1, 30):
        budget = world.turn(day("2026-12-15") + days * DAY)
    assert budget["spend"] == "336"
    assert [alarm["state"] for alarm in budget["alarms"]] == ["OK"]
    assert world.messages() == []


def test_late_charges_of_fixed_dates_still_fire_until_they_are_settled(store: Store) -> None:
    world = World(store, Bill(lambda _: 1), SPRINT, amount="420")
    world.turn(day("2026-12-15") - HOUR)
    assert world.messages() == []
    world.turn(day("2026-12-15") + 7 * HOUR)
    assert world.messages() == [(Kind.FIRING, "80%", Reason.LATE_CHARGES)]
    world.turn(day("2026-12-16") + 7 * HOUR)
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.PERIOD_ENDED)]


def test_fixed_dates_that_were_over_before_anybody_looked_do_not_fire(store: Store) -> None:
    world = World(store, Bill(lambda _: 1), SPRINT, amount="100")
    budget = world.turn(day("2026-12-16"))
    assert (budget["spend"], budget["alarms"]) == ("336", [])
    assert world.messages() == []


def test_a_run_that_starts_is_expected_to_break_the_budget_long_before_it_does(store: Store) -> None:
    """A dollar an hour, and ten from the morning of 10 November: 1000 of 1000 are spent on the 13th."""
    world = World(store, Bill(lambda at: 10 if at >= day("2026-11-10") + 6 * HOUR else 1), PeriodKind.MONTH, EXPECTED)
    calm = world.turn(day("2026-11-10") + 6 * HOUR)
    assert (calm["forecast"], calm["forecast_days"], calm["alarms"][0]["data"]) == ("720", 42, "OK")
    fired: datetime | None = None
    now = day("2026-11-10") + 6 * HOUR
    while fired is None:
        now += HOUR
        world.turn(now)
        fired = now if world.messages() else None
    assert fired <= day("2026-11-11") + LAG


def test_days_before_the_first_bill_are_not_data(store: Store) -> None:
    bill = Bill(lambda _: 1, since=day("2026-11-10"), asked_from=BEGIN)
    world = World(store, bill, PeriodKind.MONTH, EXPECTED)
    early = world.turn(day("2026-11-13") + 7 * HOUR)
    assert (early["forecast"], early["forecast_days"], early["forecast_needs_days"]) == (None, 3, 7)
    assert early["alarms"][0]["data"] == "NO_DATA"
    assert problems(world, day("2026-11-13") + 7 * HOUR) == [
        "training: not enough data for a forecast: 3 of 7 complete days"
    ]
    assert world.turn(day("2026-11-17") + 7 * HOUR)["forecast"] == "504"


def test_a_burn_rate_is_over_windows_that_end_where_data_does(store: Store) -> None:
    """1000 a month is 1.39 an hour: at 4 an hour it is 2.88 times as fast."""
    world = World(store, Bill(lambda at: 4 if at >= day("2026-11-10") else 1), PeriodKind.MONTH, RATE)
    rates = world.turn(day("2026-11-10") + 12 * HOUR)["burn_rates"]
    assert rates == {"6h": "2.88", "24h": "1.26"}
    assert world.messages() == []
    rates = world.turn(day("2026-11-11") + 6 * HOUR)["burn_rates"]
    assert rates == {"6h": "2.88", "24h": "2.88"}
    assert world.messages() == [(Kind.FIRING, "2.0", Reason.CROSSED)]
    assert problems(world, day("2026-11-11") + 6 * HOUR) == [
        "training: burns 2.88 times as fast as the budget lasts, limit 2.0"
    ]
    assert world.turn(day("2026-11-10") + 36 * HOUR)["alarms"][0]["rate"] == "2.88"


def test_a_window_that_reaches_back_before_the_first_data_has_no_rate(store: Store) -> None:
    world = World(store, Bill(lambda _: 9, since=day("2026-11-10")), PeriodKind.MONTH, RATE)
    budget = world.turn(day("2026-11-10") + 20 * HOUR)
    assert list(budget["burn_rates"]) == ["6h"]
    assert budget["alarms"][0]["data"] == "NO_DATA"
    assert world.messages() == []


def test_a_restatement_changes_the_burn_rate_although_data_is_no_newer(store: Store) -> None:
    world = World(store, Bill(lambda _: 1), PeriodKind.MONTH, RATE)
    before = world.turn(day("2026-11-10") + 12 * HOUR)["burn_rates"]["6h"]
    world.source.later = Decimal(6)
    assert Decimal(world.turn(day("2026-11-10") + 12 * HOUR)["burn_rates"]["6h"]) == 2 * Decimal(before)


def state(world: World, now: datetime) -> str:
    with world.store.read() as connection:
        document = json.loads(facts.read_facts(connection) or "{}")
    return str(judge(document, now, running=True)["state"])


def problems(world: World, now: datetime) -> list[str]:
    with world.store.read() as connection:
        document = json.loads(facts.read_facts(connection) or "{}")
    return [problem["text"] for problem in judge(document, now, running=True)["problems"]]


def test_cost_that_moves_within_a_day_changes_the_burn_rate(store: Store) -> None:
    costs = {day("2026-11-11"): 50}
    world = World(store, Bill(lambda at: costs.get(at, 1)), PeriodKind.MONTH, RATE)
    at = day("2026-11-12") + LAG
    before = Decimal(world.turn(at)["burn_rates"]["6h"])
    # The same day costs the same, and ends with the same charge; only that was dear which is the newest now.
    costs = {day("2026-11-11") + 3 * STEP: 50}
    assert Decimal(world.turn(at + HOUR)["burn_rates"]["6h"]) == 50 * before
