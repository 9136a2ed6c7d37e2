"""The Query API of Azure Cost Management in words: what is asked, and how its answers are read. Pure.

Amounts are read from the text of an answer, exactly: the SDK would make floats of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from alarms.clients import strict_json
from alarms.clients.azure_answers import token_of
from alarms.money import to_places
from monitor.errors import BadDataError

_LIMIT = Decimal(10) ** 15
_TEXTS = frozenset((str, type(None)))
_COSTS = ("cost", "pretaxcost")
_DAMAGED = "what answered the query was not Cost Management, or its answer is damaged"

# (currency, day, values) of a row; null and "" are two groups to Azure
Key: TypeAlias = tuple[str, date, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class Column:
    """What to group by: a dimension of Azure, or the key of a tag."""

    name: str
    is_tag: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Costs of `scope` from the UTC day `first` to `last`, both included, grouped by two columns at most.

    `charge_types`: of these alone. `daily`: by day, else the sum of all.
    """

    scope: str
    first: date
    last: date
    grouping: tuple[Column, ...] = ()
    charge_types: tuple[str, ...] = ()
    daily: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """The cost of one combination of what was grouped by ("" for none), on one day (the first asked for, of a sum)."""

    day: date
    values: tuple[str, ...]
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows in the wanted currency; the other currencies that there were; how many rows were unusable.

    `spoilt`: the days of those that may be in the wanted one, None for one that does not tell its own.
    """

    rows: tuple[Row, ...]
    others: frozenset[str] = frozenset()
    rejected: int = 0
    spoilt: frozenset[date | None] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came. `columns` in lower case; `token`: of the next page, "" if this is the last."""

    columns: tuple[str, ...]
    rows: list[Any]
    token: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where what stands in the rows of a page; `day` None: they are sums of all days."""

    width: int
    currency: int
    cost: int
    groups: tuple[int, ...]
    day: int | None


def definition(query: Query) -> dict[str, Any]:
    """The body of a request. Days are named, not "month to date": that would be the month by Azure's clock."""
    dataset: dict[str, Any] = {
        "granularity": "Daily" if query.daily else "None",
        "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
        "grouping": [
            {"type": "TagKey" if column.is_tag else "Dimension", "name": column.name} for column in query.grouping
        ],
    }
    if query.charge_types:
        wanted = {"name": "ChargeType", "operator": "In", "values": list(query.charge_types)}
        dataset["filter"] = {"dimensions": wanted}
    return {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": f"{query.first}T00:00:00+00:00", "to": f"{query.last}T23:59:59+00:00"},
        "dataset": dataset,
    }


def read_page(body: bytes | None) -> Page:
    """A page from the text of an answer; None is the one without content. Raises BadDataError."""
    if body is None:
        return Page((), [], "")
    try:
        # Not a float in between; what JSON cannot hold (NaN) stays a text, which is no amount.
        document = strict_json.loads(body, "Azure", BadDataError, parse_float=Decimal, parse_constant=str)
        properties = document["properties"]
        columns = tuple(column["name"].lower() for column in properties["columns"])
        rows, link = properties["rows"], properties.get("nextLink")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadDataError(_DAMAGED) from error
    if not isinstance(rows, list) or not isinstance(link, str | None):
        raise BadDataError(_DAMAGED)
    token = token_of(link)
    if link and not token:
        raise BadDataError("Azure named a next page without saying which")
    return Page(columns, rows, token)


def places_of(columns: tuple[str, ...], query: Query) -> Places:
    """Where what stands; the order is the server's."""
    cost = next((name for name in _COSTS if name in columns), _COSTS[0])
    named = ["currency", cost, *(_column_of(column) for column in query.grouping)]
    named += ["usagedate"] if query.daily else []
    lacking = [name for name in named if columns and columns.count(name) != 1]
    if lacking:
        raise BadDataError(f"Azure answered a query without the column {lacking[0]}, or with two of them")
    # A page without columns has no rows either: none is as wide as this.
    currency, cost_at, *more = (columns.index(name) for name in named) if columns else [-1] * len(named)
    groups = tuple(more[: len(query.grouping)])
    return Places(len(columns) or -1, currency, cost_at, groups, more[-1] if query.daily else None)


def _column_of(column: Column) -> str:
    return "tagvalue" if column.is_tag else column.name.lower()


def read_row(raw: Any, places: Places, query: Query) -> tuple[Key, Decimal] | None:
    """(currency, day, values), cost of a row; None if it is unusable. Raises BadDataError for another shape."""
    if not isinstance(raw, list) or len(raw) != places.width:
        raise BadDataError("Azure answered a query with rows that do not fit their columns")
    cost, currency = _amount(raw[places.cost]), raw[places.currency]
    day = query.first if places.day is None else _day(raw[places.day])
    values = tuple([raw[place] for place in places.groups])
    if cost is None or day is None or not isinstance(currency, str) or not _TEXTS.issuperset(map(type, values)):
        return None
    if not query.first <= day <= query.last:
        raise BadDataError(f"Azure answered for {day}, a day that it was not asked for")
    return (currency, day, values), cost


def spoilt_day(raw: list[Any], places: Places, query: Query) -> date | None:
    """The day of an unusable row, None if that cannot be told."""
    day = query.first if places.day is None else _day(raw[places.day])
    return day if day is not None and query.first <= day <= query.last else None


def _amount(value: Any) -> Decimal | None:
    """An exact amount, at most 18 places; None for what is none."""
    amount = Decimal(value) if type(value) is int else value
    if not isinstance(amount, Decimal) or not -_LIMIT < amount < _LIMIT:
        return None
    return to_places(amount)


def _day(value: Any) -> date | None:
    """20261101, a number."""
    return _date(value) if type(value) is int else None


@lru_cache(maxsize=1024)  # thousands of rows are of the same few days
def _date(value: int) -> date | None:
    try:
        return date(value // 10000, value // 100 % 100, value % 100)
    except (OverflowError, ValueError):
        return None
