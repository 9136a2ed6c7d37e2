"""How the twins of each budget stand in each cloud, and how the last drill went."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alarms.reconcile import TwinState
from monitor.store.rows import Table, from_micros, from_micros_or_none, to_micros, to_micros_or_none

_NATIVE = Table(
    "native",
    (
        *("budget", "cloud", "place", "state", "detail", "since", "first_seen", "checked_at", "managed"),
        *("drilled_at", "drill_ok", "drill_detail"),
    ),
    key=3,
)
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class NativeRow:
    """The twins of one budget in one account. `place` "": which account is not known.

    `checked_at`: when they were last seen. `managed`: they are mended without being asked, and removed when the budget
    is gone. `drill_ok` None: never drilled.
    """

    budget: str
    cloud: str
    place: str
    state: TwinState
    detail: str
    since: datetime
    first_seen: datetime
    checked_at: datetime | None = None
    managed: bool = False
    drilled_at: datetime | None = None
    drill_ok: bool | None = None
    drill_detail: str = ""

    @property
    def key(self) -> Key:
        """Names it."""
        return (self.budget, self.cloud, self.place)

    def stands(self, state: TwinState, detail: str, now: datetime) -> NativeRow:
        """The same, as it stands now; `since` moves only with the state."""
        since = self.since if state is self.state else now
        return replace(self, state=state, detail=detail, since=since)


def read(connection: sqlite3.Connection) -> list[NativeRow]:
    """All of them, by budget."""
    return [_to_row(_NATIVE.verified(row)) for row in connection.execute(_NATIVE.select + "ORDER BY 1, 2, 3")]


def put(tx: sqlite3.Connection, rows: Iterable[NativeRow]) -> None:
    """Store these in place of those with the same key."""
    for row in rows:
        columns = (
            *row.key,
            row.state.value,
            row.detail,
            to_micros(row.since),
            to_micros(row.first_seen),
            to_micros_or_none(row.checked_at),
            int(row.managed),
            to_micros_or_none(row.drilled_at),
            None if row.drill_ok is None else int(row.drill_ok),
            row.drill_detail,
        )
        tx.execute(_NATIVE.replace, _NATIVE.seal(*columns))


def forget(tx: sqlite3.Connection, keys: Iterable[Key]) -> None:
    """Remove these."""
    for key in keys:
        tx.execute("DELETE FROM native WHERE budget = ? AND cloud = ? AND place = ?", key)


def _to_row(row: tuple[Any, ...]) -> NativeRow:
    budget, cloud, place, state, detail, since, first_seen, checked_at, managed, drilled_at, drill_ok, said = row
    return NativeRow(
        budget=budget,
        cloud=cloud,
        place=place,
        state=TwinState(state),
        detail=detail,
        since=from_micros(since),
        first_seen=from_micros(first_seen),
        checked_at=from_micros_or_none(checked_at),
        managed=bool(managed),
        drilled_at=from_micros_or_none(drilled_at),
        drill_ok=None if drill_ok is None else bool(drill_ok),
        drill_detail=said,
    )
