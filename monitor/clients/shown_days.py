"""On how many days of each month a table has shown costs: what a read leaves in the store, to know a loss by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from monitor.errors import BadDataError
from monitor.model import MeterReading
from monitor.period import midnight, month_of

_DAY = timedelta(days=1)
_ZERO = Decimal(0)


class ShownDays:
    """Of one answer in `currency`, whose rows come by day. `known`: what earlier answers have left.

    `start`: from where on nothing has been dropped from the table because of its age.
    """

    def __init__(self, currency: str, known: Mapping[str, MeterReading], start: datetime) -> None:
        self._months, self._newest_key = f"days {currency} ", f"newest day {currency}"
        self._start = start
        self._known = {key: reading for key, reading in known.items() if key.startswith(self._months)}
        self._newest_known = known.get(self._newest_key)
        self._first: dict[str, datetime] = {}
        self._shown: dict[str, MeterReading] = {}
        self._newest: datetime | None = None

    def begins(self, first: date, made: datetime | None) -> datetime:
        """From where on the answer may replace what is booked. `first`: its first day; `made`: when the table was.

        Without the month's earlier days, that day or the one of the making may be there in part alone: not from there.
        """
        day, known = midnight(first), self._known.get(self._key(first))
        if known is None or self._newest_known is None or max(known.at, self._start) >= day:
            return max(day, self._start)
        if self._newest_known.at < day:
            return day
        made_on = midnight(made.astimezone(UTC).date()) if made else None
        if known.at < self._start and (made_on is None or made_on < day):
            # The month's earlier days have gone by their age; in a table that was there before, this one is whole.
            return day
        self._first[self._key(first)] = known.at
        return max(day, made_on or day) + _DAY

    def take(self, day: date, shown: int) -> None:
        """A day of the answer, and on how many days of its month there are costs."""
        key = self._key(day)
        if key not in self._shown:
            self._shown[key] = MeterReading(self._first.get(key, midnight(day)), Decimal(shown))
        self._newest = midnight(day)

    def check(self, span: Period) -> None:
        """Raise BadDataError where `span`, if it is replaced, loses most of the days of a month that had costs."""
        if self._newest_known is None or self._newest_known.at < span.start:
            return
        for key, reading in self._known.items():
            month = month_of(reading.at)
            days = self._shown[key].value if key in self._shown else _ZERO
            at_stake = self._start <= month.start < span.end and span.start < month.end
            if at_stake and 2 * days < reading.value:
                raise BadDataError(
                    f"the export shows costs on {days} days of {month.start:%Y-%m}, where it had shown "
                    f"{reading.value}: rows were lost, or it is another account's. If that is meant, give the source a "
                    "new name, so that it starts anew"
                )

    @property
    def meters(self) -> dict[str, MeterReading]:
        """What is to be remembered; of a month that is there in part alone nothing new."""
        if self._newest is None:
            return {}
        whole = {key: reading for key, reading in self._shown.items() if month_of(reading.at).start >= self._start}
        return whole | {self._newest_key: MeterReading(self._newest, _ZERO)}

    def _key(self, day: date) -> str:
        return f"{self._months}{day:%Y-%m}"
