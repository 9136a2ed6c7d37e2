"""What the ledger holds beside a plan: what was spent since it began, and how high its budget lets it grow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alarms.money import EXACT, total
from monitor.config import BudgetConfig, Config
from monitor.period import day_of, midnight, period_of
from monitor.store import charges
from monitor.store.database import LEDGER, open_reading
from monitor.training.plan import Projection

Point = tuple[datetime, Decimal]
_DAY = timedelta(days=1)


def actual_of(booked: Mapping[date, Decimal], start: datetime) -> list[Point]:
    """What was spent by the end of each day since the one on which a plan starts; empty if nothing is booked then."""
    first = day_of(start).start
    days = [day for day in booked if midnight(day) >= first]
    if not days:
        return []
    points, so_far, at = [(start, Decimal(0))], Decimal(0), first
    while at <= midnight(max(days)):
        so_far = EXACT.add(so_far, booked.get(at.date(), Decimal(0)))
        at += _DAY
        points.append((at, so_far))
    return points


def booked_by_day(
    config: Config, budget: BudgetConfig, projection: Projection, state: Path, now: datetime
) -> Mapping[date, Decimal]:
    """What each day of the budget cost, from the period on in which the plan starts; nothing without a store."""
    since = period_of(budget.period, projection.plan.start).start
    found: dict[date, Decimal] = defaultdict(Decimal)
    if not (state / LEDGER).exists() or since >= now:
        return found
    sources = {source.name for source in config.sources if source.currency == budget.currency}
    with open_reading(state) as connection:
        for series, day, billed, _ in charges.day_totals(connection, since, now):
            if series.source in sources and series.currency == budget.currency and budget.scope.covers(series):
                found[day] = EXACT.add(found[day], billed)
    return found


def ceilings_of(
    budget: BudgetConfig, projection: Projection, booked: Mapping[date, Decimal]
) -> list[tuple[datetime, datetime, Decimal]]:
    """(from, until, level) of each period that the plan runs in: where its curve is when that period is used up.

    What the budget had spent in the period before the plan began is not left.
    """
    begin, end = min(phase.start for phase in projection.phases), projection.end
    found: list[tuple[datetime, datetime, Decimal]] = []
    at = begin
    while not found or at < end:
        period = period_of(budget.period, at)
        until = min(day_of(begin).start, period.end)
        before = total(amount for day, amount in booked.items() if period.start <= midnight(day) < until)
        level = EXACT.subtract(budget.amount, before)
        found.append((at, max(at, min(period.end, end)), EXACT.add(level, projection.planned(at, before=True))))
        if period.end <= at:
            break  # fixed dates that are over
        at = period.end
    return found
