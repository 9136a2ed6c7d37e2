"""The usage of a simulated Azure, and the Query API over it: grouped, filtered and cut as the real one does it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

# The real one leaves out what is asked for beyond this, from the oldest on, and does not say so.
_MOST_DAYS = 31
_MOST_GROUPS = 2
_DAY = timedelta(days=1)
# No text of a bill holds this.
_MARK = "@decimal@"


@dataclass(frozen=True, slots=True)
class Usage:
    """A line of the bill."""

    day: date
    subscription: str
    service: str
    cost: Decimal
    currency: str = "USD"
    charge_type: str = "Usage"
    region: str = "eastus"
    resource_group: str = "training"
    tags: Mapping[str, str] = field(default_factory=dict)


class QueryError(Exception):
    """A query that the API does not answer: its status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Table:
    """An answer: its columns with their types, and its rows."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]


_DIMENSIONS: Mapping[str, Callable[[Usage], str]] = {
    "subscriptionid": lambda usage: usage.subscription,
    "servicename": lambda usage: usage.service,
    "resourcelocation": lambda usage: usage.region,
    "resourcegroupname": lambda usage: usage.resource_group,
    "resourcegroup": lambda usage: usage.resource_group,
    "chargetype": lambda usage: usage.charge_type,
}
_GROUP = re.compile(r"/subscriptions/(?P<subscription>[^/]+)(?:/resourcegroups/(?P<group>[^/]+))?", re.IGNORECASE)


def in_scope(usage: Iterable[Usage], scope: str) -> list[Usage]:
    """What a scope holds: a subscription, a resource group, or everything."""
    match = _GROUP.fullmatch(scope)
    if match is None:
        return list(usage)
    of_subscription = [one for one in usage if one.subscription.lower() == match["subscription"].lower()]
    group = match["group"]
    return [one for one in of_subscription if group is None or one.resource_group.lower() == group.lower()]


def answer(usage: Iterable[Usage], definition: Mapping[str, Any]) -> Table:
    """What a query definition gives. Raises QueryError."""
    dataset = definition.get("dataset", {})
    first, last, daily = _days(definition, dataset)
    groups = dataset.get("grouping", [])
    if len(groups) > _MOST_GROUPS:
        raise QueryError(400, "BadRequest", "Invalid query definition: the number of groupings is limited to 2.")
    readers = [_reader(group) for group in groups]
    (aggregation,) = dataset["aggregation"].values()
    wanted = _filter(dataset.get("filter"))
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for one in usage:
        if first <= one.day <= last and wanted(one):
            values = [value for read in readers for value in read(one)]
            sums[(*((_number(one.day),) if daily else ()), *values, one.currency)] += one.cost
    columns = [(aggregation["name"], "Number"), *([("UsageDate", "Number")] if daily else [])]
    columns += [(name, "String") for group in groups for name in _names(group)]
    columns.append(("Currency", "String"))
    ordered = sorted(sums.items(), key=lambda item: [str(part) for part in item[0]])
    return Table(tuple(columns), tuple((cost, *key) for key, cost in ordered))


def page(table: Table, start: int, size: int) -> tuple[Sequence[tuple[Any, ...]], int | None]:
    """Rows from a place on, and where the next page starts, None if there is none."""
    rows = table.rows[start : start + size]
    return rows, start + size if start + size < len(table.rows) else None


def _days(definition: Mapping[str, Any], dataset: Mapping[str, Any]) -> tuple[date, date, bool]:
    if definition.get("type") != "ActualCost" or definition.get("timeframe") != "Custom":
        raise QueryError(400, "BadRequest", "Invalid query definition: this one serves ActualCost over Custom alone.")
    period = definition["timePeriod"]
    first, last = date.fromisoformat(period["from"][:10]), date.fromisoformat(period["to"][:10])
    if last < first:
        raise QueryError(400, "BadRequest", "Invalid query definition: the end of the time period is before its start.")
    daily = dataset.get("granularity") == "Daily"
    return max(first, last - (_MOST_DAYS - 1) * _DAY) if daily else first, last, daily


def _reader(group: Mapping[str, str]) -> Callable[[Usage], tuple[str | None, ...]]:
    name = group["name"]
    if group["type"] == "TagKey":
        return lambda usage: (name, usage.tags.get(name))
    read = _DIMENSIONS.get(name.lower())
    if read is None:
        raise QueryError(400, "BadRequest", f"Invalid query definition: Invalid dataset grouping: '{name}'; ...")
    return lambda usage: (read(usage),)


def _names(group: Mapping[str, str]) -> tuple[str, ...]:
    return ("TagKey", "TagValue") if group["type"] == "TagKey" else (group["name"],)


def _filter(definition: Mapping[str, Any] | None) -> Callable[[Usage], bool]:
    if definition is None:
        return lambda usage: True  # noqa: ARG005 - no filter takes everything
    wanted = definition["dimensions"]
    read = _DIMENSIONS[wanted["name"].lower()]
    values = {value.lower() for value in wanted["values"]}
    return lambda usage: read(usage).lower() in values


def _number(day: date) -> int:
    return day.year * 10000 + day.month * 100 + day.day


def document(table: Table, rows: Sequence[tuple[Any, ...]], scope: str, link: str | None) -> bytes:
    """A page as it goes over the wire."""
    columns = [{"name": name, "type": type_} for name, type_ in table.columns]
    properties = {"nextLink": link, "columns": columns, "rows": [list(row) for row in rows]}
    named = {"id": f"{scope.strip('/')}/providers/Microsoft.CostManagement/query/simulated", "name": "simulated"}
    fixed = {"type": "Microsoft.CostManagement/query", "location": None, "sku": None, "eTag": None}
    return to_json({**named, **fixed, "properties": properties})


def to_json(document: Any) -> bytes:
    """JSON in which a Decimal is a number with exactly its digits."""
    text = json.dumps(document, default=lambda number: f"{_MARK}{number:f}{_MARK}")
    return re.sub(f'"{_MARK}(.*?){_MARK}"', r"\1", text).encode()
