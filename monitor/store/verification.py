"""Whether what is in a store is what was written to it: every row, and that none is missing from the totals.

SQLite's own `integrity_check` looks at the structure alone and says "ok" to a changed amount.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter

from alarms.money import EXACT, plain, total
from monitor.store import schema
from monitor.store.checksum import checksum, digest
from monitor.store.rows import MICROSECONDS_PER_DAY, CorruptRowError, CorruptStoreError, month_of_day, to_micros

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
_LOST_SERIES = "SELECT day, series_id FROM day_total WHERE series_id NOT IN (SELECT id FROM series NOT INDEXED) LIMIT 1"
_CHARGES = """SELECT series_id, start_at, end_at, revision, billed_cost, withdrawn FROM charge
    ORDER BY series_id, start_at, end_at, revision"""

_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"

# day or month, series, canonical amount
_Sum = tuple[int, int, str]


def verify(connection: sqlite3.Connection, charges_since: datetime | None = None) -> None:
    """Raise CorruptStoreError for the first thing that is not as it was written.

    `charges_since`: earlier charges are left to those who read them, who verify them too, and the totals are not held
    against the charges; None: all of it.
    """
    # Not quick_check: that does not hold the indexes against their tables.
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise CorruptStoreError(f"the store is damaged: {found}")
    if set(connection.execute(_SCHEMA)) != _schema_as_made():
        raise CorruptStoreError("the store is damaged: its tables are not those that were made")
    for (table,) in connection.execute(_TABLES).fetchall():
        since = None if charges_since is None or table != "charge" else to_micros(charges_since)
        _verify_rows(connection, table, since)
    _verify_tallies(connection, "day")
    _verify_tallies(connection, "month")
    lost = connection.execute(_LOST_SERIES).fetchone()
    if lost is not None:
        raise CorruptRowError("series", f"id={lost[1]}")
    if charges_since is None:
        _verify_sums(connection)


@cache
def _schema_as_made() -> frozenset[tuple[str, str, str, str]]:
    """What the statements make: a flipped bit in the name of a column shows nowhere else while its table is empty."""
    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        for statements in schema.MIGRATIONS:
            for statement in statements:
                made.execute(statement)
        return frozenset(made.execute(_SCHEMA))


def _verify_rows(connection: sqlite3.Connection, table: str, since: int | None) -> None:
    condition = "1" if since is None else f"start_at >= {since}"
    # Names come from the store's own schema, which this program made.
    for row in connection.execute(f'SELECT * FROM "{table}" WHERE {condition}'):  # noqa: S608
        if checksum(table, *row[:-1]) != row[-1]:
            raise CorruptRowError(table, str(row[0]))


def _verify_tallies(connection: sqlite3.Connection, unit: str) -> None:
    """No total of a day or month is missing, and none is there that nobody counted."""
    # Names are those of the two callers.
    totals = connection.execute(f"SELECT {unit}, checksum FROM {unit}_total ORDER BY {unit}")  # noqa: S608
    counted = {number: _tally(rows) for number, rows in groupby(totals, itemgetter(0))}
    tallies = connection.execute(f"SELECT {unit}, count, digest FROM {unit}_tally")  # noqa: S608
    known = {number: (count, of_all) for number, count, of_all in tallies}
    for number in counted.keys() | known.keys():
        if counted.get(number, (0, 0)) != known.get(number, (0, 0)):
            raise CorruptRowError(f"{unit}_tally", f"{unit}={number}")


def _tally(rows: Iterable[tuple[int, int]]) -> tuple[int, int]:
    checksums = [checksum_of_row for _, checksum_of_row in rows]
    return len(checksums), digest(checksums)


def _verify_sums(connection: sqlite3.Connection) -> None:
    """The totals of the days are what the charges make, and those of the months what the days make.

    Compared by a sum of hashes, which needs no order: all totals of a large ledger do not fit into memory.
    """
    stored = connection.execute("SELECT day, series_id, billed_cost FROM day_total")
    if _hashed(_day_sums(connection)) != _hashed(stored):
        raise CorruptStoreError("the store is damaged: the totals of the days are not what the charges make")
    stored = connection.execute("SELECT month, series_id, billed_cost FROM month_total")
    if _hashed(_month_sums(connection)) != _hashed(stored):
        raise CorruptStoreError("the store is damaged: the totals of the months are not what those of the days make")


def _hashed(sums: Iterable[_Sum]) -> int:
    return sum(int.from_bytes(blake2b(ascii(one).encode("ascii"), digest_size=16).digest()) for one in sums)


def _day_sums(connection: sqlite3.Connection) -> Iterator[_Sum]:
    charges = connection.execute(_CHARGES)
    for series_id, rows in groupby(charges, itemgetter(0)):
        days: dict[int, list[Decimal]] = {}
        for (start, _), revisions in groupby(rows, itemgetter(1, 2)):
            *_, cost, withdrawn = list(revisions)[-1]
            if not withdrawn:
                days.setdefault(start // MICROSECONDS_PER_DAY, []).append(Decimal(cost))
        yield from ((day, series_id, plain(total(costs))) for day, costs in days.items())


def _month_sums(connection: sqlite3.Connection) -> Iterator[_Sum]:
    days = connection.execute("SELECT day, series_id, billed_cost FROM day_total ORDER BY day")
    for month, rows in groupby(days, lambda row: month_of_day(row[0])[0]):
        sums: dict[int, Decimal] = {}
        for _, series_id, cost in rows:
            sums[series_id] = EXACT.add(sums.get(series_id, Decimal(0)), Decimal(cost))
        yield from ((month, series_id, plain(amount)) for series_id, amount in sums.items())
