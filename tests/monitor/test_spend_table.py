"""`monitor spend` for people: what the head says, and that it fits 80 columns."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from alarms.model import Period
from monitor import spend
from monitor.model import CREDIT, Series

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


def table(since: datetime, *, credited: bool = False) -> list[str]:
    series = [Series("aws", "USD", service="A service whose name is much longer than any column may ever become")]
    series += [Series("aws", "USD", service="Amazon", charge_category=CREDIT)] if credited else []
    amount = Decimal("-999999.99") if credited else Decimal("99999999999.99")
    totals = [spend.DayTotal(one, date(2026, 11, 2), amount, NOW) for one in series]
    rows = spend.group(totals, "service", frozenset({"aws"}))
    return spend.as_table(rows, "service", Period(since, NOW), NOW).split("\n")


@pytest.mark.parametrize(
    ("since", "text"),
    [(datetime(2026, 11, 1, tzinfo=UTC), "1 Nov 2026"), (datetime(1, 1, 1, tzinfo=UTC), "1 Jan 0001")],
)
def test_the_head_says_from_when_until_when(since: datetime, text: str) -> None:
    assert table(since)[0] == f"Billed from {text} until 23 Nov 2026 18:00 UTC, by service"


@pytest.mark.parametrize("credited", [False, True])
def test_it_fits_80_columns_also_where_parts_are_missing(credited: bool) -> None:
    lines = table(datetime(2026, 11, 1, tzinfo=UTC), credited=credited)
    assert max(map(len, lines)) <= 80
    assert lines[3].endswith(" +")
    assert lines[-1] == "+ at least so much: parts could not be read."
