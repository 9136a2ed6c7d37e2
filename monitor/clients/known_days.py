"""Which days of a table are booked as they are: what a read leaves in the store, so that they are not sent again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from monitor.model import MeterReading
from monitor.period import midnight

_PREFIX, _WHOLE = "booked day ", "booked days sent whole"
_DAY = timedelta(days=1)
# No digest of an answer: the day is gone from the table, or what is booked of it is not all that an answer had.
_NONE = -1
# So often all days are sent, whatever is known of them: no mistake about what is booked lasts for longer.
_WHOLE_AFTER = timedelta(days=1)


class KnownDays:
    """Of one answer about `period`, whose rows come by day. `known`: what earlier answers have left."""

    def __init__(self, known: Mapping[str, MeterReading], period: Period, now: datetime) -> None:
        marks = (mark for key, mark in known.items() if key.startswith(_PREFIX))
        self._stored = {mark.at.date(): int(mark.value) for mark in marks if mark.at in period}
        whole = known.get(_WHOLE)
        self._asks_for_all = whole is None or not timedelta(0) <= now - whole.at < _WHOLE_AFTER
        self._known = {} if self._asks_for_all else self._stored
        self._seen: dict[date, int] = {}
        self._now = now

    @property
    def text(self) -> str:
        """What the query is told of them."""
        return "".join(f" {day}:{digest}" for day, digest in sorted(self._known.items()) if digest != _NONE) + " "

    def note(self, day: date, digest: int) -> bool:
        """A row of the answer. Whether its day is booked as it is, so that the row stands for all of it."""
        self._seen[day] = digest
        return self._known.get(day) == digest

    def unchanged(self, span: Period) -> tuple[Period, ...]:
        """The days of the answer in `span` that are booked as they are."""
        days = (midnight(day) for day, digest in self._seen.items() if self._known.get(day) == digest)
        return tuple(Period(day, day + _DAY) for day in days if day in span)

    def meters(self, span: Period, *, all_usable: bool, last: bool) -> dict[str, MeterReading]:
        """What is to be remembered with the charges of `span`. `last`: no more of the answer is to come.

        `all_usable`: no line of it was unusable, so that what is booked is all that it had.
        """
        found: dict[str, MeterReading] = {}
        for day in {*self._stored, *self._seen}:
            digest = self._seen.get(day, _NONE)
            if midnight(day) in span:
                kept = digest if all_usable or self._known.get(day) == digest else _NONE
                found[f"{_PREFIX}{day}"] = MeterReading(midnight(day), Decimal(kept))
        if last and self._asks_for_all:
            found[_WHOLE] = MeterReading(self._now, Decimal(0))
        return found
