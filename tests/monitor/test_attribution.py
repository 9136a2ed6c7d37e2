"""A tree of counters, read bit by bit, gives the ledger that one look at everything gives, and adds up to the total."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alarms.model import Period
from monitor.attribution import TOTAL, Group, groups
from monitor.meter import increments
from monitor.model import Window
from monitor.period import month_of
from tests.fakes.cloudwatch_indexed import IndexedCloudWatch, populate
from tests.monitor.billing_ledger import Ledger, source_of

START = datetime(2026, 10, 28, tzinfo=UTC)


def test_tree_by_service_leaves_linked_accounts_aside() -> None:
    known = {("", "EC2"), ("1", ""), ("1", "EC2")}
    assert groups(known, ["service"]) == [Group(TOTAL, (("", "EC2"),), ("", "(unattributed)"))]


def test_tree_by_account_has_no_services() -> None:
    known = {("", "EC2"), ("1", ""), ("1", "EC2")}
    assert groups(known, ["account"]) == [Group(TOTAL, (("1", ""),), ("(unattributed)", ""))]


def test_tree_by_both_has_the_services_below_their_accounts() -> None:
    known = {("", "EC2"), ("1", ""), ("2", ""), ("1", "EC2")}
    assert groups(known, ["account", "service"]) == [
        Group(TOTAL, (("1", ""), ("2", "")), ("(unattributed)", "(unattributed)")),
        Group(("1", ""), (("1", "EC2"),), ("1", "(unattributed)")),
        Group(("2", ""), (), ("2", "(unattributed)")),
    ]


def test_tree_of_a_standalone_account_falls_back_to_services() -> None:
    assert groups({("", "EC2")}, ["account", "service"]) == [Group(TOTAL, (("", "EC2"),), ("", "(unattributed)"))]


class World:
    """AWS publishing, irregularly: late, with corrections, new parts, and last values of a month after its end."""

    def __init__(self, seed: int, *, accounts: bool | None = None) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a world to test in, not a secret
        self.service = IndexedCloudWatch(page_size=3, max_points=self.random.choice((7, 100_800)))
        self.now = START
        self.totals: dict[datetime, Decimal] = {}
        self.values: dict[tuple[str | None, str | None], Decimal] = {(None, None): Decimal(0)}
        self.accounts: list[str | None] = [None]
        if self.random.random() < 0.7 if accounts is None else accounts:
            self.accounts = [None, "1" * 12, "2" * 12]
            self.values["1" * 12, None] = Decimal(0)
        self.month = month_of(START).start
        self.reset_late_by = timedelta(0)
        self.held: list[tuple[datetime, datetime, dict[str, Any]]] = []

    def step(self) -> None:
        """Some hours later: publish everything there is, a few parts late, an hour off, or not at all."""
        self.now += timedelta(hours=self.random.choice((1, 3, 4, 4, 4, 6, 9)))
        self._appear()
        self._turn_of_the_month()
        for (account, service), value in list(self.values.items()):
            grown = value + Decimal(self.random.choice((0, 0, 1, 250, 1999, 100_000, -300))) / 100
            self.values[account, service] = grown
            self._publish(account, service, grown)
        for due, at, what in list(self.held):
            if due <= self.now:
                self.held.remove((due, at, what))
                self.service.publish(at, **what)

    def _appear(self) -> None:
        if self.random.random() < 0.15:
            account = self.random.choice(self.accounts)
            service = self.random.choice((None, "EC2", "S3"))
            self.values.setdefault((account, service), Decimal(0))
            if account:
                self.values.setdefault((account, None), Decimal(0))

    def _turn_of_the_month(self) -> None:
        if month_of(self.now).start == self.month:
            return
        if not self.reset_late_by:
            self.reset_late_by = timedelta(hours=self.random.choice((1, 5, 9, 14)))
        if self.now - month_of(self.now).start >= self.reset_late_by:
            self.values = dict.fromkeys(self.values, Decimal(0))
            self.month = month_of(self.now).start
            self.reset_late_by = timedelta(0)

    def _publish(self, account: str | None, service: str | None, value: Decimal) -> None:
        at = self.now
        what = {"value": value, "account": account, "service": service}
        if (account, service) == (None, None):
            self.totals[at] = value
        else:
            odds = self.random.random()
            if odds < 0.05:
                return
            if odds < 0.1:
                at -= timedelta(hours=1)
            elif odds < 0.2:
                self.held.append((self.now + timedelta(hours=self.random.randrange(1, 12)), at, what))
                return
        self.service.publish(at, **what)

    def total_by_month(self) -> dict[datetime, Decimal]:
        sums: dict[datetime, Decimal] = {}
        for period, value in increments(self.totals.items()):
            month = month_of(period.start).start
            sums[month] = sums.get(month, Decimal(0)) + value
        return {month: value for month, value in sums.items() if value}


def attributed(ledger: Ledger) -> dict[tuple[str, str, Period], Decimal]:
    """What is booked on whom. What is nobody's is a total or a remainder, as parts were known then or not."""

    def name(text: str) -> str:
        return text.replace("(unattributed)", "")

    return {(name(s.account), name(s.service), period): cost for (s, period), cost in ledger.charges.items() if cost}


def part_fails(chance: random.Random) -> Any:
    def fault(operation: str, request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        for query, result in zip(
            request.get("MetricDataQueries", ()), answer.get("MetricDataResults", ()), strict=True
        ):
            if len(query["MetricStat"]["Metric"]["Dimensions"]) > 1 and chance.random() < 0.1:
                result |= {"StatusCode": "InternalError", "Timestamps": [], "Values": []}
        return answer

    return fault


BY = st.sampled_from(([], ["service"], ["account"], ["account", "service"]))


@settings(max_examples=120)
@given(st.integers(0, 10**9), BY, st.booleans(), st.integers(1, 6))
def test_read_bit_by_bit_the_ledger_is_that_of_one_look(seed: int, by: list[Any], failing: bool, every: int) -> None:
    world = World(seed)
    source = source_of(world.service, by=by, backfill="62d")
    ledger = Ledger()
    fault = part_fails(world.random)
    for number in range(60):
        world.step()
        if number % every:
            continue
        if failing and number < 50:
            world.service.every_time[:] = [fault]
        whole = ledger.read(source, world.now)
        world.service.every_time.clear()
        if whole:
            assert ledger.by_month() == world.total_by_month()
    ledger.read(source, world.now)
    at_once = Ledger()
    at_once.read(source_of(world.service, by=by, backfill="62d"), world.now)
    assert attributed(ledger) == attributed(at_once)


@settings(max_examples=80)
@given(st.integers(0, 10**9), st.booleans(), st.integers(1, 9), st.sampled_from((1, 60, 150)))
def test_read_in_parts_the_ledger_and_the_meters_are_those_of_one_look(
    seed: int, failing: bool, every: int, most: int
) -> None:
    world = World(seed, accounts=True)
    by = ["account", "service"]
    source = source_of(world.service, most=most, by=by, backfill="62d")
    ledger = Ledger()
    fault = part_fails(world.random)
    for number in range(45):
        world.step()
        if number % every:
            continue
        if failing and number < 35:
            world.service.every_time[:] = [fault]
        whole = ledger.read(source, world.now)
        world.service.every_time.clear()
        if whole:
            assert ledger.by_month() == world.total_by_month()
    assert ledger.read(source, world.now)
    at_once = Ledger()
    at_once.read(source_of(world.service, by=by, backfill="62d"), world.now)
    assert attributed(ledger) == attributed(at_once)
    first_look = Ledger()
    first_look.read(source_of(world.service, most=most, by=by, backfill="62d"), world.now)
    assert first_look.meters == at_once.meters


def test_parts_are_small_exact_and_leave_the_meters_to_the_last() -> None:
    service = IndexedCloudWatch()
    populate(service, accounts=7, services=4, points=40, start=datetime(2026, 11, 1, tzinfo=UTC))
    source = source_of(service, most=900, by=["account", "service"])
    batches = [source.fetch(source.windows(datetime(2026, 11, 8, tzinfo=UTC), {}, None)[0])]
    while batches[-1].rest is not None:
        assert not batches[-1].meters
        batches.append(source.fetch(batches[-1].rest))
    assert len(batches) == 1 + 7, "the total and accounts, then the services of one account at a time"
    assert len(batches[-1].meters) == 1 + 7 + 7 * 4
    assert max(len(batch.charges) for batch in batches) == 4 * 40
    # Each metric is asked for once, but for the total, which tells how much there is.
    assert service.metrics_requested == 1 + (1 + 7) + 7 * 4


@pytest.mark.parametrize("most", [100, None])
def test_a_past_month_in_parts_leaves_the_running_meters_alone(most: int | None) -> None:
    service = IndexedCloudWatch()
    populate(service, accounts=3, services=2, points=100, start=datetime(2026, 10, 3, tzinfo=UTC))
    source = source_of(service, most=most, by=["account", "service"])
    rest: Window | None = Window(month_of(datetime(2026, 10, 3, tzinfo=UTC)))
    count = 0
    while rest is not None:
        batch = source.fetch(rest)
        assert batch.meters == {}
        rest, count = batch.rest, count + 1
    assert count == (1 if most is None else 4)


def test_what_is_published_between_two_parts_waits_for_the_next_look() -> None:
    service = IndexedCloudWatch()
    start = datetime(2026, 11, 2, tzinfo=UTC)
    populate(service, accounts=3, services=2, points=30, start=start)
    source = source_of(service, most=100, by=["account", "service"])
    now = datetime(2026, 11, 9, tzinfo=UTC)
    ledger = Ledger()
    rest: Window | None = source.windows(now, {}, None)[0]
    while rest is not None:
        batch = source.fetch(rest)
        ledger.take(batch)
        service.publish(now, "9999")
        service.publish(now, "9000", account="000000000000")
        service.publish(now, "9000", account="000000000000", service="Service1")
        rest = batch.rest
    newest = start + timedelta(hours=4 * 30)
    assert batch.data_as_of == max(period.end for _, period in ledger.charges) == newest
    total = service._points[(("Currency", "USD"),)]
    assert sum(ledger.charges.values()) == Decimal(str(dict(total)[int(newest.timestamp())]))


def test_a_service_that_is_new_in_every_account_is_not_read_at_once() -> None:
    service = IndexedCloudWatch()
    start = datetime(2026, 11, 2, tzinfo=UTC)
    populate(service, accounts=6, services=5, points=100, start=start)
    source = source_of(service, most=1500, by=["account", "service"])
    ledger = Ledger()
    now = start + timedelta(hours=400)
    ledger.read(source, now)
    before = len(ledger.batches)
    ledger.read(source, now)
    assert len(ledger.batches) == before + 1, "continued, all at once"
    for account in range(6):
        service.publish(now, "1", account=f"{account:012}", service="Tax")
    ledger.read(source, now + timedelta(hours=1))
    assert len(ledger.batches) > before + 2
    at_once = Ledger()
    at_once.read(source_of(service, by=["account", "service"]), now + timedelta(hours=1))
    assert attributed(ledger) == attributed(at_once)


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.lists(BY, min_size=2, max_size=5))
def test_total_stays_right_when_the_grain_is_changed(seed: int, grains: list[list[Any]]) -> None:
    world = World(seed)
    ledger = Ledger()
    for by in grains:
        source = source_of(world.service, by=by, backfill="62d")
        for _ in range(6):
            world.step()
            ledger.read(source, world.now)
            assert ledger.by_month() == world.total_by_month()


@pytest.mark.parametrize("days", [3, 20, 40, 75])
def test_total_is_right_after_a_long_outage(days: int) -> None:
    world = World(seed=days)
    source = source_of(world.service, by=["service"])
    ledger = Ledger()
    for _ in range(20):
        world.step()
        ledger.read(source, world.now)
    until = world.now + timedelta(days=days)
    while world.now < until:
        world.step()
    ledger.read(source, world.now)
    assert ledger.by_month() == world.total_by_month()
