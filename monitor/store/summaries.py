"""Which digests have been made: a mark for each receiver that has a schedule."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from monitor.store.rows import Table, from_micros, to_micros

_SUMMARY = Table("summary", ("receiver", "schedule", "slot", "made_at"))


@dataclass(frozen=True, slots=True)
class Mark:
    """`slot`: the last one that is dealt with. `made_at`: when the last digest was made, or the schedule first seen."""

    receiver: str
    schedule: str
    slot: datetime
    made_at: datetime


def load(connection: sqlite3.Connection) -> dict[str, Mark]:
    """The mark of each receiver, by its name."""
    marks = (_to_mark(_SUMMARY.verified(row)) for row in connection.execute(_SUMMARY.select))
    return {mark.receiver: mark for mark in marks}


def put(tx: sqlite3.Connection, mark: Mark) -> None:
    """Store a mark in place of the last one of its receiver."""
    columns = (mark.receiver, mark.schedule, to_micros(mark.slot), to_micros(mark.made_at))
    tx.execute(_SUMMARY.replace, _SUMMARY.seal(*columns))


def keep(tx: sqlite3.Connection, receivers: Collection[str]) -> None:
    """Forget the marks of all others."""
    for receiver in load(tx).keys() - set(receivers):
        tx.execute("DELETE FROM summary WHERE receiver = ?", (receiver,))


def _to_mark(row: tuple[str, str, int, int]) -> Mark:
    receiver, schedule, slot, made_at = row
    return Mark(receiver, schedule, from_micros(slot), from_micros(made_at))
