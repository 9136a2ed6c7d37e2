"""Days of Azure whose costs are gone: not believed at first, then it is; and meanwhile it holds up nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.freshness import Freshness, judge
from monitor.simulation.azure import AzureCloud
from monitor.store.database import open_store
from tests.monitor.test_azure_falls import BOTH, DAY, GROUP, ONE, OTHER, World, unusable, without

HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path / "state") as store:
        yield World(store, AzureCloud(None), tmp_path)


@pytest.mark.parametrize("anew", [False, True], ids=["one process", "once from cron"])
def test_a_day_that_is_rated_to_nothing_is_believed_after_a_day(world: World, anew: bool) -> None:
    world.reads(ONE)
    world.bill(range(1, 32), month=10)
    world.bill(range(1, 15))
    world.turn()
    without(range(31, 32), month=10)(world.cloud)
    for hour in range(25):
        if anew:
            world.reads(ONE)
        world.turn()
        if hour == 6:
            world.bill(range(15, 16), "5")  # days go on meanwhile
        assert (world.booked, world.source["error"] is None) == ((450, False) if hour < 24 else (445, True))
    assert (world.source["missing"], judge(world.source, world.now)) == ([], Freshness.FRESH)
    world.turn()
    assert (world.booked, world.source["error"]) == (445, None)


def test_what_becomes_less_again_or_was_whole_in_between_is_not_believed_yet(world: World) -> None:
    world.reads(ONE)
    world.bill(range(1, 15))
    world.turn()
    whole = list(world.cloud.usage)
    for gone in (range(12, 15), range(11, 15)):
        without(gone)(world.cloud)
        world.turn(23 * HOUR)
        assert world.booked == 140
    world.cloud.usage = list(whole)
    world.turn()
    assert (world.booked, world.source["error"]) == (140, None)
    without(range(11, 15))(world.cloud)
    world.turn()
    world.turn(23 * HOUR)
    assert (world.booked, world.source["error"] is None) == (140, False)
    world.turn()
    assert (world.booked, world.source["error"]) == (100, None)


def test_a_charge_that_is_taken_back_holds_up_no_other_subscription(world: World) -> None:
    world.reads(BOTH)
    world.bill(range(1, 15))
    world.bill(range(5, 6), subscription=OTHER)
    world.turn()
    without(range(5, 6), account=OTHER)(world.cloud)
    world.bill(range(15, 16))
    world.turn(DAY)
    assert (world.booked, world.source["error"]) == (160, None)
    assert judge(world.source, world.now) is Freshness.PARTIAL
    world.bill(range(16, 17))
    world.turn(DAY)
    # An answer that is empty is never taken for all there is: what was booked stays.
    assert (world.booked, world.source["missing"]) == (170, [])
    assert judge(world.source, world.now) is Freshness.FRESH


def test_days_that_cost_nothing_may_go(world: World) -> None:
    world.reads(BOTH)
    world.bill(range(1, 15))
    world.bill(range(1, 15), "0", subscription=OTHER)
    world.turn()
    without(range(1, 15), account=OTHER)(world.cloud)
    world.turn()
    assert (world.booked, world.source["error"], world.source["missing"]) == (140, None, [])


def of_nobody(world: World, day: int, *costs: str) -> None:
    for subscription, cost in zip((None, OTHER), costs, strict=True):
        world.cloud.bill(date(2026, 11, day), "", cost, **({"subscription": subscription} if subscription else {}))


def test_a_day_of_nobodys_costs_does_not_fall_by_an_unusable_row_when_a_day_comes_along(world: World) -> None:
    world.reads(GROUP)
    for day in range(1, 15):
        of_nobody(world, day, "7", "3")
    world.turn()
    of_nobody(world, 15, "0.5", "0.5")
    world.change = unusable("ChargeType", 5)
    for _ in range(3):  # nor does it in time
        world.turn(DAY)
        assert world.booked == 140
    world.change = None
    world.turn()
    assert (world.booked, world.source["error"]) == (141, None)


@pytest.mark.parametrize("place", [0, 1], ids=["its cost", "its day"])
def test_without_any_view_an_unusable_row_of_nobody_lowers_nothing_either(world: World, place: int) -> None:
    world.reads(ONE)
    for day in range(1, 15):
        of_nobody(world, day, "3", "0")
    world.bill(range(1, 15), "7")
    world.turn()

    def change(properties: dict[str, Any]) -> None:
        for row in properties["rows"]:
            if row[1] % 100 == 5 and "" in row:
                row[place] = None
                return

    world.bill(range(15, 16), "0.5")
    world.change = change
    world.turn(DAY)
    assert world.booked == 140
    world.change = None
    world.turn()
    assert (world.booked, world.source["error"]) == (Decimal("140.5"), None)


def test_an_unusable_row_of_one_subscription_holds_up_no_other(world: World) -> None:
    world.reads(BOTH)
    world.bill(range(1, 15))
    world.bill(range(1, 15), "3", subscription=OTHER)
    world.turn()
    world.bill(range(15, 16))

    def change(properties: dict[str, Any]) -> None:
        for row in properties["rows"]:
            if row[1] % 100 == 5 and row[0] == 3:
                row[0] = None

    world.change = change
    world.turn(DAY)
    assert (world.booked, world.source["error"]) == (192, None)
    assert world.source["missing"] == [f"scope /subscriptions/{OTHER} (an unusable row of a day that had costs)"]


def test_an_unusable_row_in_another_currency_holds_up_nothing(world: World) -> None:
    world.reads(ONE)
    world.bill(range(1, 15))
    world.bill(range(5, 6), "3", currency="EUR")
    world.turn()
    world.bill(range(15, 16))

    def change(properties: dict[str, Any]) -> None:
        for row in properties["rows"]:
            if "EUR" in row:
                row[0] = None

    world.change = change
    world.turn(DAY)
    assert (world.booked, world.source["error"], world.source["missing"]) == (150, None, ["1 unusable row"])
