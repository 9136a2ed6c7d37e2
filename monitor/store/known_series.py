"""What charges belong to: every series that ever had one, with the number that the store gave it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

from monitor.model import Series
from monitor.store.rows import Table, Value

_SERIES = Table(
    "series",
    (
        *("id", "source", "currency", "account", "service", "region", "run", "tags"),
        *("charge_category", "billing_period"),
    ),
)


# Which series there are: how many, and the sum of their checksums. Not by the index: a series that a damaged index does
# not find would get a second number, and count twice.
_ALL = "SELECT count(*), coalesce(sum(checksum), 0) FROM series NOT INDEXED"
# A thousand accounts have twenty thousand series, each turn the same ones.
_remembered: dict[tuple[int, int], Mapping[int, Series]] = {}


def numbered(connection: sqlite3.Connection) -> Mapping[int, Series]:
    """Every series that ever had a charge, by its number."""
    mark: tuple[int, int] = connection.execute(_ALL).fetchone()
    known = _remembered.get(mark)
    if known is None:
        known = dict(map(_to_series, connection.execute(_SERIES.select + "NOT INDEXED")))
        _remembered.clear()
        _remembered[mark] = known
    return known


def named(known: Mapping[int, Series], series_id: int) -> Series:
    """The series with this number. Raises CorruptRowError when there is none."""
    series = known.get(series_id)
    if series is None:
        raise _SERIES.corrupt(series_id)
    return series


def numbers_of(tx: sqlite3.Connection, source: str, wanted: Iterable[Series]) -> dict[Series, int]:
    """The number of every series of a source; those wanted that have none yet get one."""
    ids = {series: number for number, series in numbered(tx).items() if series.source == source}
    (last,) = tx.execute("SELECT coalesce(max(id), 0) FROM series").fetchone()
    for series in wanted:
        if series not in ids:
            last += 1
            ids[series] = last
            tx.execute(_SERIES.insert, _SERIES.seal(last, *_series_columns(series)))
    return ids


def _series_columns(series: Series) -> tuple[str, ...]:
    tags = json.dumps(series.tags)
    return (
        *(series.source, series.currency, series.account, series.service, series.region, series.run, tags),
        *(series.charge_category, series.billing_period),
    )


def _to_series(row: tuple[Value, ...]) -> tuple[int, Series]:
    number, source, currency, account, service, region, run, tags, category, billing = _SERIES.verified(row)
    pairs = tuple((key, value) for key, value in json.loads(tags)) if tags != "[]" else ()
    return number, Series(source, currency, account, service, region, run, pairs, category, billing)
