"""The projections of a reading: what will have been spent at the period's end, and how fast it goes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from alarms.model import OPEN_END, Forecast, Period, Reading
from alarms.money import EXACT, total
from monitor.period import day_of, midnight
from monitor.projection import FEWEST, HISTORY, LONGEST_CHARGE, Trend, burn_rate, forecast, spend_within, trend
from monitor.readings import Figures, Key, SourceState, Totals, WatchedBudget, keys_of
from monitor.store import charges
from monitor.store.rollup import Bucket, buckets
from monitor.store.rows import to_micros
from monitor.sums import Sums

_DAY = timedelta(days=1)
_ZERO = Decimal(0)


class Outlook:
    """Projects readings from the daily sums and the charges of a ledger; what has not changed is not computed again."""

    def __init__(self, sums: Sums) -> None:
        self._sums = sums
        self._trends: dict[str, tuple[tuple[Decimal, ...], int, Trend | None]] = {}
        # The charges that rates were made of -> the rates.
        self._rates: dict[str, tuple[tuple[object, ...], Mapping[timedelta, Decimal]]] = {}
        self._days: dict[datetime, dict[date, Totals]] = {}
        self._told: dict[tuple[object, ...], list[Mapping[Key, Decimal]]] = {}
        self._marks: dict[Period, tuple[Bucket, ...]] = {}

    def prepare(self) -> None:
        """Look at the store anew: an evaluation begins."""
        self._days.clear()
        self._told.clear()
        self._marks.clear()

    def restated(self) -> None:
        """Charges have changed: within a day too, which no day's total shows."""
        self._rates.clear()

    def project(
        self,
        connection: sqlite3.Connection,
        watched: WatchedBudget,
        reading: Reading,
        found: Figures,
        sources: Mapping[str, SourceState],
    ) -> Reading:
        """The reading of a running period with its forecast and the burn rates that its thresholds ask for.

        `found`: of which sources the reading is; of several views of a bill only the days of one make a trend.
        """
        if reading.as_of is None:
            return reading
        feeding = [sources[name] for name in found.counted]
        days = self._complete_days(connection, watched, found, feeding, reading.as_of)
        if reading.spend is None:
            return replace(reading, days=len(days))
        return replace(
            reading,
            days=len(days),
            forecast=self._forecast(connection, watched, days, reading, reading.spend, found),
            burn_rates=self._burn_rates(connection, watched, reading, reading.as_of, found, feeding),
        )

    def spent_until(
        self,
        connection: sqlite3.Connection,
        watched: WatchedBudget,
        reading: Reading,
        found: Figures,
        sources: Mapping[str, SourceState],
        until: datetime,
    ) -> Decimal | None:
        """What of the spend lies before an instant; None: not known.

        Before `as_of` too, where the slowest source ends: the others may have told of more.
        """
        ends = [sources[name].data_as_of for name in found.counted]
        newest = max((end for end in ends if end is not None), default=None)
        if reading.spend is None or newest is None or newest <= until:
            return reading.spend
        since = max(until, reading.period.start)
        if since >= min(newest, reading.period.end):
            return reading.spend
        numbers = self._sums.series_of(watched, found)
        later = charges.charges_over(connection, numbers, Period(since, newest), LONGEST_CHARGE)
        # What starts in the period counts in it, to its end.
        counted = [one for one in later if one[0] < to_micros(reading.period.end)]
        later_cost = spend_within(counted, to_micros(since), to_micros(OPEN_END))
        return EXACT.subtract(reading.spend, _rounded(later_cost))

    def _complete_days(
        self,
        connection: sqlite3.Connection,
        watched: WatchedBudget,
        found: Figures,
        feeding: Sequence[SourceState],
        as_of: datetime,
    ) -> tuple[Decimal, ...]:
        """What each of the last days before that of `as_of` cost, oldest first: those that every source has told of.

        A day on which nothing is booked cost nothing: it lies between days that its sources have told of.
        """
        today = day_of(as_of).start
        shared = (today, found.counted, watched.budget.currency)
        if shared not in self._told:
            self._told[shared] = self._told_of(connection, watched, feeding, today)
        first, *more = _keys_of(watched, found)
        if not more:
            return tuple(spent.get(first, _ZERO) for spent in self._told[shared])
        return tuple(total(spent.get(key, _ZERO) for key in (first, *more)) for spent in self._told[shared])

    def _told_of(
        self,
        connection: sqlite3.Connection,
        watched: WatchedBudget,
        feeding: Sequence[SourceState],
        today: datetime,
    ) -> list[Mapping[Key, Decimal]]:
        """Costs by budget of each complete day, the same for all budgets with these sources."""
        totals = self._by_day(connection, today)
        start = today - HISTORY * _DAY
        for source in feeding:
            key = (source.name, watched.budget.currency)
            # Before its first charge an account did not exist; what is not filled in yet is not known.
            first = next((day for day, known in totals.items() if key in known.sources), None)
            if first is not None and source.filled_since is not None:
                start = max(start, midnight(first), source.filled_since)
        count = max(0, (today - start) // _DAY)
        days = ((today - ago * _DAY).date() for ago in range(count, 0, -1))
        return [totals[day].budgets if day in totals else {} for day in days]

    def _forecast(
        self,
        connection: sqlite3.Connection,
        watched: WatchedBudget,
        days: tuple[Decimal, ...],
        reading: Reading,
        spend: Decimal,
        found: Figures,
    ) -> Forecast | None:
        as_of = reading.as_of
        if as_of is None or len(days) < FEWEST:
            return None
        name, today = watched.budget.name, day_of(as_of).start
        weekday = (today - _DAY).weekday()
        known = self._trends.get(name)
        if known is None or known[:2] != (days, weekday):
            known = self._trends[name] = (days, weekday, trend(days, weekday))
        if known[2] is None:
            return None
        of_today = self._by_day(connection, today).get(today.date())
        so_far = (of_today.of(_keys_of(watched, found)) if of_today else None) or _ZERO
        if as_of > today:
            return forecast(known[2], spend, so_far, as_of, reading.period)
        # What is known of a day that data does not reach into yet is part of what is expected of it.
        before = EXACT.subtract(spend, so_far) if today in reading.period else spend
        made = forecast(known[2], before, _ZERO, as_of, reading.period)
        return replace(made, expected=max(made.expected, spend), high=max(made.high, spend))

    def _by_day(self, connection: sqlite3.Connection, today: datetime) -> dict[date, Totals]:
        """Of the day that starts at `today` and of those before that count."""
        if today not in self._days:
            self._days[today] = self._sums.by_day(connection, today - HISTORY * _DAY, today + _DAY)
        return self._days[today]

    def _burn_rates(
        self,
        connection: sqlite3.Connection,
        watched: WatchedBudget,
        reading: Reading,
        as_of: datetime,
        found: Figures,
        feeding: Sequence[SourceState],
    ) -> Mapping[timedelta, Decimal]:
        asked = {window for threshold in watched.budget.thresholds for window in threshold.over}
        if not asked:
            return {}
        since = [source.filled_since for source in feeding if source.data_as_of is not None]
        filled = max((instant for instant in since if instant is not None), default=None)
        covered = [window for window in asked if filled is not None and as_of - window >= filled]
        if not covered or None in since:
            return {}
        stretch = Period(as_of - max(covered), as_of)
        name, amount = watched.budget.name, watched.budget.amount
        count = (found.counted, found.credited)
        basis = (stretch, tuple(sorted(covered)), self._marked(connection, stretch), amount, reading.period, count)
        known = self._rates.get(name)
        if known is None or known[0] != basis:
            numbers = self._sums.series_of(watched, found)
            spent = list(charges.charges_over(connection, numbers, stretch, LONGEST_CHARGE))
            rates = {
                window: burn_rate(
                    spend_within(spent, to_micros(as_of - window), to_micros(as_of)), window, amount, reading.period
                )
                for window in covered
            }
            known = self._rates[name] = (basis, rates)
        return known[1]

    def _marked(self, connection: sqlite3.Connection, stretch: Period) -> tuple[Bucket, ...]:
        """What changes when a charge does that may reach into the stretch."""
        if stretch not in self._marks:
            first = day_of(stretch.start - LONGEST_CHARGE).start
            self._marks[stretch] = tuple(buckets(connection, first, stretch.end, by_day=True))
        return self._marks[stretch]


def _keys_of(watched: WatchedBudget, found: Figures) -> list[Key]:
    return keys_of(watched, found.counted, found.credited, watched.config.basis)


def _rounded(amount: Fraction) -> Decimal:
    """To a millionth: a charge that reaches over an instant is divided there."""
    return EXACT.scaleb(Decimal(amount.numerator * 10**6 // amount.denominator), -6)
