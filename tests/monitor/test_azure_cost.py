"""The Azure source through the real SDK, its login included, against an Azure on loopback over HTTPS."""

from __future__ import annotations

import gc
import gzip
import json
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alarms.errors import UnreachableError
from alarms.model import Period
from monitor.errors import AccessError, BadDataError, OutsideError, PermanentError, TemporaryError
from monitor.model import CREDIT, UNATTRIBUTED, Batch, Window
from monitor.simulation.azure import OPERATION, SUBSCRIPTION, AzureCloud, Reply, refusal, throttled
from monitor.simulation.azure_usage import Usage
from monitor.sources import azure_cost
from monitor.sources.azure_cost import AzureCost, Settings
from tests.fakes.azure_direct import direct_source

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

SCOPE = f"/subscriptions/{SUBSCRIPTION}"
OTHER = "00000000-0000-0000-0000-000000000002"
GROUP = "/providers/Microsoft.Management/managementGroups/research"
NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureCloud]:
    with AzureCloud(tmp_path) as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud
    gc.collect()


@pytest.fixture
def direct() -> AzureCloud:
    """Not served: `direct_source` asks it without a network."""
    return AzureCloud(None)


def source(cloud: AzureCloud, **settings: Any) -> AzureCost:
    return AzureCost(Settings(**{"name": "azure", "scope": SCOPE, "endpoint_url": cloud.url, **settings}))


def read(one: AzureCost, now: datetime = NOW) -> Batch:
    return one.fetch(one.windows(now, {}, None)[0])


def fails(cloud: AzureCloud, *script: Reply | None, **settings: Any) -> OutsideError:
    cloud.script.extend(script)
    with pytest.raises(OutsideError) as caught:
        read(source(cloud, **settings))
    return caught.value


def sums(batch: Batch, *fields: str) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = defaultdict(Decimal)
    for charge in batch.charges:
        key = tuple(getattr(charge.series, field) for field in fields)
        found[key if len(key) > 1 else key[0]] += charge.billed_cost
    return {key: cost for key, cost in found.items() if cost}


def bill_days(cloud: AzureCloud, first: date, last: date, cost: str = "10", **more: Any) -> None:
    while first <= last:
        cloud.bill(first, "Virtual Machines", cost, **more)
        first += DAY


def random_bill(cloud: AzureCloud, seed: int, lines: int = 400) -> None:
    """Every kind of line, on every day of October and November up to the 22nd."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    bill_days(cloud, date(2026, 10, 1), date(2026, 11, 22), "0.000000001")
    for _ in range(lines):
        run = chance.choice(["", "llama", "mixtral"])
        team = chance.choice(["", "research", "Research"])
        cloud.bill(
            date(2026, 10, 1) + chance.randrange(53) * DAY,
            chance.choice(["Virtual Machines", "Storage", "Bandwidth", ""]),
            f"{chance.randrange(10**5)}.{chance.randrange(10**9):09}",
            subscription=chance.choice([SUBSCRIPTION, OTHER]),
            region=chance.choice(["eastus", "westeurope", ""]),
            charge_type=chance.choice(["Usage"] * 9 + ["Purchase", "Tax", "RoundingAdjustment"]),
            tags={key: value for key, value in (("training-run", run), ("team", team)) if value},
        )
    for day in range(0, 53, 9):
        cloud.bill(date(2026, 10, 1) + day * DAY, "Storage", "-12.5", charge_type="Refund")


def truth(usage: list[Usage], what: Any) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = defaultdict(Decimal)
    for one in usage:
        found[what(one)] += one.cost
    return {key: cost for key, cost in found.items() if cost}


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_of_a_management_group_is_exact(azure: AzureCloud, seed: int) -> None:
    random_bill(azure, seed)
    azure.page_size = 150
    batch = read(source(azure, scope=GROUP, by=["account", "service", "region"], run_tag="training-run", tags=["team"]))
    usage = azure.usage
    assert sums(batch, "account") == truth(usage, lambda one: one.subscription)
    assert sums(batch, "service") == truth(usage, lambda one: one.service or UNATTRIBUTED)
    assert sums(batch, "region") == truth(usage, lambda one: one.region)
    assert sums(batch, "run") == truth(usage, lambda one: one.tags.get("training-run", ""))
    assert sums(batch, "tags") == truth(usage, lambda one: (("team", one.tags["team"]),) if "team" in one.tags else ())
    assert sums(batch, "account", "service") == truth(
        usage, lambda one: (one.subscription, one.service or UNATTRIBUTED)
    )
    names = {"Refund": CREDIT, "RoundingAdjustment": "Adjustment"}
    assert sums(batch, "charge_category") == truth(usage, lambda one: names.get(one.charge_type, one.charge_type))
    days: dict[date, Decimal] = defaultdict(Decimal)
    for charge in batch.charges:
        assert charge.period.end - charge.period.start == DAY
        days[charge.period.start.date()] += charge.billed_cost
    assert dict(days) == truth(usage, lambda one: one.day)
    assert (batch.rejected, batch.missing) == (0, ())


@pytest.mark.parametrize("seed", range(3))
def test_of_a_subscription_each_service_and_run_is_known_together(azure: AzureCloud, seed: int) -> None:
    random_bill(azure, seed)
    batch = read(source(azure, run_tag="training-run"))
    usage = [one for one in azure.usage if one.subscription == SUBSCRIPTION]
    together = truth(usage, lambda one: (one.service or UNATTRIBUTED, one.tags.get("training-run", "")))
    assert sums(batch, "service", "run") == together
    assert sums(batch, "account") == {SUBSCRIPTION: sum(one.cost for one in usage)}


def test_a_subscription_is_the_same_however_its_id_is_written(azure: AzureCloud) -> None:
    hexadecimal = "ABCDEF00-0000-0000-0000-00000000000A"
    azure.bill(date(2026, 11, 1), "Storage", "1", subscription=hexadecimal)
    azure.bill(date(2026, 11, 1), "Storage", "2", subscription=hexadecimal.lower())
    assert sums(read(source(azure, scope=GROUP)), "account") == {hexadecimal.lower(): 3}
    assert sums(read(source(azure, scope=f"/subscriptions/{hexadecimal}")), "account") == {hexadecimal.lower(): 3}


def test_a_read_is_one_query_for_each_period_and_column_and_no_more(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 10, 1), date(2026, 11, 22))
    batch = read(source(azure))
    assert batch.use.calls == len(azure.asked) == 2
    assert [asked.definition["timePeriod"]["from"][:10] for asked in azure.asked] == ["2026-10-01", "2026-11-01"]
    assert azure.asked[0].definition["dataset"]["grouping"] == [
        {"type": "Dimension", "name": "ChargeType"},
        {"type": "Dimension", "name": "ServiceName"},
    ]
    assert read(source(azure, run_tag="training-run")).use.calls == 4


def test_every_query_says_who_asks_and_with_what_login(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 1))
    read(source(azure))
    headers = azure.asked[0].headers
    assert headers["ClientType"] == "cloud-budget-monitor"
    assert headers["Authorization"] == "Bearer simulated-token"
    assert headers["User-Agent"].startswith("cloud-budget-monitor ")


def test_pages_are_put_together_and_the_token_goes_to_the_endpoint_alone(azure: AzureCloud, tmp_path: Path) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22))
    azure.page_size = 5
    with AzureCloud(None) as hostile:
        azure.link_host = hostile.url
        batch = read(source(azure))
        assert not hostile.asked
    assert (len(batch.charges), batch.use.calls) == (22, 1 + 5)
    assert {asked.scope for asked in azure.asked} == {SCOPE}
    assert [asked.token for asked in azure.asked[1:]] == ["", "5==", "10==", "15==", "20=="]


def test_a_page_has_as_many_rows_as_azure_gives_for_each_is_a_query_of_the_few_that_it_allows(
    azure: AzureCloud,
) -> None:
    for number in range(300):
        bill_days(azure, date(2026, 11, 1), date(2026, 11, 18), subscription=f"{number:08}-0000-0000-0000-000000000000")
    batch = read(source(azure, scope=GROUP, by=["account"]))
    assert (len(batch.charges), batch.use.calls) == (5400, 1 + 2)
    assert [(asked.token, asked.top) for asked in azure.asked[1:]] == [("", 5000), ("5000==", 5000)]


@pytest.mark.parametrize("link", ["https://evil.example/", "//", "x", "https://[::1", "?$skiptoken="])
def test_a_link_that_names_no_page_is_no_answer(direct: AzureCloud, link: str) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))
    with pytest.raises(BadDataError, match="a next page without saying which"):
        read(direct_source(direct, lambda properties: properties.update(nextLink=link), scope=SCOPE))


@pytest.mark.parametrize(("tokens", "most"), [(["7"] * 9, 2 + 1), ([str(number) for number in range(1000)], 501)])
def test_pages_without_end_are_no_answer(direct: AzureCloud, tokens: list[str], most: int) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))
    following = iter(tokens)

    def forever(properties: dict[str, Any]) -> None:
        properties["nextLink"] = f"https://x/?$skiptoken={next(following)}"

    with pytest.raises(BadDataError, match="pages without end"):
        read(direct_source(direct, forever, scope=SCOPE))
    assert len(direct.asked) <= most


def test_the_order_of_columns_is_the_servers(direct: AzureCloud) -> None:
    random_bill(direct, 7)
    plain = read(direct_source(direct, scope=SCOPE, run_tag="training-run"))

    def shuffle(properties: dict[str, Any]) -> None:
        chance, width = random.Random(5), len(properties["columns"])  # noqa: S311 - no secret
        order = chance.sample(range(width), width)
        properties["columns"] = [properties["columns"][place] for place in order]
        properties["rows"] = [[row[place] for place in order] for row in properties["rows"]]
        chance.shuffle(properties["rows"])

    assert read(direct_source(direct, shuffle, scope=SCOPE, run_tag="training-run")) == plain


def test_a_page_that_is_served_twice_counts_once(direct: AzureCloud) -> None:
    random_bill(direct, 8)
    plain = read(direct_source(direct, scope=SCOPE))
    assert read(direct_source(direct, lambda p: p.update(rows=p["rows"] * 2), scope=SCOPE)) == plain


def test_numbers_are_those_of_the_text(azure: AzureCloud) -> None:
    body = (
        b'{"properties": {"nextLink": null, "columns": [{"name": "PreTaxCost", "type": "Number"}, {"name": "UsageDate",'
        b' "type": "Number"}, {"name": "ChargeType", "type": "String"}, {"name": "ServiceName", "type": "String"},'
        b' {"name": "Currency", "type": "String"}],'
        b' "rows": [[0.1000000000000000055511, 20261101, "Usage", "VM", "USD"],'
        b' [1e-07, 20261102, "Usage", "VM", "USD"], [1.5e3, 20261103, "Usage", "VM", "USD"],'
        b' [3, 20261104, "Usage", "VM", "USD"], [-1E-25, 20261105, "Usage", "VM", "USD"]]}}'
    )
    azure.script.extend([None, Reply(200, body)])
    costs = [charge.billed_cost for charge in read(source(azure)).charges]
    assert costs == [Decimal("0.100000000000000006"), Decimal("1E-7"), 1500, 3, 0]


def test_an_answer_may_be_compressed(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22))
    plain = read(source(azure))
    body = azure.reply("POST", "/x/providers/Microsoft.CostManagement/query", azure.asked[1].headers, DEFINITION).body
    azure.script.extend([None, Reply(200, gzip.compress(body), {"Content-Encoding": "gzip"})])
    assert read(source(azure)).charges == plain.charges
    for broken in (gzip.compress(body)[:-20], b"no gzip"):
        azure.script.extend([None, *[Reply(200, broken, {"Content-Encoding": "gzip"})] * 3])
        with pytest.raises(TemporaryError):
            read(source(azure))
        azure.script.clear()


DEFINITION = json.dumps(
    {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": "2026-11-01", "to": "2026-11-30"},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
            "grouping": [{"type": "Dimension", "name": name} for name in ("ChargeType", "ServiceName")],
        },
    }
).encode()


@pytest.mark.parametrize("value", ["NaN", "1.0", None, True, [], {}, 1e15, -1e300, "\uff11", "1_000"], ids=repr)
def test_an_unusable_row_is_left_out_and_said(direct: AzureCloud, value: Any) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))

    def spoil(properties: dict[str, Any]) -> None:
        if properties["rows"]:
            properties["rows"][3][0] = value

    batch = read(direct_source(direct, spoil, scope=SCOPE))
    assert (batch.rejected, batch.missing, batch.whole) == (1, ("1 unusable row",), None)
    assert len(batch.charges) == 21


@pytest.mark.parametrize("value", ["20261102", 20261131, 0, -1, 10**9, 20261102.0, None], ids=repr)
def test_a_row_without_a_day_is_unusable(direct: AzureCloud, value: Any) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))

    def spoil(properties: dict[str, Any]) -> None:
        if properties["rows"]:
            properties["rows"][3][1] = value

    assert read(direct_source(direct, spoil, scope=SCOPE)).rejected == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("columns"),
        lambda p: p.pop("rows"),
        lambda p: p.update(rows=None),
        lambda p: p.update(rows=[[1]]),
        lambda p: p.update(rows=["abc"]),
        lambda p: p.update(nextLink=7),
        lambda p: p["columns"].pop(),
        lambda p: p["columns"].append(p["columns"][0]),
        lambda p: p.update(columns=["Cost"]),
    ],
)
def test_an_answer_of_another_shape_is_none(direct: AzureCloud, change: Any) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))
    with pytest.raises(BadDataError):
        read(direct_source(direct, change, scope=SCOPE))


def test_two_costs_of_one_day_and_group_are_a_contradiction(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))

    def contradict(properties: dict[str, Any]) -> None:
        properties["rows"] += [[row[0] + 1, *row[1:]] for row in properties["rows"]]

    with pytest.raises(BadDataError, match="two different costs"):
        read(direct_source(direct, contradict, scope=SCOPE))


def test_no_tag_and_an_empty_tag_are_both_nobodys(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 2))
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 2), cost="5", tags={"training-run": ""})
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 2), cost="3", tags={"training-run": "llama"})
    assert sums(read(source(azure, run_tag="training-run")), "run") == {"": 30, "llama": 6}


def test_nothing_billed_is_missing_and_not_zero(azure: AzureCloud) -> None:
    for azure.empty_is_204 in (False, True):
        batch = read(source(azure))
        assert (batch.charges, batch.replaces, batch.whole, batch.data_as_of) == ((), {}, None, None)


def test_a_month_without_a_cost_yet_leaves_the_one_before_whole(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 10, 1), date(2026, 10, 31))
    batch = read(source(azure), datetime(2026, 11, 1, 0, 5, tzinfo=UTC))
    assert azure.asked[1].definition["timePeriod"] == {
        "from": "2026-11-01T00:00:00+00:00",
        "to": "2026-11-01T23:59:59+00:00",
    }
    october = Period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    assert (batch.whole, set(batch.replaces.values())) == (october, {october})
    assert batch.data_as_of == datetime(2026, 10, 31, tzinfo=UTC)


def test_data_goes_as_far_as_usage_that_cost_something(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 10))
    direct.bill(date(2026, 11, 14), "Virtual Machines", "-3", charge_type="Refund")
    direct.bill(date(2026, 11, 15), "Virtual Machines", "500", charge_type="Purchase")
    direct.bill(date(2026, 11, 16), "Virtual Machines", "0")
    batch = read(direct_source(direct, scope=SCOPE))
    assert (batch.data_as_of, sum(sums(batch, "account").values())) == (datetime(2026, 11, 10, tzinfo=UTC), 597)


def test_where_nothing_but_purchases_is_billed_data_goes_as_far_as_they(direct: AzureCloud) -> None:
    direct.bill(date(2026, 11, 5), "Support", "100", charge_type="Purchase")
    assert read(direct_source(direct, scope=SCOPE)).data_as_of == datetime(2026, 11, 5, tzinfo=UTC)


@pytest.mark.parametrize("late", [0, 1])
def test_data_of_two_subscriptions_goes_as_far_as_the_older_of_them(direct: AzureCloud, late: int) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 21), subscription=[SUBSCRIPTION, OTHER][late])
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22), subscription=[OTHER, SUBSCRIPTION][late])
    never = "/subscriptions/00000000-0000-0000-0000-000000000003"
    scope = [SCOPE, f"/subscriptions/{OTHER}", never]
    assert read(direct_source(direct, scope=scope)).data_as_of == datetime(2026, 11, 21, tzinfo=UTC)
    # One that is as far behind as its data may be late is not in use any more.
    assert read(direct_source(direct, scope=scope, late_after="24h")).data_as_of == datetime(2026, 11, 22, tzinfo=UTC)


def test_a_day_that_was_not_asked_for_is_no_answer(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))

    def rewrite(properties: dict[str, Any]) -> None:
        for row in properties["rows"]:
            row[1] -= 100

    with pytest.raises(BadDataError, match="2026-10-01, a day that it was not asked for"):
        read(direct_source(direct, rewrite, scope=SCOPE))


def test_days_that_are_cut_off_in_silence_are_noticed(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))

    def cut(properties: dict[str, Any]) -> None:
        if len(properties["columns"]) > 2:
            properties["rows"] = properties["rows"][-1:]

    with pytest.raises(BadDataError, match="without some of the days"):
        read(direct_source(direct, cut, scope=SCOPE))


def test_days_that_are_cut_off_of_one_grouping_are_noticed(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))

    def cut(properties: dict[str, Any]) -> None:
        if any(column["name"] == "TagKey" for column in properties["columns"]):
            properties["rows"] = properties["rows"][-1:]

    with pytest.raises(BadDataError, match="2026-11-01, a day that has costs by another grouping"):
        read(direct_source(direct, cut, scope=SCOPE, run_tag="training-run"))


def test_an_account_that_began_in_mid_month_is_looked_at_twice_and_believed(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 11, 10), date(2026, 11, 22))
    batch = read(source(azure))
    assert len(batch.charges) == 13
    assert batch.whole == Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
    assert azure.asked[-1].definition["dataset"]["granularity"] == "None"


def test_a_query_never_asks_for_more_days_than_are_answered(direct: AzureCloud) -> None:
    bill_days(direct, date(2024, 1, 1), date(2026, 1, 31))
    for start in (1, 16, 28):
        one = direct_source(direct, scope=SCOPE, billing_period_starts=start, backfill="395d")
        for window in one.windows(datetime(2025, 3, 31, 12, tzinfo=UTC), {}, None):
            one.fetch(window)
    for asked in direct.asked:
        period = asked.definition["timePeriod"]
        first, last = (date.fromisoformat(period[edge][:10]) for edge in ("from", "to"))
        assert 1 <= (last - first).days + 1 <= 31


def test_refunds_stand_apart_also_by_run(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22), tags={"training-run": "llama"})
    azure.bill(date(2026, 11, 5), "Virtual Machines", "-4", charge_type="Refund", tags={"training-run": "llama"})
    batch = read(source(azure, run_tag="training-run"))
    assert sums(batch, "charge_category", "run") == {("Usage", "llama"): 220, (CREDIT, "llama"): -4}
    filtered = [asked.definition["dataset"].get("filter") for asked in azure.asked]
    assert {"dimensions": {"name": "ChargeType", "operator": "In", "values": ["Refund"]}} in filtered


def test_an_unknown_kind_of_charge_counts(azure: AzureCloud) -> None:
    azure.bill(date(2026, 11, 1), "Marketplace", "9", charge_type="SomethingNew")
    assert sums(read(source(azure)), "charge_category") == {"Adjustment": 9}


def test_other_currency_is_named(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22), currency="EUR")
    error = fails(azure)
    assert isinstance(error, PermanentError)
    assert str(error) == "its costs are in EUR, but source azure is set to USD: change its currency"


def test_two_currencies_are_never_added(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22), currency="EUR", cost="1000")
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22), tags={"training-run": "llama"})
    batch = read(source(azure, run_tag="training-run"))
    assert sums(batch, "currency") == {"USD": 220}


@pytest.mark.parametrize(
    ("limits", "wait"),
    [
        ({"qpu": "1"}, 1),
        ({"entity": "1"}, 1),
        ({"tenant": "1"}, 1),
        ({"clienttype": "1"}, 1),
        ({"qpu": "0", "entity": "2", "tenant": "1"}, 2),
    ],
)
def test_a_short_wait_is_kept_and_then_it_goes_on(
    azure: AzureCloud, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str], wait: float
) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22))
    waits: list[float] = []
    monkeypatch.setattr("monitor.clients.azure_cost.idle", waits.append)
    azure.script.append(throttled(**limits))
    assert len(read(source(azure)).charges) == 22
    assert (waits, len(azure.asked)) == ([wait], 3)


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        (throttled(qpu="30", entity="120", tenant="60", clienttype="90"), 120),
        (throttled(tenant="3600"), 3600),
        (throttled(clienttype="999999999"), 86400),
        (refusal(429, "429", Retry_After="600"), 600),
        (refusal(503, "ServiceUnavailable", Retry_After="600"), 600),
        (refusal(429, "429", x_ms_retry_after_ms="500000"), 500),
    ],
)
def test_a_long_wait_is_the_schedulers_and_nothing_is_asked_meanwhile(
    azure: AzureCloud, reply: Reply, asked: int
) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22))
    error = fails(azure, reply)
    assert isinstance(error, TemporaryError)
    assert error.retry_after == timedelta(seconds=asked)
    assert f"asks to wait {asked} s" in str(error)
    assert len(azure.asked) == 1


def tries_at_four(asked: list[Any]) -> int:
    """In how many tries of four pages each all of these queries are answered; one that is not whole is asked anew."""
    pages: list[int] = []
    for one in asked:
        if one.token:
            pages[-1] += 1
        else:
            pages.append(1)
    tries, left = 1, 4
    for count in pages:
        assert count <= 4
        if count > left:
            tries, left = tries + 1, 4
        left -= count
    return tries


def test_a_read_that_was_told_to_wait_goes_on_where_it_stopped(azure: AzureCloud) -> None:
    random_bill(azure, 3)
    azure.page_size = 100
    whole = read(source(azure, scope=GROUP, run_tag="training-run"))
    needed, expected = len(azure.asked), tries_at_four(azure.asked)
    one = source(azure, scope=GROUP, run_tag="training-run")
    tries = 1
    azure.asked.clear()
    while True:
        # Four a minute, as Azure allows it.
        azure.script.extend([None] * 4 + [throttled(entity="60")])
        try:
            batch = read(one)
            break
        except TemporaryError:
            tries += 1
    assert (batch.charges, tries) == (whole.charges, expected)
    assert tries > 2
    azure.script.clear()
    assert read(one).use.calls == needed, "what was kept is used once"


@pytest.mark.parametrize("error", [UnreachableError("Azure did not answer within 30 s"), TemporaryError("HTTP 503")])
def test_a_read_that_fails_in_the_middle_goes_on_where_it_stopped(
    direct: AzureCloud, monkeypatch: pytest.MonkeyPatch, error: TemporaryError
) -> None:
    monkeypatch.setattr("monitor.clients.azure_cost.idle", lambda seconds: None)
    random_bill(direct, 3)
    direct.page_size = 100
    whole = read(direct_source(direct, scope=GROUP, run_tag="training-run"))
    expected, answered = tries_at_four(direct.asked), 0

    def slow(_: dict[str, Any]) -> None:
        nonlocal answered
        answered += 1
        if answered % 7 in (5, 6, 0):  # four pages, then one and the two tries after it
            raise error

    one = direct_source(direct, slow, scope=GROUP, run_tag="training-run")
    tries = 1
    while True:
        assert tries < 20
        try:
            batch = read(one)
            break
        except type(error):
            tries += 1
    assert (batch.charges, tries) == (whole.charges, expected)


def test_pages_that_do_not_fit_together_are_all_asked_for_anew(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 22))
    direct.page_size = 5

    def damage(properties: dict[str, Any]) -> None:
        if len(direct.asked) == 4:
            del properties["columns"]

    one = direct_source(direct, damage, scope=SCOPE)
    with pytest.raises(BadDataError):
        read(one)
    assert (len(read(one).charges), len(direct.asked)) == (22, 4 + 1 + 5)


def test_a_read_that_was_given_up_goes_on_where_it_stopped(direct: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    random_bill(direct, 3)
    direct.page_size = 40
    whole = read(direct_source(direct, scope=GROUP, run_tag="training-run"))
    needed, hangs, over = len(direct.asked), threading.Event(), threading.Event()
    direct.asked.clear()

    def hang(_: dict[str, Any]) -> None:
        if len(direct.asked) == 5 and not hangs.is_set():
            hangs.set()
            over.wait()
            raise PermanentError("nobody waits for this")

    one = direct_source(direct, hang, scope=GROUP, run_tag="training-run")
    with monkeypatch.context() as patch:
        patch.setattr(azure_cost, "DEADLINE_S", 0.5)
        with pytest.raises(UnreachableError, match=r"no complete answer within 0\.5 s"):
            read(one)
    assert hangs.wait(60)
    assert read(one).charges == whole.charges
    assert len(direct.asked) == needed + 1
    over.set()
    direct.asked.clear()
    assert read(one).use.calls == needed, "what was kept is used once"


def test_filling_in_the_past_ends_too_at_four_queries_a_minute(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 8, 1), date(2026, 11, 22), tags={"training-run": "llama"})
    direct.page_size = 20
    one = direct_source(direct, scope=SCOPE, run_tag="training-run")
    filled: datetime | None = None
    tries = 0
    while filled != datetime(2026, 8, 1, tzinfo=UTC):
        tries += 1
        assert tries < 12
        direct.script.clear()
        direct.script.extend([None] * 4 + [throttled(entity="60")])
        for window in one.windows(NOW, {}, filled):
            try:
                one.fetch(window)
            except TemporaryError:
                break
            filled = window.period.start
    assert (tries, len(direct.asked)) == (4, 16 + 3)


def test_a_burst_of_failures_is_tried_three_times(azure: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.clients.azure_cost.idle", lambda seconds: None)
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22))
    assert "ServiceUnavailable" in str(fails(azure, *[refusal(503, "ServiceUnavailable")] * 3))
    assert len(azure.asked) == 3
    azure.script.extend([refusal(500, "InternalServerError"), refusal(502, "BadGateway")])
    assert len(read(source(azure)).charges) == 22


REFUSALS = [
    (refusal(401, "ExpiredAuthenticationToken"), AccessError, "renew the credentials"),
    (refusal(401, "InvalidAuthenticationTokenTenant"), AccessError, "of another tenant"),
    (refusal(403, "AuthorizationFailed"), AccessError, 'the role "Cost Management Reader" (it holds Microsoft.Cost'),
    (refusal(403, "RBACAccessDenied"), AccessError, f"query/action) on {SCOPE}"),
    (Reply(403, b"<html>"), AccessError, "without a code of Azure"),
    (refusal(404, "SubscriptionNotFound"), AccessError, "in this tenant"),
    (refusal(404, "ResourceGroupNotFound"), PermanentError, "check scope"),
    (
        refusal(404, "NotFound", "Given subscription x doesn't have valid WebDirect/AIRS offer type."),
        PermanentError,
        "pay-as-you-go offers",
    ),
    (
        refusal(400, "BadRequest", "Cost management data is unavailable for subscription x. The offer MS-1 is not"),
        PermanentError,
        "pay-as-you-go offers",
    ),
    (refusal(404, "NotFound", "X returns null or empty list for id: y"), PermanentError, "does not know"),
    (
        refusal(400, "BadRequest", "Invalid query definition: Invalid dataset grouping: 'ServiceName'; valid"),
        PermanentError,
        "cannot be read by ServiceName; change by or run_tag",
    ),
    (refusal(400, "BadRequest", "<script>"), PermanentError, "check scope, by and run_tag"),
    (Reply(307, b"", {"Location": "https://evil.example/"}), PermanentError, "a redirect, which is never followed"),
    (refusal(400, "<b>canary</b>"), PermanentError, "without a code of Azure"),
]


@pytest.mark.parametrize(("reply", "kind", "said"), REFUSALS)
def test_a_refusal_says_what_mends_it(azure: AzureCloud, reply: Reply, kind: type[Exception], said: str) -> None:
    error = fails(azure, reply)
    assert type(error) is kind
    assert said in str(error)
    assert not set(str(error)) & set("<>\n")
    assert len(azure.asked) == 1


def test_a_billing_account_has_readers_of_its_own(azure: AzureCloud) -> None:
    error = fails(azure, refusal(403, "AuthorizationFailed"), scope="/providers/Microsoft.Billing/billingAccounts/1:2")
    assert "a reader's role on /providers/Microsoft.Billing/billingAccounts/1:2" in str(error)


def test_nobody_registers_a_provider_for_us(azure: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.clients.azure_cost.idle", lambda seconds: None)
    fails(azure, *[refusal(409, "MissingSubscriptionRegistration", "Microsoft.CostManagement")] * 3)
    assert azure.operations == {OPERATION}
    assert len(azure.asked) == 3


LOGINS = [
    ({"AZURE_CLIENT_SECRET": "canary"}, AccessError, "AADSTS7000215: AZURE_CLIENT_SECRET is not a secret of"),
    ({"AZURE_CLIENT_ID": OTHER}, AccessError, "AADSTS700016: AZURE_CLIENT_ID is no application of this tenant"),
    ({"AZURE_TENANT_ID": OTHER}, AccessError, "AZURE_TENANT_ID names no tenant"),
    ({"AZURE_TENANT_ID": "a b"}, AccessError, "the AZURE_* variables cannot work"),
    ({"AZURE_TOKEN_CREDENTIALS": "canary"}, AccessError, "the AZURE_* variables cannot work"),
    (
        {"AZURE_CLIENT_SECRET": None, "AZURE_CLIENT_CERTIFICATE_PATH": "/canary.pem"},
        AccessError,
        "a file that the login of Azure needs cannot be read: check AZURE_CLIENT_CERTIFICATE_PATH",
    ),
    (
        {"AZURE_CLIENT_SECRET": None, "AZURE_CLIENT_CERTIFICATE_PATH": __file__},
        AccessError,
        "the AZURE_* variables cannot work: check AZURE_TENANT_ID, AZURE_CLIENT_CERTIFICATE_PATH",
    ),
    ({"AZURE_CLIENT_SECRET": None}, AccessError, "no Azure credentials were found: set AZURE_TENANT_ID"),
    ({"AZURE_AUTHORITY_HOST": "https://127.0.0.1:9"}, UnreachableError, "the login of Azure"),
    ({"REQUESTS_CA_BUNDLE": None}, AccessError, "name the authority in REQUESTS_CA_BUNDLE"),
]


@pytest.mark.parametrize(("variables", "kind", "said"), LOGINS)
def test_a_login_that_fails_says_what_mends_it(
    azure: AzureCloud,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str | None],
    kind: type[Exception],
    said: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    error = fails(azure)
    assert type(error) is kind
    assert said in str(error)
    assert "canary" not in str(error) + caplog.text
    assert not caplog.records, "the SDK would say it at length, and each time"
    assert not azure.asked


def test_after_a_refusal_it_logs_in_anew(azure: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22))
    one = source(azure)
    azure.secret = "renewed"
    with pytest.raises(AccessError):
        read(one)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "renewed")
    assert len(read(one).charges) == 22


def test_an_authority_that_is_taken_away_after_the_login_is_said(
    azure: AzureCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    bill_days(azure, date(2026, 11, 1), date(2026, 11, 22))
    one = source(azure)
    read(one)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/canary.pem")
    with pytest.raises(AccessError, match=r"cannot be read: check \w+ and REQUESTS_CA_BUNDLE$"):
        read(one)


def test_one_subscription_of_a_list_that_may_not_be_read_is_missing(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 10, 1), date(2026, 11, 22))
    bill_days(azure, date(2026, 10, 1), date(2026, 11, 22), subscription=OTHER)
    both = source(azure, scope=[SCOPE, f"/subscriptions/{OTHER}"])
    whole = read(both)
    assert sums(whole, "account") == {SUBSCRIPTION: 530, OTHER: 530}
    assert (whole.whole, whole.whole_accounts.keys()) == (None, {SUBSCRIPTION, OTHER})
    azure.denied.add(f"/subscriptions/{OTHER}")
    batch = read(both)
    assert sums(batch, "account") == {SUBSCRIPTION: 530}
    assert (batch.missing, batch.whole_accounts.keys()) == ((f"scope /subscriptions/{OTHER}",), {SUBSCRIPTION})
    assert {series.account for series in batch.replaces} == {SUBSCRIPTION}
    azure.denied.add(SCOPE)
    with pytest.raises(AccessError):
        read(both)


def test_an_idle_subscription_of_a_list_is_not_taken_for_one_that_lost_its_costs(azure: AzureCloud) -> None:
    bill_days(azure, date(2026, 10, 1), date(2026, 11, 22))
    bill_days(azure, date(2026, 10, 1), date(2026, 10, 31), subscription=OTHER)
    batch = read(source(azure, scope=[SCOPE, f"/subscriptions/{OTHER}"]))
    ends = {series.account: period.end for series, period in batch.replaces.items()}
    assert ends == {SUBSCRIPTION: datetime(2026, 11, 24, tzinfo=UTC), OTHER: datetime(2026, 11, 1, tzinfo=UTC)}
    assert {account: period.end for account, period in batch.whole_accounts.items()} == ends


def test_probe_says_what_there_is(azure: AzureCloud) -> None:
    assert source(azure).probe().startswith(f"costs of {SCOPE} in USD: none since ")
    today = datetime.now(UTC).date()
    azure.bill(today, "Virtual Machines", "1")
    azure.bill(today, "Virtual Machines", "1", currency="EUR")
    assert source(azure).probe() == f"costs of {SCOPE} in USD: up to {today}, and costs in EUR"
    azure.denied.add(SCOPE)
    with pytest.raises(AccessError, match="Cost Management Reader"):
        source(azure).probe()


def periods_of(start: int, now: datetime) -> list[Period]:
    return [
        window.period
        for window in direct_source(AzureCloud(None), scope=SCOPE, billing_period_starts=start).windows(now, {}, None)
    ]


def test_a_billing_period_from_the_16th_over_24_months_and_both_changes_of_the_clocks(direct: AzureCloud) -> None:
    first = date(2025, 1, 1)
    bill_days(direct, first, date(2026, 12, 31))
    one = direct_source(direct, scope=SCOPE, billing_period_starts=16)
    for month in range(24):
        year, number = 2025 + month // 12, month % 12 + 1
        for day, hour in ((1, 0), (15, 23), (16, 0), (28, 12)):
            now = datetime(year, number, day, hour, 59, 59, tzinfo=UTC)
            batch = one.fetch(one.windows(now, {}, None)[0])
            expected = truth_of_periods(max(first, batch_start(now)), now.date())
            assert sums(batch, "billing_period") == expected, now
    named = {charge.series.billing_period for charge in batch.charges}
    assert named == {"2026-11-16", "2026-12-16"}


def batch_start(now: datetime) -> date:
    """The first day of the billing period before the running one: months from the 16th, by another way to count."""
    months = now.year * 12 + now.month - 1 - (now.day < 16) - 1
    return date(months // 12, months % 12 + 1, 16)


def truth_of_periods(first: date, last: date) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    while first <= last:
        start = first.replace(day=16) if first.day >= 16 else (first.replace(day=1) - DAY).replace(day=16)
        found[start.isoformat()] += 10
        first += DAY
    return found


def test_the_utc_month_is_not_named(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 10, 1), date(2026, 11, 22))
    assert {charge.series.billing_period for charge in read(direct_source(direct, scope=SCOPE)).charges} == {""}


def test_windows_are_billing_periods() -> None:
    utc = UTC
    assert periods_of(16, datetime(2026, 11, 15, 23, 59, 59, tzinfo=utc))[:2] == [
        Period(datetime(2026, 9, 16, tzinfo=utc), datetime(2026, 11, 16, tzinfo=utc)),
        Period(datetime(2026, 8, 16, tzinfo=utc), datetime(2026, 9, 16, tzinfo=utc)),
    ]
    assert periods_of(1, datetime(2026, 1, 1, tzinfo=utc))[0].start == datetime(2025, 12, 1, tzinfo=utc)


def test_what_is_filled_in_is_not_read_again(direct: AzureCloud) -> None:
    one = direct_source(direct, scope=SCOPE, backfill="395d")
    windows = one.windows(NOW, {}, None)
    assert len(windows) == 1 + 12
    assert one.windows(NOW, {}, windows[4].period.start) == [windows[0], *windows[5:]]
    assert one.windows(NOW, {}, windows[-1].period.start) == windows[:1]


def test_a_past_month_is_read_as_a_whole(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 9, 1), date(2026, 9, 30))
    one = direct_source(direct, scope=SCOPE)
    window = one.windows(NOW, {}, None)[1]
    batch = one.fetch(window)
    assert (batch.whole, len(batch.charges), len(direct.asked)) == (window.period, 30, 1)


def test_server_that_never_answers_is_given_up(azure: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_cost, "DEADLINE_S", 0.0)
    with pytest.raises(UnreachableError, match=r"no complete answer within 0 s|took too long"):
        read(source(azure))


SCOPES = [
    SCOPE,
    SCOPE[1:] + "/",
    f"{SCOPE}/resourceGroups/my-rg_(1).x",
    f"{SCOPE}/resourcegroups/my-rg",
    GROUP,
    "/providers/Microsoft.Billing/billingAccounts/12345678",
    "/providers/Microsoft.Billing/billingAccounts/a-b:c-d_2019-05-31/billingProfiles/AB-CD",
    "/providers/Microsoft.Billing/billingAccounts/a:b/billingProfiles/AB-CD/invoiceSections/X",
    "/providers/Microsoft.Billing/billingAccounts/1/enrollmentAccounts/2",
    "/providers/Microsoft.Billing/billingAccounts/1/departments/2",
    "/providers/Microsoft.Billing/billingAccounts/1/customers/2",
]
NO_SCOPES = [
    "", "/", SUBSCRIPTION, "/subscriptions/1", "/subscriptions", f"{SCOPE}/resourceGroups", f"{SCOPE}?x=1",
    f"{SCOPE}/providers/Microsoft.CostManagement/query", f"https://management.azure.com{SCOPE}", "/subscriptions/../x",
    "/providers/Microsoft.Billing/billingAccounts/1/invoiceSections/2", f"{SCOPE}\n", 7, [], [SCOPE, 7],
]  # fmt: skip


@pytest.mark.parametrize("scope", SCOPES)
def test_scopes(direct: AzureCloud, scope: str) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 1), resource_group="my-rg")
    one = direct_source(direct, scope=scope)
    read(one)
    assert direct.asked[0].scope == "/" + scope.strip("/")


@pytest.mark.parametrize("scope", NO_SCOPES, ids=repr)
def test_no_scopes(scope: Any) -> None:
    with pytest.raises(ValidationError, match=r'expected a scope of Azure: "/subscriptions/ID"'):
        Settings(name="azure", scope=scope)


@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        ([SCOPE, SCOPE.upper()], "names a subscription twice"),
        ([SCOPE, GROUP], "a list may hold whole subscriptions only"),
        ([SCOPE, f"{SCOPE}/resourceGroups/x"], "a list may hold whole subscriptions only"),
    ],
)
def test_a_list_counts_nothing_twice(scopes: list[str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(name="azure", scope=scopes)


def test_a_bill_has_one_name_however_it_is_written() -> None:
    def bill(scope: Any) -> str:
        return Settings(name="azure", scope=scope).bill

    assert bill(SCOPE) == bill(SCOPE.upper().strip("/")) == f"azure/subscriptions/{SUBSCRIPTION}"
    assert bill([SCOPE, f"/subscriptions/{OTHER}"]) == bill([f"/subscriptions/{OTHER}", SCOPE])


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1", "https://", "https://u:p@x", "https://x/?a=1", ""])
def test_a_token_is_sent_by_https_alone(url: str) -> None:
    with pytest.raises(ValidationError, match="expected an https URL"):
        Settings(name="azure", scope=SCOPE, endpoint_url=url)


@pytest.mark.parametrize(
    ("cloud", "host", "authority"),
    [
        ("public", "https://management.azure.com/", "https://login.microsoftonline.com"),
        ("china", "https://management.chinacloudapi.cn/", "https://login.chinacloudapi.cn"),
        ("government", "https://management.usgovcloudapi.net/", "https://login.microsoftonline.us"),
    ],
)
def test_other_clouds_have_their_own_endpoints_and_logins(
    monkeypatch: pytest.MonkeyPatch, cloud: Any, host: str, authority: str
) -> None:
    for name, value in AzureCloud(None).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_AUTHORITY_HOST")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    from alarms.clients.azure import make_client

    client: Any = make_client(Settings(name="azure", scope=SCOPE, cloud=cloud))
    credential = client._config.credential.credentials[0]._credential
    assert (client._config.base_url, credential._authority) == (host, authority)
    assert client._config.credential_scopes[0].startswith("https://management.")


def test_a_read_uses_what_the_permissions_page_names_and_nothing_else(azure: AzureCloud) -> None:
    random_bill(azure, 1, lines=50)
    one = source(azure, scope=GROUP, by=["account", "service", "region"], run_tag="training-run", tags=["team"])
    for window in one.windows(NOW, {}, None):
        one.fetch(window)
    one.probe()
    page = (Path(__file__).parents[2] / "docs/permissions/azure.md").read_text(encoding="utf-8")
    table = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `Microsoft.")}
    role = page.partition('"Actions": [')[2].partition("]")[0]
    assert azure.operations == table == {name.strip('" ') for name in role.split(",")}


def test_a_window_without_an_end_of_its_own_is_read_to_its_last_day(direct: AzureCloud) -> None:
    bill_days(direct, date(2026, 11, 1), date(2026, 11, 30))
    one = direct_source(direct, scope=SCOPE)
    batch = one.fetch(Window(Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC))))
    assert [charge.period.start.day for charge in batch.charges] == [1, 2, 3, 4]
