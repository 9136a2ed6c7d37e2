"""How the daemon ended: one that was killed, or ended itself because it hung, leaves no mark of a clean stop."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime

from monitor.store.rows import Table, from_micros, from_micros_or_none, to_micros

_DAEMON = Table("daemon", ("id", "stopped", "unclean"))
# More of them say nothing new.
_KEPT = 10


def last_stop(connection: sqlite3.Connection) -> datetime | None:
    """What the wall clock said when the last daemon stopped as it should; None if it did not, or there was none."""
    row = connection.execute(_DAEMON.select).fetchone()
    return None if row is None else from_micros_or_none(_DAEMON.verified(row)[1])


def begun(tx: sqlite3.Connection, now: datetime) -> tuple[datetime, ...]:
    """A daemon begins; when the last unclean ends were noticed, oldest first, that of the one before among them."""
    row = tx.execute(_DAEMON.select).fetchone()
    ends: list[int] = []
    if row is not None:
        _, stopped, unclean = _DAEMON.verified(row)
        ends = [*json.loads(unclean), *([to_micros(now)] if stopped is None else [])][-_KEPT:]
    tx.execute(_DAEMON.replace, _DAEMON.seal(1, None, json.dumps(ends)))
    return tuple(from_micros(end) for end in ends)


def went_on(tx: sqlite3.Connection, now: datetime) -> None:
    """A turn without a daemon: what the clock said when the last one stopped is no longer the newest that is known."""
    row = tx.execute(_DAEMON.select).fetchone()
    if row is not None:
        _, stopped, unclean = _DAEMON.verified(row)
        if stopped is not None:
            tx.execute(_DAEMON.replace, _DAEMON.seal(1, to_micros(now), unclean))


def ended(tx: sqlite3.Connection, wall: datetime) -> None:
    """It stops because it was told to; `wall`: what the wall clock says, right or wrong."""
    row = tx.execute(_DAEMON.select).fetchone()
    unclean = "[]" if row is None else _DAEMON.verified(row)[2]
    tx.execute(_DAEMON.replace, _DAEMON.seal(1, to_micros(wall), unclean))
