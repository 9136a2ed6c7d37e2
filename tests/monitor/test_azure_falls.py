"""Whole turns over a real store and an Azure that leaves something out: nothing booked falls, and it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.config import load
from monitor.cycle import Cycle
from monitor.freshness import Freshness, judge
from monitor.simulation.azure import SUBSCRIPTION, AzureCloud
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.azure_direct import direct_source
from tests.faults.world import Turns

ONE = f"/subscriptions/{SUBSCRIPTION}"
DAY = timedelta(days=1)
OTHER = "00000000-0000-0000-0000-000000000002"
BOTH = [ONE, f"/subscriptions/{OTHER}"]
GROUP = "/providers/Microsoft.Management/managementGroups/research"
CONFIG = """
[monitor]
receivers = ["oncall"]
[[sources]]
name = "azure"
type = "azure_cost"
scope = "{scope}"
every = "1m"
backfill = "1d"
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:NOBODY"
[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
thresholds = [{{ on = "actual", at = "100%", severity = "critical" }}]
"""


@dataclass
class World(Turns):
    """`change`: what befalls each answer on its way; None is nothing."""

    store: Store
    cloud: AzureCloud
    directory: Path
    now: datetime = datetime(2026, 11, 14, 12, tzinfo=UTC)
    change: Callable[[dict[str, Any]], None] | None = None
    cycle: Cycle = field(init=False)

    def reads(self, scope: str | list[str], **settings: Any) -> None:
        path = self.directory / "config.toml"
        path.write_text(CONFIG.format(scope=ONE))
        source = direct_source(self.cloud, self._changed, scope=scope, **settings)
        self.cycle = Cycle(load(path), [source], self.store, StoredOutbox(self.store))

    def bill(self, days: range, cost: str = "10", month: int = 11, **more: Any) -> None:
        for day in days:
            self.cloud.bill(date(2026, month, day), "Virtual Machines", cost, **more)

    def _changed(self, properties: dict[str, Any]) -> None:
        if self.change is not None:
            self.change(properties)

    @property
    def booked(self) -> Decimal:
        """All that is in the ledger, of every month."""
        with self.store.read() as connection:
            rows = connection.execute("SELECT billed_cost FROM month_total").fetchall()
        return sum((Decimal(cost) for (cost,) in rows), Decimal(0))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path / "state") as store:
        yield World(store, AzureCloud(None), tmp_path)


def by(properties: dict[str, Any], column: str) -> bool:
    return any(one["name"] == column for one in properties["columns"])


def unusable(column: str, day: int, value: str = "") -> Callable[[dict[str, Any]], None]:
    """The first cost of that day (and of this value) in the answer by this column is none."""

    def change(properties: dict[str, Any]) -> None:
        for row in properties["rows"] if by(properties, column) else []:
            if row[1] % 100 == day and value in ("", *row):
                row[0] = None
                return

    return change


def booked_140(world: World, **more: Any) -> None:
    """Of two subscriptions, so that a day of which one row is lost is still there."""
    world.bill(range(1, 15), "7", **more)
    world.bill(range(1, 15), "3", subscription=OTHER)
    world.turn()
    assert (world.booked, world.source["error"]) == (140, None)


# Both guards say it so: that of the source and that of the ledger.
SAID = "where it had"


@pytest.mark.parametrize("day", [1, 5, 14])
def test_an_unusable_row_of_the_totals_takes_nothing_off_what_the_columns_say(world: World, day: int) -> None:
    world.reads(GROUP)
    booked_140(world)
    world.change = unusable("ChargeType", day)
    world.turn()
    assert world.booked == 140
    assert SAID in world.source["error"]
    world.change = None
    world.turn()
    assert (world.booked, world.source["error"]) == (140, None)


def test_of_a_new_day_whose_totals_are_unusable_nothing_is_booked_and_the_rest_counts(world: World) -> None:
    world.reads(GROUP, run_tag="training-run")
    booked_140(world)
    world.bill(range(15, 17), "7")
    world.bill(range(15, 17), "3", subscription=OTHER)
    world.now += timedelta(days=2)
    world.change = unusable("ChargeType", 15)
    world.turn()
    assert (world.booked, world.source["missing"], world.source["error"]) == (150, ["1 unusable row"], None)
    world.change = None
    world.turn()
    assert (world.booked, world.source["missing"]) == (160, [])


def test_an_unusable_row_by_run_takes_nothing_off_a_run(world: World) -> None:
    world.reads(GROUP, run_tag="training-run")
    booked_140(world, tags={"training-run": "llama"})
    world.change = unusable("TagKey", 5, "llama")
    world.turn()
    with world.store.read() as connection:
        rows = connection.execute(
            "SELECT billed_cost FROM month_total JOIN series ON series.id = series_id WHERE run = 'llama'"
        ).fetchall()
    assert (rows, world.booked) == ([("98",)], 140)
    assert SAID in world.source["error"]


def test_a_day_of_nobodys_costs_does_not_fall_by_an_unusable_row_either(world: World) -> None:
    world.reads(GROUP)
    for day in range(1, 15):
        world.cloud.bill(date(2026, 11, day), "", "7")
        world.cloud.bill(date(2026, 11, day), "", "3", subscription=OTHER)
    world.turn()
    world.change = unusable("ChargeType", 5)
    world.turn()
    assert world.booked == 140
    assert SAID in world.source["error"]


def without(days: range, month: int = 11, account: str = SUBSCRIPTION) -> Callable[[AzureCloud], None]:
    """These days of a subscription's usage are gone."""

    def cut(cloud: AzureCloud) -> None:
        gone = {date(2026, month, day) for day in days}
        cloud.usage = [one for one in cloud.usage if one.day not in gone or one.subscription != account]

    return cut


@pytest.mark.parametrize("scope", [BOTH, BOTH[::-1]], ids=["last", "first"])
def test_one_of_two_subscriptions_without_its_newest_days_lowers_nothing(world: World, scope: list[str]) -> None:
    world.reads(scope)
    world.bill(range(1, 15))
    world.bill(range(1, 15), subscription=OTHER)
    world.turn()
    whole = list(world.cloud.usage)
    for days in (range(4, 15), range(1, 15)):
        without(days, account=OTHER)(world.cloud)
        world.turn()
        assert (world.booked, world.source["error"]) == (280, None)
        assert world.source["missing"] == [f"scope /subscriptions/{OTHER} (days that had costs have none)"]
        world.cloud.usage = list(whole)
    world.turn()
    assert (world.booked, world.source["error"]) == (280, None)


@pytest.mark.parametrize("scope", [ONE, BOTH, GROUP], ids=["one", "both", "group"])
def test_the_month_before_without_its_last_days_lowers_nothing(world: World, scope: str | list[str]) -> None:
    world.reads(scope)
    world.bill(range(1, 32), month=10)
    world.bill(range(1, 15))
    world.turn()
    assert world.booked == 450
    without(range(20, 32), month=10)(world.cloud)
    world.turn()
    assert world.booked == 450
    assert "2026-10-31" in world.source["error"]


def test_most_of_the_days_gone_with_the_newest_still_there_lowers_nothing(world: World) -> None:
    world.reads(ONE)
    world.bill(range(1, 15))
    world.turn()
    without(range(2, 13))(world.cloud)
    world.turn()
    assert world.booked == 140
    assert world.source["error"]


def test_days_may_be_rated_anew_and_some_go(world: World) -> None:
    world.reads(BOTH)
    world.bill(range(1, 15))
    world.bill(range(1, 15), subscription=OTHER)
    world.turn()
    without(range(3, 8), account=OTHER)(world.cloud)
    world.turn()
    assert (world.booked, world.source["error"]) == (230, None)
    world.now += timedelta(days=20)  # into the next month
    world.bill(range(1, 3), month=12)
    world.bill(range(1, 3), month=12, subscription=OTHER)
    world.turn()
    assert (world.booked, world.source["error"]) == (270, None)


def test_a_subscription_that_is_used_again_does_not_take_back_how_far_data_goes(world: World) -> None:
    world.reads(BOTH)
    world.bill(range(1, 14))
    world.turn()
    assert world.source["data_as_of"].startswith("2026-11-13")
    world.bill(range(9, 13), subscription=OTHER)
    world.turn()
    assert (world.booked, world.source["error"]) == (170, None)
    assert world.source["data_as_of"].startswith("2026-11-13")
    world.bill(range(14, 15))
    world.bill(range(13, 14), subscription=OTHER)
    world.turn(DAY)
    assert (world.booked, world.source["error"]) == (190, None)
    assert world.source["data_as_of"].startswith("2026-11-13")
    world.bill(range(14, 15), subscription=OTHER)
    world.turn()
    assert (world.booked, world.source["data_as_of"][:10]) == (200, "2026-11-14")


def test_a_subscription_that_is_not_used_any_more_makes_the_others_no_staler(world: World) -> None:
    world.reads(BOTH)
    world.bill(range(1, 15))
    world.bill(range(1, 15), subscription=OTHER)
    world.turn()
    world.turn(timedelta(hours=10))
    for day in range(15, 31):
        world.turn(timedelta(hours=23))  # late in the evening, and it is not there yet
        assert judge(world.source, world.now) in (Freshness.FRESH, Freshness.LATE)
        world.bill(range(day, day + 1))
        world.turn()
        assert judge(world.source, world.now) in (Freshness.FRESH, Freshness.LATE)
    assert (world.booked, world.source["data_as_of"][:10]) == (440, "2026-11-30")
    assert judge(world.source, world.now) is Freshness.FRESH


def test_a_store_of_before_that_has_newer_data_does_not_refuse_all_that_comes(world: World) -> None:
    world.reads(BOTH)
    world.bill(range(1, 15))
    world.turn()
    with world.store.transaction() as tx:
        tx.execute("DELETE FROM meter WHERE key LIKE '%data_as_of'")
    world.bill(range(9, 14), subscription=OTHER)
    world.turn()
    assert (world.booked, world.source["error"]) == (190, None)
    assert world.source["data_as_of"].startswith("2026-11-14")
