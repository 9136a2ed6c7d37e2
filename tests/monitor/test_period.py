"""Calendars: every instant is in exactly one period of a kind, and the periods leave no gap."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import Period
from monitor.period import PeriodKind, midnight, period_of, shortest

KINDS = st.sampled_from(PeriodKind)
ZONES = [UTC, ZoneInfo("America/New_York")]
FIRST = datetime(1970, 1, 10, tzinfo=UTC)
INSTANTS = st.builds(
    lambda microseconds, zone: (FIRST + timedelta(microseconds=microseconds)).astimezone(zone),
    st.integers(0, 230 * 365 * 86_400_000_000),
    st.sampled_from(ZONES),
)
TICK = timedelta(microseconds=1)


@given(KINDS, INSTANTS)
def test_an_instant_is_in_exactly_one_period_and_they_tile(kind: PeriodKind, instant: datetime) -> None:
    period = period_of(kind, instant)
    assert instant in period
    after, before = period_of(kind, period.end), period_of(kind, period.start - TICK)
    assert (after.start, before.end) == (period.end, period.start)
    assert instant not in after
    assert instant not in before
    assert period_of(kind, period.start) == period_of(kind, period.end - TICK) == period
    assert period.start == midnight(period.start.date())
    assert period.end - period.start >= shortest(kind)


@given(INSTANTS)
def test_a_week_is_that_of_iso_8601(instant: datetime) -> None:
    week = period_of(PeriodKind.WEEK, instant)
    year, number, _ = instant.astimezone(UTC).isocalendar()
    assert week.start.date() == date.fromisocalendar(year, number, 1)
    assert week.end - week.start == timedelta(days=7)


def day(text: str) -> datetime:
    return midnight(date.fromisoformat(text))


@pytest.mark.parametrize(
    ("kind", "instant", "start", "end"),
    [
        (PeriodKind.DAY, "2026-10-25T01:30:00+02:00", "2026-10-24", "2026-10-25"),  # Berlin's clocks go back
        (PeriodKind.WEEK, "2026-12-31T23:59:59Z", "2026-12-28", "2027-01-04"),  # week 53 of 2026
        (PeriodKind.WEEK, "2027-01-03T23:59:59Z", "2026-12-28", "2027-01-04"),
        (PeriodKind.WEEK, "2027-01-04T00:00:00Z", "2027-01-04", "2027-01-11"),  # week 1 of 2027
        (PeriodKind.WEEK, "2024-12-30T00:00:00Z", "2024-12-30", "2025-01-06"),  # week 1 of 2025 begins in 2024
        (PeriodKind.MONTH, "2026-10-31T23:59:59Z", "2026-10-01", "2026-11-01"),
        (PeriodKind.MONTH, "2026-11-01T00:00:00Z", "2026-11-01", "2026-12-01"),
        (PeriodKind.MONTH, "2028-02-29T12:00:00Z", "2028-02-01", "2028-03-01"),
        (PeriodKind.MONTH, "2100-02-28T12:00:00Z", "2100-02-01", "2100-03-01"),  # not a leap year
        (PeriodKind.QUARTER, "2026-03-31T23:59:59Z", "2026-01-01", "2026-04-01"),
        (PeriodKind.QUARTER, "2026-12-31T23:59:59Z", "2026-10-01", "2027-01-01"),
        (PeriodKind.QUARTER, "2026-08-31T00:00:00Z", "2026-07-01", "2026-10-01"),
        (PeriodKind.YEAR, "2028-12-31T23:59:59Z", "2028-01-01", "2029-01-01"),
        (PeriodKind.YEAR, "2027-01-01T00:30:00+01:00", "2026-01-01", "2027-01-01"),
    ],
)
def test_the_edges(kind: PeriodKind, instant: str, start: str, end: str) -> None:
    assert period_of(kind, datetime.fromisoformat(instant)) == Period(day(start), day(end))


def test_fixed_dates_are_one_period_whatever_the_instant() -> None:
    sprint = Period(day("2026-12-01"), day("2026-12-15"))
    for text in ("2025-01-01", "2026-12-01", "2026-12-14", "2026-12-15", "2030-01-01"):
        assert period_of(sprint, day(text)) == sprint
    assert shortest(sprint) == timedelta(days=14)
