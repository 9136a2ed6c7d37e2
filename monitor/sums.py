"""What each budget spent, by UTC day and month: kept between turns, so that only what has changed is summed again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from alarms.model import OPEN_END, RUN_START, Period
from alarms.money import EXACT
from monitor.billing_months import InvoiceCalendar
from monitor.counting import Counted, without_invoice
from monitor.model import Series
from monitor.period import midnight, month_of
from monitor.readings import Figures, Key, Share, Totals, WatchedBudget, keys_of
from monitor.store.rollup import Bucket, buckets, rows_of
from monitor.store.rows import CorruptRowError, from_day_number

# So long before or after an invoice's first day lies what is on it: late reports of use, and corrections.
_LATE = timedelta(days=92)


class Sums:
    """Sums of a ledger, for one config. Call `prepare` before each evaluation.

    Rows that are remembered were verified when they were read; what changes in the store shows in its tallies.
    """

    def __init__(self) -> None:
        self._counted = Counted((), {})
        self._watched: list[tuple[object, ...]] = []
        self._series: Mapping[int, Series] = {}
        self._now: dict[tuple[bool, int], tuple[Bucket, Totals]] = {}
        self._before: dict[tuple[bool, int], tuple[Bucket, Totals]] = {}
        self._months: list[Bucket] = []
        self._periods: dict[tuple[InvoiceCalendar | None, Period], Totals] = {}
        # The first month that a budget counts anything in, and the day.
        self._first: dict[str, tuple[Bucket, datetime]] = {}

    def prepare(self, watched: Sequence[WatchedBudget], series: Mapping[int, Series]) -> None:
        """Take in who counts what now, and forget what the last evaluation did not ask for."""
        self._before, self._now = self._now, {}
        self._months = []
        self._periods.clear()
        asked = [
            (one.budget.name, one.scope, one.sources, one.views, one.budget.currency, repr(one.config.period))
            for one in watched
        ]
        if asked != self._watched:
            self._before = {}
        elif series is self._series:
            return
        elif not _has_grown(self._series, series):  # another store, in which the numbers mean others
            self._before = {}
        self._watched, self._series = list(asked), series
        self._counted = Counted(watched, series)
        self._first.clear()

    def of(self, connection: sqlite3.Connection, watched: WatchedBudget, period: Period) -> Totals:
        """Of one of a budget's periods: of the UTC days that start in it, or of its invoices. Summed once."""
        calendar = watched.config.period
        invoices = calendar if isinstance(calendar, InvoiceCalendar) else None
        found = self._periods.get((invoices, period))
        if found is None:
            found = self.invoiced(connection, invoices, period) if invoices else self.total(connection, period)
            self._periods[invoices, period] = found
        return found

    def total(self, connection: sqlite3.Connection, period: Period) -> Totals:
        """Of the UTC days that start in the period."""
        parts = [self._totals(connection, bucket) for bucket in buckets(connection, period.start, period.end)]
        return parts[0] if len(parts) == 1 else added(parts)

    def invoiced(self, connection: sqlite3.Connection, calendar: InvoiceCalendar, period: Period) -> Totals:
        """Of the invoices of a period, for budgets that follow them: with what was used before and reported late.

        `sources`: whose charges there are in the period itself.
        """
        invoices = [midnight(first) for first in calendar.invoices(period)]
        months = [month_of(first) for first in invoices if first.day == 1]
        around = Period(invoices[0] - _LATE, invoices[-1] + _LATE)
        labelled = self.total(connection, Period(month_of(around.start).start, month_of(around.end).end))
        named = frozenset(f"{first:%Y-%m-%d}" for first in invoices)
        parts = [(labelled, named), *((self.total(connection, month), frozenset([""])) for month in months)]
        sums: dict[Key, Decimal] = {}
        for totals, wanted in parts:
            for key, amount in totals.budgets.items():
                if isinstance(key, Share) and key.invoice in wanted:
                    plain = without_invoice(key)
                    sums[plain] = EXACT.add(sums[plain], amount) if plain in sums else amount
        return Totals(sums, self.total(connection, period).sources)

    def by_day(self, connection: sqlite3.Connection, since: datetime, until: datetime) -> dict[date, Totals]:
        """Of each UTC day that starts in [since, until); days before the first and after the last known are absent."""
        found = buckets(connection, since, until, by_day=True)
        return {from_day_number(bucket.number): self._totals(connection, bucket) for bucket in found}

    def first_day(self, connection: sqlite3.Connection, watched: WatchedBudget) -> datetime | None:
        """The first UTC day on which a budget counts a charge; None if it never did."""
        if not self._months:
            self._months = list(buckets(connection, RUN_START, OPEN_END))
        name, keys = watched.budget.name, keys_of(watched, watched.sources, watched.sources, watched.config.basis)
        for month in self._months:
            if self._totals(connection, month).of(keys) is not None:
                known = self._first.get(name)
                if known is None or known[0] != month:
                    known = self._first[name] = (month, self._first_in(connection, month, keys))
                return known[1]
        return None

    def series_of(self, watched: WatchedBudget, found: Figures) -> Sequence[int]:
        """The numbers of the series that a budget counts, of the sources that count by its figures."""
        return self._counted.series_of(watched, found)

    def _first_in(self, connection: sqlite3.Connection, month: Bucket, keys: Sequence[Key]) -> datetime:
        start = midnight(from_day_number(month.number))
        days = self.by_day(connection, start, month_of(start).end)
        return next((midnight(day) for day, totals in days.items() if totals.of(keys) is not None), start)

    def _totals(self, connection: sqlite3.Connection, bucket: Bucket) -> Totals:
        key = (bucket.month, bucket.number)
        for memory in (self._now, self._before):
            known = memory.get(key)
            if known is not None and known[0] == bucket:
                self._now[key] = known
                return known[1]
        rows = rows_of(connection, bucket)
        try:
            totals = self._counted.totals((row[1], Decimal(row[2])) for row in rows)
        except KeyError as error:
            raise CorruptRowError("series", f"id={error.args[0]}") from error
        self._now[key] = (bucket, totals)
        return totals


def _has_grown(before: Mapping[int, Series], now: Mapping[int, Series]) -> bool:
    return all(now.get(number) == one for number, one in before.items())


def added(parts: Iterable[Totals]) -> Totals:
    """The sum of totals of different days."""
    sums: dict[Key, Decimal] = {}
    sources: frozenset[tuple[str, str]] = frozenset()
    for part in parts:
        sources |= part.sources
        for name, amount in part.budgets.items():
            sums[name] = EXACT.add(sums[name], amount) if name in sums else amount
    return Totals(sums, sources)
