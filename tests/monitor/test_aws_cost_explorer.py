"""The Cost Explorer source through real boto3, against a server that groups and filters as AWS does; real stores."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alarms.model import Period
from monitor.errors import AccessError, BadDataError, OutsideError, PermanentError, TemporaryError
from monitor.model import CREDIT, UNATTRIBUTED, ApiUse, Batch, Series
from monitor.period import month_of
from monitor.simulation.cost_explorer import CostExplorer, Refusal
from monitor.sources.aws_cost_explorer import AwsCostExplorer, Settings
from monitor.store import charges
from monitor.store.database import Store, open_store
from tests.fakes.ledger import totals_by_series

CUR = Path(__file__).parents[3] / "shared/data/aws-cur/aws_cur_sample_2023-11.csv"
NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
TODAY = NOW.date()
A, B = "111111111111", "222222222222"
EC2, S3 = "Amazon Elastic Compute Cloud - Compute", "Amazon Simple Storage Service"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVER = Period(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "simulated",
    "AWS_SECRET_ACCESS_KEY": "simulated",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@contextmanager
def explorer_of(today: date = TODAY, **more: Any) -> Iterator[CostExplorer]:
    with CostExplorer(today, **more) as explorer, mock.patch.dict("os.environ", ENVIRONMENT | explorer.environment):
        yield explorer


@pytest.fixture
def explorer() -> Iterator[CostExplorer]:
    with explorer_of() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "state") as made:
        yield made


def source(**more: Any) -> AwsCostExplorer:
    return AwsCostExplorer(Settings(name="ce", backfill="1d", **more))


def read(now: datetime = NOW, of: AwsCostExplorer | None = None, **more: Any) -> Batch:
    """One look at the running window."""
    asked = of or source(**more)
    return asked.fetch(asked.windows(now, {}, None)[0])


def nov(day: int) -> date:
    return date(2026, 11, day)


def shown(batch: Batch) -> dict[tuple[str, ...], Decimal]:
    """(day, account, service, run, category) -> cost; the charge is of a whole UTC day."""
    found = {}
    for charge in batch.charges:
        series, period = charge.series, charge.period
        assert period.end - period.start == DAY
        key = (f"{period.start:%m-%d}", series.account, series.service, series.run, series.charge_category)
        assert key not in found
        found[key] = charge.billed_cost
    return found


def put(store: Store, batch: Batch) -> dict[Series, Decimal]:
    """Into the store; what is then there."""
    with store.transaction() as tx:
        charges.replace(tx, "ce", batch, NOW)
    with store.read() as connection:
        return {series: cost for series, cost in totals_by_series(connection, EVER).items() if cost}


def test_cost_by_account_and_service_with_credits_refunds_and_tax_apart(explorer: CostExplorer) -> None:
    explorer.bill(nov(2), "100.10", service=EC2, account=A)
    explorer.bill(nov(2), "0.0000000181", service=EC2, account=B)
    explorer.bill(nov(2), "7", service=EC2, account=A, record_type="Recurring")
    explorer.bill(nov(2), "-3", service=EC2, account=A, record_type="Enterprise Discount Program Discount")
    explorer.bill(nov(2), "-40", service=EC2, account=A, record_type="Credit")
    explorer.bill(nov(2), "-2", service=EC2, account=A, record_type="Refund")
    explorer.bill(nov(3), "9.5", service="Tax", account=A, record_type="Tax")
    batch = read()
    assert shown(batch) == {
        ("11-02", A, EC2, "", "Usage"): Decimal("104.10"),
        ("11-02", B, EC2, "", "Usage"): Decimal("0.0000000181"),
        ("11-02", A, EC2, "", CREDIT): Decimal("-42"),
        ("11-03", A, "Tax", "", "Tax"): Decimal("9.5"),
    }
    assert batch.use == ApiUse(calls=2, cost_usd=Decimal("0.02"))
    assert batch.whole == Period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
    # What is before the newest day is told; that day maybe in part.
    assert batch.data_as_of == datetime(2026, 11, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("by", "run_tag", "requests"),
    [
        ([], None, 1),
        (["service"], None, 1),
        (["account"], None, 1),
        (["service", "account"], None, 2),
        ([], "job", 1),
        (["service"], "job", 2),
        (["account"], "job", 2),
        (["service", "account"], "job", 4),
    ],
)
def test_what_each_grain_costs_and_that_all_add_up_alike(
    explorer: CostExplorer, by: list[str], run_tag: str | None, requests: int
) -> None:
    explorer.activated = {"job"}
    for line in range(40):
        tags = {"job": f"run{line % 3}"} if line % 2 else {}
        kind = "Credit" if line % 7 == 0 else "Usage"
        cost = f"{'-' if kind == 'Credit' else ''}{line}.{line:03}"
        where = {"service": (EC2, S3)[line % 4 // 2], "account": (A, B)[line % 5 // 3]}
        explorer.bill(nov(1 + line % 6), cost, record_type=kind, tags=tags, **where)
    batch = read(by=by, run_tag=run_tag)
    assert (batch.use, len(explorer.requests)) == (ApiUse(requests, requests * Decimal("0.01")), requests)
    for day in range(1, 7):
        for credit in (False, True):
            wanted = sum(
                (line.cost for line in explorer.lines if line.day == nov(day) and is_credit(line) == credit), Decimal(0)
            )
            assert (
                sum(
                    cost
                    for key, cost in shown(batch).items()
                    if key[0] == f"11-{day:02}" and (key[4] == CREDIT) is credit
                )
                == wanted
            )
    for name, place in (("account", 1), ("service", 2)):
        told = {key[place] for key in shown(batch)} - {UNATTRIBUTED}
        assert told == ({line.dimensions[DIMENSION[name]] for line in explorer.lines} if name in by else {""})


DIMENSION = {"account": "LINKED_ACCOUNT", "service": "SERVICE"}


def is_credit(line: Any) -> bool:
    return line.dimensions["RECORD_TYPE"] in ("Credit", "Refund")


def test_runs_by_account_and_service_are_exact_where_each_run_is_in_one_account(explorer: CostExplorer) -> None:
    explorer.activated = {"job"}
    explorer.bill(nov(2), "50", service=EC2, account=A, tags={"job": "llama"})
    explorer.bill(nov(2), "5", service=S3, account=A, tags={"job": "llama"})
    explorer.bill(nov(2), "70", service=EC2, account=B, tags={"job": "gpt"})
    explorer.bill(nov(2), "30", service=EC2, account=A)
    explorer.bill(nov(2), "-8", service=EC2, account=A, record_type="Credit", tags={"job": "llama"})
    # Of one service, in two accounts.
    explorer.bill(nov(3), "1", service=S3, account=A, tags={"job": "eval"})
    explorer.bill(nov(3), "2", service=S3, account=B, tags={"job": "eval"})
    assert shown(read(run_tag="job")) == {
        ("11-02", A, EC2, "llama", "Usage"): 50,
        ("11-02", A, S3, "llama", "Usage"): 5,
        ("11-02", B, EC2, "gpt", "Usage"): 70,
        ("11-02", A, EC2, "", "Usage"): 30,
        ("11-02", A, EC2, "", CREDIT): -8,
        ("11-03", A, S3, "eval", "Usage"): 1,
        ("11-03", B, S3, "eval", "Usage"): 2,
    }


def test_a_run_of_several_services_in_several_accounts_is_known_by_account_and_nothing_is_lost(
    explorer: CostExplorer,
) -> None:
    explorer.activated = {"job"}
    for cost, service, account in (("1", EC2, A), ("2", S3, A), ("4", EC2, B), ("8", S3, B)):
        explorer.bill(nov(2), cost, service=service, account=account, tags={"job": "llama"})
    assert shown(read(run_tag="job")) == {
        ("11-02", A, EC2, "", "Usage"): 1,
        ("11-02", A, S3, "", "Usage"): 2,
        ("11-02", B, EC2, "", "Usage"): 4,
        ("11-02", B, S3, "", "Usage"): 8,
        ("11-02", A, UNATTRIBUTED, "llama", "Usage"): 3,
        ("11-02", B, UNATTRIBUTED, "llama", "Usage"): 12,
        ("11-02", A, UNATTRIBUTED, "", "Usage"): -3,
        ("11-02", B, UNATTRIBUTED, "", "Usage"): -12,
    }


def test_where_there_is_one_account_nobody_asks_for_it(explorer: CostExplorer) -> None:
    explorer.activated = {"job"}
    explorer.bill(nov(2), "50", service=EC2, account=A, tags={"job": "llama"})
    explorer.bill(nov(2), "5", service=S3, account=A)
    batch = read(run_tag="job")
    assert batch.use.calls == 3
    assert shown(batch) == {("11-02", A, EC2, "llama", "Usage"): 50, ("11-02", A, S3, "", "Usage"): 5}


def test_credits_are_asked_for_with_each_second_read_and_kept_meanwhile(explorer: CostExplorer) -> None:
    explorer.bill(nov(2), "50", account=A)
    explorer.bill(nov(2), "-8", account=A, record_type="Credit")
    asked = source()
    made = []
    for read_at in range(4):
        batch = read(NOW + read_at * 6 * HOUR, of=asked)
        made.append(batch.use.calls)
        assert shown(batch)[("11-02", A, EC2, "", CREDIT)] == -8
    assert made == [2, 1, 2, 1]


def test_thirty_days_of_the_default_and_its_first_fill_cost_less_than_two_dollars(explorer: CostExplorer) -> None:
    explorer.bill(nov(2), "50", account=A)
    asked, cost, now = AwsCostExplorer(Settings(name="ce")), Decimal(0), datetime(2026, 11, 1, 3, tzinfo=UTC)
    meters, filled = {}, now
    for _ in range(30 * (DAY // Settings.model_fields["every"].default)):
        for window in asked.windows(now, meters, filled):
            batch = asked.fetch(window)
            meters, cost = {**meters, **batch.meters}, cost + batch.use.cost_usd
            filled = min(filled, window.period.start)
        now += Settings.model_fields["every"].default
        explorer.today = now.date()
    assert cost == Decimal("0.01") * len(explorer.requests)
    assert Decimal("1.50") < cost < 2


def test_pages_are_put_together_and_paid_for_one_by_one(explorer: CostExplorer) -> None:
    for number in range(60):
        explorer.bill(
            nov(1 + number % 10), f"{number}.01", service=f"Service {number % 7}", account=f"{number % 3:012}"
        )
    whole = read()
    explorer.page_size = 4
    paged = read()
    assert shown(paged) == shown(whole)
    assert paged.use.calls > 10
    assert paged.use.cost_usd == paged.use.calls * Decimal("0.01")


@pytest.mark.parametrize(
    "now", ["2026-12-01T00:00:00", "2026-12-01T00:05:00", "2026-11-30T23:59:59", "2028-02-29T12:00:00"]
)
def test_the_first_of_the_month_asks_for_no_empty_stretch(now: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    with explorer_of(at.date()) as explorer:
        explorer.bill(at.date() - DAY, "12")
        batch = read(at)
        (period, _) = (request["TimePeriod"] for request in explorer.requests)
        assert period["Start"] == f"{month_of(month_of(at).start - HOUR).start:%Y-%m-%d}"
        assert period["End"] == (at.date() + DAY).isoformat()
        assert sum(charge.billed_cost for charge in batch.charges) == 12


@pytest.mark.parametrize("day", ["2026-11-23", "2027-01-01", "2027-03-01", "2027-03-31", "2028-02-29", "2028-03-01"])
def test_it_reads_back_thirteen_whole_months_and_never_more(day: str) -> None:
    now = datetime.fromisoformat(day).replace(tzinfo=UTC)
    for settings_, months in ((Settings(name="ce"), 13), (Settings(name="ce", backfill="1d"), 1)):
        oldest = min(window.period.start for window in AwsCostExplorer(settings_).windows(now, {}, None))
        assert (now.year - oldest.year) * 12 + now.month - oldest.month == months
        assert oldest == month_of(oldest).start


@pytest.mark.parametrize("day", range(0, 400, 29))
def test_no_window_is_one_that_aws_refuses(day: int) -> None:
    now = NOW + day * DAY
    with explorer_of(now.date()) as explorer:
        explorer.bill(now.date(), "1")
        asked = AwsCostExplorer(Settings(name="ce"))
        windows = asked.windows(now, {}, None)
        for window in windows:
            asked.fetch(window)
        assert len(windows) < 7
        assert {period.start for period in (window.period for window in windows)} == {
            month_of(window.period.start).start for window in windows
        }


def test_a_past_month_is_filled_in_with_exactly_its_days(explorer: CostExplorer) -> None:
    explorer.bill(date(2026, 9, 30), "3")
    explorer.bill(date(2026, 10, 1), "5")
    asked = AwsCostExplorer(Settings(name="ce", backfill="60d"))
    running, past = asked.windows(NOW, {}, None)
    assert past.period == Period(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC))
    assert [charge.billed_cost for charge in asked.fetch(past).charges] == [3]
    assert [charge.billed_cost for charge in asked.fetch(running).charges] == [5]


def test_nothing_published_is_missing_and_not_zero(explorer: CostExplorer) -> None:
    batch = read()
    assert (batch.charges, batch.replaces, batch.whole, batch.data_as_of) == ((), {}, None, None)


def test_a_day_with_a_zero_is_told(explorer: CostExplorer) -> None:
    explorer.bill(nov(22), "0", service=S3, account=A)
    assert shown(read()) == {("11-22", A, S3, "", "Usage"): 0}


def test_a_corrected_bill_converges_and_what_is_gone_is_withdrawn(explorer: CostExplorer, store: Store) -> None:
    explorer.activated = {"job"}
    explorer.bill(nov(2), "50", account=A, tags={"job": "llama"})
    explorer.bill(nov(2), "5", account=A)
    put(store, read(run_tag="job"))
    explorer.lines.clear()
    explorer.bill(nov(2), "50", account=A, tags={"job": "llama-2"})
    explorer.bill(nov(2), "3", account=A)
    kept = put(store, read(run_tag="job"))
    assert {(series.run, cost) for series, cost in kept.items()} == {("llama-2", 50), ("", 3)}


def test_another_accounts_bill_or_half_of_one_is_not_taken(explorer: CostExplorer) -> None:
    for day in range(1, 21):
        explorer.bill(nov(day), "50", account=A)
        explorer.bill(date(2026, 10, day), "50", account=A)
    asked = source()
    meters = dict(asked.fetch(asked.windows(NOW, {}, None)[0]).meters)
    explorer.lines = [line for line in explorer.lines if line.day.month == 11 or line.day.day > 12]
    with pytest.raises(BadDataError, match="costs on 8 days of 2026-10, where it had shown 20"):
        asked.fetch(asked.windows(NOW, meters, None)[0])


@pytest.mark.parametrize(
    ("refusal", "kind", "said"),
    [
        (Refusal("LimitExceededException"), TemporaryError, "too many requests"),
        (Refusal("ThrottlingException"), TemporaryError, "too many requests"),
        (Refusal("ThrottlingException", headers={"Retry-After": "600"}), TemporaryError, "too many requests"),
        (Refusal("DataUnavailableException"), TemporaryError, "has no data for us yet: it takes up to 24 hours"),
        (Refusal("InvalidNextTokenException"), TemporaryError, "between two pages"),
        (Refusal("RequestChangedException"), TemporaryError, "between two pages"),
        (Refusal("AccessDeniedException"), AccessError, "allow ce:GetCostAndUsage to these credentials"),
        (Refusal("AccessDeniedException"), AccessError, "IAM access to billing be activated by the root user"),
        (Refusal("AccessDeniedException"), AccessError, "a member account be let in by its payer"),
        (Refusal("ExpiredTokenException"), AccessError, "expired, renew them"),
        (Refusal("UnrecognizedClientException"), AccessError, "does not accept these credentials"),
        (Refusal("ValidationException"), PermanentError, "ValidationException to GetCostAndUsage"),
        (Refusal("BillExpirationException"), PermanentError, "BillExpirationException to GetCostAndUsage"),
        (Refusal("InternalFailure", 500), TemporaryError, "HTTP 500"),
        (Refusal("ServiceUnavailable", 503), TemporaryError, "overloaded"),
    ],
)
def test_a_refusal_says_what_to_do(
    explorer: CostExplorer, refusal: Refusal, kind: type[OutsideError], said: str
) -> None:
    explorer.bill(nov(2), "5")
    explorer.every_time.append(lambda *_: refusal)
    with pytest.raises(kind, match=said) as caught:
        read()
    assert len(str(caught.value)) < 300
    if refusal.code == "DataUnavailableException":
        assert caught.value.retry_after == HOUR  # type: ignore[attr-defined] # a TemporaryError
    if refusal.headers:
        assert caught.value.retry_after == timedelta(minutes=10)  # type: ignore[attr-defined] # the same


def test_another_currency_is_named(explorer: CostExplorer) -> None:
    explorer.bill(nov(2), "5", currency="CNY")
    with pytest.raises(PermanentError, match="bills in CNY, but the source is set to USD: change its currency"):
        read()
    assert len(shown(read(currency="CNY"))) == 1


def metric(**changes: Any) -> Any:
    """Changes the first group of the newest day."""

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        result = next(one for one in reversed(answer["ResultsByTime"]) if one["Groups"])
        result["Groups"][0]["Metrics"]["UnblendedCost"].update(changes)
        return answer

    return change


UNUSABLE = ["NaN", "Infinity", "1e999", "", None, "1_000", "\uff11", 5, 5.5, [], "1E+2", "0x1"]


@pytest.mark.parametrize("amount", UNUSABLE, ids=repr)
def test_an_unusable_amount_is_left_out_and_said_and_nothing_is_withdrawn(explorer: CostExplorer, amount: Any) -> None:
    explorer.bill(nov(2), "5", service=EC2)
    explorer.bill(nov(3), "7", service=S3)
    explorer.faults.append(metric(Amount=amount))
    batch = read(by=["service"])
    assert (batch.rejected, batch.missing, batch.whole) == (1, ("1 unusable amount",), None)
    assert [charge.billed_cost for charge in batch.charges] == [5]


@pytest.mark.parametrize(
    ("amount", "cost"),
    [
        ("1.81E-8", "0.0000000181"),
        ("-0.5", "-0.5"),
        ("3", "3"),
        ("1e-30", "0"),
        ("12345678901.1234567890123456789", "12345678901.123456789012345679"),
    ],
)
def test_amounts_are_read_to_the_last_digit(explorer: CostExplorer, amount: str, cost: str) -> None:
    explorer.bill(nov(2), "5")
    explorer.every_time.append(metric(Amount=amount))
    (charge,) = read(by=["service"]).charges
    assert charge.billed_cost == Decimal(cost)


def without(*keys: str) -> Any:
    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        result = next(one for one in answer["ResultsByTime"] if one["Groups"])
        place: Any = {"": answer, "result": result, "group": result["Groups"][0]}[keys[0]]
        del place[keys[1]]
        return answer

    return change


def changed(**more: Any) -> Any:
    return lambda request, answer: {**answer, **more}


def day_of_result(place: int, **period: str) -> Any:
    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        answer["ResultsByTime"][place]["TimePeriod"].update(period)
        return answer

    return change


def twice(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    result = next(one for one in answer["ResultsByTime"] if one["Groups"])
    group = result["Groups"][0]
    result["Groups"].append({**group, "Metrics": {"UnblendedCost": {"Amount": "6", "Unit": "USD"}}})
    return answer


BAD = {
    "no results": without("", "ResultsByTime"),
    "results are null": changed(ResultsByTime=None),
    "results are a text": changed(ResultsByTime="none"),
    "results of another shape": changed(ResultsByTime=[["x"], 7]),
    "no days": changed(ResultsByTime=[]),
    "no period": without("result", "TimePeriod"),
    "no groups": without("result", "Groups"),
    "not said whether it is estimated": without("result", "Estimated"),
    "a group without keys": without("group", "Keys"),
    "a group without metrics": without("group", "Metrics"),
    "a month for a day": day_of_result(0, End="2026-11-01"),
    "a day that was not asked for": day_of_result(0, Start="2026-09-30", End="2026-10-01"),
    "a day that is none": day_of_result(0, Start="yesterday"),
    "a hole": day_of_result(3, Start="2026-10-05", End="2026-10-06"),
    "a day too many": lambda request, answer: {
        **answer,
        "ResultsByTime": [
            *answer["ResultsByTime"],
            {
                "TimePeriod": {"Start": "2026-11-24", "End": "2026-11-25"},
                "Groups": [],
                "Estimated": True,
            },
        ],
    },
    "two amounts for one": twice,
    "one key for two groups": lambda request, answer: {
        **answer,
        "ResultsByTime": [
            {**one, "Groups": [{**group, "Keys": group["Keys"][:1]} for group in one["Groups"]]}
            for one in answer["ResultsByTime"]
        ],
    },
}


@pytest.mark.parametrize("name", BAD)
def test_an_answer_of_another_shape_is_not_taken(explorer: CostExplorer, name: str) -> None:
    explorer.bill(nov(2), "5")
    explorer.every_time.append(BAD[name])
    with pytest.raises(BadDataError) as caught:
        read()
    assert "Cost Explorer" in str(caught.value)


def test_a_tag_of_another_form_is_not_taken(explorer: CostExplorer) -> None:
    explorer.bill(nov(2), "5")
    explorer.every_time.append(
        lambda request, answer: {
            **answer,
            "ResultsByTime": [
                {**one, "Groups": [{**group, "Keys": ["other$x", "Usage"]} for group in one["Groups"]]}
                for one in answer["ResultsByTime"]
            ],
        }
    )
    with pytest.raises(BadDataError, match="without what every answer of it has"):
        read(by=[], run_tag="job")


def test_a_server_that_pages_in_circles_is_caught(explorer: CostExplorer) -> None:
    explorer.bill(nov(2), "5")
    explorer.every_time.append(changed(NextPageToken="7"))
    with (
        mock.patch.object(CostExplorer, "_cost_and_usage", explorer_without_tokens),
        pytest.raises(BadDataError, match="pages without end"),
    ):
        read()
    assert len(explorer.requests) == 2


def explorer_without_tokens(self: CostExplorer, request: dict[str, Any]) -> Any:
    return _REAL(self, {key: value for key, value in request.items() if key != "NextPageToken"})


_REAL = CostExplorer._cost_and_usage


def test_a_page_that_fails_leaves_nothing_of_the_read(explorer: CostExplorer) -> None:
    for day in range(1, 20):
        explorer.bill(nov(day), "5")
    explorer.page_size = 10
    explorer.faults.extend([lambda *_: None, lambda *_: None, lambda *_: Refusal("InvalidNextTokenException")])
    with pytest.raises(TemporaryError):
        read()


def test_what_was_asked_in_vain_is_paid_for_as_well(explorer: CostExplorer) -> None:
    explorer.bill(nov(2), "5")
    asked = source()
    explorer.faults.extend([lambda *_: None, lambda *_: Refusal("ValidationException")])
    with pytest.raises(PermanentError):
        read(of=asked)
    assert read(of=asked).use == ApiUse(4, Decimal("0.04"))
    assert read(of=asked).use.calls == 1
    assert len(explorer.requests) == 5


def test_probe_says_what_there_is(explorer: CostExplorer) -> None:
    explorer.today = datetime.now(UTC).date()
    yesterday = explorer.today - DAY
    explorer.bill(yesterday, "5", service=EC2, account=A, tags={"job": "llama"})
    explorer.bill(yesterday, "5", service=S3, account=B)
    assert source().probe() == f"costs in USD up to {yesterday}, 2 services, 2 linked accounts"
    assert 'no cost bears the tag "job": activate it as a cost allocation tag' in source(run_tag="job").probe()
    explorer.activated = {"job"}
    assert source(run_tag="job").probe().endswith("2 linked accounts, 1 runs by the tag job")


def test_probe_of_an_empty_account(explorer: CostExplorer) -> None:
    explorer.today = datetime.now(UTC).date()
    assert source().probe() == "no costs within the last 3 days"


@pytest.mark.parametrize("wrong", [{"by": ["region"]}, {"currency": "dollars"}, {"run_tag": ""}, {"backfill": "429d"}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"name": "ce", "type": "aws_cost_explorer"} | wrong)


LINES = st.lists(
    st.tuples(
        st.integers(1, 8),
        st.sampled_from([A, B, "3" * 12]),
        st.sampled_from([EC2, S3, "Tax"]),
        st.sampled_from(["", "llama", "gpt"]),
        st.sampled_from(["Usage", "Usage", "Usage", "Credit", "Recurring"]),
        st.decimals(min_value="0.000001", max_value=1000, places=6),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=15)
@given(lines=LINES, seed=st.integers(0, 2**32), by=st.sampled_from([["service", "account"], ["account"], []]))
def test_permuted_split_repeated_and_late_deliveries_give_the_same_totals(
    lines: list[tuple[int, str, str, str, str, Decimal]], seed: int, by: list[str]
) -> None:
    chance = random.Random(seed)  # noqa: S311 # a seed must repeat it
    with TemporaryDirectory() as directory, explorer_of() as explorer, open_store(Path(directory) / "state") as store:
        explorer.activated = {"job"}
        asked = source(run_tag="job", by=by)
        explorer.every_time.append(lambda _, answer: permuted(answer, chance))
        delivered = sorted(lines, key=lambda line: (line[0], chance.random()))
        now, kept = NOW - 10 * DAY, {}
        while delivered:
            some, delivered = delivered[:7], delivered[7:]
            for day, account, service, run, kind, cost in some:
                signed = -cost if kind == "Credit" else cost
                where = {"service": service, "account": account, "tags": {"job": run} if run else {}}
                explorer.bill(nov(day), signed, record_type=kind, **where)
            explorer.page_size = chance.choice([13, 50, 1000])
            now += 12 * HOUR
            for _ in range(chance.choice([1, 2])):
                kept = put(store, read(now, of=asked))
        for place, name in ((1, "account"), (2, "service"), (3, "run")):
            if name == "run" or name in by:
                assert sums_of(kept, name) == truth_of(lines, place), name
        net = sum((-line[5] if line[4] == "Credit" else line[5] for line in lines), Decimal(0))
        # Where there are only credits there is no cost to tell of.
        assert sum(kept.values(), Decimal(0)) == (net if any(line[4] != "Credit" for line in lines) else 0)


def permuted(answer: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    results = [{**one, "Groups": chance.sample(one["Groups"], len(one["Groups"]))} for one in answer["ResultsByTime"]]
    # One result is served twice.
    return {**answer, "ResultsByTime": [*results, chance.choice(results)] if results else results}


def sums_of(kept: dict[Series, Decimal], name: str) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for series, cost in kept.items():
        if series.charge_category != CREDIT:
            sums[getattr(series, name)] += cost
    return {key: cost for key, cost in sums.items() if cost}


def truth_of(lines: list[tuple[int, str, str, str, str, Decimal]], place: int) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        if line[4] != "Credit":
            sums[str(line[place])] += line[5]
    return dict(sums)


def test_a_real_bill_comes_out_to_the_last_digit(store: Store) -> None:
    if not CUR.exists():
        pytest.skip("the real cost and usage report is not here")
    sums: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    with explorer_of(date(2023, 11, 20), page_size=17) as explorer, CUR.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            day = date.fromisoformat(row["lineItem/UsageStartDate"][:10])
            cost = Decimal(row["lineItem/UnblendedCost"])
            service = row["product/ProductName"] or row["lineItem/ProductCode"]
            account, kind = row["lineItem/UsageAccountId"], row["lineItem/LineItemType"]
            explorer.bill(day, cost, service=service, account=account, record_type=kind)
            sums[day.isoformat(), service] += cost
        kept = put(store, read(datetime(2023, 11, 20, tzinfo=UTC)))
    by_service: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (_, service), cost in sums.items():
        by_service[service] += cost
    assert {series.service: cost for series, cost in kept.items()} == {s: c for s, c in by_service.items() if c}
    assert sum(kept.values()) == Decimal("1.68230869740")
