"""A damaged store must not keep the monitor from starting: it is set aside, and a new one is filled by the sources."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

from monitor.errors import StoreError
from monitor.store import lock
from monitor.store.checksum import checksum
from monitor.store.database import LEDGER, Store, open_store
from monitor.store.rows import CorruptRowError, CorruptStoreError, to_micros

# Charges older than two months are verified when they are read; the rest decides what is said today.
_CHARGES_LOOKED_AT = timedelta(days=62)
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"


def open_mended(directory: Path, now: datetime) -> tuple[Store, Path | None]:
    """Like `open_store`, after a look at every row that counts now.

    A damaged store is renamed, and its new path comes with an empty one; nothing is ever deleted. What it still owed
    is not carried over: a budget that is over its limit is told of again, as already over.
    """
    try:
        store = open_store(directory)
    except StoreError as error:
        if not _is_damage(error):
            raise
        return _begin_anew(directory, now)
    try:
        with store.read() as connection:
            _verify(connection, now)
    except StoreError as error:
        store.close()
        if not _is_damage(error):
            raise
        return _begin_anew(directory, now)
    return store, None


def _begin_anew(directory: Path, now: datetime) -> tuple[Store, Path]:
    aside = directory / f"{LEDGER}.corrupt-{now:%Y%m%dT%H%M%S}Z"
    held = lock.acquire(directory)
    try:
        for suffix in ("-journal", "-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                (directory / f"{LEDGER}{suffix}").rename(f"{aside}{suffix}")
    except OSError as error:
        raise StoreError(f"{directory / LEDGER} is damaged and cannot be moved away: {error.strerror}") from error
    finally:
        os.close(held)
    return open_store(directory), aside


def _is_damage(error: StoreError) -> bool:
    """Also when one of our own statements fails: then the tables are not those that were made."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return isinstance(error, CorruptStoreError) or code == sqlite3.SQLITE_ERROR


def _verify(connection: sqlite3.Connection, now: datetime) -> None:
    # Not quick_check: that does not hold the indexes against their tables.
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise CorruptStoreError(f"the store is damaged: {found}")
    since = to_micros(now - _CHARGES_LOOKED_AT)
    for (table,) in connection.execute(_TABLES).fetchall():
        condition = f"start_at >= {since}" if table == "charge" else "1"
        # Names come from the store's own schema, which this program made.
        rows = connection.execute(f'SELECT * FROM "{table}" WHERE {condition}')  # noqa: S608
        for row in rows:
            if checksum(table, *row[:-1]) != row[-1]:
                raise CorruptRowError(table, str(row[0]))
