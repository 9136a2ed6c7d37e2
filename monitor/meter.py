"""Readings of a cumulative counter become charges: exactly, and with nothing else in reach.

A counter shows the month to date (UTC) and starts again at zero each month, as AWS publishes EstimatedCharges.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from alarms.model import Period
from alarms.money import EXACT
from monitor.model import MeterReading
from monitor.period import month_of

Point: TypeAlias = tuple[datetime, Decimal]
Increment: TypeAlias = tuple[Period, Decimal]

# For so long a month's last values may be published after its end.
TAIL = timedelta(hours=24)
# What a reading stamped exactly at the month's start is spread over until a later one comes: the hour it is read from.
BUCKET = timedelta(hours=1)
_ZERO = Decimal(0)
_NEVER = datetime(1, 1, 1, tzinfo=UTC)
# Thousands of series share the same few intervals: one object each.
_period = lru_cache(maxsize=16384)(Period)
_month_of = lru_cache(maxsize=1024)(month_of)


def increments(points: Iterable[Point], base: MeterReading | None = None) -> list[Increment]:
    """What each interval between readings added, oldest first; the intervals never overlap and none is empty.

    The order of `points` does not matter; of several at one instant the largest counts; those not after `base`, the
    reading that everything before it is settled by, are ignored. Without a base the first counts from its month's
    start. On the 1st, values that have not dropped below the old month's last go to the old month, for 24 h at most,
    as one growing charge from its last reading to its end.
    """
    found: list[Increment] = []
    # `at`: where the next interval starts; `booked`: what is charged up to there; `last`: what was read last; `tail`:
    # the newest value after the month's `end` that still belongs to it.
    at, booked = (base.at, base.value) if base else (_NEVER, _ZERO)
    end = _month_of(at).end if base else _NEVER
    last, tail = booked, None
    for instant, value in _in_order(points, base):
        if instant >= end:
            if instant - end < TAIL and value >= (last if tail is None else tail):
                tail = value
                continue
            found += _closing(at, end, booked, last, tail)
            month = _month_of(instant)
            at, end, booked, tail = month.start, month.end, _ZERO, None
        if instant > at:
            found.append((_period(at, instant), EXACT.subtract(value, booked)))
            at, booked = instant, value
        last = value
    return [*found, *_closing(at, end, booked, last, tail)]


def residual(whole: Sequence[Increment], parts: Iterable[Sequence[Increment]], span: Period) -> list[Increment]:
    """What is left of a total when its parts are taken off, per interval of the total; zeros are left out.

    A part counts in the interval that it starts in. `span` is from where to where the total is known; stretches of it
    without an increment count as nothing, month by month, so that the sum is always exact. A part that starts before
    `span` cannot be taken off: ValueError.
    """
    cells = list(_cells(whole, span))
    left = [value for _, value in cells]
    starts = [period.start for period, _ in cells]
    index = {start: position for position, start in enumerate(starts)}
    for part in parts:
        for period, value in part:
            position = index.get(period.start)
            if position is None:
                position = bisect_right(starts, period.start) - 1
                if position < 0:
                    raise ValueError(f"a part starts at {period.start}, before the total's {span.start}")
            left[position] = EXACT.subtract(left[position], value)
    return [(cells[position][0], value) for position, value in enumerate(left) if value]


def _in_order(points: Iterable[Point], base: MeterReading | None) -> Iterator[Point]:
    ordered = sorted(points)
    for position, point in enumerate(ordered):
        if base is not None and point[0] <= base.at:
            continue
        if position + 1 < len(ordered) and ordered[position + 1][0] == point[0]:
            continue
        yield point


def _closing(at: datetime, end: datetime, booked: Decimal, last: Decimal, tail: Decimal | None) -> Iterator[Increment]:
    """What is still to be charged when a month is left: a reading at its very start, and its tail."""
    if last != booked:
        yield _period(at, at + BUCKET), EXACT.subtract(last, booked)
        at += BUCKET
    if tail is not None:
        yield _period(at, end), EXACT.subtract(tail, last)


def _cells(whole: Sequence[Increment], span: Period) -> Iterator[Increment]:
    """The increments of the total and, between them, the stretches of `span` that have none."""
    reached = span.start
    for increment in whole:
        yield from _gap(reached, increment[0].start)
        yield increment
        reached = increment[0].end
    yield from _gap(reached, span.end)


def _gap(start: datetime, end: datetime) -> Iterator[Increment]:
    while start < end:
        stop = min(month_of(start).end, end)
        yield _period(start, stop), _ZERO
        start = stop
