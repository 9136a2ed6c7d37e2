"""What each budget spent, by UTC day and month: kept between turns, so that only what has changed is summed again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from alarms.model import OPEN_END, RUN_START, Period
from alarms.money import EXACT
from monitor.counting import Counted
from monitor.model import Series
from monitor.period import midnight, month_of
from monitor.readings import Key, Totals, WatchedBudget, keys_of
from monitor.store.rollup import Bucket, buckets, rows_of
from monitor.store.rows import CorruptRowError, from_day_number


class Sums:
    """Sums of a ledger, for one config. Call `prepare` before each evaluation.

    Rows that are remembered were verified when they were read; what changes in the store shows in its tallies.
    """

    def __init__(self) -> None:
        self._counted = Counted((), {})
        self._watched: list[tuple[object, ...]] = []
        self._series = 0
        self._now: dict[tuple[bool, int], tuple[Bucket, Totals]] = {}
        self._before: dict[tuple[bool, int], tuple[Bucket, Totals]] = {}
        self._months: list[Bucket] = []
        # The first month that a budget counts anything in, and the day.
        self._first: dict[str, tuple[Bucket, datetime]] = {}

    def prepare(self, watched: Sequence[WatchedBudget], series: Mapping[int, Series]) -> None:
        """Take in who counts what now, and forget what the last evaluation did not ask for."""
        self._before, self._now = self._now, {}
        self._months = []
        asked = [(one.budget.name, one.scope, one.sources, one.views, one.budget.currency) for one in watched]
        if asked != self._watched:
            self._before = {}
        elif len(series) == self._series:  # a series is never changed nor taken away
            return
        self._watched, self._series = list(asked), len(series)
        self._counted = Counted(watched, series)
        self._first.clear()

    def total(self, connection: sqlite3.Connection, period: Period) -> Totals:
        """Of the UTC days that start in the period."""
        parts = [self._totals(connection, bucket) for bucket in buckets(connection, period.start, period.end)]
        return parts[0] if len(parts) == 1 else added(parts)

    def by_day(self, connection: sqlite3.Connection, since: datetime, until: datetime) -> dict[date, Totals]:
        """Of each UTC day that starts in [since, until); days before the first and after the last known are absent."""
        found = buckets(connection, since, until, by_day=True)
        return {from_day_number(bucket.number): self._totals(connection, bucket) for bucket in found}

    def first_day(self, connection: sqlite3.Connection, watched: WatchedBudget) -> datetime | None:
        """The first UTC day on which a budget counts a charge; None if it never did."""
        if not self._months:
            self._months = list(buckets(connection, RUN_START, OPEN_END))
        name, keys = watched.budget.name, keys_of(watched, watched.sources)
        for month in self._months:
            if self._totals(connection, month).of(keys) is not None:
                known = self._first.get(name)
                if known is None or known[0] != month:
                    known = self._first[name] = (month, self._first_in(connection, month, keys))
                return known[1]
        return None

    def series_of(self, watched: WatchedBudget, counted: Sequence[str]) -> Sequence[int]:
        """The numbers of the series that a budget counts, of these sources."""
        return self._counted.series_of(watched, counted)

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


def added(parts: Iterable[Totals]) -> Totals:
    """The sum of totals of different days."""
    sums: dict[Key, Decimal] = {}
    sources: frozenset[tuple[str, str]] = frozenset()
    for part in parts:
        sources |= part.sources
        for name, amount in part.budgets.items():
            sums[name] = EXACT.add(sums[name], amount) if name in sums else amount
    return Totals(sums, sources)
