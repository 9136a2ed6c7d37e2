"""On how many days of each month a table has shown costs: what a read leaves in the store, to know a loss by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from monitor.clients.billing_export import Line
from monitor.errors import BadDataError
from monitor.model import MeterReading
from monitor.period import midnight, month_of

_DAY = timedelta(days=1)
_ZERO = Decimal(0)
_MONTHS, _NEWEST, _FROM = "days", "newest day", "counts from"
# Lines that are late, or of a correction, are not on so many days of a month.
_SURE = 7


class ShownDays:
    """Of one answer in `currency`, whose rows come by day. `known`: what earlier answers have left.

    `start`: from where on nothing has been dropped from `table` because of its age.
    """

    def __init__(self, table: str, currency: str, *, known: Mapping[str, MeterReading], start: datetime) -> None:
        self._months, self._newest_key, self._from_key = (
            f"{what} {currency} {table}" for what in (_MONTHS, _NEWEST, _FROM)
        )
        self._start = start
        self._known = {key: reading for key, reading in known.items() if key.startswith(f"{self._months} ")}
        self._newest_known = known.get(self._newest_key)
        self._counts_from = known.get(self._from_key)
        self._before = _Before(currency, known)
        self._first: dict[str, datetime] = {}
        self._shown: dict[str, MeterReading] = {}
        self._newest: datetime | None = None

    def begins(self, first: Line, made: datetime | None) -> datetime:
        """From where on the answer may replace what is booked. `first`: its first line; `made`: when the table was.

        Without the month's earlier days, that day or the one of the making may be there in part alone: not from there.
        """
        day, made_on = midnight(first.day), midnight(made.astimezone(UTC).date()) if made else None
        if self._before.is_newer_than(self._newest_known) and self._key(day) not in self._known:
            self._follow(self._before, first, made_on)
        since = self._whole_from(day, made_on)
        return max(since, self._counts_from.at) if self._counts_from else since

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
        if self._counts_from is not None:
            whole[self._from_key] = self._counts_from
        return whole | {self._newest_key: MeterReading(self._newest, _ZERO)}

    def _follow(self, before: _Before, first: Line, made_on: datetime | None) -> None:
        """Another table was read until now."""
        counts_from = before.ends(first, made_on, self._start)
        if counts_from is None:
            # It is held against what that one has shown.
            self._known = {f"{self._months} {month}": reading for month, reading in before.months.items()}
            self._newest_known, self._counts_from = before.newest, None
        else:
            self._counts_from = MeterReading(counts_from, _ZERO)

    def _whole_from(self, day: datetime, made_on: datetime | None) -> datetime:
        known = self._known.get(self._key(day))
        if known is None or self._newest_known is None or max(known.at, self._start) >= day:
            return max(day, self._start)
        if self._newest_known.at < day:
            return day
        if known.at < self._start and (made_on is None or made_on < day):
            # The month's earlier days have gone by their age; in a table that was there before, this one is whole.
            return day
        self._first[self._key(day)] = known.at
        return max(day, made_on or day) + _DAY

    def _key(self, day: date) -> str:
        return f"{self._months} {day:%Y-%m}"


class _Before:
    """What all tables have shown in `currency` under this source's name: `months` by their text."""

    def __init__(self, currency: str, known: Mapping[str, MeterReading]) -> None:
        newest = [reading for key, reading in known.items() if key.startswith(f"{_NEWEST} {currency} ")]
        self.newest = max(newest, key=lambda reading: reading.at, default=None)
        self.months: dict[str, MeterReading] = {}
        for key, reading in known.items():
            if key.startswith(f"{_MONTHS} {currency} "):
                month = key.rpartition(" ")[2]
                other = self.months.get(month, reading)
                self.months[month] = MeterReading(min(reading.at, other.at), max(reading.value, other.value))

    def is_newer_than(self, own: MeterReading | None) -> bool:
        """Whether another table was read after the last read of this one, which has left `own`."""
        return self.newest is not None and (own is None or own.at < self.newest.at)

    def ends(self, first: Line, made_on: datetime | None, start: datetime) -> datetime | None:
        """From where on a table that begins with `first` counts in their place; None: all of it does.

        It does where it reaches as far back as they, with as many days. What they have booked stays otherwise, up to
        the day of the table's making: each later one is whole in it.
        """
        day = midnight(first.day)
        if self.newest is None or self.newest.at < day:
            return None
        month = self.months.get(f"{day:%Y-%m}")
        was_there = made_on is not None and made_on < day
        reaches_back = month is not None and max(month.at, start) >= day and first.days_shown >= month.value
        if reaches_back and (was_there or first.days_shown >= _SURE):
            return None
        return _DAY + (self.newest.at if made_on is None or was_there else min(made_on, self.newest.at))
