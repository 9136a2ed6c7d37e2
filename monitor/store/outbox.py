"""The messages that are owed and those that went out; `alarms.ports.Outbox` on the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alarms.model import Delivery, DeliveryState, Facts, Kind, Notification, Receipt
from monitor.store import receivers
from monitor.store.database import Store
from monitor.store.payload import from_payload, to_payload
from monitor.store.rows import Table, Value, from_micros, to_micros

_OUTBOX = Table(
    "outbox",
    (
        *("seq", "id", "receiver", "kind", "state", "created_at", "next_attempt_at", "attempts"),
        *("possible_repeat", "instead_of", "sent_at", "remote_id", "refused", "error", "payload"),
    ),
    key=3,
)
_OWED = "state IN ('DUE', 'SENDING')"
_FORGET = """DELETE FROM outbox WHERE created_at < ?
    AND id NOT IN (SELECT id FROM outbox WHERE state IN ('DUE', 'SENDING'))"""


class StoredOutbox:
    """The outbox in the store. Inside a transaction of the same thread, `add` becomes part of it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recover(self) -> int:
        """At start: deliveries found in SENDING are uncertain; make them DUE, marked as a possible repeat."""
        with self._store.transaction() as tx:
            rows = _rows(tx, f"WHERE state = 'SENDING' AND {_OWED}")
            for row in rows:
                _write(tx, replace(row, state=DeliveryState.DUE, possible_repeat=True))
        return len(rows)

    def oldest_owed(self, receiver: str) -> Delivery | None:
        """The oldest delivery of this receiver that is DUE, whenever its next attempt may be."""
        with self._store.read() as connection:
            rows = _rows(connection, f"WHERE receiver = ? AND {_OWED} AND state = 'DUE' ORDER BY seq LIMIT 1", receiver)
        return rows[0].delivery() if rows else None

    def begin(self, delivery: Delivery, now: datetime) -> Delivery:
        """Mark as SENDING before the first byte goes out; the result has the attempt counted."""
        with self._store.transaction() as tx:
            row = _row(tx, delivery)
            row = replace(row, state=DeliveryState.SENDING, attempts=row.attempts + 1, next_attempt_at=to_micros(now))
            _write(tx, row)
        return row.delivery()

    def sent(self, delivery: Delivery, receipt: Receipt, now: datetime) -> None:
        """The other side has accepted it. Also brings a DEAD receiver back to OK."""
        with self._store.transaction() as tx:
            row = replace(_row(tx, delivery), state=DeliveryState.SENT, sent_at=to_micros(now), error=None)
            _write(tx, replace(row, remote_id=receipt.remote_id, refused=json.dumps(receipt.refused)))
            receiver = receivers.receiver(tx, row.receiver, now)
            since = receiver.since if receiver.state == "OK" else to_micros(now)
            error = f"the last message was refused for {', '.join(receipt.refused)}" if receipt.refused else None
            receivers.write(tx, receivers.Receiver(row.receiver, "OK", since, error, to_micros(now)))

    def later(self, delivery: Delivery, at: datetime, error: str, *, uncertain: bool) -> None:
        """Owed again from `at` on; `uncertain` marks it as a possible repeat."""
        with self._store.transaction() as tx:
            row = _row(tx, delivery)
            if row.state is not DeliveryState.SENT:
                receivers.write(tx, replace(receivers.receiver(tx, row.receiver, at), error=error))
                repeat = row.possible_repeat or uncertain
                row = replace(row, state=DeliveryState.DUE, possible_repeat=repeat, error=error)
                _write(tx, replace(row, next_attempt_at=to_micros(at)))

    def dead(self, delivery: Delivery, error: str) -> None:
        """Refused for good is this message alone; the receiver itself stays as it is."""
        with self._store.transaction() as tx:
            row = _row(tx, delivery)
            if row.state is not DeliveryState.SENT:
                _write(tx, replace(row, state=DeliveryState.DEAD, error=error))

    def receiver_dead(self, receiver: str, error: str, now: datetime, retry_at: datetime) -> None:
        """The receiver refuses everything: it is DEAD, what it is owed is tried again from `retry_at`."""
        with self._store.transaction() as tx:
            for row in _rows(tx, f"WHERE receiver = ? AND {_OWED}", receiver):
                _write(tx, replace(row, state=DeliveryState.DUE, error=error, next_attempt_at=to_micros(retry_at)))
            known = receivers.receiver(tx, receiver, now)
            since = known.since if known.state == "DEAD" else to_micros(now)
            receivers.write(tx, replace(known, state="DEAD", since=since, error=error))

    def unheard(self, before: datetime) -> list[Notification]:
        """Messages created before then that nobody has accepted, each once, for each a receiver that should have."""
        condition = """WHERE state <> 'SENT' AND created_at < ?
            AND NOT EXISTS (SELECT 1 FROM outbox AS heard WHERE heard.id = outbox.id AND heard.state = 'SENT')
            ORDER BY seq"""
        with self._store.read() as connection:
            rows = _rows(connection, condition, to_micros(before))
        return list({row.id: row.delivery().notification for row in reversed(rows)}.values())[::-1]

    def addressed(self, notification_id: str) -> frozenset[str]:
        """Every receiver that a message was meant for so far."""
        with self._store.read() as connection:
            return frozenset(row.receiver for row in _rows(connection, "WHERE id = ?", notification_id))

    def add(self, notifications: Iterable[Notification]) -> None:
        """Owe these too. One that is already there (same id and receiver) changes nothing."""
        with self._store.transaction() as tx:
            for notification in notifications:
                _add(tx, notification)

    def retire(self, configured: Collection[str]) -> None:
        """Receivers that are no longer configured owe nothing and are forgotten; what only they had is unheard then."""
        with self._store.transaction() as tx:
            for row in _rows(tx, f"WHERE {_OWED}"):
                if row.receiver not in configured:
                    _write(tx, replace(row, state=DeliveryState.DEAD, error="this receiver is no longer configured"))
            for receiver in receivers.receivers(tx):
                if receiver.name not in configured:
                    tx.execute("DELETE FROM receiver WHERE name = ?", (receiver.name,))

    def revive(self, now: datetime) -> None:
        """After a start or a new config: whoever was DEAD may have been repaired, and is tried now."""
        with self._store.transaction() as tx:
            dead = {receiver.name for receiver in receivers.receivers(tx) if receiver.state == "DEAD"}
            for row in _rows(tx, f"WHERE {_OWED} AND state = 'DUE'"):
                if row.receiver in dead and row.next_attempt_at > to_micros(now):
                    _write(tx, replace(row, next_attempt_at=to_micros(now)))

    def states(self, ids: Collection[str]) -> list[tuple[str, str, DeliveryState]]:
        """(id, receiver, state) of these messages, in the order in which they were owed."""
        with self._store.read() as connection:
            found = [row for name in set(ids) for row in _rows(connection, "WHERE id = ?", name)]
        return [(row.id, row.receiver, row.state) for row in sorted(found, key=lambda row: row.seq)]

    def receivers(self) -> list[receivers.ReceiverState]:
        """Every receiver that was ever owed a message, by name."""
        with self._store.read() as connection:
            owed = _rows(connection, f"WHERE {_OWED}")
            known = receivers.receivers(connection)
        return [
            receivers.state(receiver, [row.created_at for row in owed if row.receiver == receiver.name])
            for receiver in known
        ]

    def forget(self, before: datetime) -> int:
        """Delete messages created before then that nobody waits for any more; how many rows went."""
        with self._store.transaction() as tx:
            return tx.execute(_FORGET, (to_micros(before),)).rowcount


def told(connection: sqlite3.Connection, episode: str, level: str) -> frozenset[str]:
    """The receivers to which it was said that this level fires in this episode, and which did not refuse it for good.

    Those that owe the message still count: they will say it. Whoever is in here is owed the RESOLVED.
    """
    # "0" follows "/": the range holds every sequence number of this level and nothing else.
    rows = _rows(connection, "WHERE id >= ? AND id < ?", f"{episode}/{level}/", f"{episode}/{level}0")
    return frozenset(
        row.receiver for row in rows if row.kind in (Kind.FIRING, Kind.REPEAT) and row.state is not DeliveryState.DEAD
    )


def last_said(connection: sqlite3.Connection, episode: str, level: str) -> Facts | None:
    """What the newest message about this level of this episode says; None if there never was one."""
    condition = "WHERE id >= ? AND id < ? ORDER BY seq DESC LIMIT 1"
    rows = _rows(connection, condition, f"{episode}/{level}/", f"{episode}/{level}0")
    return rows[0].delivery().notification.facts if rows else None


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the outbox, in the order of its columns."""

    seq: int
    id: str
    receiver: str
    kind: str
    state: DeliveryState
    created_at: int
    next_attempt_at: int
    attempts: int
    possible_repeat: bool
    instead_of: str
    sent_at: int | None
    remote_id: str
    refused: str
    error: str | None
    payload: str

    def columns(self) -> tuple[Value, ...]:
        return (
            *(self.seq, self.id, self.receiver, self.kind, self.state.value, self.created_at, self.next_attempt_at),
            *(self.attempts, int(self.possible_repeat), self.instead_of, self.sent_at, self.remote_id, self.refused),
            *(self.error, self.payload),
        )

    def delivery(self) -> Delivery:
        notification = Notification(
            id=self.id,
            receiver=self.receiver,
            created_at=from_micros(self.created_at),
            facts=from_payload(self.payload),
            possible_repeat=self.possible_repeat,
            instead_of=self.instead_of,
        )
        return Delivery(notification, self.state, self.attempts, from_micros(self.next_attempt_at))


def _rows(connection: sqlite3.Connection, condition: str, *values: Value) -> list[_Row]:
    return [_to_row(_OUTBOX.verified(row)) for row in connection.execute(_OUTBOX.select + condition, values)]


def _to_row(columns: tuple[Any, ...]) -> _Row:
    seq, name, receiver, kind, state, created_at, next_attempt_at, attempts, possible_repeat, *rest = columns
    return _Row(
        *(seq, name, receiver, kind, DeliveryState(state), created_at, next_attempt_at, attempts),
        *(bool(possible_repeat), *rest),
    )


def _row(tx: sqlite3.Connection, delivery: Delivery) -> _Row:
    notification = delivery.notification
    rows = _rows(tx, "WHERE id = ? AND receiver = ?", notification.id, notification.receiver)
    if not rows:
        raise _OUTBOX.corrupt("gone", notification.id, notification.receiver)
    return rows[0]


def _write(tx: sqlite3.Connection, row: _Row) -> None:
    tx.execute(_OUTBOX.replace, _OUTBOX.seal(*row.columns()))


def _add(tx: sqlite3.Connection, notification: Notification) -> None:
    if _rows(tx, "WHERE id = ? AND receiver = ?", notification.id, notification.receiver):
        return
    (last,) = tx.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()
    created_at = to_micros(notification.created_at)
    row = _Row(
        seq=last + 1,
        id=notification.id,
        receiver=notification.receiver,
        kind=notification.facts.kind.value,
        state=DeliveryState.DUE,
        created_at=created_at,
        next_attempt_at=created_at,
        attempts=0,
        possible_repeat=notification.possible_repeat,
        instead_of=notification.instead_of,
        sent_at=None,
        remote_id="",
        refused="[]",
        error=None,
        payload=to_payload(notification.facts),
    )
    _write(tx, row)
    receivers.write(tx, receivers.receiver(tx, notification.receiver, notification.created_at))
