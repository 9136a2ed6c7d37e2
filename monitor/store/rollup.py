"""What each series cost on each UTC day: kept in the transaction that changes the charges, verified when read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import xor

from monitor.store.rows import Table, first_day_from

_DAY_TOTAL = Table("day_total", ("day", "series_id", "billed_cost", "until"), key=2)
_DAY_TALLY = Table("day_tally", ("day", "count", "digest"))

_ONE_DAY_TOTAL = _DAY_TOTAL.select + "WHERE day = ? AND series_id = ?"
_WHOLE_DAY = _DAY_TOTAL.select + "WHERE day = ? ORDER BY series_id"
# The days that either table knows: no more than those need to be looked for.
_EXTENT = """SELECT min(day), max(day) FROM (
    SELECT min(day) AS day FROM day_total UNION ALL SELECT max(day) FROM day_total
    UNION ALL SELECT min(day) FROM day_tally UNION ALL SELECT max(day) FROM day_tally)"""
_ONE_TALLY = _DAY_TALLY.select + "WHERE day = ?"

# day, series_id, billed_cost, until, checksum
DayRow = tuple[int, int, str, int, int]


@dataclass(frozen=True, slots=True)
class DayChange:
    """A day of a series whose total changes. None: no charge. `until` in microseconds."""

    day: int
    series_id: int
    before: str | None
    after: str | None
    until: int


def write_days(tx: sqlite3.Connection, days: Iterable[DayChange]) -> None:
    """Put new totals in place of the old. Raises CorruptRowError when the old are not those that are stored."""
    tallies: dict[int, tuple[int, int]] = {}
    for day in sorted(days, key=lambda d: (d.day, d.series_id)):
        count, digest = tallies.get(day.day) or _tally(tx, day.day)
        old = tx.execute(_ONE_DAY_TOTAL, (day.day, day.series_id)).fetchone()
        # The roll-up must be what the stored charges make: a charge or a total that got lost is noticed here.
        if (None if old is None else _DAY_TOTAL.verified(old)[2]) != day.before:
            raise _DAY_TOTAL.corrupt(day.day, day.series_id)
        if old is not None:
            count, digest = count - 1, digest ^ old[-1]
        if day.after is None:
            tx.execute("DELETE FROM day_total WHERE day = ? AND series_id = ?", (day.day, day.series_id))
        else:
            new = _DAY_TOTAL.seal(day.day, day.series_id, day.after, day.until)
            count, digest = count + 1, digest ^ int(new[-1] or 0)
            tx.execute(_DAY_TOTAL.replace, new)
        tallies[day.day] = (count, digest)
    tx.executemany(_DAY_TALLY.replace, (_DAY_TALLY.seal(day, *tally) for day, tally in tallies.items()))


def verified_days(connection: sqlite3.Connection, since: datetime, until: datetime) -> Iterator[list[DayRow]]:
    """The day totals of each day that starts in [since, until): each row verified, none missing."""
    lowest, highest = connection.execute(_EXTENT).fetchone()
    if lowest is None:
        return
    for day in range(max(first_day_from(since), lowest), min(first_day_from(until), highest + 1)):
        rows = connection.execute(_WHOLE_DAY, (day,)).fetchall()
        _DAY_TOTAL.verify_all(rows)
        if (len(rows), reduce(xor, (row[-1] for row in rows), 0)) != _tally(connection, day):
            raise _DAY_TALLY.corrupt(day)
        yield rows


def _tally(connection: sqlite3.Connection, day: int) -> tuple[int, int]:
    row = connection.execute(_ONE_TALLY, (day,)).fetchone()
    if row is None:
        return 0, 0
    _, count, digest = _DAY_TALLY.verified(row)
    return count, digest
