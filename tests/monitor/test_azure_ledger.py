"""Real source and real store: in whatever order, pieces and repetitions usage arrives, the ledger ends the same."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alarms.model import Period
from monitor.errors import PermanentError
from monitor.model import Series
from monitor.simulation.azure import SUBSCRIPTION, AzureCloud
from monitor.simulation.azure_usage import Usage
from monitor.sources.azure_cost import AzureCost
from monitor.store import charges
from monitor.store.database import Store, open_store
from tests.fakes.azure_direct import direct_source
from tests.fakes.ledger import totals_by_series

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
ALL = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
OTHER = "00000000-0000-0000-0000-000000000002"

lines = st.builds(
    Usage,
    day=st.dates(date(2026, 10, 1), date(2026, 11, 23)),
    subscription=st.sampled_from([SUBSCRIPTION, OTHER]),
    service=st.sampled_from(["Virtual Machines", "Storage", ""]),
    cost=st.decimals("0.01", "500", places=8),
    currency=st.sampled_from(["USD", "USD", "USD", "EUR"]),
    charge_type=st.sampled_from(["Usage", "Usage", "Purchase", "Refund"]),
    region=st.sampled_from(["eastus", ""]),
    tags=st.sampled_from([{}, {"run": "llama"}, {"run": "mixtral", "team": "a"}]),
)
details = st.sampled_from(
    [
        {"scope": f"/subscriptions/{SUBSCRIPTION}", "run_tag": "run"},
        {"scope": [f"/subscriptions/{SUBSCRIPTION}", f"/subscriptions/{OTHER}"], "run_tag": "run"},
        {"scope": "/providers/Microsoft.Management/managementGroups/x", "run_tag": "run", "tags": ["team"]},
        {"scope": "/providers/Microsoft.Management/managementGroups/x", "billing_period_starts": 16},
    ]
)


def twice(properties: dict[str, Any]) -> None:
    """The last page comes again, backwards."""
    properties["rows"] += properties["rows"][::-1]


def poll(store: Store, source: AzureCost, now: datetime) -> None:
    for window in source.windows(now, {}, None):
        try:
            batch = source.fetch(window)
        except PermanentError:  # nothing is there yet but in another currency
            continue
        with store.transaction() as tx:
            charges.replace(tx, "azure", batch, now)


def ledger(store: Store) -> dict[Series, Decimal]:
    with store.read() as connection:
        return {series: cost for series, cost in totals_by_series(connection, ALL).items() if cost}


@settings(max_examples=40)
@given(data=st.data(), usage=st.lists(lines, max_size=25), detail=details)
def test_late_split_permuted_and_repeated_deliveries_end_the_same(
    data: st.DataObject, usage: list[Usage], detail: dict[str, Any]
) -> None:
    order = data.draw(st.permutations(usage))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(usage)), max_size=3)))
    cloud, whole = AzureCloud(None), AzureCloud(None)
    cloud.page_size = data.draw(st.integers(1, 50))
    # As it comes a tag is lacking here and there, and a cost is not final yet.
    first = [replace(one, tags={}) if data.draw(st.booleans()) else one for one in order]
    with TemporaryDirectory() as directory:
        with open_store(Path(directory) / "a") as store:
            source = direct_source(cloud, twice, **detail)
            for step, cut in enumerate([*cuts, len(usage)]):
                cloud.usage = first[:cut]
                poll(store, source, NOW + step * timedelta(hours=4))
            cloud.usage = list(order)
            poll(store, source, NOW + timedelta(days=1))
            poll(store, source, NOW + timedelta(days=1, hours=4))
            arrived = ledger(store)
        with open_store(Path(directory) / "b") as store:
            whole.usage = usage
            poll(store, direct_source(whole, **detail), NOW + timedelta(days=1))
            assert arrived == ledger(store)
    seen = [one for one in usage if one.currency == "USD" and (len(detail) > 2 or reaches(detail, one))]
    truth: dict[str, Decimal] = defaultdict(Decimal)
    for one in seen:
        truth[one.subscription] += one.cost
    accounts: dict[str, Decimal] = defaultdict(Decimal)
    for series, cost in arrived.items():
        accounts[series.account] += cost
    assert {key: cost for key, cost in accounts.items() if cost} == {key: cost for key, cost in truth.items() if cost}


def reaches(detail: dict[str, Any], one: Usage) -> bool:
    scope = detail["scope"]
    return isinstance(scope, list) or not scope.startswith("/subscriptions/") or one.subscription == SUBSCRIPTION
