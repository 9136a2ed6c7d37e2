"""What a turn did, for who started it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from alarms.errors import OutsideError
from alarms.model import Transition
from alarms.words import instant_text
from monitor.model import Batch


@dataclass(slots=True)
class SourceReport:
    """What a turn did with one source."""

    name: str
    ok: bool = True
    charges: int = 0
    rejected: int = 0
    missing: tuple[str, ...] = ()
    error: str | None = None

    def add(self, batch: Batch | None, error: OutsideError | None) -> None:
        """One more of its answers, or why there was none."""
        if batch is not None:
            self.charges += len(batch.charges)
            self.rejected += batch.rejected
            self.missing = (*self.missing, *batch.missing)
        if error is not None:
            self.ok = False
            self.error = str(error)


@dataclass(slots=True)
class TurnReport:
    """What a turn did; `notifications` are ids with their receivers.

    `unread`: sources whose last read failed, lacked parts or never was, whether or not it was in this turn.
    """

    turn: datetime
    sources: dict[str, SourceReport] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    notifications: list[tuple[str, str]] = field(default_factory=list)
    unread: tuple[str, ...] = ()

    def of(self, source: str) -> SourceReport:
        """What it did with this source, begun if there is nothing yet."""
        return self.sources.setdefault(source, SourceReport(source))

    def add(self, later: TurnReport) -> None:
        """Take in what a turn after it did; of a source that was read again the newer answer counts."""
        self.turn, self.unread = later.turn, later.unread
        self.sources |= later.sources
        self.transitions += later.transitions
        self.notifications += later.notifications

    @property
    def no_failure(self) -> bool:
        """Whether every source that was asked in this turn answered."""
        return all(source.ok for source in self.sources.values())

    @property
    def summary(self) -> str:
        """One line for systemd's STATUS."""
        unread = f"; not read: {', '.join(self.unread)}" if self.unread else ""
        return f"last turn {instant_text(self.turn, UTC)}{unread}"
