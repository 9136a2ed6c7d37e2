"""The last reading of each cumulative counter of a source: from there it is read on."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal

from alarms.money import plain
from monitor.model import MeterReading
from monitor.store.rows import Table, from_micros, to_micros

_METER = Table("meter", ("source", "key", "at", "value"), key=2)


def known(connection: sqlite3.Connection, source: str) -> bool:
    """Whether there is a reading of any counter of a source, without a look at those of a thousand accounts."""
    query = "SELECT EXISTS (SELECT 1 FROM meter WHERE source = ?)"
    return bool(connection.execute(query, (source,)).fetchone()[0])


def forget(tx: sqlite3.Connection, source: str) -> None:
    """Forget every reading of a source."""
    tx.execute("DELETE FROM meter WHERE source = ?", (source,))


def read(connection: sqlite3.Connection, source: str) -> dict[str, MeterReading]:
    """The last reading of each counter of a source that needs no second look."""
    rows = connection.execute(_METER.select + "WHERE source = ?", (source,)).fetchall()
    _METER.verify_all(rows)
    return {key: MeterReading(from_micros(at), Decimal(value)) for _, key, at, value, _ in rows}


def write(tx: sqlite3.Connection, source: str, readings: Mapping[str, MeterReading]) -> None:
    """Store these in place of what was known of them."""
    stored = read(tx, source) if readings else {}
    tx.executemany(
        _METER.replace,
        (
            _METER.seal(source, key, to_micros(reading.at), plain(reading.value))
            for key, reading in readings.items()
            if stored.get(key) != reading
        ),
    )
