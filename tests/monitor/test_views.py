"""One total through several groupings: whatever the views leave out, the series add up to it, by each column too."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from monitor.model import UNATTRIBUTED, Series
from monitor.views import Cells, View, split

DAY = date(2026, 11, 1)
S = Series("azure", "USD")

costs = st.decimals("-1000", "1000", places=9)
names = st.sampled_from(["", "a", "b", "c"])
days = st.dates(DAY, date(2026, 11, 3))
lines = st.lists(st.tuples(names, names, names, names, days, costs), max_size=30)


def seen(rows: list[tuple[str, str, str, str, date, Decimal]], place: int) -> dict[tuple[str, str, date], Decimal]:
    sums: dict[tuple[str, str, date], Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row[0], row[place], row[4]] += row[5]
    return sums


def by(cells: Cells, what: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for (series, _), cost in cells.items():
        sums[dict(series.tags).get("team", "") if what == "team" else getattr(series, what)] += cost
    return {name: cost for name, cost in sums.items() if cost}


def truth(rows: list[tuple[str, str, str, str, date, Decimal]], place: int, none: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row[place] or none] += row[5]
    return {name: cost for name, cost in sums.items() if cost}


@given(lines)
def test_every_column_and_the_total_are_exact(rows: list[tuple[str, str, str, str, date, Decimal]]) -> None:
    totals: dict[tuple[str, date], Decimal] = defaultdict(Decimal)
    for row in rows:
        totals[row[0], row[4]] += row[5]
    views = [View("service", seen(rows, 1)), View("run", seen(rows, 2)), View("tag:team", seen(rows, 3))]
    cells = split(S, "account", totals, views)
    assert sum(cells.values()) == sum(row[5] for row in rows)
    for what, place, none in (
        ("account", 0, UNATTRIBUTED),
        ("service", 1, UNATTRIBUTED),
        ("run", 2, ""),
        ("team", 3, ""),
    ):
        assert by(cells, what) == truth(rows, place, none), what
        for root in ("a", "b", "c"):
            mine = {key: cost for key, cost in cells.items() if key[0].account == root}
            assert by(mine, what) == truth([row for row in rows if row[0] == root], place, none), (root, what)


@given(lines, lines)
def test_a_view_that_does_not_fit_changes_no_total(
    rows: list[tuple[str, str, str, str, date, Decimal]], others: list[tuple[str, str, str, str, date, Decimal]]
) -> None:
    totals: dict[tuple[str, date], Decimal] = defaultdict(Decimal)
    for row in rows:
        totals[row[0], row[4]] += row[5]
    cells = split(S, "account", totals, [View("service", seen(others, 1)), View("run", seen(others, 2))])
    assert sum(cells.values()) == sum(totals.values())


def test_what_is_left_is_nobodys() -> None:
    cells = split(S, "", {("", DAY): Decimal(10)}, [View("service", {("", "vm", DAY): Decimal(7)})])
    assert {series.service: cost for (series, _), cost in cells.items()} == {"vm": 7, UNATTRIBUTED: 3}


def test_the_last_digits_of_a_float_make_no_series() -> None:
    parts = {("", "vm", DAY): Decimal("7.1"), ("", "disk", DAY): Decimal("2.9")}
    cells = split(S, "", {("", DAY): Decimal("10.000000000000002")}, [View("service", parts)])
    assert {series.service: cost for (series, _), cost in cells.items()} == {
        "vm": Decimal("7.100000000000002"),
        "disk": Decimal("2.9"),
    }


def test_a_part_of_a_later_view_stands_against_nobody() -> None:
    views = [View("service", {("a", "vm", DAY): Decimal(10)}), View("run", {("a", "llama", DAY): Decimal(4)})]
    cells = split(S, "account", {("a", DAY): Decimal(10)}, views)
    assert {(s.account, s.service, s.run): cost for (s, _), cost in cells.items()} == {
        ("a", "vm", ""): 10,
        ("a", UNATTRIBUTED, "llama"): 4,
        ("a", UNATTRIBUTED, ""): -4,
    }
