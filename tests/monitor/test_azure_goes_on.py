"""A read of Azure that comes in pieces: it goes on from query to query, and no piece of one is ever taken for it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alarms.errors import TemporaryError
from alarms.model import Kind
from monitor.config import load
from monitor.cycle import Cycle
from monitor.simulation.azure import SUBSCRIPTION, AzureCloud, throttled
from monitor.sources import azure_cost
from monitor.store.database import open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.azure_direct import direct_source
from tests.monitor.test_azure_falls import CONFIG, GROUP, ONE, OTHER, World

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("monitor.clients.azure_cost.idle", lambda seconds: None)
    with open_store(tmp_path / "state") as store:
        yield World(store, AzureCloud(None), tmp_path)


def follow_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's running clock is that of the world."""

    def monotonic() -> float:
        return world.now.timestamp()

    monkeypatch.setattr(azure_cost, "time", types.SimpleNamespace(monotonic=monotonic))


def test_rows_that_move_to_a_page_that_was_read_before_are_not_lost(world: World) -> None:
    world.reads(GROUP)
    world.cloud.page_size = 5
    world.bill(range(1, 15), "7")
    world.bill(range(1, 3), "0.01", subscription=OTHER)
    world.bill(range(3, 4), "1000", subscription=OTHER)
    world.bill(range(4, 15), "3", subscription=OTHER)
    world.turn()
    assert world.heard() == [(Kind.FIRING, "training 100%")]
    answered = 0

    def fail(_: dict[str, Any]) -> None:
        nonlocal answered
        answered += 1
        if answered > 2:  # of October, and the first page of November
            raise TemporaryError("HTTP 503")

    world.change = fail
    world.turn()
    assert world.source["error"] == "HTTP 503"
    first = date(2026, 11, 1)
    world.cloud.usage = [one for one in world.cloud.usage if one.day != first or one.subscription != OTHER]
    world.change = None
    world.turn()
    assert (world.booked, world.source["error"]) == (sum(one.cost for one in world.cloud.usage), None)
    assert world.heard() == []


@pytest.mark.parametrize("every", ["4h", "24h"])
@pytest.mark.parametrize("tags", [0, 5])
def test_a_first_read_at_four_queries_a_minute_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, every: str, tags: int
) -> None:
    names = [f"t{number}" for number in range(tags)]
    path = world.directory / "config.toml"
    path.write_text(CONFIG.format(scope=ONE).replace('every = "1m"', f'every = "{every}"'))
    source = direct_source(world.cloud, None, scope=GROUP, run_tag="training-run", tags=names)
    world.cycle = Cycle(load(path), [source], world.store, StoredOutbox(world.store))
    for charge_type, cost in {"Usage": "10", "Purchase": "10", "Tax": "1", "Refund": "-1"}.items():
        world.bill(range(1, 32), cost, month=10, charge_type=charge_type)
        world.bill(range(1, 14), cost, charge_type=charge_type)
    follow_the_world(world, monkeypatch)
    started = world.now
    read = False
    while not read:
        assert world.now - started < timedelta(hours=3), world.source["error"]
        world.cloud.script.clear()
        world.cloud.script.extend([None] * 4 + [throttled(entity="60")])
        world.turn(5 * MINUTE)
        read = world.source["last_poll"] is not None
    # Two periods with one query for the totals, and one for each category and column.
    assert len(world.cloud.asked) >= 2 * (1 + 4 * (2 + tags))
    assert world.booked == 44 * 20


def test_what_was_kept_of_a_read_that_never_ends_is_not_kept_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow_the_world(world, monkeypatch)
    world.reads(GROUP)
    world.bill(range(1, 15))
    world.cloud.script.extend([None, throttled(entity="60")])
    world.turn()
    world.turn(timedelta(hours=3))
    first_of_periods = [one.definition["timePeriod"]["from"][:10] for one in world.cloud.asked]
    assert first_of_periods.count("2026-10-01") == 2


def test_what_was_read_of_a_past_period_is_not_held_once_it_is_booked(world: World) -> None:
    source = direct_source(world.cloud, None, scope=f"/subscriptions/{SUBSCRIPTION}")
    for month in (8, 9, 10, 11):
        world.bill(range(1, 15), month=month)
    windows = source.windows(datetime(2026, 11, 14, 12, tzinfo=UTC), {}, None)
    assert len(windows) == 3
    held = []
    for window in windows:
        source.fetch(window)
        held.append((len(source._running.answers), len(source._past.answers)))
    assert held == [(2, 0), (2, 0), (0, 0)]
