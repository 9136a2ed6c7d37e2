"""What a turn did, for who started it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from alarms.model import Transition
from alarms.words import instant_text


@dataclass(slots=True)
class SourceReport:
    """What a turn did with one source."""

    name: str
    ok: bool = True
    charges: int = 0
    rejected: int = 0
    missing: tuple[str, ...] = ()
    error: str | None = None


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

    def add(self, later: TurnReport) -> None:
        """Take in what a second turn did that read no source."""
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
