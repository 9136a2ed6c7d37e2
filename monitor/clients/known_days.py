"""Which days of a table are booked as they are: what a read leaves in the store, so that they are not sent again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

from alarms.model import Period
from monitor.model import MeterReading
from monitor.period import midnight

_PREFIX = "booked day "
_DAY = timedelta(days=1)
# No answer has this digest: what is booked of such a day is not what any answer had.
_NONE = -1


class KnownDays:
    """Of one answer about `period`, whose rows come by day. `known`: what earlier answers have left."""

    def __init__(self, known: Mapping[str, MeterReading], period: Period) -> None:
        marks = (reading for key, reading in known.items() if key.startswith(_PREFIX))
        self._known = {mark.at.date(): int(mark.value) for mark in marks if mark.at in period}
        self._seen: dict[date, int] = {}

    @property
    def text(self) -> str:
        """What the query is told of them."""
        return "".join(f" {day}:{digest}" for day, digest in sorted(self._known.items()) if digest != _NONE) + " "

    def take(self, day: date, digest: int) -> bool:
        """A day of the answer: whether it is booked as it is, so that one row stands for all of it."""
        self._seen[day] = digest
        return self._known.get(day) == digest

    def unchanged(self, span: Period) -> tuple[Period, ...]:
        """The days of the answer in `span` that are booked as they are."""
        days = (midnight(day) for day, digest in self._seen.items() if self._known.get(day) == digest)
        return tuple(Period(day, day + _DAY) for day in days if day in span)

    def meters(self, span: Period, *, sure: bool) -> dict[str, MeterReading]:
        """What is to be remembered with the charges of `span`. `sure`: they are all that the answer had."""
        found: dict[str, MeterReading] = {}
        for day in {*self._known, *self._seen}:
            digest = self._seen.get(day, _NONE)
            if midnight(day) in span:
                kept = digest if sure or self._known.get(day) == digest else _NONE
                found[f"{_PREFIX}{day}"] = MeterReading(midnight(day), Decimal(kept))
        return found
