"""One total seen through several groupings, as series that add up to it whatever the views leave out. Pure.

An API that groups by two columns at once shows no more than the total by a column ("root") and each further column
with that one. The parts of the first view are series; what remains of the total is nobody's. A part of a later view is
taken from what is nobody's in the first: there it stands once with its own name and once, below zero, without. So the
sum by any single column is that column's, and the sum of all is the total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from alarms.money import EXACT
from monitor.model import UNATTRIBUTED, Series

_TAG = "tag:"
# Sums of floats in another order differ in their last digits; nobody is owed those.
NOISE = Decimal("0.000001")

# By (value of the root, day), and by (value of the root, value of the view, day). "" where a charge has none.
Totals: TypeAlias = Mapping[tuple[str, date], Decimal]
Parts: TypeAlias = Mapping[tuple[str, str, date], Decimal]
Cells: TypeAlias = dict[tuple[Series, date], Decimal]


@dataclass(frozen=True, slots=True)
class View:
    """A total by the root and one more column: `field` is that of a series, or `tag:KEY`."""

    field: str
    parts: Parts


def tag_field(key: str) -> str:
    """The field of a tag."""
    return _TAG + key


def split(series: Series, root: str, totals: Totals, views: Sequence[View]) -> Cells:
    """The cost of each series and day. `series`: what all have in common; `root`: a field, "" for none."""
    cells: Cells = defaultdict(Decimal)
    if not views:
        for (value, day), cost in totals.items():
            _add(cells, named(series, root, value), day, cost)
        return dict(cells)
    first, *others = views
    _split_first(cells, series, root, totals, first)
    for view in others:
        for (value, part, day), cost in view.parts.items():
            if part:
                nobody = named(named(series, root, value), first.field, "")
                _add(cells, named(nobody, view.field, part), day, cost)
                _add(cells, nobody, day, -cost)
    return dict(cells)


def by_series(cells: Cells) -> dict[Series, dict[date, Decimal]]:
    """The cost of each day, for each series."""
    found: dict[Series, dict[date, Decimal]] = {}
    for (series, day), cost in cells.items():
        found.setdefault(series, {})[day] = cost
    return found


@lru_cache(maxsize=4096)  # asked for each day anew
def named(series: Series, field: str, value: str) -> Series:
    """The series with this value in a field; nobody's, where accounts and services have no value."""
    if not field:
        return series
    if field.startswith(_TAG):
        pair = (field.removeprefix(_TAG), value)
        return replace(series, tags=tuple(sorted({*series.tags, pair}))) if value else series
    if not value and field in ("account", "service"):
        value = UNATTRIBUTED
    changes: dict[str, str] = {field: value}
    return replace(series, **changes)  # type: ignore[arg-type] # a field of text


def _split_first(cells: Cells, series: Series, root: str, totals: Totals, view: View) -> None:
    rest = dict(totals)
    told = {(value, day) for value, part, day in view.parts if not part}
    largest: dict[tuple[str, date], tuple[Decimal, str]] = {}
    for (value, part, day), cost in view.parts.items():
        if part:
            _add(cells, named(named(series, root, value), view.field, part), day, cost)
            rest[value, day] = EXACT.subtract(rest.get((value, day), Decimal(0)), cost)
            largest[value, day] = max(largest.get((value, day), (abs(cost), part)), (abs(cost), part))
    for (value, day), cost in rest.items():
        if (value, day) in largest and (value, day) not in told and abs(cost) <= NOISE:
            part = largest[value, day][1]
            _add(cells, named(named(series, root, value), view.field, part), day, cost)
        else:
            _add(cells, named(named(series, root, value), view.field, ""), day, cost)


def _add(cells: Cells, series: Series, day: date, cost: Decimal) -> None:
    cells[series, day] = EXACT.add(cells[series, day], cost)
