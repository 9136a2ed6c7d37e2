"""What the daemon knows about itself: the facts that `status` shows, the clocks of the sources, the last turn."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from alarms.money import EXACT, plain
from monitor.errors import StoreError
from monitor.model import ApiUse, Batch
from monitor.store import meters
from monitor.store.rows import Table, from_micros, from_micros_or_none, to_micros, to_micros_or_none

_FACTS = Table("facts", ("id", "document"))
_TURN = Table("turn", ("id", "at"))
_CLOCK = Table(
    "source_clock",
    (
        *("name", "first_attempt", "last_attempt", "last_poll", "data_as_of", "failures", "next_attempt_at"),
        *("access", "missing", "error", "filled_since", "unreachable", "kept_since", "kept_until", "type"),
    ),
)
_API_USE = Table("api_use", ("source", "month", "calls", "cost_usd"), key=2)


@dataclass(frozen=True, slots=True)
class SourceClock:
    """When a source was asked, when it last answered completely (`last_poll`), and how it failed since.

    `failures`: in a row. `filled_since`: how far back the ledger is filled from it. `access` False: it refused us.
    `unreachable`: failures in a row, up to the last attempt, in which nobody could be reached at all.
    `kept_since`, `kept_until`: between them all is there from a backup, and is not filled in again.
    `type`: of the source that was asked last, None if it never was.
    """

    name: str
    first_attempt: datetime | None = None
    last_attempt: datetime | None = None
    last_poll: datetime | None = None
    data_as_of: datetime | None = None
    failures: int = 0
    next_attempt_at: datetime | None = None
    access: bool = True
    missing: tuple[str, ...] = ()
    error: str | None = None
    filled_since: datetime | None = None
    unreachable: int = 0
    kept_since: datetime | None = None
    kept_until: datetime | None = None
    type: str | None = None

    def is_of(self, type_: str) -> bool:
        """Whether the source that had this name was of this type, as far as is known."""
        return self.type in (None, type_)

    @property
    def answers_nothing(self) -> bool:
        """Whether its last answer, no failure, held no data for us: that is no poll, for it confirms nothing."""
        answered = self.last_attempt is not None and self.failures == 0
        return answered and (self.last_poll is None or self.last_poll != self.last_attempt)

    def lacks(self, since: datetime, until: datetime) -> bool:
        """Whether this stretch is not among what a backup has brought."""
        if self.kept_since is None or self.kept_until is None:
            return True
        return since < self.kept_since or until > self.kept_until

    def filled(self, since: datetime) -> SourceClock:
        """The ledger is filled back to there; what a backup has brought before that follows on."""
        since = min(since, self.filled_since or since)
        if self.kept_since is None or self.kept_until is None or since > self.kept_until:
            return replace(self, filled_since=since)
        return replace(self, filled_since=min(since, self.kept_since), kept_since=None, kept_until=None)


def write_facts(tx: sqlite3.Connection, document: str) -> None:
    """Store the facts document (JSON text) in place of the last one."""
    tx.execute(_FACTS.replace, _FACTS.seal(1, document))


def read_facts(connection: sqlite3.Connection) -> str | None:
    """The facts document, None before the first turn."""
    row = connection.execute(_FACTS.select).fetchone()
    return None if row is None else str(_FACTS.verified(row)[1])


def write_turn(tx: sqlite3.Connection, at: datetime) -> None:
    """A turn as of this instant has finished."""
    tx.execute(_TURN.replace, _TURN.seal(1, to_micros(at)))


def last_turn(connection: sqlite3.Connection) -> datetime | None:
    """The instant of the last finished turn, None before the first."""
    row = connection.execute(_TURN.select).fetchone()
    return None if row is None else from_micros(_TURN.verified(row)[1])


def write_clock(tx: sqlite3.Connection, clock: SourceClock) -> None:
    """Store the clock of a source in place of the last one."""
    columns = (
        clock.name,
        to_micros_or_none(clock.first_attempt),
        to_micros_or_none(clock.last_attempt),
        to_micros_or_none(clock.last_poll),
        to_micros_or_none(clock.data_as_of),
        clock.failures,
        to_micros_or_none(clock.next_attempt_at),
        int(clock.access),
        json.dumps(clock.missing),
        clock.error,
        to_micros_or_none(clock.filled_since),
        clock.unreachable,
        to_micros_or_none(clock.kept_since),
        to_micros_or_none(clock.kept_until),
        clock.type,
    )
    tx.execute(_CLOCK.replace, _CLOCK.seal(*columns))


def read_clocks(connection: sqlite3.Connection) -> dict[str, SourceClock]:
    """The clock of every source that was ever asked, by its name."""
    clocks = (_to_clock(row) for row in connection.execute(_CLOCK.select))
    return {clock.name: clock for clock in clocks}


def read_bills(connection: sqlite3.Connection) -> dict[str, str]:
    """Which bill each source of the last config reads, by its name."""
    text = read_facts(connection)
    sources = [] if text is None else json.loads(text)["sources"]
    return {source["name"]: source.get("bill", source["name"]) for source in sources}


def add_use(tx: sqlite3.Connection, source: str, month: str, use: ApiUse) -> None:
    """Count calls and dollars of a source in a month (`2026-11`)."""
    known = read_use(tx, source, month)
    cost_usd = plain(EXACT.add(known.cost_usd, use.cost_usd))
    tx.execute(_API_USE.replace, _API_USE.seal(source, month, known.calls + use.calls, cost_usd))


def remember(tx: sqlite3.Connection, source: str, month: str, remembered: Batch | None) -> None:
    """Count what reads that failed have cost, and keep what the source remembers of it."""
    if remembered is not None:
        meters.write(tx, source, remembered.meters)
        add_use(tx, source, month, remembered.use)


def read_use(connection: sqlite3.Connection, source: str, month: str) -> ApiUse:
    """What asking a source has cost in a month (`2026-11`) so far."""
    row = connection.execute(_API_USE.select + "WHERE source = ? AND month = ?", (source, month)).fetchone()
    if row is None:
        return ApiUse()
    _, _, calls, cost_usd = _API_USE.verified(row)
    return ApiUse(calls, Decimal(cost_usd))


def publish(directory: Path, document: str) -> None:
    """Write `status.json`, whole or not at all, readable by everybody. Raises StoreError.

    A symlink in its place is replaced and never followed.
    """
    path = directory / "status.json"
    temporary = directory / f".status.json.{secrets.token_hex(8)}"
    try:
        _write_durably(temporary, document.encode())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; check the disk and the rights of this user"
        ) from error


def _write_durably(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(file, "wb") as stream:
        os.fchmod(file, 0o644)  # whatever the umask is
        stream.write(content)
        stream.flush()
        os.fsync(file)


def _to_clock(row: tuple[object, ...]) -> SourceClock:
    name, first_attempt, last_attempt, last_poll, data_as_of, failures, *rest = _CLOCK.verified(row)
    next_attempt_at, access, missing, error, filled_since, unreachable, kept_since, kept_until, type_ = rest
    return SourceClock(
        name=name,
        first_attempt=from_micros_or_none(first_attempt),
        last_attempt=from_micros_or_none(last_attempt),
        last_poll=from_micros_or_none(last_poll),
        data_as_of=from_micros_or_none(data_as_of),
        failures=failures,
        next_attempt_at=from_micros_or_none(next_attempt_at),
        access=bool(access),
        missing=tuple(json.loads(missing)),
        error=error,
        filled_since=from_micros_or_none(filled_since),
        unreachable=unreachable,
        kept_since=from_micros_or_none(kept_since),
        kept_until=from_micros_or_none(kept_until),
        type=type_,
    )
