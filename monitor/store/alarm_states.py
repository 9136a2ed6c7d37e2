"""Where every alarm stands, and every change of it for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from alarms.model import Alarm, AlarmKey, AlarmStatus, DataStatus, Reason, Severity, Transition
from alarms.money import plain
from monitor.store.rows import (
    Table,
    Value,
    from_micros,
    from_micros_or_none,
    to_micros,
    to_micros_or_none,
)

_ALARM = Table(
    "alarm",
    (
        *("subject", "period_start", "on", "at", "severity", "status", "data", "since", "episode", "sequence"),
        *("first_detected", "last_told", "told_spend", "period_end", "calm_since"),
    ),
    key=5,
)
_TRANSITION = Table(
    "transition",
    (
        *("id", "subject", "period_start", "on", "at", "severity", "from_status", "to_status", "reason"),
        *("happened_at", "episode"),
    ),
)
# The microsecond before 1970: no period starts there.
_NO_PERIOD = -1
_OPEN = "status <> 'CLOSED'"


def load(connection: sqlite3.Connection, subject: str, period_start: datetime | None) -> dict[AlarmKey, Alarm]:
    """The alarms of one budget in one period; of a fault of the daemon itself with period_start None."""
    condition = "WHERE subject = ? AND period_start = ?"
    return _alarms(connection, condition, subject, _period(period_start))


def load_open(connection: sqlite3.Connection) -> dict[AlarmKey, Alarm]:
    """Every alarm that is not CLOSED, of whatever subject and period: what is still being evaluated."""
    return _alarms(connection, f"WHERE {_OPEN}")


def subjects_read(connection: sqlite3.Connection) -> frozenset[str]:
    """Every budget that ever had a reading, removed ones included: what is over there later was seen to cross."""
    query = "SELECT DISTINCT subject FROM alarm WHERE data = 'OK' OR episode <> ''"
    return frozenset(name for (name,) in connection.execute(query))


def newest_periods(connection: sqlite3.Connection) -> dict[str, datetime]:
    """When the newest period began in which each budget was judged; runs, whose alarms bear no start, left out."""
    query = "SELECT subject, max(period_start) FROM alarm WHERE period_start > 0 GROUP BY subject"
    return {subject: from_micros(start) for subject, start in connection.execute(query)}


def fired_since(connection: sqlite3.Connection, since: datetime) -> list[Transition]:
    """The alarms of budgets that began to fire after then, oldest first."""
    condition = "WHERE happened_at > ? AND to_status = 'FIRING' AND period_start >= 0 ORDER BY id"
    rows = connection.execute(_TRANSITION.select + condition, (to_micros(since),))
    return [_to_transition(_TRANSITION.verified(row)) for row in rows]


def untell(tx: sqlite3.Connection, messages: Collection[tuple[str, str]]) -> None:
    """Alarms whose FIRING was taken back, each as (episode, level), count as not told."""
    for alarm in load_open(tx).values():
        if (alarm.episode, alarm.key.level) in messages:
            save(tx, [replace(alarm, last_told=None)])


def save(tx: sqlite3.Connection, alarms: Iterable[Alarm], transitions: Iterable[Transition] = ()) -> None:
    """Store these alarms in place of what was known of them, and add the transitions."""
    tx.executemany(_ALARM.replace, (_ALARM.seal(*_alarm_columns(alarm)) for alarm in alarms))
    (last,) = tx.execute("SELECT coalesce(max(id), 0) FROM transition").fetchone()
    for number, transition in enumerate(transitions, start=last + 1):
        tx.execute(_TRANSITION.insert, _TRANSITION.seal(number, *_transition_columns(transition)))


def forget_the_future(tx: sqlite3.Connection, now: datetime, latest: datetime) -> None:
    """Undo what a clock that was ahead did: periods that have not begun go, and what was told later was told now.

    One that fires there stays: somebody has heard of it, and is owed its end.
    """
    condition = "period_start > ? AND status <> 'FIRING'"
    tx.execute(f"DELETE FROM alarm WHERE {condition}", (to_micros(latest),))  # noqa: S608 - a constant of ours
    told = _alarms(tx, f"WHERE {_OPEN} AND last_told > ?", to_micros(latest))
    save(tx, (replace(alarm, last_told=now) for alarm in told.values()))


def _alarms(connection: sqlite3.Connection, condition: str, *values: Value) -> dict[AlarmKey, Alarm]:
    alarms = (_to_alarm(_ALARM.verified(row)) for row in connection.execute(_ALARM.select + condition, values))
    return {alarm.key: alarm for alarm in alarms}


def _period(start: datetime | None) -> int:
    return _NO_PERIOD if start is None else to_micros(start)


def _key_columns(key: AlarmKey) -> tuple[Value, ...]:
    return (key.subject, _period(key.period_start), key.on, key.at, key.severity.value)


def _alarm_columns(alarm: Alarm) -> tuple[Value, ...]:
    return (
        *_key_columns(alarm.key),
        alarm.status.value,
        alarm.data.value,
        to_micros_or_none(alarm.since),
        alarm.episode,
        alarm.sequence,
        to_micros_or_none(alarm.first_detected),
        to_micros_or_none(alarm.last_told),
        None if alarm.told_spend is None else plain(alarm.told_spend),
        to_micros_or_none(alarm.period_end),
        to_micros_or_none(alarm.calm_since),
    )


def _transition_columns(transition: Transition) -> tuple[Value, ...]:
    return (
        *_key_columns(transition.key),
        transition.from_status.value,
        transition.to_status.value,
        transition.reason.value,
        to_micros(transition.at),
        transition.episode,
    )


def _to_transition(row: tuple[Any, ...]) -> Transition:
    _, subject, period_start, on, at, severity, from_status, to_status, reason, happened_at, episode = row
    return Transition(
        key=AlarmKey(subject, on, at, Severity(severity), _period_start(period_start)),
        from_status=AlarmStatus(from_status),
        to_status=AlarmStatus(to_status),
        reason=Reason(reason),
        at=from_micros(happened_at),
        episode=episode,
    )


def _period_start(micros: int) -> datetime | None:
    return None if micros == _NO_PERIOD else from_micros(micros)


def _to_alarm(row: tuple[Any, ...]) -> Alarm:
    subject, period_start, on, at, severity, status, data, since, episode, sequence, *rest = row
    first_detected, last_told, told_spend, period_end, calm_since = rest
    return Alarm(
        key=AlarmKey(subject, on, at, Severity(severity), _period_start(period_start)),
        status=AlarmStatus(status),
        data=DataStatus(data),
        since=from_micros_or_none(since),
        episode=episode,
        sequence=sequence,
        first_detected=from_micros_or_none(first_detected),
        last_told=from_micros_or_none(last_told),
        told_spend=None if told_spend is None else Decimal(told_spend),
        period_end=from_micros_or_none(period_end),
        calm_since=from_micros_or_none(calm_since),
    )
