"""The rows of the outbox: a message for one receiver each, and how one takes the place of another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from alarms.coalesce import as_made, merged, unprepared
from alarms.model import Delivery, DeliveryState, Kind, Notification
from monitor.store import receivers
from monitor.store.payload import from_payload, to_payload
from monitor.store.rows import Table, Value, from_micros, to_micros

_OUTBOX = Table(
    "outbox",
    (
        *("seq", "id", "receiver", "kind", "state", "created_at", "next_attempt_at", "attempts"),
        *("possible_repeat", "instead_of", "sent_at", "remote_id", "refused", "error", "payload"),
        *("alarm", "owed_since", "digest"),
    ),
    key=3,
)
# Its receiver knows by it, or will, that a limit is exceeded.
ALARMING = "kind IN ('FIRING', 'REPEAT') AND state NOT IN ('DEAD', 'REPLACED')"
_FOLLOWING = (Kind.REPEAT, Kind.RESOLVED)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the outbox, in the order of its columns. `kind`: as it was made, whatever its receiver is told."""

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
    alarm: str
    owed_since: int | None
    digest: str

    @property
    def since(self) -> int:
        """Since when the receiver waits for word of this alarm."""
        return self.created_at if self.owed_since is None else self.owed_since

    @property
    def stay(self) -> str:
        """`episode/level`."""
        return self.id.rpartition("/")[0]

    @property
    def sequence(self) -> int:
        """Its number among the messages about this stay."""
        return int(self.id.rpartition("/")[2])

    def columns(self) -> tuple[Value, ...]:
        """The values as they are stored."""
        return (
            *(self.seq, self.id, self.receiver, self.kind, self.state.value, self.created_at, self.next_attempt_at),
            *(self.attempts, int(self.possible_repeat), self.instead_of, self.sent_at, self.remote_id, self.refused),
            *(self.error, self.payload, self.alarm, self.owed_since, self.digest),
        )

    def notification(self) -> Notification:
        """The message, as this receiver is told it."""
        return Notification(
            id=self.id,
            receiver=self.receiver,
            created_at=from_micros(self.created_at),
            facts=from_payload(self.payload),
            possible_repeat=self.possible_repeat,
            instead_of=self.instead_of,
        )

    def delivery(self) -> Delivery:
        """The message and how far it is."""
        return Delivery(
            self.notification(), self.state, self.attempts, from_micros(self.next_attempt_at), digest=self.digest
        )


def select(connection: sqlite3.Connection, condition: str, *values: Value) -> list[Row]:
    """The rows that fit a condition, each verified."""
    return [_to_row(_OUTBOX.verified(row)) for row in connection.execute(_OUTBOX.select + condition, values)]


def of_stay(connection: sqlite3.Connection, stay: str, condition: str = "", *values: Value) -> list[Row]:
    """The messages about one stay above a limit (`episode/level`) that fit a condition as well."""
    # "0" follows "/": the range holds every sequence number of this level and nothing else.
    return select(connection, f"WHERE id >= ? AND id < ? {condition}", f"{stay}/", f"{stay}0", *values)


def newest_of_stay(connection: sqlite3.Connection, stay: str, condition: str = "") -> Row | None:
    """The one with the highest sequence number, to whomever: clocks may have gone back meanwhile."""
    rows = of_stay(connection, stay, f"{condition} ORDER BY length(id) DESC, id DESC LIMIT 1")
    return rows[0] if rows else None


def stored(tx: sqlite3.Connection, delivery: Delivery) -> list[Row]:
    """The rows of a delivery that are there; of one that began before the store was mended some may be gone."""
    keys = ((part.notification.id, part.notification.receiver) for part in delivery.members)
    return [row for key in keys for row in select(tx, "WHERE id = ? AND receiver = ?", *key)]


def write(tx: sqlite3.Connection, row: Row) -> None:
    """Store a row in place of the last one."""
    tx.execute(_OUTBOX.replace, _OUTBOX.seal(*row.columns()))


def owe(tx: sqlite3.Connection, notification: Notification) -> None:
    """Owe a message, and what follows from that: see `alarms.coalesce` and `alarms.ports.Outbox.add`."""
    receiver = notification.receiver
    if _is_there(tx, notification.id, receiver):
        return
    kind = _kind(tx, notification)
    made = replace(notification, facts=as_made(notification.facts, kind))
    said = unprepared(made) if kind in _FOLLOWING and not _knows(tx, made) else made
    following = newest_of_stay(tx, made.stay, "AND kind IN ('REPEAT', 'RESOLVED')")
    if following is None or following.sequence <= made.sequence:
        _insert(tx, said, kind)
        if kind is Kind.REPEAT:
            _bring_up_to_date(tx, made)
    elif _is_there(tx, following.id, receiver):
        _insert(tx, said, kind, state=DeliveryState.REPLACED)
    else:
        _insert(tx, said, kind)
        _insert(tx, _for_another(following, receiver, made.instead_of), Kind(following.kind))
    settle(tx, receiver, made.alarm)


def settle(tx: sqlite3.Connection, receiver: str, alarm: str) -> None:
    """Let newer messages to a receiver about one alarm take the place of unsent older ones, where they may."""
    condition = "WHERE receiver = ? AND alarm = ? AND state IN ('DUE', 'SENDING') AND state = 'DUE'"
    rows = select(tx, condition, receiver, alarm)
    older: Row | None = None
    for row in _in_order(rows):
        older = row if older is None else _replaced(tx, older, row)


def settle_all(tx: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """The same for each alarm and receiver of these rows."""
    for receiver, alarm in sorted({(row.receiver, row.alarm) for row in rows}):
        settle(tx, receiver, alarm)


def hand_on(tx: sqlite3.Connection, refused: Row) -> None:
    """A message that was refused for good has not been heard: the next one about the same stay must not assume so."""
    for row in _in_order(of_stay(tx, refused.stay, "AND receiver = ? AND state = 'DUE'", refused.receiver)):
        later = row.sequence > refused.sequence
        if later and (message := merged(refused.notification(), row.notification())) is not None:
            return write(tx, _saying(row, message, since=refused.since))
    return None


def last_word(tx: sqlite3.Connection, row: Row) -> Row:
    """The message that says what this one, which was replaced, would have said; this one as DEAD if none does."""
    condition = "WHERE receiver = ? AND alarm = ? AND state <> 'REPLACED' AND created_at >= ? ORDER BY created_at, seq"
    after = select(tx, condition, row.receiver, row.alarm, row.created_at)
    return after[0] if after else replace(row, state=DeliveryState.DEAD)


def _replaced(tx: sqlite3.Connection, older: Row, newer: Row) -> Row:
    message = merged(older.notification(), newer.notification())
    if message is None:
        return newer
    newer = _saying(newer, message, since=older.since)
    # It stays as impatient, and as patient with a receiver that has failed, as the one before.
    if older.next_attempt_at != older.created_at:
        newer = replace(newer, attempts=older.attempts, next_attempt_at=older.next_attempt_at)
    write(tx, replace(older, state=DeliveryState.REPLACED))
    write(tx, newer)
    return newer


def _saying(row: Row, message: Notification, *, since: int) -> Row:
    return replace(
        row,
        payload=to_payload(message.facts),
        possible_repeat=message.possible_repeat,
        instead_of=message.instead_of,
        owed_since=min(since, row.created_at),  # the clock may have been ahead then
    )


def _is_there(tx: sqlite3.Connection, identity: str, receiver: str) -> bool:
    return bool(select(tx, "WHERE id = ? AND receiver = ?", identity, receiver))


def _knows(tx: sqlite3.Connection, notification: Notification) -> bool:
    """Whether its receiver has heard, or will hear before, that the limit is exceeded."""
    condition = f"AND receiver = ? AND {ALARMING} LIMIT 1"
    return bool(of_stay(tx, notification.stay, condition, notification.receiver))


def _kind(tx: sqlite3.Connection, notification: Notification) -> Kind:
    """What it was made as; a copy for a stand-in may be of what one receiver alone was told."""
    rows = select(tx, "WHERE id = ? LIMIT 1", notification.id)
    return Kind(rows[0].kind) if rows else notification.facts.kind


def _bring_up_to_date(tx: sqlite3.Connection, repeat: Notification) -> None:
    """Others who wait for an older message about this stay, as stand-ins do, get the newer one in its place."""
    for row in of_stay(tx, repeat.stay, f"AND receiver <> ? AND state = 'DUE' AND {ALARMING}", repeat.receiver):
        if row.sequence < repeat.sequence and not _is_there(tx, repeat.id, row.receiver):
            _insert(tx, replace(repeat, receiver=row.receiver, instead_of=row.instead_of), Kind.REPEAT)
            settle(tx, row.receiver, row.alarm)


def _for_another(row: Row, receiver: str, instead_of: str) -> Notification:
    message = row.notification()
    facts = as_made(message.facts, Kind(row.kind))
    return replace(message, receiver=receiver, facts=facts, instead_of=instead_of, possible_repeat=False)


def _insert(
    tx: sqlite3.Connection, notification: Notification, kind: Kind, *, state: DeliveryState = DeliveryState.DUE
) -> None:
    (last,) = tx.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()
    created_at = to_micros(notification.created_at)
    row = Row(
        seq=last + 1,
        id=notification.id,
        receiver=notification.receiver,
        kind=kind.value,
        state=state,
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
        alarm=notification.alarm,
        owed_since=None,
        digest="",
    )
    write(tx, row)
    receivers.write(tx, receivers.receiver(tx, notification.receiver, notification.created_at))


def _in_order(rows: list[Row]) -> list[Row]:
    """As they were made. Within a stay by number: a stand-in is told older messages later, and clocks go back."""
    began: dict[str, int] = {}
    for row in rows:
        began[row.stay] = min(began.get(row.stay, row.created_at), row.created_at)
    return sorted(rows, key=lambda row: (began[row.stay], row.stay, row.sequence))


def _to_row(columns: tuple[Any, ...]) -> Row:
    seq, name, receiver, kind, state, created_at, next_attempt_at, attempts, possible_repeat, *rest = columns
    return Row(
        *(seq, name, receiver, kind, DeliveryState(state), created_at, next_attempt_at, attempts),
        *(bool(possible_repeat), *rest),
    )
