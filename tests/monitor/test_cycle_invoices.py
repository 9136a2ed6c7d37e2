"""Whole turns of budgets that follow invoices, on a real store: what is on an invoice counts there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Kind, Period, Reason
from monitor.billing_months import BillingMonths, InvoiceCalendar
from monitor.model import Batch, Charge, Series, Window
from monitor.store.database import Store, open_store
from tests.monitor.test_cycle_periods import World

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
BEGIN = datetime(2026, 9, 1, tzinfo=UTC)
PACIFIC = BillingMonths(zone="America/Los_Angeles")
SIXTEENTH = BillingMonths(first_day=16)


@dataclass(eq=False)
class Invoices:
    """A dollar an hour from BEGIN until now, each on the invoice of its hour; but some of it on another."""

    months: BillingMonths
    # (start of the hour, the invoice it is on): reported late, or corrected.
    elsewhere: tuple[tuple[datetime, str], ...] = ()
    name: str = "aws"

    def windows(self, now: datetime, *_: object) -> tuple[Window, ...]:
        return (Window(Period(BEGIN, now)),)

    def fetch(self, window: Window) -> Batch:
        charges, at, moved = [], BEGIN, dict(self.elsewhere)
        while at + HOUR <= window.period.end:
            series = Series(self.name, "USD", billing_period=moved.get(at, self.months.label(at)))
            charges.append(Charge(series, Period(at, at + HOUR), Decimal(1)))
            at += HOUR
        return Batch(tuple(charges), {charge.series: window.period for charge in charges}, at, whole=window.period)

    def probe(self) -> str:
        return ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def hours(since: datetime, until: datetime) -> str:
    return str((until - since) // HOUR)


@pytest.mark.parametrize(
    ("months", "count", "now", "since"),
    [
        (PACIFIC, 1, datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 10, 1, 7, tzinfo=UTC)),
        # In California it is still October.
        (PACIFIC, 1, datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2026, 10, 1, 7, tzinfo=UTC)),
        (PACIFIC, 1, datetime(2026, 11, 1, 9, tzinfo=UTC), datetime(2026, 11, 1, 7, tzinfo=UTC)),
        # The clocks have been set back meanwhile.
        (PACIFIC, 1, datetime(2026, 12, 1, 7, tzinfo=UTC), datetime(2026, 11, 1, 7, tzinfo=UTC)),
        (PACIFIC, 3, datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 10, 1, 7, tzinfo=UTC)),
        (SIXTEENTH, 1, datetime(2026, 11, 15, 23, tzinfo=UTC), datetime(2026, 10, 16, tzinfo=UTC)),
        (SIXTEENTH, 1, datetime(2026, 11, 16, 5, tzinfo=UTC), datetime(2026, 11, 16, tzinfo=UTC)),
        (SIXTEENTH, 3, datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 10, 16, tzinfo=UTC)),
        (BillingMonths(), 1, datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_an_invoice_counts_what_is_on_it(
    store: Store, months: BillingMonths, count: int, now: datetime, since: datetime
) -> None:
    world = World(store, Invoices(months), InvoiceCalendar(months, count))
    assert world.turn(now)["billed"] == hours(since, now)


def test_what_is_reported_late_counts_on_its_invoice_and_not_when_it_was_used(store: Store) -> None:
    used = datetime(2026, 10, 20, 5, tzinfo=UTC)
    late = Invoices(PACIFIC, ((used, "2026-11-01"), (used + HOUR, "2026-11-01")))
    world = World(store, late, InvoiceCalendar(PACIFIC, 1), amount="1000000")
    at = datetime(2026, 10, 31, tzinfo=UTC)
    assert world.turn(at)["billed"] == str(int(hours(datetime(2026, 10, 1, 7, tzinfo=UTC), at)) - 2)
    at = datetime(2026, 11, 5, tzinfo=UTC)
    assert world.turn(at)["billed"] == str(int(hours(datetime(2026, 11, 1, 7, tzinfo=UTC), at)) + 2)


def test_an_alarm_ends_with_its_invoice_and_the_next_begins_at_nothing(store: Store) -> None:
    world = World(store, Invoices(SIXTEENTH), InvoiceCalendar(SIXTEENTH, 1), amount="500")
    world.turn(datetime(2026, 11, 1, tzinfo=UTC))
    assert world.messages() == []
    world.turn(datetime(2026, 11, 2, tzinfo=UTC))
    assert world.messages() == [(Kind.FIRING, "80%", Reason.CROSSED)]
    # Over the end of a UTC month nothing ends.
    world.turn(datetime(2026, 11, 15, 23, tzinfo=UTC))
    assert world.messages() == []
    assert Decimal(world.turn(datetime(2026, 11, 16, 4, tzinfo=UTC))["spend"]) == 4
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.PERIOD_ENDED)]
