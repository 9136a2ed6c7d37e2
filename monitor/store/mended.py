"""The note that a store is not what it was: a backup, an empty one, or an older state of itself.

As long as it is there, people are told of it, what is over a limit counts as already over, and messages are marked as
possible repeats. It goes with the first turn in which every source was read.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.clock import to_text
from monitor.period import month_of
from monitor.store import facts
from monitor.store.facts import SourceClock
from monitor.store.outbox import suspect
from monitor.store.rows import Table, from_micros, from_micros_or_none, to_micros, to_micros_or_none

_MENDED = Table("mended", ("id", "at", "what", "aside", "state_of"))


class What(StrEnum):
    """What was found."""

    DAMAGED = "damaged"
    MISSING = "missing"
    WENT_BACK = "went back"


@dataclass(frozen=True, slots=True)
class Mended:
    """`aside`: the name that the damaged file has now. `state_of`: as of when the store is; None: it was begun anew."""

    at: datetime
    what: What
    aside: str = ""
    state_of: datetime | None = None

    @property
    def title(self) -> str:
        """One line for people."""
        found = {
            What.DAMAGED: "The store was damaged",
            What.MISSING: "The store was gone",
            What.WENT_BACK: "The store has lost its newest part",
        }[self.what]
        if self.state_of is None:
            return f"{found}; a new one was begun"
        if self.what is What.WENT_BACK:
            return f"{found}; it is that of {to_text(self.state_of)} again"
        return f"{found}; restored from the backup of {to_text(self.state_of)}"

    @property
    def detail(self) -> str:
        """What that means."""
        kept = f" The old one is kept as {self.aside}." if self.aside else ""
        if self.state_of is None:
            return f"Charges are read anew from the sources; what is already over its limit is told again.{kept}"
        return (
            "This month's charges and those that may have changed since are read anew from the sources; "
            f"what was told after that time may be told once more.{kept}"
        )


def note(tx: sqlite3.Connection, mended: Mended) -> None:
    """Write the note, and have everything read and told again that may have changed since the state that is there."""
    columns = (to_micros(mended.at), mended.what.value, mended.aside, to_micros_or_none(mended.state_of))
    tx.execute(_MENDED.replace, _MENDED.seal(1, *columns))
    tx.execute("DELETE FROM meter")
    for clock in facts.read_clocks(tx).values():
        facts.write_clock(tx, _to_be_read_again(clock, mended))
    suspect(tx)


def read(connection: sqlite3.Connection) -> Mended | None:
    """The note, None when there is none."""
    row = connection.execute(_MENDED.select).fetchone()
    if row is None:
        return None
    _, at, what, aside, state_of = _MENDED.verified(row)
    return Mended(from_micros(at), What(what), aside, from_micros_or_none(state_of))


def forget(tx: sqlite3.Connection) -> None:
    """All is as it should be again."""
    tx.execute("DELETE FROM mended")


def _to_be_read_again(clock: SourceClock, mended: Mended) -> SourceClock:
    """From the month before that of the state on: what came late to that month may be missing too."""
    newest = min(mended.state_of or mended.at, mended.at)
    since = month_of(month_of(newest).start - timedelta(microseconds=1)).start
    filled = clock.filled_since
    kept = (filled, since) if filled is not None and filled < since else (None, None)
    return replace(clock, next_attempt_at=None, filled_since=None, kept_since=kept[0], kept_until=kept[1])
