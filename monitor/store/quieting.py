"""Holds back what is owed already when somebody asks for quiet."""

from __future__ import annotations

import sqlite3

from alarms.model import Kind
from alarms.silence import Silences
from monitor.store import alarm_states
from monitor.store.outbox import StoredOutbox


def hold_back(tx: sqlite3.Connection, outbox: StoredOutbox, present: Silences) -> None:
    """Take back messages that wait for another attempt; alarms whose FIRING is among them count as not told."""
    if not present.lasting:
        return
    withdrawn = outbox.withdraw(present.withhold)
    firing = [message.id.split("/") for message in withdrawn if message.facts.kind is Kind.FIRING]
    alarm_states.untell(tx, {(episode, level) for episode, level, _ in firing})
