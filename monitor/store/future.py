"""What a process wrote whose clock was ahead: it plans and claims what is yet to come, and must make nothing wait."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta

from monitor.store import alarm_states, facts
from monitor.store.database import Store
from monitor.store.facts import SourceClock
from monitor.store.outbox import StoredOutbox

# Clocks that are right differ a little; a day, since a source may date what it publishes to the end of today.
_SLACK = timedelta(minutes=2)
_A_DAY = timedelta(days=1)


def forget(tx: sqlite3.Connection, outbox: StoredOutbox, now: datetime) -> None:
    """Bring what lies in the future back to now: sources are read, messages sent, alarms repeated as usual.

    `outbox`: that of the same store; inside the transaction of this thread it becomes part of it.
    """
    for clock in facts.read_clocks(tx).values():
        mended = _mended(clock, now)
        if mended != clock:
            facts.write_clock(tx, mended)
    outbox.forget_the_future(now, now + _SLACK)
    alarm_states.forget_the_future(tx, now, now + _SLACK)


def forget_in(store: Store, outbox: StoredOutbox, now: datetime) -> None:
    """The same, in a transaction of its own."""
    with store.transaction() as tx:
        forget(tx, outbox, now)


def _mended(clock: SourceClock, now: datetime) -> SourceClock:
    latest = now + _SLACK
    if clock.last_attempt is not None and clock.last_attempt > latest:
        clock = replace(clock, last_attempt=None, next_attempt_at=None)
    if clock.data_as_of is not None and clock.data_as_of > now + _A_DAY:
        clock = replace(clock, data_as_of=None)
    if clock.last_poll is not None and clock.last_poll > latest:
        clock = replace(clock, last_poll=now)
    if clock.first_attempt is not None and clock.first_attempt > latest:
        clock = replace(clock, first_attempt=now)
    return clock
