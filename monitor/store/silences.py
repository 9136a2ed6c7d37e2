"""Silences and acks, as long as they last or their end has not been told."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any

from alarms.silence import Silence, SilenceKind
from monitor.store.rows import Table, from_micros, from_micros_or_none, to_micros, to_micros_or_none

_SILENCE = Table("silence", ("budget", "kind", "episode", "since", "until", "by", "why"), key=3)


def load(connection: sqlite3.Connection) -> list[Silence]:
    """All of them, by budget."""
    return [_to_silence(_SILENCE.verified(row)) for row in connection.execute(_SILENCE.select + "ORDER BY 1, 2, 3")]


def put(tx: sqlite3.Connection, silence: Silence) -> None:
    """Store one in place of what was asked for this budget (and episode) before."""
    columns = (
        *_key(silence),
        to_micros(silence.since),
        to_micros_or_none(silence.until),
        silence.by,
        silence.why,
    )
    tx.execute(_SILENCE.replace, _SILENCE.seal(*columns))


def keep(tx: sqlite3.Connection, kept: Collection[Silence]) -> None:
    """Forget all others."""
    wanted = {_key(silence) for silence in kept}
    for silence in load(tx):
        if _key(silence) not in wanted:
            tx.execute("DELETE FROM silence WHERE budget = ? AND kind = ? AND episode = ?", _key(silence))


def _key(silence: Silence) -> tuple[str, str, str]:
    return (silence.budget, silence.kind.value, silence.episode)


def _to_silence(row: tuple[Any, ...]) -> Silence:
    budget, kind, episode, since, until, by, why = row
    return Silence(
        budget=budget,
        kind=SilenceKind(kind),
        since=from_micros(since),
        until=from_micros_or_none(until),
        by=by,
        why=why,
        episode=episode,
    )
