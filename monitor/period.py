"""Calendars: which period of a budget an instant falls in. Half-open, UTC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from alarms.model import OPEN_END, RUN_START, Period
from monitor.billing_months import InvoiceCalendar, months_later


class PeriodKind(StrEnum):
    """`period` of a budget. A week is that of ISO 8601: it starts on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Run:
    """The one period of a budget for a run.

    `start`: the first UTC day of its plan, None without one; `end`: when it is no longer watched, None: never.
    `by_charges`: it begins with the first charge that the budget counts, if that is earlier.
    """

    start: datetime | None = None
    end: datetime | None = None
    by_charges: bool = False

    def period(self, first_charge: datetime | None, now: datetime) -> Period:
        """From when to when it counts. `first_charge`: the UTC day of it, None as long as there is none."""
        starts = [start for start in (self.start, first_charge if self.by_charges else None) if start is not None]
        return Period(min(starts, default=day_of(now).start), self.end or OPEN_END)


# The periods of a budget: one of a kind after the other for ever, or one alone (`start` and `end`, or that of a run).
Calendar: TypeAlias = PeriodKind | InvoiceCalendar | Period | Run

_DAYS = {PeriodKind.DAY: 1, PeriodKind.WEEK: 7}
_MONTHS = {PeriodKind.MONTH: 1, PeriodKind.QUARTER: 3, PeriodKind.YEAR: 12}
_SHORTEST = {
    PeriodKind.DAY: timedelta(days=1),
    PeriodKind.WEEK: timedelta(days=7),
    PeriodKind.MONTH: timedelta(days=28),
    PeriodKind.QUARTER: timedelta(days=90),
    PeriodKind.YEAR: timedelta(days=365),
}


def midnight(day: date) -> datetime:
    """The instant at which a UTC day starts."""
    return datetime.combine(day, time(), UTC)


def day_of(instant: datetime) -> Period:
    """The UTC day that an instant falls in."""
    start = midnight(instant.astimezone(UTC).date())
    return Period(start, start + timedelta(days=1))


def month_of(instant: datetime) -> Period:
    """The UTC calendar month that an instant falls in."""
    start = midnight(instant.astimezone(UTC).date().replace(day=1))
    return Period(start, midnight((start + timedelta(days=32)).date().replace(day=1)))


def without(period: Period, holes: Iterable[Period]) -> list[Period]:
    """What is left of a stretch of time outside of these, in order."""
    left, start = [], period.start
    for hole in sorted(holes, key=lambda hole: hole.start):
        if start < min(hole.start, period.end):
            left.append(Period(start, min(hole.start, period.end)))
        start = max(start, hole.end)
    return [*left, Period(start, period.end)] if start < period.end else left


def months_before(instant: datetime, oldest: datetime) -> list[Period]:
    """The months that start before `instant` and end after `oldest`, newest first."""
    found: list[Period] = []
    month = month_of(instant - timedelta(microseconds=1))
    while month.end > oldest:
        found.append(month)
        month = month_of(month.start - timedelta(microseconds=1))
    return found


def period_of(calendar: Calendar, instant: datetime) -> Period:
    """The period of this kind that an instant falls in; of fixed dates the one there is, whether or not it does.

    Of a run all of it, as though its first charge were not known.
    """
    if isinstance(calendar, Period):
        return calendar
    if isinstance(calendar, InvoiceCalendar):
        return calendar.period_of(instant)
    if isinstance(calendar, Run):
        return calendar.period(None, instant)
    return _around(calendar, instant.astimezone(UTC).date())


def repeats(calendar: Calendar) -> bool:
    """Whether one period follows the other, for ever."""
    return isinstance(calendar, PeriodKind | InvoiceCalendar)


def shortest(calendar: Calendar) -> timedelta:
    """How long the shortest period of it is."""
    if isinstance(calendar, InvoiceCalendar):
        return calendar.shortest
    if isinstance(calendar, Run):
        return OPEN_END - RUN_START if calendar.start is None or calendar.end is None else calendar.end - calendar.start
    return calendar.end - calendar.start if isinstance(calendar, Period) else _SHORTEST[calendar]


@lru_cache(maxsize=64)  # a thousand budgets ask for the same few
def _around(kind: PeriodKind, day: date) -> Period:
    if kind in _MONTHS:
        months = _MONTHS[kind]
        first = day.replace(month=day.month - (day.month - 1) % months, day=1)
        return Period(midnight(first), midnight(months_later(first, months)))
    start = midnight(day - timedelta(days=day.weekday() if kind is PeriodKind.WEEK else 0))
    return Period(start, start + timedelta(days=_DAYS[kind]))
