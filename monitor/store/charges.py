"""The ledger: what the sources have published, every revision of it, and exact totals per series and UTC day."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from alarms.model import Period
from alarms.money import is_amount, plain, total
from monitor.errors import BadDataError
from monitor.model import UNATTRIBUTED, Batch, Charge, Series
from monitor.period import without
from monitor.store import known_series, meters
from monitor.store.rollup import DayChange, verified_days, write_days
from monitor.store.rows import (
    MICROSECONDS_PER_DAY,
    Table,
    Value,
    first_day_from,
    from_day_number,
    from_micros,
    to_micros,
)

_CHARGE = Table(
    "charge", ("series_id", "start_at", "end_at", "revision", "billed_cost", "withdrawn", "observed_at"), key=4
)

# Of many series at once, in the order of their key: a statement for each would take longer than all the rest.
_CHARGES_BETWEEN = (
    _CHARGE.select.replace("FROM", "FROM json_each(?) AS wanted CROSS JOIN", 1)
    + "WHERE series_id = wanted.value AND start_at >= ? AND start_at < ? ORDER BY series_id, start_at, end_at, revision"
)
_BOOKED_BETWEEN = "SELECT DISTINCT series_id FROM day_total WHERE day >= ? AND day < ?"

_CHARGES_OVER = (
    _CHARGE.select + "WHERE series_id = ? AND start_at >= ? AND start_at < ? AND end_at > ? ORDER BY start_at, revision"
)

# A charge period (start, end) in microseconds -> its canonical amount, None once withdrawn.
_Costs = dict[tuple[int, int], str | None]


@dataclass(frozen=True, slots=True)
class Replaced:
    """How many charges a batch brought, changed, or no longer listed; how many series cost less now (no remainders)."""

    new: int = 0
    revised: int = 0
    withdrawn: int = 0
    fallen: int = 0


def replace(tx: sqlite3.Connection, source: str, batch: Batch, observed_at: datetime) -> Replaced:
    """Store a batch as `Batch` says; what is already there as it is writes nothing.

    A charge belongs to the window that it starts in. Raises BadDataError when the batch contradicts itself (commit
    nothing then) and CorruptRowError when what is stored cannot be trusted.
    """
    delivered = _by_series(source, batch)
    ids = known_series.numbers_of(tx, source, batch.replaces)
    rows: list[tuple[Value, ...]] = []
    days: dict[Series, list[DayChange]] = {}
    new = revised = withdrawn = 0
    for window, named in _by_window(tx, batch, ids):
        stored = _stored(tx, [ids[series] for series in named], window)
        for series in named:
            costs = _starting_in(window, delivered.get(series, {})) if batch.unchanged else delivered.get(series, {})
            change = _compare(ids[series], window, stored.get(ids[series], []), costs)
            if change is not None:
                rows += (_CHARGE.seal(*row, to_micros(observed_at)) for row in change.rows)
                days.setdefault(series, []).extend(change.days)
                new, revised, withdrawn = new + change.new, revised + change.revised, withdrawn + change.withdrawn
    tx.executemany(_CHARGE.insert, rows)
    write_days(tx, [day for of_series in days.values() for day in of_series])
    meters.write(tx, source, batch.meters)
    fallen = (UNATTRIBUTED not in (series.account, series.service) and _costs_less(days[series]) for series in days)
    return Replaced(new, revised, withdrawn, sum(fallen))


def day_totals(
    connection: sqlite3.Connection, since: datetime, until: datetime
) -> Iterator[tuple[Series, date, Decimal, datetime]]:
    """(series, UTC day, cost, end of its newest charge) of the days that start in [since, until), by day."""
    known = known_series.numbered(connection)
    for rows in verified_days(connection, since, until):
        for day, series_id, billed_cost, end, _ in rows:
            yield known_series.named(known, series_id), from_day_number(day), Decimal(billed_cost), from_micros(end)


def charges_over(
    connection: sqlite3.Connection, series_ids: Iterable[int], period: Period, longest: timedelta
) -> Iterator[tuple[int, int, Decimal]]:
    """(start, end, cost) of the charges of these series that reach into the period, instants in microseconds.

    Charges that are longer than `longest` may be missed.
    """
    since, until = to_micros(period.start), to_micros(period.end)
    first = to_micros(period.start - longest)
    for series_id in series_ids:
        rows = connection.execute(_CHARGES_OVER, (series_id, first, until, since)).fetchall()
        _CHARGE.verify_all(rows)
        # Of several revisions the last one counts.
        newest = {(start, end): (cost, withdrawn) for _, start, end, _, cost, withdrawn, *_ in rows}
        for (start, end), (cost, withdrawn) in newest.items():
            if not withdrawn:
                yield start, end, Decimal(cost)


_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a batch changes of one series; `rows` are charges without the instant of observation."""

    rows: list[tuple[Value, ...]]
    days: list[DayChange]
    new: int
    revised: int
    withdrawn: int


def _by_series(source: str, batch: Batch) -> dict[Series, _Costs]:
    delivered: dict[Series, _Costs] = {}
    if any(instant % MICROSECONDS_PER_DAY for stretch in batch.unchanged for instant in _micros(stretch)):
        raise BadDataError(f"source {source} says of a part of a day that it is unchanged")
    for series in batch.replaces:
        if series.source != source:
            raise BadDataError(f"source {source} delivered charges in the name of {series.source}")
    for series, of_series in groupby(batch.charges, lambda charge: charge.series):
        window = batch.replaces.get(series)
        costs = delivered.setdefault(series, {})
        for charge in of_series:
            if window is None or charge.period.start not in window or charge.period.end <= charge.period.start:
                raise _bad(charge, "is outside the window that was read")
            if any(charge.period.start in stretch for stretch in batch.unchanged):
                raise _bad(charge, "is where nothing was to have changed")
            key, cost = _micros(charge.period), _canonical(charge)
            # The same row twice is one charge (a page that was served twice); two amounts for it are a contradiction.
            if costs.setdefault(key, cost) != cost:
                raise _bad(charge, "has two different amounts")
    return delivered


# Thousands of series are charged for the same few periods.
@lru_cache(maxsize=16384)
def _micros(period: Period) -> tuple[int, int]:
    return to_micros(period.start), to_micros(period.end)


def _canonical(charge: Charge) -> str:
    text = plain(charge.billed_cost) if charge.billed_cost.is_finite() else "not a number"
    if not is_amount(text):
        raise _bad(
            charge, "has no usable amount: it is no number, or longer than 15 digits before or 18 after the point"
        )
    return text


def _bad(charge: Charge, what: str) -> BadDataError:
    series, period = charge.series, charge.period
    named = ", ".join(filter(None, (series.account, series.service, series.region))) or "the total"
    return BadDataError(
        f"source {series.source}: the charge of {named} from {period.start:%Y-%m-%dT%H:%M:%SZ} "
        f"to {period.end:%Y-%m-%dT%H:%M:%SZ} {what}"
    )


def _starting_in(window: Period, costs: _Costs) -> _Costs:
    since, until = to_micros(window.start), to_micros(window.end)
    return {key: cost for key, cost in costs.items() if since <= key[0] < until}


def _by_window(
    tx: sqlite3.Connection, batch: Batch, ids: Mapping[Series, int]
) -> Iterator[tuple[Period, list[Series]]]:
    """Where charges are replaced, and of which series; with those that a whole answer does not name any more."""
    windows: dict[Period, list[Series]] = {}
    for series, window in batch.replaces.items():
        windows.setdefault(window, []).append(series)
    wholes: list[tuple[str | None, Period]] = [*batch.whole_accounts.items()]
    if batch.whole is not None:
        wholes.append((None, batch.whole))
    booked: dict[Period, set[int]] = {}
    for account, window in wholes:
        if window not in booked:
            days = (to_micros(window.start) // MICROSECONDS_PER_DAY, first_day_from(window.end))
            booked[window] = {number for (number,) in tx.execute(_BOOKED_BETWEEN, days)}
        inside = booked[window]
        known = (series for series, number in ids.items() if number in inside and account in (None, series.account))
        windows.setdefault(window, []).extend(series for series in known if series not in batch.replaces)
    for window, named in windows.items():
        for stretch in without(window, batch.unchanged):
            yield stretch, named


def _compare(series_id: int, window: Period, rows: list[tuple[Any, ...]], delivered: _Costs) -> _Change | None:
    """What of the stored charges in the window is new, different, or gone. None: nothing.

    `rows`: of every charge on the UTC days that the window touches, revisions in order.
    """
    since, until = to_micros(window.start), to_micros(window.end)
    revisions: dict[tuple[int, int], int] = {}
    stored: _Costs = {}
    for _, start, end, revision, billed_cost, withdrawn, *_ in rows:
        revisions[start, end] = revision
        stored[start, end] = None if withdrawn else billed_cost
    after = {key: cost for key, cost in stored.items() if not since <= key[0] < until}
    after |= delivered
    changed = [key for key, cost in after.items() if stored.get(key, _ABSENT) != cost]
    gone = [key for key, cost in stored.items() if cost is not None and key not in after]
    if not changed and not gone:
        return None
    new_rows: list[tuple[Value, ...]] = []
    new_rows += ((series_id, *key, revisions.get(key, -1) + 1, after[key], 0) for key in changed)
    new_rows += ((series_id, *key, revisions[key] + 1, "0", 1) for key in gone)
    new = sum(key not in stored for key in changed)
    days = {key[0] // MICROSECONDS_PER_DAY for key in (*changed, *gone)}
    return _Change(
        rows=new_rows,
        days=[_day(number, series_id, stored, after) for number in days],
        new=new,
        revised=len(changed) - new,
        withdrawn=len(gone),
    )


_ABSENT = "absent"


def _stored(tx: sqlite3.Connection, series_ids: Iterable[int], window: Period) -> dict[int, list[tuple[Any, ...]]]:
    """Every charge of these series on the whole UTC days that the window touches, by series, revisions in order."""
    since, until = to_micros(window.start), to_micros(window.end)
    first = since - since % MICROSECONDS_PER_DAY
    last = until + -until % MICROSECONDS_PER_DAY
    rows = tx.execute(_CHARGES_BETWEEN, (json.dumps(sorted(series_ids)), first, last)).fetchall()
    _CHARGE.verify_all(rows)
    return {series_id: list(found) for series_id, found in groupby(rows, itemgetter(0))}


def _day(number: int, series_id: int, before: _Costs, after: _Costs) -> DayChange:
    ends = [end for (start, end), cost in after.items() if cost is not None and start // MICROSECONDS_PER_DAY == number]
    return DayChange(
        day=number,
        series_id=series_id,
        before=_total_of(number, before),
        after=_total_of(number, after),
        until=max(ends, default=0),
    )


def _costs_less(days: list[DayChange]) -> bool:
    before = total([Decimal(day.before) for day in days if day.before is not None])
    return total([Decimal(day.after) for day in days if day.after is not None]) < before


def _total_of(day: int, costs: _Costs) -> str | None:
    live = [
        Decimal(cost) for (start, _), cost in costs.items() if cost is not None and start // MICROSECONDS_PER_DAY == day
    ]
    return plain(total(live)) if live else None
