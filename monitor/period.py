"""Calendars: which period of a budget an instant falls in. Half-open, UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from alarms.model import Period


class PeriodKind(StrEnum):
    """`period` of a budget."""

    DAY = "day"
    MONTH = "month"


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


def months_before(instant: datetime, oldest: datetime) -> list[Period]:
    """The months that start before `instant` and end after `oldest`, newest first."""
    found: list[Period] = []
    month = month_of(instant - timedelta(microseconds=1))
    while month.end > oldest:
        found.append(month)
        month = month_of(month.start - timedelta(microseconds=1))
    return found


def period_of(kind: PeriodKind, instant: datetime) -> Period:
    """The period of this kind that an instant falls in."""
    return month_of(instant) if kind is PeriodKind.MONTH else day_of(instant)
