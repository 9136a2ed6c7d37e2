"""What the ledger says beside a plan: what was spent since it began, and how high its budget lets it grow. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from alarms.money import EXACT
from monitor.config import BudgetConfig
from monitor.period import Calendar, day_of, period_of, repeats
from monitor.plan_spend import Booked
from monitor.training.plan import Projection

Point = tuple[datetime, Decimal]
_DAY = timedelta(days=1)
# More than these nobody tells apart.
_MOST_POINTS = 60


def actual_of(ledger: Booked, calendar: Calendar, start: datetime) -> list[Point]:
    """What was spent by the ends of days since the one on which a plan starts, as far as all sources have told."""
    first = day_of(start).start
    if ledger.until is None or ledger.until <= first:
        return []
    base = period_of(calendar, start).start
    before = ledger.spent(Period(base, first))
    step = max(1, (ledger.until - first) // _DAY // _MOST_POINTS) * _DAY
    points, at = [(start, Decimal(0))], first
    while at < ledger.until:
        at = min(at + step, ledger.until)
        if at > start:
            points.append((at, EXACT.subtract(ledger.spent(Period(base, at)), before)))
    return points


def ceilings_of(
    budget: BudgetConfig, projection: Projection, ledger: Booked
) -> list[tuple[datetime, datetime, Decimal]]:
    """(from, until, level) of each period that the plan runs in: where its curve is when that period is used up.

    What the budget had spent in the period before the plan began is not left.
    """
    begin, end = min(phase.start for phase in projection.phases), projection.end
    found: list[tuple[datetime, datetime, Decimal]] = []
    at = begin
    while not found or at < end:
        period = period_of(budget.period, at)
        earlier = ledger.spent(Period(period.start, max(period.start, min(day_of(begin).start, period.end))))
        level = EXACT.add(EXACT.subtract(budget.amount, earlier), projection.planned(at, before=True))
        if not repeats(budget.period):
            return [(begin, end, level)]  # it has no other period
        found.append((at, min(period.end, end), level))
        at = period.end
    return found
