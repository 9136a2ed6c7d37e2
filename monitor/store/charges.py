"""The ledger: what the sources have published, every revision of it, and exact totals per series and UTC day."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from alarms.money import EXACT, parse_amount, plain, total
from monitor.errors import BadDataError
from monitor.model import UNATTRIBUTED, Batch, Charge, Series
from monitor.store import meters
from monitor.store.rollup import DayChange, verified_days, verified_totals, write_days
from monitor.store.rows import (
    MICROSECONDS_PER_DAY,
    Table,
    Value,
    from_day_number,
    from_micros,
    to_micros,
)

_SERIES = Table("series", ("id", "source", "currency", "account", "service", "region", "run", "tags"))
_CHARGE = Table(
    "charge", ("series_id", "start_at", "end_at", "revision", "billed_cost", "withdrawn", "observed_at"), key=4
)

_CHARGES_BETWEEN = (
    _CHARGE.select + "WHERE series_id = ? AND start_at >= ? AND start_at < ? ORDER BY start_at, end_at, revision"
)

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
    ids = _series_ids(tx, source, batch.replaces)
    result = Replaced()
    rows: list[tuple[Value, ...]] = []
    days: list[DayChange] = []
    for series, window in batch.replaces.items():
        change = _compare(tx, ids[series], window, delivered.get(series, {}))
        if change is not None:
            rows += (_CHARGE.seal(*row, to_micros(observed_at)) for row in change.rows)
            days += change.days
            result = _sum_of(result, change.counts)
            if UNATTRIBUTED not in (series.account, series.service) and _costs_less(change.days):
                result = _sum_of(result, Replaced(fallen=1))
    tx.executemany(_CHARGE.insert, rows)
    write_days(tx, days)
    meters.write(tx, source, batch.meters)
    return result


def totals_by_series(connection: sqlite3.Connection, period: Period) -> dict[Series, Decimal]:
    """What each series cost on the UTC days that start in the period; a series without a charge there is absent."""
    sums: dict[int, Decimal] = {}
    for rows in verified_totals(connection, period.start, period.end):
        for _, series_id, billed_cost, _, _ in rows:
            sums[series_id] = EXACT.add(sums.get(series_id, _ZERO), Decimal(billed_cost))
    known = _all_series(connection)
    return {_named(known, series_id): amount for series_id, amount in sums.items()}


def day_totals(
    connection: sqlite3.Connection, since: datetime, until: datetime
) -> Iterator[tuple[Series, date, Decimal, datetime]]:
    """(series, UTC day, cost, end of its newest charge) of the days that start in [since, until), by day."""
    known = _all_series(connection)
    for rows in verified_days(connection, since, until):
        for day, series_id, billed_cost, end, _ in rows:
            yield _named(known, series_id), from_day_number(day), Decimal(billed_cost), from_micros(end)


def known_series(connection: sqlite3.Connection) -> list[Series]:
    """Every series that ever had a charge."""
    return list(_all_series(connection).values())


def numbered_series(connection: sqlite3.Connection) -> dict[int, Series]:
    """The same, by their numbers in the store."""
    return _all_series(connection)


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
    counts: Replaced


def _by_series(source: str, batch: Batch) -> dict[Series, _Costs]:
    delivered: dict[Series, _Costs] = {}
    for series in batch.replaces:
        if series.source != source:
            raise BadDataError(f"source {source} delivered charges in the name of {series.source}")
    for charge in batch.charges:
        window = batch.replaces.get(charge.series)
        if window is None or charge.period.start not in window or charge.period.end <= charge.period.start:
            raise _bad(charge, "is outside the window that was read")
        costs = delivered.setdefault(charge.series, {})
        key = (to_micros(charge.period.start), to_micros(charge.period.end))
        cost = _canonical(charge)
        # The same row twice is one charge (a page that was served twice); two amounts for it are a contradiction.
        if costs.setdefault(key, cost) != cost:
            raise _bad(charge, "has two different amounts")
    return delivered


def _canonical(charge: Charge) -> str:
    text = plain(charge.billed_cost) if charge.billed_cost.is_finite() else "not a number"
    try:
        parse_amount(text)
    except ValueError as error:
        raise _bad(charge, f"has no usable amount: {error}") from error
    return text


def _bad(charge: Charge, what: str) -> BadDataError:
    series, period = charge.series, charge.period
    named = ", ".join(filter(None, (series.account, series.service, series.region))) or "the total"
    return BadDataError(
        f"source {series.source}: the charge of {named} from {period.start:%Y-%m-%dT%H:%M:%SZ} "
        f"to {period.end:%Y-%m-%dT%H:%M:%SZ} {what}"
    )


def _series_ids(tx: sqlite3.Connection, source: str, wanted: Iterable[Series]) -> dict[Series, int]:
    ids = {series: number for number, series in _all_series(tx).items() if series.source == source}
    (last,) = tx.execute("SELECT coalesce(max(id), 0) FROM series").fetchone()
    for series in wanted:
        if series not in ids:
            last += 1
            ids[series] = last
            tx.execute(_SERIES.insert, _SERIES.seal(last, *_series_columns(series)))
    return ids


def _series_columns(series: Series) -> tuple[str, ...]:
    tags = json.dumps(series.tags)
    return (series.source, series.currency, series.account, series.service, series.region, series.run, tags)


def _to_series(row: tuple[Value, ...]) -> tuple[int, Series]:
    number, source, currency, account, service, region, run, tags = _SERIES.verified(row)
    pairs = tuple((key, value) for key, value in json.loads(tags)) if tags != "[]" else ()
    return number, Series(source, currency, account, service, region, run, pairs)


def _all_series(connection: sqlite3.Connection) -> dict[int, Series]:
    # Not by the index: a series that a damaged index does not find would get a second number, and count twice.
    return dict(map(_to_series, connection.execute(_SERIES.select + "NOT INDEXED")))


def _named(known: Mapping[int, Series], series_id: int) -> Series:
    series = known.get(series_id)
    if series is None:
        raise _SERIES.corrupt(series_id)
    return series


def _compare(tx: sqlite3.Connection, series_id: int, window: Period, delivered: _Costs) -> _Change | None:
    """What of the stored charges in the window is new, different, or gone. None: nothing."""
    since, until = to_micros(window.start), to_micros(window.end)
    revisions, stored = _stored(tx, series_id, since, until)
    after = {key: cost for key, cost in stored.items() if not since <= key[0] < until}
    after |= delivered
    changed = [key for key, cost in after.items() if stored.get(key, _ABSENT) != cost]
    gone = [key for key, cost in stored.items() if cost is not None and key not in after]
    if not changed and not gone:
        return None
    rows: list[tuple[Value, ...]] = []
    rows += ((series_id, *key, revisions.get(key, -1) + 1, after[key], 0) for key in changed)
    rows += ((series_id, *key, revisions[key] + 1, "0", 1) for key in gone)
    new = sum(key not in stored for key in changed)
    days = {key[0] // MICROSECONDS_PER_DAY for key in (*changed, *gone)}
    return _Change(
        rows=rows,
        days=[_day(number, series_id, stored, after) for number in days],
        counts=Replaced(new, len(changed) - new, len(gone)),
    )


_ABSENT = "absent"


def _stored(
    tx: sqlite3.Connection, series_id: int, since: int, until: int
) -> tuple[dict[tuple[int, int], int], _Costs]:
    """The newest revision and its cost of every charge on the whole UTC days that the window touches."""
    first = since - since % MICROSECONDS_PER_DAY
    last = until + -until % MICROSECONDS_PER_DAY
    revisions: dict[tuple[int, int], int] = {}
    costs: _Costs = {}
    rows = tx.execute(_CHARGES_BETWEEN, (series_id, first, last)).fetchall()
    _CHARGE.verify_all(rows)
    for _, start, end, revision, billed_cost, withdrawn, *_ in rows:
        revisions[start, end] = revision
        costs[start, end] = None if withdrawn else billed_cost
    return revisions, costs


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


def _sum_of(one: Replaced, other: Replaced) -> Replaced:
    return Replaced(
        one.new + other.new,
        one.revised + other.revised,
        one.withdrawn + other.withdrawn,
        one.fallen + other.fallen,
    )
