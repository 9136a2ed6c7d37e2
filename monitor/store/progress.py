"""How far training runs said that they are: a report every ten minutes at most, so that a chatty one fills no disk."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

from monitor.model import Progress
from monitor.store.rows import Table, from_micros, to_micros

_PROGRESS = Table("progress", ("run", "at", "step", "steps", "by"), key=2)
# Of two reports that are closer to each other only the later one stays.
_APART = timedelta(minutes=10)
# Where data ends is asked for, and data that is older than days is not trusted; the last report of a run stays.
_KEPT = timedelta(days=14)
_REMEMBERED = timedelta(days=400)


def load(connection: sqlite3.Connection) -> dict[str, list[Progress]]:
    """All of them, by run, the oldest first."""
    found: dict[str, list[Progress]] = {}
    for row in connection.execute(_PROGRESS.select + "ORDER BY run, at"):
        run, at, step, steps, by = _PROGRESS.verified(row)
        found.setdefault(run, []).append(Progress(run, from_micros(at), step, steps, by))
    return found


def put(tx: sqlite3.Connection, report: Progress) -> None:
    """Store a report, in place of the one before it where that came just after another."""
    mine = [one.at for one in load(tx).get(report.run, ()) if one.at < report.at]
    if len(mine) > 1 and report.at - mine[-2] < _APART:
        tx.execute("DELETE FROM progress WHERE run = ? AND at = ?", (report.run, to_micros(mine[-1])))
    tx.execute("DELETE FROM progress WHERE run = ? AND at < ?", (report.run, to_micros(report.at - _KEPT)))
    tx.execute("DELETE FROM progress WHERE at < ?", (to_micros(report.at - _REMEMBERED),))
    columns = (report.run, to_micros(report.at), report.step, report.steps, report.by)
    tx.execute(_PROGRESS.replace, _PROGRESS.seal(*columns))
