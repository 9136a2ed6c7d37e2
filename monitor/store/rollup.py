"""What each series cost on each UTC day and in each UTC month: kept in the transaction that changes the charges.

Verified when read: each row by its checksum, and all of a day or month by how many there are.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from alarms.money import EXACT, plain
from monitor.store.checksum import changed_digest, digest
from monitor.store.rows import Table, Value, first_day_from, month_of_day

_DAY_TOTAL = Table("day_total", ("day", "series_id", "billed_cost", "until"), key=2)
_DAY_TALLY = Table("day_tally", ("day", "count", "digest"))
# `month`: the number of its first day; `days`: how many days of it have a total.
_MONTH_TOTAL = Table("month_total", ("month", "series_id", "billed_cost", "days"), key=2)
_MONTH_TALLY = Table("month_tally", ("month", "count", "digest"))

# The days that either table knows: no more than those need to be looked for.
_EXTENT = """SELECT min(day), max(day) FROM (
    SELECT min(day) AS day FROM day_total UNION ALL SELECT max(day) FROM day_total
    UNION ALL SELECT min(day) FROM day_tally UNION ALL SELECT max(day) FROM day_tally)"""

# day or month, series_id, billed_cost, until or days, checksum
TotalRow = tuple[int, int, str, int, int]


@dataclass(frozen=True, slots=True)
class DayChange:
    """A day of a series whose total changes. None: no charge. `until` in microseconds."""

    day: int
    series_id: int
    before: str | None
    after: str | None
    until: int


def write_days(tx: sqlite3.Connection, changes: Iterable[DayChange]) -> None:
    """Put new totals in place of the old. Raises CorruptRowError when the old are not those that are stored."""
    days = _Rollup(tx, _DAY_TOTAL, _DAY_TALLY)
    months: dict[int, dict[int, list[DayChange]]] = {}
    for day, of_day in groupby(sorted(changes, key=lambda c: (c.day, c.series_id)), lambda c: c.day):
        changed = list(of_day)
        month = months.setdefault(month_of_day(day)[0], {})
        stored = days.stored(day, [change.series_id for change in changed])
        for change in changed:
            old = stored.get(change.series_id)
            # The roll-up must be what the stored charges make: a charge or a total that got lost is noticed here.
            if (None if old is None else old[2]) != change.before:
                raise _DAY_TOTAL.corrupt(day, change.series_id)
            new = None if change.after is None else (change.after, change.until)
            days.put(day, change.series_id, old=old, new=new)
            month.setdefault(change.series_id, []).append(change)
    days.finish()
    _write_months(tx, months)


def verified_days(connection: sqlite3.Connection, since: datetime, until: datetime) -> Iterator[list[TotalRow]]:
    """The totals of each day that starts in [since, until): each row verified, none missing."""
    days = _Rollup(connection, _DAY_TOTAL, _DAY_TALLY)
    for day in _known(connection, since, until):
        yield days.all_of(day)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The totals of one UTC day or of one whole month; `number` is its first day. `mark` changes when they do."""

    month: bool
    number: int
    mark: tuple[int, int]


def buckets(
    connection: sqlite3.Connection, since: datetime, until: datetime, *, by_day: bool = False
) -> Iterator[Bucket]:
    """The days that start in [since, until), as far as any is known; months that lie in it whole as one each.

    `by_day`: days alone.
    """
    days = _Rollup(connection, _DAY_TOTAL, _DAY_TALLY)
    months = _Rollup(connection, _MONTH_TOTAL, _MONTH_TALLY)
    first, end = first_day_from(since), first_day_from(until)
    summed: set[int] = set()
    for day in _known(connection, since, until):
        month, following = month_of_day(day)
        if by_day or first > month or following > end:
            yield Bucket(month=False, number=day, mark=days.tallied(day))
        elif month not in summed:
            summed.add(month)
            yield Bucket(month=True, number=month, mark=months.tallied(month))


def rows_of(connection: sqlite3.Connection, bucket: Bucket) -> list[TotalRow]:
    """Every total in it: each row verified, none missing."""
    tables = (_MONTH_TOTAL, _MONTH_TALLY) if bucket.month else (_DAY_TOTAL, _DAY_TALLY)
    return _Rollup(connection, *tables).all_of(bucket.number)


def verified_totals(connection: sqlite3.Connection, since: datetime, until: datetime) -> Iterator[list[TotalRow]]:
    """The totals of the days that start in [since, until), with months that lie in it whole as one."""
    for bucket in buckets(connection, since, until):
        yield rows_of(connection, bucket)


class _Rollup:
    """One table of totals, and the tallies of its days or months: how many rows each has, and their digest."""

    def __init__(self, connection: sqlite3.Connection, totals: Table, tallies: Table) -> None:
        self._connection = connection
        self._totals = totals
        self._tallies = tallies
        self._changed: dict[int, tuple[int, int]] = {}
        self._put: list[tuple[Value, ...]] = []
        self._gone: list[tuple[int, int]] = []
        number = totals.columns[0]
        self._some = (
            totals.select.replace("FROM", "FROM json_each(?) AS wanted CROSS JOIN", 1)
            + f"WHERE {number} = ? AND series_id = wanted.value"
        )
        self._all = totals.select + f"WHERE {number} = ? ORDER BY series_id"
        self._tally = tallies.select + f"WHERE {number} = ?"
        # Names come from constants of this program alone.
        self._delete = f"DELETE FROM {totals.name} WHERE {number} = ? AND series_id = ?"  # noqa: S608

    def stored(self, number: int, series_ids: Iterable[int]) -> dict[int, TotalRow]:
        """The rows of these series in a day or month, verified, by series."""
        rows: list[TotalRow] = self._connection.execute(self._some, (json.dumps(list(series_ids)), number)).fetchall()
        self._totals.verify_all(rows)
        return {row[1]: row for row in rows}

    def put(self, number: int, series_id: int, *, old: TotalRow | None, new: tuple[Value, ...] | None) -> None:
        """Let a row take the place of the stored one, with `finish`; None: there is none."""
        count, before = self._changed.get(number) or self.tallied(number)
        gone = 0 if old is None else old[-1]
        added = 0
        if new is None:
            self._gone.append((number, series_id))
        else:
            sealed = self._totals.seal(number, series_id, *new)
            added = int(sealed[-1] or 0)
            self._put.append(sealed)
        count += (new is not None) - (old is not None)
        self._changed[number] = (count, changed_digest(before, gone=gone, new=added))

    def finish(self) -> None:
        """Write what was put, each row once, and its tallies."""
        self._connection.executemany(self._delete, self._gone)
        self._connection.executemany(self._totals.replace, self._put)
        tallies = (self._tallies.seal(number, *tally) for number, tally in self._changed.items())
        self._connection.executemany(self._tallies.replace, tallies)

    def all_of(self, number: int) -> list[TotalRow]:
        """Every row of a day or month."""
        rows: list[TotalRow] = self._connection.execute(self._all, (number,)).fetchall()
        self._totals.verify_all(rows)
        if (len(rows), digest(row[-1] for row in rows)) != self.tallied(number):
            raise self._tallies.corrupt(number)
        return rows

    def tallied(self, number: int) -> tuple[int, int]:
        """How many rows a day or month has, and their digest."""
        row = self._connection.execute(self._tally, (number,)).fetchone()
        if row is None:
            return 0, 0
        _, count, of_all = self._tallies.verified(row)
        return count, of_all


def _write_months(tx: sqlite3.Connection, changed: dict[int, dict[int, list[DayChange]]]) -> None:
    months = _Rollup(tx, _MONTH_TOTAL, _MONTH_TALLY)
    for month, by_series in changed.items():
        stored = months.stored(month, by_series)
        for series_id, changes in by_series.items():
            old = stored.get(series_id)
            amount, days = (Decimal(0), 0) if old is None else (Decimal(old[2]), old[3])
            for change in changes:
                amount = EXACT.add(EXACT.subtract(amount, Decimal(change.before or 0)), Decimal(change.after or 0))
                days += (change.after is not None) - (change.before is not None)
            if days < 0 or (days == 0 and amount):
                raise _MONTH_TOTAL.corrupt(month, series_id)
            months.put(month, series_id, old=old, new=(plain(amount), days) if days else None)
    months.finish()


def _known(connection: sqlite3.Connection, since: datetime, until: datetime) -> range:
    """Numbers of the days from `since` to `until` that can have a total."""
    lowest, highest = connection.execute(_EXTENT).fetchone()
    if lowest is None:
        return range(0)
    return range(max(first_day_from(since), lowest), min(first_day_from(until), highest + 1))
