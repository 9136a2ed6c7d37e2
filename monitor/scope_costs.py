"""What one scope of Azure cost in some billing periods, as series that add up to its total.

A query groups by two columns at once. The first is by charge type, so that refunds stand apart, and the root of the
detail; every further column takes a query of its own, with the root, for each category of charges that there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

from alarms.clients.azure_scope import Scope
from alarms.model import Period
from alarms.money import EXACT, total
from monitor.clients.azure_cost import CostQueries
from monitor.clients.azure_query import Answer, Column, Query, Row
from monitor.errors import BadDataError
from monitor.model import CREDIT, Series
from monitor.views import NOISE, Cells, Parts, Totals, View, split, tag_field

K = TypeVar("K")

CHARGE_TYPE = Column("ChargeType")
_DIMENSIONS = {"account": "SubscriptionId", "service": "ServiceName", "region": "ResourceLocation"}
_USAGE, _ADJUSTMENT = "Usage", "Adjustment"
# Azure's charge types, in lower case; what is not here is an adjustment, and counts.
_CATEGORIES = {
    "": _USAGE,
    "usage": _USAGE,
    "unusedreservation": _USAGE,
    "unusedsavingsplan": _USAGE,
    "purchase": "Purchase",
    "tax": "Tax",
    "refund": CREDIT,
    "credit": CREDIT,
}
_DAY = timedelta(days=1)
_ZERO = Decimal(0)
# Two sums over the same days, read one after the other, may differ by so much.
_CENT, _SHARE = Decimal("0.01"), Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Detail:
    """What is wanted of each cost. `names_periods`: the billing period is not the UTC month, and is named."""

    source: str
    currency: str
    by: tuple[str, ...]
    run_tag: str | None = None
    tags: tuple[str, ...] = ()
    names_periods: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a scope.

    `covered`: from the first period with a cost to the end of the last, None if there is none. `used_until`: the last
    day of usage that cost something. `others`: currencies that are not the wanted one. `days`: those that cost
    something, by the first day of each period; without the `doubtful` ones, of which a row was unusable.
    """

    scope: Scope
    cells: Cells
    covered: Period | None
    used_until: date | None
    others: frozenset[str]
    rejected: int
    days: Mapping[date, frozenset[date]]
    doubtful: frozenset[date]


class ScopeReader:
    """Reads one scope through `queries`."""

    def __init__(self, detail: Detail, queries: CostQueries, scope: Scope) -> None:
        self._detail = detail
        self._queries = queries
        self._scope = scope
        # The subscription that a scope lies in needs no asking.
        by = [field for field in _DIMENSIONS if field in detail.by and not (field == "account" and scope.subscription)]
        self._root = by[0] if by else ""
        self._views = {field: Column(_DIMENSIONS[field]) for field in by[1:]}
        if detail.run_tag is not None:
            self._views["run"] = Column(detail.run_tag, is_tag=True)
        self._views |= {tag_field(key): Column(key, is_tag=True) for key in detail.tags}

    def read(self, periods: Sequence[Period]) -> Found:
        """What it cost in these periods, two at most, none longer than a query may be. Raises OutsideError."""
        cells: Cells = {}
        filled: list[Period] = []
        others: frozenset[str] = frozenset()
        rejected, used_until = 0, None
        days: dict[date, frozenset[date]] = {}
        doubtful: set[date] = set()
        for period in periods:
            query = self._query(period, CHARGE_TYPE)
            totals = self._queries.ask(query)
            others, rejected = others | totals.others, rejected + totals.rejected
            doubtful |= _days_of(totals.spoilt, query)
            more: Cells = {}
            if totals.rows:
                self._check_first_days(query, totals)
                more, unusable = self._cells(period, totals, doubtful)
                cells |= more
                rejected += unusable
                used_until = max(_days_of_use(more), default=used_until)
                filled.append(period)
            days[query.first] = frozenset(day for (_, day), cost in more.items() if cost) - doubtful
        covered = Period(filled[0].start, filled[-1].end) if filled else None
        return Found(self._scope, cells, covered, used_until, others, rejected, days, frozenset(doubtful))

    def _query(self, period: Period, column: Column, charge_types: tuple[str, ...] = ()) -> Query:
        root = (Column(_DIMENSIONS[self._root]),) if self._root else ()
        first, last = period.start.date(), (period.end - _DAY).date()
        return Query(self._scope.path, first, last, (column, *root), charge_types)

    def _cells(self, period: Period, totals: Answer, doubtful: set[date]) -> tuple[Cells, int]:
        """The cost of each series and day, and how many rows of the views were unusable; their days become doubtful.

        With an unusable row among the totals, what the views say of its day would be taken from nobody's cost, and so
        off the sum; with one among the later views, off its run or tag. Such a day is left out.
        """
        cells: Cells = {}
        rejected = 0
        left_out: set[date] = set()
        categories = _by_category(totals.rows)
        for category, rows in categories.items():
            # With one category alone there is nothing to tell apart.
            types = tuple(sorted({row.values[0] for row in rows})) if len(categories) > 1 else ()
            sums = _sums(((self._root_of(row), row.day), row.cost) for row in rows)
            views: list[View] = []
            for field, column in self._views.items():
                query = self._query(period, column, types)
                answer = self._queries.ask(query)
                doubtful |= _days_of(answer.spoilt, query)
                _check_days(rows, answer.rows)
                rejected += answer.rejected
                parts = _sums(((self._root_of(row), _value(field, row), row.day), row.cost) for row in answer.rows)
                if totals.rejected or (answer.rejected and views):
                    left_out |= _at_odds(sums, parts)
                views.append(View(field, parts))
            cells |= split(self._series(category, period), self._root, sums, views)
        doubtful |= left_out
        return {key: cost for key, cost in cells.items() if key[1] not in left_out}, rejected

    def _series(self, category: str, period: Period) -> Series:
        return Series(
            self._detail.source,
            self._detail.currency,
            account=self._scope.subscription,
            charge_category=category,
            billing_period=period.start.date().isoformat() if self._detail.names_periods else "",
        )

    def _root_of(self, row: Row) -> str:
        value = row.values[1] if self._root else ""
        return value.lower() if self._root == "account" else value

    def _check_first_days(self, query: Query, totals: Answer) -> None:
        """Azure may leave out the first days of a daily answer in silence: then all of them cost more than these."""
        if min(row.day for row in totals.rows) == query.first:
            return
        whole = self._queries.ask(replace(query, grouping=(), daily=False))
        known, there = _total(totals.rows), _total(whole.rows)
        if EXACT.subtract(there, known) > max(_CENT, EXACT.multiply(abs(there), _SHARE)):
            raise BadDataError(f"Azure answered without some of the days from {query.first} to {query.last}")


def _by_category(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(_CATEGORIES.get(row.values[0].lower(), _ADJUSTMENT), []).append(row)
    return found


def _days_of_use(cells: Cells) -> Iterator[date]:
    return (day for (series, day), cost in cells.items() if cost and series.charge_category == _USAGE)


def _days_of(spoilt: frozenset[date | None], query: Query) -> set[date]:
    """The days of unusable rows: any that was asked for, where one does not tell its own."""
    if None in spoilt:
        return {query.first + place * _DAY for place in range((query.last - query.first).days + 1)}
    return {day for day in spoilt if day is not None}


def _check_days(rows: Iterable[Row], parts: Iterable[Row]) -> None:
    """A view that lacks a day which has a cost was cut off; else it would take away what its parts had."""
    lacking = {row.day for row in rows if row.cost} - {row.day for row in parts}
    if lacking:
        raise BadDataError(f"Azure answered without {min(lacking)}, a day that has costs by another grouping")


def _at_odds(totals: Totals, parts: Parts) -> set[date]:
    """The days of which the parts are not the whole."""
    rest = _sums([*totals.items(), *(((value, day), cost.copy_negate()) for (value, _, day), cost in parts.items())])
    return {day for (_, day), cost in rest.items() if abs(cost) > NOISE}


def _value(field: str, row: Row) -> str:
    return row.values[0].lower() if field == "account" else row.values[0]


def _sums(costs: Iterable[tuple[K, Decimal]]) -> dict[K, Decimal]:
    sums: dict[K, Decimal] = {}
    for key, cost in costs:
        sums[key] = EXACT.add(sums.get(key, _ZERO), cost)
    return sums


def _total(rows: Iterable[Row]) -> Decimal:
    return total(row.cost for row in rows)
