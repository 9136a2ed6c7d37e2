"""`monitor spend` for people: what the head says, how old each row is, and that it fits 80 columns."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Period
from monitor import spend
from monitor.model import CREDIT, Batch, Series, Window
from monitor.store.database import open_store
from tests.monitor.test_cycle import MONTH, START, FakeSource, World

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


class WholeDays(FakeSource):
    """Its charges are those of whole days: the newest ends at midnight, which lies ahead of its data."""

    def fetch(self, window: Window) -> Batch:
        batch = super().fetch(window)
        midnight = datetime(2026, 11, 11, tzinfo=UTC)
        charges = tuple(replace(one, period=Period(MONTH.start, midnight)) for one in batch.charges)
        return replace(batch, charges=charges)


def test_a_row_is_as_old_as_the_data_of_its_source_though_its_day_is_not_over(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        azure = WholeDays("azure", month_to_date="10", as_of=START)
        world = World(store, [azure, FakeSource("aws", month_to_date="1", as_of=datetime(2026, 11, 8, 12, tzinfo=UTC))])
        world.now = datetime(2026, 11, 10, 17, tzinfo=UTC)
        world.turn()
        with store.read() as connection:
            rows = spend.read(connection, "source", Period(MONTH.start, world.now))
    assert {row.key: row.billed_until for row in rows} == {"azure": START, "aws": datetime(2026, 11, 8, 12, tzinfo=UTC)}
    lines = spend.as_table(rows, "source", Period(MONTH.start, world.now), world.now).split("\n")
    assert [line.split()[-2:] for line in lines if line.startswith("a")] == [["18", "h"], ["54", "h"]]
    (first, _) = json.loads(spend.as_json(rows, "source", MONTH))["rows"]
    assert (first["key"], first["billed_until"]) == ("azure", "2026-11-10T00:00:00Z")
