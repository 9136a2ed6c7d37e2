"""A time-of-use tariff: which price holds at which minute of the year, on average and over a stretch of time. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

from alarms.money import EXACT
from monitor.training.model import PRECISE

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MINUTES_A_DAY = 24 * 60
_WEEK = MINUTES_A_DAY * len(DAYS)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_STEP = Decimal("1E-12")
_SECONDS = Decimal(3600)
# After that the mean counts: what a kWh costs at which hour the year after next is no tariff but a guess.
_LONGEST = timedelta(days=400)
# Clocks are set at quarters of an hour, wherever they are.
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Rate:
    """Money per kWh from `start` until `end`, minutes of the day, on days of the week (0 is Monday), in `months`.

    Over midnight if `end` is not after `start`: the day is that of the start. The months (0 is January) are those of
    the minute itself.
    """

    per_kwh: Decimal
    start: int = 0
    end: int = MINUTES_A_DAY
    days: tuple[int, ...] = tuple(range(len(DAYS)))
    months: tuple[int, ...] = tuple(range(len(MONTHS)))

    def spans(self) -> Iterator[tuple[int, int]]:
        """[from, until) of the minutes of the week at which it holds."""
        length = (self.end - self.start) % MINUTES_A_DAY or MINUTES_A_DAY
        for day in self.days:
            start = day * MINUTES_A_DAY + self.start
            yield start, min(start + length, _WEEK)
            yield 0, max(start + length - _WEEK, 0)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a kWh costs, on the clocks of a time zone; of several rates that fit a minute the first counts."""

    rates: tuple[Rate, ...]
    timezone: str = "UTC"

    def price_hours(self, start: datetime, hours: Decimal) -> Decimal:
        """The sum of price x time over so many hours: what a machine of 1 kW costs. To a trillionth."""
        return _walk(self, start).until(hours)


def mean(rates: Sequence[Rate]) -> Decimal:
    """What a kWh costs if the machine works at all hours of a year of 365 days alike.

    Exact, or to a trillionth. Raises ValueError where no rate fits.
    """
    cost = Fraction(0)
    for month, days in enumerate(_MONTH_DAYS):
        cost += _mean_of_week(rates, month) * days
    average = cost / sum(_MONTH_DAYS)
    found = PRECISE.divide(Decimal(average.numerator), Decimal(average.denominator))
    rounded = found.quantize(_STEP, context=PRECISE)
    return found if rounded == found else rounded


def _mean_of_week(rates: Sequence[Rate], month: int) -> Fraction:
    week = _week(tuple(rate for rate in rates if month in rate.months))
    if None in week:
        day, minute = divmod(week.index(None), MINUTES_A_DAY)
        when = f"{DAYS[day]} {minute // 60:02}:{minute % 60:02}"
        by_month = any(len(rate.months) < len(MONTHS) for rate in rates)
        told = f" in {MONTHS[month]}" if by_month else ""
        raise ValueError(f"says nothing of {when}{told}; add a last rate without times")
    prices = Counter(price for price in week if price is not None)
    return sum((Fraction(price) * count for price, count in prices.items()), Fraction(0)) / _WEEK


@lru_cache(maxsize=64)  # most months have the same rates
def _week(rates: tuple[Rate, ...]) -> tuple[Decimal | None, ...]:
    """The price at each minute of a week; None where no rate fits."""
    prices: list[Decimal | None] = [None] * _WEEK
    for rate in reversed(rates):
        for start, end in rate.spans():
            prices[start:end] = [rate.per_kwh] * (end - start)
    return tuple(prices)


@lru_cache(maxsize=64)
def _stretches(rates: tuple[Rate, ...], day: int) -> tuple[tuple[int, Decimal], ...]:
    """(until which minute, price) of one day of the week."""
    prices = _week(rates)[day * MINUTES_A_DAY : (day + 1) * MINUTES_A_DAY]
    found: list[tuple[int, Decimal]] = []
    for minute, price in enumerate(prices, 1):
        if price is None:
            raise ValueError("a tariff without a price for each minute")
        if found and found[-1][1] == price:
            found[-1] = (minute, price)
        else:
            found.append((minute, price))
    return tuple(found)


class _Walk:
    """What a kilowatt has cost by each change of price since a start, as far as anybody has asked."""

    def __init__(self, tariff: Tariff, start: datetime) -> None:
        self._steps = _changes(tariff, start)
        self._ends = [0]
        self._costs = [Decimal(0)]
        self._price = Decimal(0)
        self._mean = mean(tariff.rates)

    def until(self, hours: Decimal) -> Decimal:
        """After so many hours."""
        seconds = PRECISE.multiply(hours, _SECONDS)
        walked = min(seconds, Decimal(_LONGEST // timedelta(seconds=1)))
        while self._ends[-1] < walked:
            end, self._price = next(self._steps)
            spent = EXACT.multiply(self._price, Decimal(end - self._ends[-1]))
            self._costs.append(EXACT.add(self._costs[-1], spent))
            self._ends.append(end)
        place = bisect_right(self._ends, walked) - 1
        cost = self._costs[place]
        if place + 1 < len(self._ends):
            part = PRECISE.divide(walked - self._ends[place], Decimal(self._ends[place + 1] - self._ends[place]))
            cost = PRECISE.add(cost, PRECISE.multiply(self._costs[place + 1] - cost, part))
        cost = PRECISE.add(cost, PRECISE.multiply(self._mean, seconds - walked))
        return PRECISE.divide(cost, _SECONDS).quantize(_STEP, context=PRECISE)


@lru_cache(maxsize=256)  # each phase asks for many lengths of the same start
def _walk(tariff: Tariff, start: datetime) -> _Walk:
    return _Walk(tariff, start)


def _changes(tariff: Tariff, start: datetime) -> Iterator[tuple[int, Decimal]]:
    """(seconds since the start at which it ends, price) of one stretch of time after the other, without end."""
    zone = ZoneInfo(tariff.timezone)
    by_month = [tuple(rate for rate in tariff.rates if month in rate.months) for month in range(len(MONTHS))]
    at = start.astimezone(UTC)
    while True:
        local = at.astimezone(zone)
        seconds = (local.hour * 60 + local.minute) * 60 + local.second
        end, price = next(
            (until * 60, price)
            for until, price in _stretches(by_month[local.month - 1], local.weekday())
            if until * 60 > seconds
        )
        following = at + timedelta(seconds=end - seconds)
        if following.astimezone(zone).utcoffset() != local.utcoffset():
            # The clock is set in between: up to the next quarter of an hour it surely is not.
            following = at + _QUARTER - timedelta(seconds=seconds % (_QUARTER // timedelta(seconds=1)))
        at = following
        yield (at - start) // timedelta(seconds=1), price
