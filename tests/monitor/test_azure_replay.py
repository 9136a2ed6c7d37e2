"""Answers that Azure has published as examples or that others have recorded, through the real SDK to exact rows."""

from __future__ import annotations

import csv
import gc
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.clients.azure_cost import CostQueries
from monitor.clients.azure_query import Answer, Column, Query, Row
from monitor.errors import BadDataError
from monitor.simulation.azure import AzureCloud, Reply
from monitor.sources.azure_cost import AzureCost, Settings

DATA = Path(__file__).parents[3] / "shared/data/azure"
SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
pytestmark = [
    pytest.mark.skipif(not DATA.exists(), reason="the recorded answers are not here"),
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureCloud]:
    with AzureCloud(tmp_path) as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud
    gc.collect()


def answer_to(azure: AzureCloud, body: Any, query: Query, currency: str = "USD") -> Answer:
    azure.script.append(Reply(200, body if isinstance(body, bytes) else json.dumps(body).encode()))
    source = AzureCost(Settings(name="azure", scope=query.scope, endpoint_url=azure.url))
    source._queries({})
    return CostQueries(source._client, currency, seconds=60, kept={}).ask(query)


def published(name: str) -> bytes:
    return (DATA / name).read_bytes()


def test_the_official_example_of_a_grouped_query(azure: AzureCloud) -> None:
    first = json.loads(published("azure_spec_query_grouping.json"))
    last = {**first, "properties": {**first["properties"], "nextLink": None, "rows": []}}
    scope = "/providers/Microsoft.Billing/billingAccounts/70664866/enrollmentAccounts/456"
    azure.script.append(Reply(200, published("azure_spec_query_grouping.json")))
    query = Query(scope, date(2018, 3, 31), date(2018, 3, 31), (Column("ResourceGroup"),))
    found = answer_to(azure, last, query)
    assert found.rows == (
        Row(date(2018, 3, 31), ("JapanUnifia-Trial",), Decimal("19.545363672276512")),
        Row(date(2018, 3, 31), ("RVIIOT-TRIAL",), Decimal("173.41979241290323")),
        Row(date(2018, 3, 31), ("VSTSHOL-1595322048000",), Decimal("20.35941656262545")),
    )
    # The link names another host, version and spelling; only its token is taken, and to our endpoint.
    assert [(asked.scope, asked.token) for asked in azure.asked] == [(scope, ""), (scope, "AQAAAA==")]


def test_the_official_example_of_days_has_two_costs_of_one_day_and_is_a_contradiction(azure: AzureCloud) -> None:
    document = json.loads(published("azure_spec_forecast_BillingAccount.json"))
    document["properties"]["nextLink"] = None
    query = Query("/providers/Microsoft.Billing/billingAccounts/12345:6789", date(2018, 3, 31), date(2018, 4, 29))
    with pytest.raises(BadDataError, match="two different costs"):
        answer_to(azure, document, query)
    document["properties"]["rows"].pop(0)
    rows = answer_to(azure, document, query).rows
    assert [(str(row.day), row.cost) for row in rows] == [
        ("2018-03-31", Decimal("218.68795741935486")),
        ("2018-04-01", Decimal("0.14384913581657052")),
        ("2018-04-29", Decimal("0.009865586851323632")),
    ]


def recorded(cassette: str) -> Any:
    for one in json.loads(published("c7n_costmanagement_recorded.json")):
        if cassette in one["cassette"]:
            return one["body"]
    raise AssertionError(cassette)


@pytest.mark.parametrize(
    ("cassette", "column", "count"),
    [("test_cost_resource.json", "ResourceId", 1), ("resource_group", "ResourceGroupName", 14)],
)
def test_recorded_sums(azure: AzureCloud, cassette: str, column: str, count: int) -> None:
    body = recorded(cassette)
    first = date(2019, 8, 1)
    query = Query("/subscriptions/ea42f556-5106-4743-99b0-c129bfa71a47", first, first, (Column(column),), daily=False)
    found = answer_to(azure, body, query)
    assert len(found.rows) == count
    truth = {row[1]: Decimal(repr(row[0])) for row in body["properties"]["rows"]}
    assert {row.values[0]: row.cost for row in found.rows} == truth
    assert found.rejected == 0


def test_a_real_bill_as_usage_gives_its_exact_totals(azure: AzureCloud) -> None:
    """An anonymised export of an Enterprise Agreement, put on the simulated bill line by line."""
    with (DATA / "ftk_EA_ActualCost_Small.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines
    for line in lines:
        day = datetime.strptime(line["Date"], "%m/%d/%Y").replace(tzinfo=UTC).date()
        azure.bill(
            day,
            line["MeterCategory"],
            line["Cost"],
            subscription=line["SubscriptionId"],
            currency=line["BillingCurrency"],
            charge_type=line["ChargeType"],
            region=line["ResourceLocation"],
        )
    scope = "/providers/Microsoft.Billing/billingAccounts/8611537"
    source = AzureCost(Settings(name="azure", scope=scope, endpoint_url=azure.url, by=["account", "service", "region"]))
    batch = source.fetch(source.windows(datetime(2023, 10, 2, tzinfo=UTC), {}, None)[0])
    assert sum(charge.billed_cost for charge in batch.charges) == sum(Decimal(line["Cost"]) for line in lines)
    accounts = {line["SubscriptionId"].lower() for line in lines}
    for account in accounts:
        cost = sum(charge.billed_cost for charge in batch.charges if charge.series.account == account)
        assert cost == sum(Decimal(line["Cost"]) for line in lines if line["SubscriptionId"].lower() == account)
    assert {charge.series.charge_category for charge in batch.charges} == {line["ChargeType"] for line in lines}
    assert {charge.period.end - charge.period.start for charge in batch.charges} == {timedelta(days=1)}
