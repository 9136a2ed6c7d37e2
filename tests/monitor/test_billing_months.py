"""Invoices of 24 months in three calendars, over both changes of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.billing_months import BillingMonths, InvoiceCalendar

PACIFIC = BillingMonths(zone="America/Los_Angeles")
SIXTEENTH = BillingMonths(first_day=16)
UTC_MONTHS = BillingMonths()
# Clocks in California go forward on the second Sunday of March and back on the first of November: at the start of
# these months, hours from UTC, by the calendar and not by the code.
OFFSETS = {1: 8, 2: 8, 3: 8, 4: 7, 5: 7, 6: 7, 7: 7, 8: 7, 9: 7, 10: 7, 11: 7, 12: 8}
MONTHS = [(year, month) for year in (2025, 2026) for month in range(1, 13)]
calendars = st.builds(BillingMonths, st.integers(1, 28), st.sampled_from(["UTC", "America/Los_Angeles", "Asia/Tokyo"]))
instants = st.integers(0, 4 * 365 * 24 * 3600).map(lambda s: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


@pytest.mark.parametrize(("year", "month"), MONTHS)
def test_a_pacific_month_begins_at_midnight_there(year: int, month: int) -> None:
    begins = datetime(year, month, 1, OFFSETS[month], tzinfo=UTC)
    period = InvoiceCalendar(PACIFIC, 1).period_of(begins)
    assert period.start == begins
    # The last hour before it is still of the month before, though its UTC day is this month's.
    before = begins - timedelta(hours=1)
    assert InvoiceCalendar(PACIFIC, 1).period_of(before).end == begins
    assert PACIFIC.label(before) == (date(year, month, 1) - timedelta(days=1)).replace(day=1).isoformat()
    assert PACIFIC.label(begins) == ""


@pytest.mark.parametrize(("year", "month"), MONTHS)
def test_a_period_from_the_16th_to_the_15th(year: int, month: int) -> None:
    begins = datetime(year, month, 16, tzinfo=UTC)
    period = InvoiceCalendar(SIXTEENTH, 1).period_of(begins + timedelta(days=3))
    following = (begins + timedelta(days=31)).replace(day=16)
    assert (period.start, period.end) == (begins, following)
    assert SIXTEENTH.label(begins) == f"{year}-{month:02}-16"
    assert SIXTEENTH.label(following - timedelta(seconds=1)) == f"{year}-{month:02}-16"


def test_quarters_and_years_are_made_of_whole_invoices() -> None:
    quarter = InvoiceCalendar(SIXTEENTH, 3)
    period = quarter.period_of(datetime(2026, 11, 20, tzinfo=UTC))
    assert (period.start, period.end) == (datetime(2026, 10, 16, tzinfo=UTC), datetime(2027, 1, 16, tzinfo=UTC))
    assert list(quarter.invoices(period)) == [date(2026, 10, 16), date(2026, 11, 16), date(2026, 12, 16)]
    # Until the 15th of January it is the old year's.
    year = InvoiceCalendar(SIXTEENTH, 12).period_of(datetime(2026, 1, 10, tzinfo=UTC))
    assert year.end == datetime(2026, 1, 16, tzinfo=UTC)


@given(calendars, st.sampled_from([1, 3, 12]), instants)
def test_periods_follow_each_other_without_a_gap(months: BillingMonths, count: int, at: datetime) -> None:
    calendar = InvoiceCalendar(months, count)
    period = calendar.period_of(at)
    assert at in period
    assert period.end - period.start >= calendar.shortest
    assert calendar.period_of(period.end).start == period.end
    assert calendar.period_of(period.start) == period
    assert calendar.period_of(period.end - timedelta(microseconds=1)) == period
    assert months.begins(next(calendar.invoices(period))) == period.start


@given(instants)
def test_a_utc_month_has_no_label(at: datetime) -> None:
    assert UTC_MONTHS.label(at) == ""


def test_it_says_what_it_is() -> None:
    assert [str(one) for one in (UTC_MONTHS, BillingMonths(22), PACIFIC, BillingMonths(11))] == [
        "from the 1st",
        "from the 22nd",
        "from the 1st (America/Los_Angeles)",
        "from the 11th",
    ]
