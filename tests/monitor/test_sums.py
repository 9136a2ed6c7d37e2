"""What is remembered between evaluations is of the store that there is now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alarms.model import Period
from monitor.config.model import BudgetConfig
from monitor.freshness import Freshness
from monitor.model import Batch, Charge, Scope, Series
from monitor.period import PeriodKind, month_of
from monitor.readings import SourceState, figures, spread
from monitor.store import charges, known_series
from monitor.store.database import Store, open_store
from monitor.sums import Sums

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 20, 23, tzinfo=UTC)
MONTH = month_of(NOW)
EC2, S3 = Series("aws", "USD", service="AmazonEC2"), Series("aws", "USD", service="AmazonS3")
STATES = {"aws": SourceState("aws", Freshness.FRESH, NOW, (), MONTH.start)}
COSTS = {EC2: Decimal(90), S3: Decimal(1)}


def budget(service: str) -> BudgetConfig:
    scope = Scope(service=(service,))
    return BudgetConfig(service, Decimal(720), "USD", PeriodKind.MONTH, scope, None, (), (), {})


def book(store: Store, *booked: Charge) -> None:
    with store.transaction() as tx:
        windows = {charge.series: MONTH for charge in booked}
        charges.replace(tx, "aws", Batch(booked, windows, NOW), NOW)


def test_in_a_store_begun_anew_series_have_other_numbers(tmp_path: Path) -> None:
    sums, first_hour = Sums(), Period(MONTH.start, MONTH.start + HOUR)
    for order in ([EC2, S3], [S3, EC2]):
        with open_store(tmp_path / order[0].service) as store:
            book(store, *(Charge(series, first_hour, COSTS[series]) for series in order))
            with store.read() as connection:
                series = known_series.numbered(connection)
                watched = spread([budget("AmazonEC2"), budget("AmazonS3")], COSTS, {"aws": "USD"}, lambda *_: True)
                sums.prepare(watched, series)
                found = [figures(one, sums.of(connection, one, MONTH), STATES).gross for one in watched]
        assert found == [Decimal(90), Decimal(1)]


def test_costs_that_change_in_the_same_way_or_change_places_are_seen(tmp_path: Path) -> None:
    """What the checksums of the rows have in common must not cancel out in the mark of their day."""
    first_hour = Period(MONTH.start, MONTH.start + HOUR)
    sums = Sums()
    with open_store(tmp_path / "state") as store:
        for costs in (("100", "100"), ("810", "810"), ("810", "100"), ("100", "810")):
            book(store, *(Charge(one, first_hour, Decimal(cost)) for one, cost in zip((EC2, S3), costs, strict=True)))
            with store.read() as connection:
                watched = spread([budget("AmazonEC2"), budget("AmazonS3")], COSTS, {"aws": "USD"}, lambda *_: True)
                sums.prepare(watched, known_series.numbered(connection))
                found = [figures(one, sums.of(connection, one, MONTH), STATES).gross for one in watched]
            assert found == [Decimal(cost) for cost in costs]
