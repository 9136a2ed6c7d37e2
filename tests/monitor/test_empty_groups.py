"""`each = "account"` without an account: a budget that nobody watches is never fine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from alarms.errors import TemporaryError
from monitor.model import Batch, Scope, Series, Window
from monitor.period import Run
from monitor.status.judge import judge
from monitor.status.nagios import nagios
from monitor.status.render import render
from monitor.store.database import open_store
from tests.monitor.test_cycle import MONTH, FakeSource, World, budget


@dataclass(eq=False)
class ByAccount(FakeSource):
    """Its total, of an account if it is told of one."""

    account: str = ""

    def fetch(self, window: Window) -> Batch:
        batch = super().fetch(window)
        series = Series(self.name, "USD", account=self.account)
        charges = tuple(replace(one, series=series) for one in batch.charges)
        return replace(batch, charges=charges, replaces={series: MONTH} if charges else {})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path / "state") as store:
        yield World(store, [ByAccount("aws", month_to_date="10")], [budget("per", each="account")])


def status(world: World, **given: Any) -> dict[str, Any]:
    return judge(world.facts(), world.now, running=True, **given)


NONE = "per: no account was ever seen by aws, so nothing is watched by it; a single account needs no `each`"


def test_a_budget_that_watches_nothing_is_never_fine(world: World) -> None:
    world.turn()
    for found in (status(world), status(world, budget="per")):
        assert (found["state"], found["exit_code"], found["summary"]) == ("UNKNOWN", 3, NONE)
        (row,) = found["budgets"]
        assert (row["name"], row["spend"], row["state"]) == ("per", None, "UNKNOWN")
        assert {(one["state"], one["data"]) for one in row["alarms"]} == {("OK", "NO_DATA")}
        assert nagios(found).startswith("BUDGET UNKNOWN - per: no account was ever seen by aws")
        assert "'per_usd'=U;800;1000;;" in nagios(found)
        assert "per  watches nothing, 1,000.00 USD for each account" in render(found, colour=False)
        assert json.loads(json.dumps(found)) == found
    assert world.messages() == []


def test_with_its_first_member_the_group_is_no_entry_any_more(world: World) -> None:
    world.turn()
    (aws,) = world.sources
    assert isinstance(aws, ByAccount)
    aws.account = "123456789012"
    world.turn()
    assert [row["name"] for row in status(world)["budgets"]] == ["per/123456789012"]
    assert status(world)["state"] == "OK"


def test_beside_a_budget_that_is_well_it_is_said_all_the_same(world: World) -> None:
    world.budgets.append(budget("all"))
    world.turn()
    assert [row["name"] for row in status(world)["budgets"]] == ["all", "per"]
    assert (status(world)["state"], status(world)["summary"]) == ("UNKNOWN", NONE)
    assert status(world, budget="all")["state"] == "OK"


def test_a_source_that_was_never_read_is_the_reason_as_long_as_that_is_so(world: World) -> None:
    gcp = ByAccount("gcp", error=TemporaryError("503"))
    world.sources.append(gcp)
    world.turn()
    said = [one["text"] for one in status(world)["problems"]]
    assert "per: no account is known yet, gcp was never read" in said
    assert not any("ever seen" in text for text in said)
    gcp.error, gcp.month_to_date = None, "1"
    world.turn(everything=True)
    assert status(world)["summary"] == NONE.replace("by aws", "by aws or gcp")


def test_an_account_in_its_scope_that_was_never_seen_is_named(world: World) -> None:
    (aws,) = world.sources
    assert isinstance(aws, ByAccount)
    aws.account = "123456789012"
    world.budgets[:] = [budget("per", each="account", scope=Scope(account=("123456789021",)))]
    world.turn()
    assert status(world)["summary"] == (
        'per: no charge of account "123456789021" was ever seen; did you mean "123456789012"?'
    )


def test_a_run_by_account_too(world: World) -> None:
    world.budgets[:] = [budget("per", each="account", period=Run(by_charges=True))]
    world.turn()
    assert status(world)["summary"] == NONE
