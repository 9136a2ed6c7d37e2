"""The only place that asks the time of day. Decisions get `now` as a parameter; tests hand in their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Clock(Protocol):
    """Wall time for calendar decisions, monotonic seconds for intervals and deadlines."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never step back; only differences mean something."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Wall time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some past instant."""
        return time.monotonic()

    def elapsed(self) -> float:
        """The same, with the time that the machine was suspended; it can neither be set nor step."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class FixedClock:
    """Stands at one instant until it is moved: `--as-of`, the demo, tests."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        """Where it stands."""
        return self.instant

    def monotonic(self) -> float:
        """Real seconds: deadlines hold in replayed time too."""
        return time.monotonic()


def to_text(instant: datetime) -> str:
    """RFC 3339 in UTC, `2026-11-23T18:00:00Z`; microseconds only where there are some."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The instant of an RFC 3339 text; a date alone is its midnight UTC, a missing offset means UTC.

    Raises ValueError for anything else.
    """
    instant = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    return (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant).astimezone(UTC)
