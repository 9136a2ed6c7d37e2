"""The messages that are owed and those that went out; `alarms.ports.Outbox` on the store.

It is bounded. Whatever happens while a receiver is down, it is owed at most one message about each alarm, which says it
all (`alarms.coalesce`). One more if it (maybe) knows of an earlier stay above the limit and waits for its end, and one
more that is under way: so at most 3 x alarms x receivers rows are owed; 1 x, if a receiver was down from the start.
Rows that are sent, refused or replaced say who was told what: they come no faster than alarms change and repeat, and
`forget` deletes them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from alarms.coalesce import as_made
from alarms.model import Delivery, DeliveryState, Facts, Kind, Notification, Receipt
from monitor.store import receivers
from monitor.store.database import Store
from monitor.store.outbox_rows import (
    ALARMING,
    Row,
    hand_on,
    last_word,
    newest_of_stay,
    of_stay,
    owe,
    select,
    settle_all,
    stored,
    write,
)
from monitor.store.rows import to_micros

_OWED = "state IN ('DUE', 'SENDING')"
_FORGET = """DELETE FROM outbox WHERE created_at < ?
    AND id NOT IN (SELECT id FROM outbox WHERE state IN ('DUE', 'SENDING'))"""
# Owed for long to everybody to whom it is owed: whoever is owed it only now may well take it in a moment.
_UNHEARD = """WHERE state IN ('DUE', 'SENDING', 'DEAD') AND coalesce(owed_since, created_at) < ?
    AND NOT EXISTS (SELECT 1 FROM outbox AS other WHERE other.id = outbox.id AND (other.state = 'SENT'
        OR (other.state IN ('DUE', 'SENDING') AND coalesce(other.owed_since, other.created_at) >= ?)))"""
_OPEN = (DeliveryState.DUE, DeliveryState.SENDING)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a message stands. `error`: why it is not there; `digest`: the message that says it together with others."""

    id: str
    receiver: str
    state: DeliveryState
    facts: Facts
    error: str = ""
    digest: str = ""


class StoredOutbox:
    """The outbox in the store. Inside a transaction of the same thread, `add` becomes part of it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recover(self) -> int:
        """At start: deliveries found in SENDING are uncertain; make them DUE, marked as a possible repeat."""
        with self._store.transaction() as tx:
            rows = select(tx, f"WHERE {_OWED} AND state = 'SENDING'")
            for row in rows:
                write(tx, replace(row, state=DeliveryState.DUE, possible_repeat=True))
            settle_all(tx, rows)
        return len(rows)

    def owed(self, receiver: str) -> list[Delivery]:
        """What this receiver is owed that is DUE, whenever its next attempt may be, in the order in which it came."""
        with self._store.read() as connection:
            rows = select(connection, f"WHERE receiver = ? AND {_OWED} AND state = 'DUE' ORDER BY seq", receiver)
        return [row.delivery() for row in rows]

    def begin(self, delivery: Delivery, now: datetime) -> Delivery | None:
        """Mark as SENDING before the first byte goes out; None if some of it is not DUE any more."""
        digest = delivery.notification.id if delivery.parts else ""
        begun = []
        with self._store.transaction() as tx:
            rows = stored(tx, delivery)
            if len(rows) < len(delivery.members) or any(row.state is not DeliveryState.DUE for row in rows):
                return None
            for row in rows:
                row = replace(row, state=DeliveryState.SENDING, digest=digest)  # noqa: PLW2901  # the row as it is now
                row = replace(row, attempts=row.attempts + 1, next_attempt_at=to_micros(now))  # noqa: PLW2901  # the same
                write(tx, row)
                begun.append(row.delivery())
        if not delivery.parts:
            return begun[0]
        attempts = max(part.attempts for part in begun)
        return replace(delivery, state=DeliveryState.SENDING, attempts=attempts, parts=tuple(begun))

    def sent(self, delivery: Delivery, receipt: Receipt, now: datetime) -> None:
        """The other side has accepted it. Also brings a DEAD receiver back to OK."""
        with self._store.transaction() as tx:
            for row in stored(tx, delivery):
                accepted = replace(row, state=DeliveryState.SENT, sent_at=to_micros(now), error=None)
                write(tx, replace(accepted, remote_id=receipt.remote_id, refused=json.dumps(receipt.refused)))
            name = delivery.notification.receiver
            receiver = receivers.receiver(tx, name, now)
            since = receiver.since if receiver.state == "OK" else to_micros(now)
            error = f"the last message was refused for {', '.join(receipt.refused)}" if receipt.refused else None
            receivers.write(tx, receivers.Receiver(name, "OK", since, error, to_micros(now)))

    def later(self, delivery: Delivery, at: datetime, error: str, *, uncertain: bool) -> None:
        """Owed again from `at` on; `uncertain` marks it as a possible repeat."""
        with self._store.transaction() as tx:
            rows = [row for row in stored(tx, delivery) if row.state in _OPEN]
            for row in rows:
                repeat = row.possible_repeat or uncertain
                back = replace(row, state=DeliveryState.DUE, possible_repeat=repeat, error=error)
                # What certainly did not arrive need not come in the same digest again.
                write(tx, replace(back, next_attempt_at=to_micros(at), digest=row.digest if repeat else ""))
            settle_all(tx, rows)
            if rows:
                name = delivery.notification.receiver
                receivers.write(tx, replace(receivers.receiver(tx, name, at), error=error))

    def dead(self, delivery: Delivery, error: str) -> None:
        """Refused for good is this message alone; the receiver itself stays as it is."""
        with self._store.transaction() as tx:
            for row in stored(tx, delivery):
                if row.state in _OPEN:
                    write(tx, replace(row, state=DeliveryState.DEAD, error=error))
                    hand_on(tx, row)

    def receiver_dead(self, receiver: str, error: str, now: datetime, retry_at: datetime) -> None:
        """The receiver refuses everything: it is DEAD, what it is owed is tried again from `retry_at`."""
        with self._store.transaction() as tx:
            rows = select(tx, f"WHERE receiver = ? AND {_OWED}", receiver)
            for row in rows:
                digest = row.digest if row.possible_repeat else ""
                back = replace(row, state=DeliveryState.DUE, error=error, digest=digest)
                write(tx, replace(back, next_attempt_at=to_micros(retry_at)))
            settle_all(tx, rows)
            known = receivers.receiver(tx, receiver, now)
            since = known.since if known.state == "DEAD" else to_micros(now)
            receivers.write(tx, replace(known, state="DEAD", since=since, error=error))

    def unheard(self, before: datetime) -> list[Notification]:
        """Messages owed since before then that nobody has accepted, each once, for each a receiver that should have.

        One that took the place of an unsent one is owed since that one was.
        """
        with self._store.read() as connection:
            rows = select(connection, _UNHEARD, to_micros(before), to_micros(before))
        rows.sort(key=lambda row: row.seq, reverse=True)  # not in SQL, which would then not use the index
        return list({row.id: row.notification() for row in rows}.values())[::-1]

    def addressed(self, notification_id: str) -> frozenset[str]:
        """Every receiver that a message was meant for so far."""
        with self._store.read() as connection:
            return frozenset(row.receiver for row in select(connection, "WHERE id = ?", notification_id))

    def add(self, notifications: Iterable[Notification]) -> None:
        """Owe these too, and what was made about the same stay since. One that is already there changes nothing."""
        with self._store.transaction() as tx:
            for notification in notifications:
                owe(tx, notification)

    def withdraw(self, unwanted: Callable[[Notification], bool]) -> list[Notification]:
        """Take back what nobody has accepted and nobody is to get for now; one that is being sent is let go."""
        with self._store.transaction() as tx:
            waiting = select(tx, "WHERE state <> 'SENT' AND state IN ('DUE', 'DEAD') AND kind IN ('FIRING', 'REPEAT')")
            rows = [row for row in waiting if unwanted(row.notification())]
            for row in rows:
                write(tx, replace(row, state=DeliveryState.REPLACED))
        return [row.notification() for row in rows]

    def retire(self, configured: Collection[str]) -> None:
        """Receivers that are no longer configured owe nothing and are forgotten; what only they had is unheard then."""
        with self._store.transaction() as tx:
            for row in select(tx, f"WHERE {_OWED}"):
                if row.receiver not in configured:
                    write(tx, replace(row, state=DeliveryState.DEAD, error="this receiver is no longer configured"))
            for receiver in receivers.receivers(tx):
                if receiver.name not in configured:
                    tx.execute("DELETE FROM receiver WHERE name = ?", (receiver.name,))

    def revive(self, now: datetime) -> None:
        """After a start or a new config: whoever was DEAD may have been repaired, and is tried now."""
        with self._store.transaction() as tx:
            dead = {receiver.name for receiver in receivers.receivers(tx) if receiver.state == "DEAD"}
            for row in select(tx, f"WHERE {_OWED} AND state = 'DUE'"):
                if row.receiver in dead and row.next_attempt_at > to_micros(now):
                    write(tx, replace(row, next_attempt_at=to_micros(now)))

    def forget_the_future(self, now: datetime, latest: datetime) -> None:
        """What is owed and was made after `latest`, by a clock that was ahead, was made now and may go out now."""
        with self._store.transaction() as tx:
            for row in select(tx, f"WHERE {_OWED} AND created_at > ?", to_micros(latest)):
                since = None if row.owed_since is None else min(row.owed_since, to_micros(now))
                back = replace(row, created_at=to_micros(now), next_attempt_at=to_micros(now), owed_since=since)
                write(tx, back)

    def standings(self, ids: Collection[str]) -> list[Standing]:
        """How these messages stand, in the order in which they were owed.

        A REPLACED one stands as the message does that says it in its place.
        """
        with self._store.read() as connection:
            found = [row for name in set(ids) for row in select(connection, "WHERE id = ?", name)]
            found.sort(key=lambda row: row.seq)
            return [_standing(connection, row) for row in found]

    def receivers(self) -> list[receivers.ReceiverState]:
        """Every receiver that was ever owed a message, by name."""
        with self._store.read() as connection:
            owed = select(connection, f"WHERE {_OWED}")
            known = receivers.receivers(connection)
        return [
            receivers.state(receiver, [row.since for row in owed if row.receiver == receiver.name])
            for receiver in known
        ]

    def forget(self, before: datetime) -> int:
        """Delete messages created before then that nobody waits for any more; how many rows went."""
        with self._store.transaction() as tx:
            return tx.execute(_FORGET, (to_micros(before),)).rowcount


def suspect(tx: sqlite3.Connection) -> None:
    """The store is an older state of itself: what was owed then may have been sent since."""
    rows = select(tx, f"WHERE {_OWED}")
    for row in rows:
        write(tx, replace(row, state=DeliveryState.DUE, possible_repeat=True))
    settle_all(tx, [row for row in rows if row.state is DeliveryState.SENDING])


def told(connection: sqlite3.Connection, episode: str, level: str) -> frozenset[str]:
    """The receivers to which it was said that this level fires in this episode, and which did not refuse it for good.

    Those that owe the message still count: they will say it. Whoever is in here is owed the RESOLVED.
    """
    rows = of_stay(connection, f"{episode}/{level}", f"AND {ALARMING}")
    return frozenset(row.receiver for row in rows)


def last_said(connection: sqlite3.Connection, episode: str, level: str) -> Facts | None:
    """What the newest message about this level of this episode says; None if there never was one."""
    row = newest_of_stay(connection, f"{episode}/{level}")
    return None if row is None else as_made(row.notification().facts, Kind(row.kind))


def _standing(connection: sqlite3.Connection, row: Row) -> Standing:
    shown = last_word(connection, row) if row.state is DeliveryState.REPLACED else row
    return Standing(row.id, row.receiver, shown.state, row.notification().facts, shown.error or "", shown.digest)
