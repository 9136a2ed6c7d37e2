"""`monitor spend` for people: what the head says, how old each row is, and that it fits 80 columns."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Period
from monitor import registry, spend
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


@pytest.mark.parametrize(
    ("by", "key", "asks"),
    [("run", "(not told by aws)", "run_tag"), ("tag:team", "(not told by aws)", "tags")]
    + [(by, "(unattributed)", "by") for by in ("account", "region", "service")],
)
def test_what_no_charge_of_a_source_ever_told_is_not_called_untagged(by: str, key: str, asks: str) -> None:
    plain = Series("aws", "USD")
    telling = Series("gcp", "USD", account="p", region="us", service="GPU", run="llama", tags=(("team", "ml"),))
    untagged = Series("gcp", "USD", account="p", region="us", service="GPU")
    known = [plain, telling, untagged]
    totals = [spend.DayTotal(one, date(2026, 11, 2), Decimal(7), NOW) for one in (plain, untagged)]
    rows = spend.group(totals, by, frozenset(), known=known)
    of_gcp = "(untagged)" if asks != "by" else getattr(untagged, by)
    assert {row.key for row in rows} == {key, of_gcp}
    lines = spend.as_table(rows, by, Period(datetime(2026, 11, 1, tzinfo=UTC), NOW), NOW).split("\n")
    note = " ".join(lines[next(place for place, line in enumerate(lines) if line.startswith("No charge")) :])
    assert note.startswith(f"No charge of aws ever told its {by}: `{asks}` in a [[sources]] table asks for it, where ")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("by", ["source", "day", "service"])
def test_nothing_is_said_of_sources_that_tell(by: str) -> None:
    series = Series("aws", "USD", service="EC2")
    rest = Series("aws", "USD", service="(unattributed)")
    totals = [spend.DayTotal(one, date(2026, 11, 2), Decimal(7), NOW) for one in (series, rest)]
    rows = spend.group(totals, by, frozenset(), known=[series, rest])
    text = spend.as_table(rows, by, Period(datetime(2026, 11, 1, tzinfo=UTC), NOW), NOW)
    assert "No charge" not in text


def test_the_types_that_can_be_asked_are_those_that_have_the_key() -> None:
    for grouping, (key, types) in spend.TELLING.items():
        having = set()
        for name in registry.names():
            field = registry.settings_of(name).model_fields.get(key)
            if field is not None and (key != "by" or f"'{grouping}'" in str(field.annotation)):
                having.add(name)
        assert having == set(types), grouping
