"""The calendar of a cloud's invoices: months that begin on some day, at midnight in some place. Half-open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alarms.model import Period

# Every month has this day.
LAST_FIRST_DAY = 28


@dataclass(frozen=True, slots=True)
class BillingMonths:
    """`first_day`: of the month, 1 to 28, on which each invoice begins; `zone`: in whose midnight, by its IANA name."""

    first_day: int = 1
    zone: str = "UTC"

    def __str__(self) -> str:
        """For people: `from the 16th` or `from the 1st (America/Los_Angeles)`."""
        ending = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(self.first_day, "th")
        place = "" if self.zone == "UTC" else f" ({self.zone})"
        return f"from the {self.first_day}{ending}{place}"

    def first_day_of(self, instant: datetime) -> date:
        """On which day the invoice that an instant belongs to begins."""
        day = instant.astimezone(ZoneInfo(self.zone)).date()
        first = day.replace(day=self.first_day)
        return first if first <= day else months_later(first, -1)

    def begins(self, first: date) -> datetime:
        """The instant at which the invoice of that first day begins."""
        return datetime.combine(first, time(), ZoneInfo(self.zone)).astimezone(UTC)

    def label(self, instant: datetime) -> str:
        """`Series.billing_period` of what is used at an instant: "" where the invoice is the UTC month's."""
        first = self.first_day_of(instant)
        return "" if first == instant.astimezone(UTC).date().replace(day=1) else first.isoformat()


@dataclass(frozen=True, slots=True)
class InvoiceCalendar:
    """The periods of a budget that follows invoices: so many of them at a time, a year's first begins in January."""

    months: BillingMonths
    count: int

    def period_of(self, instant: datetime) -> Period:
        """The period that an instant falls in."""
        first = self.months.first_day_of(instant)
        first = months_later(first, -((first.month - 1) % self.count))
        return Period(self.months.begins(first), self.months.begins(months_later(first, self.count)))

    def invoices(self, period: Period) -> Iterator[date]:
        """The first day of each invoice in one of its periods."""
        first = self.months.first_day_of(period.start)
        return (months_later(first, number) for number in range(self.count))

    @property
    def shortest(self) -> timedelta:
        """No period is shorter: February's, and an hour less where clocks are set."""
        return timedelta(days={1: 28, 3: 90}.get(self.count, 365), hours=-1)


def months_later(first: date, months: int) -> date:
    """The same day of a month so many months later; one that every month has."""
    count = first.month - 1 + months
    return first.replace(year=first.year + count // 12, month=count % 12 + 1)
