"""What stands beside a plan in its picture: what was spent since it began, and how high its budget lets it grow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from monitor.config import BudgetConfig
from monitor.model import Scope
from monitor.period import Calendar, PeriodKind, midnight
from monitor.plan_actual import actual_of, ceilings_of
from monitor.plan_spend import Booked
from monitor.training.model import Pricing, Quote, Spread
from monitor.training.plan import Phase, Plan, Projection, project

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
QUOTE = Quote("x", "X", "", "A100", 8, Pricing.ON_DEMAND, "USD", Decimal(10), "test", "a test")


def projected(hours: int) -> Projection:
    spread = Spread.certain(Decimal(hours))
    return project(Plan("p", "USD", START, "article", (Phase("a", "x", QUOTE, 1, spread, spread, spread),)))


def budget(calendar: Calendar) -> BudgetConfig:
    return BudgetConfig("b", Decimal(1000), "USD", calendar, Scope(), None, (), (), {})


def ledger(days: Mapping[date, int], until: datetime | None) -> Booked:
    def spent(period: Period) -> Decimal:
        return Decimal(sum(cost for day, cost in days.items() if period.start <= midnight(day) < period.end))

    return Booked(spent, until)


def test_what_was_spent_is_counted_from_the_day_of_the_start_to_where_the_ledger_ends() -> None:
    days = {date(2026, 11, 19): 500, date(2026, 11, 20): 10, date(2026, 11, 22): 30}
    until = datetime(2026, 11, 23, 6, tzinfo=UTC)
    assert actual_of(ledger(days, until), PeriodKind.MONTH, START) == [
        (START, 0),
        (datetime(2026, 11, 21, tzinfo=UTC), 10),
        (datetime(2026, 11, 22, tzinfo=UTC), 10),
        (datetime(2026, 11, 23, tzinfo=UTC), 40),
        (until, 40),
    ]


def test_what_nobody_has_told_is_not_drawn() -> None:
    assert actual_of(ledger({}, None), PeriodKind.MONTH, START) == []
    assert actual_of(ledger({}, START.replace(hour=0)), PeriodKind.MONTH, START) == []


def test_two_years_are_sixty_points_or_so_and_end_where_the_ledger_does() -> None:
    until = START + timedelta(days=730)
    days = {START.date() + timedelta(days=n): 1 for n in range(730)}
    found = actual_of(ledger(days, until), PeriodKind.MONTH, START)
    assert 55 < len(found) < 70
    assert found[-1] == (until, Decimal(730))


def test_each_month_lifts_the_ceiling_by_what_it_holds() -> None:
    """20 November, noon, to 9 December: 252 hours at 10 an hour in November, which had spent 300 before."""
    days = {date(2026, 11, 2): 300, date(2026, 11, 21): 77, date(2026, 10, 30): 999}
    december = datetime(2026, 12, 1, tzinfo=UTC)
    projection = projected(450)
    assert ceilings_of(budget(PeriodKind.MONTH), projection, ledger(days, None)) == [
        (START, december, 700),
        (december, projection.end, 2520 + 1000),
    ]


def test_fixed_dates_have_one_ceiling_even_when_they_are_over() -> None:
    dates = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 15, tzinfo=UTC))
    days = {date(2026, 11, 2): 300, date(2026, 11, 16): 77}
    projection = projected(450)
    assert ceilings_of(budget(dates), projection, ledger(days, None)) == [(START, projection.end, 700)]
