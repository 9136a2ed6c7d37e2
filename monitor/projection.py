"""What a budget will have spent at its period's end, and how fast it burns. Pure.

The forecast is spend so far, plus for each day to come what a day costs now. That is the mean of three figures: the
last 24 hours, the last 7 days and the last 28 days, none of them reaching back beyond a clear change of level, and it
is shaped by weekday once three weeks are known. The interval is what the same method has missed by on the days before:
8 of 10 of its misses were smaller. After a day unlike any of the 14 before, the interval holds both: that all days to
come are like it, and that none is. docs/benchmarks.md holds it against simpler ones.

Inside, amounts are whole numbers of 10^-12 units of currency, so that nothing is a float and the same days always give
the same forecast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from math import isqrt
from operator import mul

from alarms.model import Forecast, Period
from alarms.money import DISPLAY, EXACT
from monitor.period import day_of

# Days that are looked at: six weeks show each weekday six times.
HISTORY = 42
# With fewer complete days there is no forecast: a week has each weekday once.
FEWEST = 7
# A charge may be this long: a source that was silent for longer is stale, and its figures are not trusted.
LONGEST_CHARGE = timedelta(days=7)

_WINDOWS = (7, 28)
# A change of level: all days since, two at least, lie above (or below) all of the 14 before, of which 7 must be known.
_SINCE, _BEFORE, _BEFORE_AT_LEAST = 2, 14, 7
# Weekdays are told apart when each was seen three times; as if two average weeks had been seen as well.
_SHAPED_FROM, _AVERAGE_WEEKS = 21, 2
_MILLION = 10**6
_LOWEST_FACTOR = _MILLION // 20
# Misses are taken of means over up to a week, five of them at least, from the third day on.
_LONGEST_MISS, _FEWEST_MISSES, _FIRST_ORIGIN = 7, 5, 3
_DIGITS = 12
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_DAY_LENGTH = _DAY // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Trend:
    """What complete days say of those to come. `newest` is the last of them; its weekday is `weekday`.

    `recent`: the means of the windows; `factors`: by weekday, in millionths of an average day; `misses[n]`: the mean
    of the next n + 1 days was missed by less than this 8 times of 10. `fork`: the newest day is unlike those before;
    what an average day costs if it was the only one, and if it was the first of many.
    """

    days: int
    newest: int
    weekday: int
    recent: tuple[int, ...]
    factors: tuple[int, ...]
    misses: tuple[int, ...]
    fork: tuple[int, int] | None


def trend(days: Sequence[Decimal], weekday: int) -> Trend | None:
    """Of what complete days cost, oldest first without a gap; `weekday` (Monday 0) of the last. None: too few."""
    if len(days) < FEWEST:
        return None
    whole = [int(EXACT.scaleb(amount, _DIGITS)) for amount in days[-HISTORY:]]
    first = (weekday - len(whole) + 1) % 7
    # Without the newest: the first day of a run is not a dear weekday.
    factors = _factors(whole[-_since(whole)[-1] : -1], (weekday - 1) % 7)
    flat = [amount * _MILLION // factors[(first + place) % 7] for place, amount in enumerate(whole)]
    recent = _recent(flat)
    return Trend(
        days=len(days),
        newest=whole[-1],
        weekday=weekday,
        recent=recent[-1],
        factors=factors,
        misses=_misses(flat, recent),
        fork=_fork(flat, recent),
    )


def forecast(known: Trend, spend: Decimal, today: Decimal, as_of: datetime, period: Period) -> Forecast:
    """Spend expected at the period's end.

    `spend`: of the period, up to `as_of`, where data ends; `today`: that of the day of `as_of`, which follows the last
    day of `known` and is not over.
    """
    start = max(as_of, period.start)
    if start >= period.end:
        return Forecast(spend, spend, spend, known.days)
    worth = sum(map(mul, known.factors, _by_weekday(start, period.end)))
    level = _level(known, int(EXACT.scaleb(today, _DIGITS)), (as_of - day_of(as_of).start) // _MICROSECOND)
    expected = EXACT.add(spend, _cost(level, worth))
    miss = _miss(known, (period.end - start) // _MICROSECOND)
    ends = [expected, EXACT.subtract(expected, miss), EXACT.add(expected, miss)]
    ends += [EXACT.add(spend, _cost(level, worth)) for level in known.fork or ()]
    # What is spent is spent; only refunds can take the end below it.
    low = max(min(ends), min(spend, expected))
    return Forecast(_sensible(expected), _sensible(low), _sensible(max(ends)), known.days)


def spend_within(charges: Iterable[tuple[int, int, Decimal]], since: int, until: int) -> Fraction:
    """What charges cost within [since, until), each spread evenly over its own [start, end); instants as integers."""
    whole = Decimal(0)
    parts: dict[tuple[int, int], Decimal] = {}
    for start, end, cost in charges:
        inside = min(end, until) - max(start, since)
        if inside >= end - start:
            whole = EXACT.add(whole, cost)
        elif inside > 0:
            share = (inside, end - start)
            parts[share] = EXACT.add(parts.get(share, Decimal(0)), cost)
    return Fraction(whole) + sum((Fraction(cost) * Fraction(*share) for share, cost in parts.items()), Fraction(0))


def burn_rate(spent: Fraction, window: timedelta, amount: Decimal, period: Period) -> Decimal:
    """Unitless: 1 exhausts a budget of `amount` exactly at the period's end, 2 in half the time."""
    lengths = Fraction((period.end - period.start) // _MICROSECOND, window // _MICROSECOND)
    rate = spent * lengths / Fraction(amount)
    # Down, so that what stays below a limit never shows as the limit.
    cut = rate.numerator * 10**9 // rate.denominator
    return EXACT.scaleb(Decimal(cut), -9)


def _since(days: Sequence[int]) -> list[int]:
    """For 0, 1, 2 ... of the days: how many of the last of them belong to one level; all if it has not changed."""
    found = list(range(len(days) + 1))
    for place in range(_BEFORE_AT_LEAST, len(days) - 1):
        lowest, highest = _bounds(days, place)
        end = place
        if days[place] > highest:
            while end < len(days) and days[end] > highest:
                end += 1
        elif days[place] < lowest:
            while end < len(days) and days[end] < lowest:
                end += 1
        # Of several changes the last one counts.
        for known in range(place + _SINCE, end + 1):
            found[known] = known - place
    return found


def _bounds(days: Sequence[int], place: int) -> tuple[int, int]:
    """Smallest and largest of the days before this one."""
    before = days[max(0, place - _BEFORE) : place]
    return min(before), max(before)


def _factors(days: Sequence[int], weekday: int) -> tuple[int, ...]:
    """What each weekday costs, in millionths of an average day."""
    total = sum(days)
    if len(days) < _SHAPED_FROM or total <= 0:
        return (_MILLION,) * 7
    first = weekday - len(days) + 1
    sums, counts = [0] * 7, [0] * 7
    for place, amount in enumerate(days):
        sums[(first + place) % 7] += amount
        counts[(first + place) % 7] += 1
    # (sum + 2 means) / ((count + 2) means), mean = total / len
    raw = [
        (one * len(days) + _AVERAGE_WEEKS * total) * _MILLION // ((count + _AVERAGE_WEEKS) * total)
        for one, count in zip(sums, counts, strict=True)
    ]
    scale = sum(raw)
    return tuple(max(_LOWEST_FACTOR, one * 7 * _MILLION // scale) for one in raw)


def _recent(days: Sequence[int]) -> list[tuple[int, ...]]:
    """For 1, 2, 3 ... of the days: the mean of each window up to there, none longer than its level lasts."""
    sums = list(accumulate(days, initial=0))
    found = []
    for end, since in list(enumerate(_since(days)))[1:]:
        lengths = (min(window, since) for window in _WINDOWS)
        found.append(tuple((sums[end] - sums[end - length]) // length for length in lengths))
    return found


def _misses(days: Sequence[int], recent: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """For 1, 2, 3 ... days ahead: what 8 of 10 earlier forecasts of their mean missed it by at most."""
    sums = list(accumulate(days, initial=0))
    origins = range(_FIRST_ORIGIN, len(days))
    levels = [(days[end - 1] + sum(recent[end - 1])) // (1 + len(_WINDOWS)) for end in origins]
    longest = min(_LONGEST_MISS, len(origins) - _FEWEST_MISSES + 1)
    found: list[int] = []
    for ahead in range(1, max(longest, 1) + 1):
        known = zip(sums[_FIRST_ORIGIN:], sums[_FIRST_ORIGIN + ahead :], levels, strict=False)
        missed = sorted(abs((after - before) // ahead - level) for before, after, level in known)
        found.append(missed[-(-len(missed) * 8 // 10) - 1])
    return tuple(found)


def _fork(days: Sequence[int], recent: Sequence[tuple[int, ...]]) -> tuple[int, int] | None:
    last = len(days) - 1
    lowest, highest = _bounds(days, last)
    if last < _BEFORE_AT_LEAST or lowest <= days[last] <= highest:
        return None
    return sum(recent[last - 1]) // len(_WINDOWS), days[last]


def _miss(known: Trend, ahead: int) -> Decimal:
    """Of the sum of the time to come, in microseconds. Beyond what was measured it grows as the square root of it."""
    days = min(max(ahead // _DAY_LENGTH, 1), len(known.misses))
    grown = max(ahead * _MILLION**2 // (days * _DAY_LENGTH), _MILLION**2)
    return _cost(known.misses[days - 1] * isqrt(grown) // _MILLION, ahead * _MILLION)


def _level(known: Trend, today: int, passed: int) -> int:
    """What an average day costs now. The last 24 hours: today, and of the day before what they still hold of it."""
    left = _DAY_LENGTH - passed
    worth = passed * known.factors[(known.weekday + 1) % 7] + left * known.factors[known.weekday]
    last = (today * _DAY_LENGTH + left * known.newest) * _MILLION // worth
    return (last + sum(known.recent)) // (1 + len(_WINDOWS))


@lru_cache(maxsize=64)  # a thousand budgets have the same few stretches to come
def _by_weekday(start: datetime, end: datetime) -> tuple[int, ...]:
    """How much of each weekday lies in [start, end), in microseconds."""
    weeks = (end - start) // (7 * _DAY)
    found = [weeks * _DAY_LENGTH] * 7
    at = start + weeks * 7 * _DAY
    while at < end:
        until = min(end, day_of(at).end)
        found[at.weekday()] += (until - at) // _MICROSECOND
        at = until
    return tuple(found)


def _cost(per_day: int, worth: int) -> Decimal:
    """Of a stretch worth so many millionths of microseconds of an average day."""
    return EXACT.scaleb(Decimal(per_day * worth // (_DAY_LENGTH * _MILLION)), -_DIGITS)


def _sensible(amount: Decimal) -> Decimal:
    """An estimate with six digits, two after the point at least: more would claim what nobody knows."""
    exponent = min(amount.adjusted() - 5, -2)
    return amount.quantize(Decimal(1).scaleb(exponent), rounding=ROUND_FLOOR, context=DISPLAY)
