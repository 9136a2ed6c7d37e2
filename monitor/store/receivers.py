"""How each receiver does: a row of the store for each that was ever owed a message."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.store.rows import Table, from_micros, from_micros_or_none, to_micros

_RECEIVER = Table("receiver", ("name", "state", "since", "error", "last_delivery"))
# As long as `status` has patience with a message that is owed.
_TOO_LONG = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """How a receiver does.

    `state` is OK or DEAD, `since` when that began; `oldest_due`: when the oldest message that it has not got was made.
    """

    name: str
    state: str
    since: datetime
    error: str | None
    last_delivery: datetime | None
    undelivered: int
    oldest_due: datetime | None


def nobody_hears(configured: Iterable[str], states: Iterable[ReceiverState], now: datetime) -> bool:
    """Whether every receiver is dead or has waited for a message too long: what happens now reaches nobody."""
    troubled = {
        state.name
        for state in states
        if state.state == "DEAD" or (state.oldest_due is not None and now - state.oldest_due > _TOO_LONG)
    }
    names = set(configured)
    return bool(names) and names <= troubled


@dataclass(frozen=True, slots=True)
class Receiver:
    """A row of the receivers, in the order of its columns."""

    name: str
    state: str
    since: int
    error: str | None
    last_delivery: int | None


def receivers(connection: sqlite3.Connection) -> list[Receiver]:
    """Every row, by name."""
    rows = connection.execute(_RECEIVER.select + "ORDER BY name")
    return [Receiver(*_RECEIVER.verified(row)) for row in rows]


def receiver(tx: sqlite3.Connection, name: str, now: datetime) -> Receiver:
    """The row of a receiver; a new one is OK since now."""
    row = tx.execute(_RECEIVER.select + "WHERE name = ?", (name,)).fetchone()
    return Receiver(name, "OK", to_micros(now), None, None) if row is None else Receiver(*_RECEIVER.verified(row))


def write(tx: sqlite3.Connection, row: Receiver) -> None:
    """Store a row in place of the last one."""
    columns = (row.name, row.state, row.since, row.error, row.last_delivery)
    tx.execute(_RECEIVER.replace, _RECEIVER.seal(*columns))


def state(receiver: Receiver, owed: list[int]) -> ReceiverState:
    """How it does, with when each message that it is owed was made."""
    return ReceiverState(
        name=receiver.name,
        state=receiver.state,
        since=from_micros(receiver.since),
        error=receiver.error,
        last_delivery=from_micros_or_none(receiver.last_delivery),
        undelivered=len(owed),
        oldest_due=from_micros_or_none(min(owed, default=None)),
    )
