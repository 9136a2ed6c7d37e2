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
from math import isqrt

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
_LEVEL_FACTOR = 10**6
_LOWEST_FACTOR = _LEVEL_FACTOR // 20
# Misses are taken of means over up to a week, five of them at least, from the third day on.
_LONGEST_MISS, _FEWEST_MISSES, _FIRST_ORIGIN = 7, 5, 3
_DIGITS = 12
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


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
    since = _since(whole, _bounds(whole), len(whole))
    factors = _factors(whole[-since:-1], (weekday - 1) % 7)
    flat = [amount * _LEVEL_FACTOR // factors[(first + place) % 7] for place, amount in enumerate(whole)]
    bounds = _bounds(flat)
    sums = _running_sums(flat)
    return Trend(
        days=len(days),
        newest=whole[-1],
        weekday=weekday,
        recent=_recent(sums, _since(flat, bounds, len(flat)), len(flat)),
        factors=factors,
        misses=_misses(flat, bounds, sums),
        fork=_fork(flat, bounds, sums),
    )


def forecast(known: Trend, spend: Decimal, today: Decimal, as_of: datetime, period: Period) -> Forecast:
    """Spend expected at the period's end.

    `spend`: of the period, up to `as_of`, where data ends; `today`: that of the day of `as_of`, which follows the last
    day of `known` and is not over.
    """
    passed = Fraction((as_of - day_of(as_of).start) // _MICROSECOND, _DAY // _MICROSECOND)
    level = _level(known, int(EXACT.scaleb(today, _DIGITS)), passed)
    start = max(as_of, period.start)
    if start >= period.end:
        return Forecast(spend, spend, spend, known.days)
    shares = _average_days(known, start, period.end)
    days = Fraction((period.end - start) // _MICROSECOND, _DAY // _MICROSECOND)
    rest = _amount(level * shares)
    miss = _amount(_miss(known, days))
    expected = EXACT.add(spend, rest)
    # What is spent is spent; only refunds can take the end below it.
    ends = [expected, EXACT.subtract(expected, miss), EXACT.add(expected, miss)]
    ends += [EXACT.add(spend, _amount(level * shares)) for level in known.fork or ()]
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


def _bounds(days: Sequence[int]) -> list[tuple[int, int] | None]:
    """Smallest and largest of the days before each; None where too few are known."""
    found: list[tuple[int, int] | None] = []
    for place in range(len(days)):
        before = days[max(0, place - _BEFORE) : place]
        found.append((min(before), max(before)) if len(before) >= _BEFORE_AT_LEAST else None)
    return found


def _since(days: Sequence[int], bounds: Sequence[tuple[int, int] | None], end: int) -> int:
    """How many of the days before `end` belong to the present level; all of them if it has not changed."""
    if end < _SINCE + _BEFORE_AT_LEAST:
        return end
    lowest = highest = days[end - 1]
    for place in range(end - 2, _BEFORE_AT_LEAST - 1, -1):
        amount, known = days[place], bounds[place]
        lowest, highest = min(lowest, amount), max(highest, amount)
        if known is None:
            break
        if lowest > known[1] or highest < known[0]:
            return end - place
    return end


def _factors(days: Sequence[int], weekday: int) -> tuple[int, ...]:
    """What each weekday costs, in millionths of an average day."""
    total = sum(days)
    if len(days) < _SHAPED_FROM or total <= 0:
        return (_LEVEL_FACTOR,) * 7
    first = weekday - len(days) + 1
    sums, counts = [0] * 7, [0] * 7
    for place, amount in enumerate(days):
        sums[(first + place) % 7] += amount
        counts[(first + place) % 7] += 1
    # (sum + 2 means) / ((count + 2) means), mean = total / len
    raw = [
        (one * len(days) + _AVERAGE_WEEKS * total) * _LEVEL_FACTOR // ((count + _AVERAGE_WEEKS) * total)
        for one, count in zip(sums, counts, strict=True)
    ]
    scale = sum(raw)
    return tuple(max(_LOWEST_FACTOR, one * 7 * _LEVEL_FACTOR // scale) for one in raw)


def _running_sums(days: Sequence[int]) -> list[int]:
    sums = [0]
    for amount in days:
        sums.append(sums[-1] + amount)
    return sums


def _recent(sums: Sequence[int], since: int, end: int) -> tuple[int, ...]:
    """The mean of each window of the days before `end`, none longer than the present level lasts."""
    lengths = (min(window, since, end) for window in _WINDOWS)
    return tuple((sums[end] - sums[end - length]) // length for length in lengths)


def _misses(days: Sequence[int], bounds: Sequence[tuple[int, int] | None], sums: Sequence[int]) -> tuple[int, ...]:
    """For 1, 2, 3 ... days ahead: what 8 of 10 earlier forecasts of their mean missed it by at most."""
    levels = [
        (days[end - 1] + sum(_recent(sums, _since(days, bounds, end), end))) // (1 + len(_WINDOWS))
        for end in range(_FIRST_ORIGIN, len(days))
    ]
    found: list[int] = []
    longest = min(_LONGEST_MISS, len(days) - _FIRST_ORIGIN - _FEWEST_MISSES + 1)
    for ahead in range(1, max(longest, 1) + 1):
        missed = sorted(
            abs((sums[end + ahead] - sums[end]) // ahead - levels[end - _FIRST_ORIGIN])
            for end in range(_FIRST_ORIGIN, len(days) - ahead + 1)
        )
        found.append(missed[-(-len(missed) * 8 // 10) - 1])
    return tuple(found)


def _fork(days: Sequence[int], bounds: Sequence[tuple[int, int] | None], sums: Sequence[int]) -> tuple[int, int] | None:
    last = len(days) - 1
    known = bounds[last]
    if known is None or known[0] <= days[last] <= known[1]:
        return None
    before = _recent(sums, _since(days, bounds, last), last)
    return sum(before) // len(before), days[last]


def _miss(known: Trend, days: Fraction) -> Fraction:
    """Of the sum of so many days. Further ahead than was measured it grows as the square root of the time."""
    ahead = min(max(int(days), 1), len(known.misses))
    grown = max(days / ahead, Fraction(1))
    root = Fraction(isqrt(int(grown * _LEVEL_FACTOR**2)), _LEVEL_FACTOR)
    return days * known.misses[ahead - 1] * root


def _level(known: Trend, today: int, passed: Fraction) -> Fraction:
    """What an average day costs now. The last 24 hours: today, and of the day before what they still hold of it."""
    day, before = known.factors[(known.weekday + 1) % 7], known.factors[known.weekday]
    in_average_days = (passed * day + (1 - passed) * before) / _LEVEL_FACTOR
    last = (today + (1 - passed) * known.newest) / in_average_days
    return (last + sum(known.recent)) / (1 + len(known.recent))


def _average_days(known: Trend, start: datetime, end: datetime) -> Fraction:
    """How many average days the stretch from `start` to `end` is worth."""
    worth = Fraction(0)
    at = start
    while at < end:
        if (end - at) >= 7 * _DAY:
            weeks = (end - at) // (7 * _DAY)
            worth += weeks * Fraction(sum(known.factors), _LEVEL_FACTOR)
            at += weeks * 7 * _DAY
            continue
        until = min(end, day_of(at).end)
        share = Fraction((until - at) // _MICROSECOND, _DAY // _MICROSECOND)
        worth += share * Fraction(known.factors[at.weekday()], _LEVEL_FACTOR)
        at = until
    return worth


def _amount(whole: Fraction) -> Decimal:
    return EXACT.scaleb(Decimal(int(whole)), -_DIGITS)


def _sensible(amount: Decimal) -> Decimal:
    """An estimate with six digits, two after the point at least: more would claim what nobody knows."""
    exponent = min(amount.adjusted() - 5, -2)
    return amount.quantize(Decimal(1).scaleb(exponent), rounding=ROUND_FLOOR, context=DISPLAY)
