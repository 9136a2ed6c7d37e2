"""The AWS source through real boto3: against moto, corrected, and against a server that can be told to fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alarms.model import Period
from monitor.errors import AccessError, BadDataError, OutsideError, PermanentError, TemporaryError
from monitor.model import ApiUse, Batch, MeterReading, Series, Window
from monitor.period import month_of
from monitor.simulation.aws import AwsAccount
from monitor.sources import aws_cloudwatch
from monitor.sources.aws_cloudwatch import AwsCloudWatch, Settings
from tests.fakes import fault_server
from tests.fakes.cloudwatch_indexed import Fault, IndexedCloudWatch, Refusal, populate
from tests.fakes.fault_server import FaultServer
from tests.monitor.billing_ledger import Ledger

PUBLISHED = Path(__file__).parents[3] / "shared/data/aws-api/cloudwatch_estimated_charges.json"
A, B = "111111111111", "222222222222"


def at(text: str) -> datetime:
    """`06-02T04` of 2020."""
    return datetime.fromisoformat(f"2020-{text}:00").replace(tzinfo=UTC)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsAccount]:
    with AwsAccount() as account:
        for name, value in account.environment.items():
            monkeypatch.setenv(name, value)
        yield account


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexedCloudWatch]:
    with IndexedCloudWatch() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield service


def source(**settings: Any) -> AwsCloudWatch:
    return AwsCloudWatch(Settings(name="aws", backfill="1d", **settings))


def read(now: str, **settings: Any) -> Batch:
    """One first look at the month, as of then."""
    return source(**settings).fetch(Window(Period(month_of(at(now)).start, at(now))))


def shown(batch: Batch) -> list[str]:
    ledger = Ledger()
    ledger.take(batch)
    return ledger.shown()


def test_published_series_gives_exactly_three_charges(aws: AwsAccount) -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published answers are not here")
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))["user_2020_06"]["MetricDataResults"][0]
    for instant, value in zip(published["Timestamps"], published["Values"], strict=True):
        aws.publish_charge(datetime.fromisoformat(instant), str(value))
    batch = read("06-04T00")
    assert shown(batch) == ["/ 06-01T00 06-02T00 22.65", "/ 06-02T00 06-03T00 12.09", "/ 06-03T00 06-04T00 12.17"]
    assert batch.data_as_of == at("06-04T00")
    assert batch.use == ApiUse(calls=1, cost_usd=Decimal("0.00001"))


def test_dimensions_match_exactly_and_in_any_order(aws: AwsAccount) -> None:
    aws.publish_charge(at("06-02T00"), "100")
    aws.publish_charge(at("06-02T00"), "60", account=A)
    aws.publish_charge(at("06-02T00"), "45", account=A, service="AmazonEC2")
    aws.publish_charge(at("06-02T00"), "45", service="AmazonEC2")
    aws.publish_charge(at("06-02T00"), "9999", currency="CNY")
    assert shown(read("06-02T00", by=["account", "service"])) == [
        "(unattributed)/(unattributed) 06-01T00 06-02T00 40.0",
        f"{A}/(unattributed) 06-01T00 06-02T00 15.0",
        f"{A}/AmazonEC2 06-01T00 06-02T00 45.0",
    ]
    assert shown(read("06-02T00", by=["service"])) == [
        "/(unattributed) 06-01T00 06-02T00 55.0",
        "/AmazonEC2 06-01T00 06-02T00 45.0",
    ]
    assert shown(read("06-02T00")) == ["/ 06-01T00 06-02T00 100.0"]


def test_moto_pages_as_aws_does(aws: AwsAccount) -> None:
    aws.publish_charge(at("06-02T00"), "1000")
    for number in range(620):
        aws.publish_charge(at("06-02T00"), "1", service=f"Service{number}")
    batch = read("06-02T00", by=["service"])
    assert len(batch.charges) == 621
    assert sum(charge.billed_cost for charge in batch.charges) == 1000
    assert batch.use == ApiUse(calls=1 + 2 + 2, cost_usd=Decimal("0.00621"))


def test_probe_says_what_there_is(aws: AwsAccount) -> None:
    now = datetime.now(UTC)
    aws.publish_charge(now - timedelta(hours=5), "1")
    aws.publish_charge(now - timedelta(hours=5), "1", service="AmazonEC2")
    aws.publish_charge(now - timedelta(hours=5), "1", service="AmazonEC2", account=A)
    said = source().probe()
    assert said.startswith("EstimatedCharges in USD up to ")
    assert said.endswith(", 1 services, 1 linked accounts")


def test_probe_of_an_empty_account(aws: AwsAccount) -> None:
    assert source().probe() == "nothing published in USD within the last 3 days"


@pytest.mark.parametrize("call", [lambda: read("06-03T00", currency="USD"), lambda: source().probe()])
def test_other_currency_is_named(indexed: IndexedCloudWatch, call: Any) -> None:
    indexed.publish(at("06-02T00"), "100", currency="CNY")
    with pytest.raises(PermanentError, match=r"published in CNY, but source aws is set to USD: change its currency"):
        call()


def test_nothing_published_is_missing_and_not_zero(indexed: IndexedCloudWatch) -> None:
    batch = read("06-03T00", by=["account", "service"])
    assert (batch.charges, batch.replaces, batch.data_as_of, batch.meters) == ((), {}, None, {})


def test_pages_are_put_together(indexed: IndexedCloudWatch) -> None:
    indexed.max_points = 7
    indexed.page_size = 4
    populate(indexed, accounts=5, services=3, points=9, start=at("06-01T00"))
    batch = read("06-03T00", by=["account", "service"])
    ledger = Ledger()
    ledger.take(batch)
    newest = max(charge.period.end for charge in batch.charges)
    assert newest == batch.data_as_of == at("06-02T12")
    assert sum(ledger.charges.values()) == Decimal(str(indexed._points[(("Currency", "USD"),)][-1][1]))
    assert not batch.missing
    # Every page of every call is paid for.
    assert batch.use.cost_usd == indexed.metrics_requested * Decimal("0.00001")


def test_more_than_500_metrics_are_asked_for_in_several_calls(indexed: IndexedCloudWatch) -> None:
    populate(indexed, accounts=51, services=10, points=1, start=at("06-01T00"))
    batch = read("06-03T00", by=["account", "service"])
    assert indexed.requests == {"ListMetrics": 2, "GetMetricData": 3}
    assert len(batch.charges) == 51 * 10 + 1


def fault(operation: str, **changes: Any) -> Fault:
    """Change the results of metrics with so many dimensions."""
    dimensions = changes.pop("dimensions", 1)

    def change(asked: str, request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if asked != operation:
            return answer
        for query, result in zip(request["MetricDataQueries"], answer["MetricDataResults"], strict=True):
            if len(query["MetricStat"]["Metric"]["Dimensions"]) == dimensions:
                result.update(changes)
        return answer

    return change


@pytest.mark.parametrize("status", ["PartialData", "InternalError"])
def test_total_that_is_not_whole_is_not_used(indexed: IndexedCloudWatch, status: str) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.every_time.append(fault("GetMetricData", StatusCode=status))
    with pytest.raises(BadDataError, match=status):
        read("06-03T00")


def test_forbidden_total_is_an_access_problem(indexed: IndexedCloudWatch) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.every_time.append(fault("GetMetricData", StatusCode="Forbidden", Values=[], Timestamps=[]))
    with pytest.raises(AccessError, match="cloudwatch:GetMetricData"):
        read("06-03T00")


@pytest.mark.parametrize("status", ["PartialData", "InternalError"])
def test_part_that_is_not_whole_fails_the_read_so_that_nothing_booked_can_fall(
    indexed: IndexedCloudWatch, status: str
) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.publish(at("06-02T00"), "60", service="AmazonEC2")
    indexed.every_time.append(fault("GetMetricData", dimensions=2, StatusCode=status))
    with pytest.raises(BadDataError, match="service AmazonEC2"):
        read("06-03T00", by=["service"])


def test_part_that_is_forbidden_from_the_first_stays_in_the_remainder_and_is_named(
    indexed: IndexedCloudWatch,
) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.publish(at("06-02T00"), "60", service="AmazonEC2")
    indexed.every_time.append(fault("GetMetricData", dimensions=2, StatusCode="Forbidden"))
    batch = read("06-03T00", by=["service"])
    assert shown(batch) == ["/(unattributed) 06-01T00 06-02T00 100.0"]
    assert batch.missing == ("service AmazonEC2",)


def growing(service: IndexedCloudWatch, *, days: int = 4, by: int = 100, **dimensions: str) -> None:
    """A reading each day of June, `by` more each time."""
    for day in range(days):
        service.publish(at(f"06-{day + 2:02}T00"), str(by * (day + 1)), **dimensions)


def continued(ledger: Ledger, now: str, **settings: Any) -> Batch:
    """The next look at the month, from what the ledger has."""
    running, *_ = source(**settings).windows(at(now), ledger.meters, None)
    return source(**settings).fetch(running)


@pytest.mark.parametrize("by", [1, 0])
def test_another_account_behind_the_same_name_is_refused(indexed: IndexedCloudWatch, by: int) -> None:
    growing(indexed)
    ledger = Ledger()
    ledger.take(read("06-06T00"))
    indexed.become_another_account()
    if by:
        growing(indexed, days=5, by=by)
    else:
        indexed.publish(at("06-06T00"), "7")  # it has nothing where we had read the last settled reading
    with pytest.raises(BadDataError, match=r"reads another account now\. Give the source a new name"):
        continued(ledger, "06-07T00")


def test_settled_reading_that_was_corrected_upwards_makes_the_month_be_read_anew(indexed: IndexedCloudWatch) -> None:
    growing(indexed)
    ledger = Ledger()
    ledger.take(read("06-06T00"))
    (base,) = ledger.meters.values()
    growing(indexed, days=5)
    indexed.publish(base.at, str(base.value + 5))
    ledger.take(continued(ledger, "06-07T00"))
    assert ledger.by_month() == {at("06-01T00"): Decimal(500)}
    assert ledger.shown() == read_shown("06-07T00")


def read_shown(now: str, **settings: Any) -> list[str]:
    return shown(read(now, **settings))


@pytest.mark.parametrize("most", [None, 1])
def test_young_part_that_answers_nothing_fails_the_read(indexed: IndexedCloudWatch, most: int | None) -> None:
    by = ["account", "service"]
    growing(indexed, account=A)
    growing(indexed)
    indexed.publish(at("06-05T00"), "30", account=A, service="AmazonEC2")
    ledger = Ledger()
    ledger.take(read("06-05T01", by=by))
    assert any("AmazonEC2" in row for row in ledger.shown())
    indexed.every_time.append(fault("GetMetricData", dimensions=3, Values=[], Timestamps=[]))
    reading = source(by=by)
    reading._most = most or reading._most
    window: Window | None = reading.windows(at("06-05T02"), ledger.meters, None)[0]
    if most is not None:
        window = reading.fetch(window).rest  # the accounts; their services come after
    assert window is not None
    with pytest.raises(BadDataError, match=f"no reading of account {A} service AmazonEC2"):
        reading.fetch(window)


@pytest.mark.parametrize("operation", ["GetMetricData", "ListMetrics"])
def test_answer_of_something_else_is_not_taken_for_an_empty_one(indexed: IndexedCloudWatch, operation: str) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.every_time.append(lambda asked, *_: {"html": "welcome to the hotel"} if asked == operation else None)
    with pytest.raises(BadDataError, match=f"what answered {operation} was not CloudWatch"):
        read("06-03T00", by=["service"])


def test_metric_that_is_left_out_of_the_answer_is_not_taken_for_nothing(indexed: IndexedCloudWatch) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.every_time.append(lambda operation, request, answer: {"MetricDataResults": [], "Messages": []})
    with pytest.raises(BadDataError, match="no answer"):
        read("06-03T00")


@pytest.mark.parametrize("values", [["NaN"], ["Infinity"], [1e15], [-1e300]])
def test_unusable_reading_is_counted_and_left_out(indexed: IndexedCloudWatch, values: list[Any]) -> None:
    indexed.publish(at("06-02T00"), "100")
    stamp = [int(at("06-02T04").timestamp()), int(at("06-02T00").timestamp())]
    indexed.every_time.append(fault("GetMetricData", Timestamps=stamp, Values=[*values, 100.0]))
    batch = read("06-03T00")
    assert batch.rejected == 1
    assert shown(batch) == ["/ 06-01T00 06-02T00 100.0"]


def test_floats_become_the_amounts_that_were_meant(indexed: IndexedCloudWatch) -> None:
    indexed.publish(at("06-02T00"), "0.1")
    indexed.publish(at("06-03T00"), "0.3")
    indexed.publish(at("06-04T00"), "123456789.12")
    assert shown(read("06-05T00")) == [
        "/ 06-01T00 06-02T00 0.1",
        "/ 06-02T00 06-03T00 0.2",
        "/ 06-03T00 06-04T00 123456788.82",
    ]


def test_server_that_pages_in_circles_is_caught(indexed: IndexedCloudWatch) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.every_time.append(lambda operation, request, answer: {**answer, "NextToken": "0"})
    with pytest.raises(BadDataError, match="pages without end"):
        read("06-03T00")


def test_throttled_once_it_waits_and_goes_on(indexed: IndexedCloudWatch) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.faults.append(lambda *_: Refusal(400, "Throttling"))
    assert shown(read("06-03T00")) == ["/ 06-01T00 06-02T00 100.0"]


@pytest.mark.parametrize(
    ("refusal", "kind", "words"),
    [
        (Refusal(400, "ThrottlingException", {"Retry-After": "30"}), TemporaryError, "too many requests"),
        (Refusal(403, "ExpiredToken"), AccessError, "expired"),
        (Refusal(403, "AccessDenied"), AccessError, "cloudwatch:GetMetricData"),
    ],
)
def test_refusals_are_told_by_their_name(
    indexed: IndexedCloudWatch, refusal: Refusal, kind: type[OutsideError], words: str
) -> None:
    indexed.every_time.append(lambda *_: refusal)
    with pytest.raises(kind, match=words) as caught:
        read("06-03T00")
    assert "canary" not in str(caught.value)
    if isinstance(caught.value, TemporaryError):
        assert caught.value.retry_after == timedelta(seconds=30)


def test_missing_permission_to_list_is_named(indexed: IndexedCloudWatch) -> None:
    indexed.publish(at("06-02T00"), "100")
    indexed.every_time.append(
        lambda operation, *_: Refusal(403, "AccessDenied") if operation == "ListMetrics" else None
    )
    with pytest.raises(AccessError, match="cloudwatch:ListMetrics"):
        read("06-03T00", by=["service"])


def test_server_that_sends_a_byte_at_a_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_cloudwatch, "DEADLINE_S", 0.5)
    slow = fault_server.byte_by_byte(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b" " * 400, every_s=0.05)
    with FaultServer(slow) as server:
        for name, value in IndexedCloudWatch.environment.fget(server).items():  # type: ignore[attr-defined] # a property
            monkeypatch.setenv(name, value)
        started = time.monotonic()
        with pytest.raises(TemporaryError, match=r"source aws gave no complete answer within 0\.5 s"):
            read("06-03T00")
        assert time.monotonic() - started < 5


def test_pages_stop_when_the_time_is_up(indexed: IndexedCloudWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_cloudwatch, "DEADLINE_S", 0.3)
    indexed.publish(at("06-02T00"), "100")
    tokens = iter(range(10**9))
    slow = threading.Event()
    indexed.every_time.append(
        lambda operation, request, answer: slow.wait(0.05) or {**answer, "NextToken": f"{next(tokens)}"}
    )
    with pytest.raises(TemporaryError):
        read("06-03T00")
    deadline = time.monotonic() + 10
    seen = -1
    while seen != indexed.requests.total():
        assert time.monotonic() < deadline, "the thread that was given up goes on asking"
        seen = indexed.requests.total()
        slow.wait(0.3)


def test_credit_is_a_negative_charge_where_it_was_seen(indexed: IndexedCloudWatch) -> None:
    for text, value in (("06-02T00", "100"), ("06-02T04", "70"), ("06-02T08", "75")):
        indexed.publish(at(text), value)
    assert shown(read("06-02T08")) == [
        "/ 06-01T00 06-02T00 100.0",
        "/ 06-02T00 06-02T04 -30.0",
        "/ 06-02T04 06-02T08 5.0",
    ]


def publish(cloudwatch: IndexedCloudWatch, *texts: str, **dimensions: str) -> None:
    for text in texts:
        instant, value = text.split()
        cloudwatch.publish(at(instant), value, **dimensions)


def test_second_look_continues_from_the_last_settled_reading(indexed: IndexedCloudWatch) -> None:
    publish(indexed, "06-02T00 10", "06-03T00 20", "06-04T00 30")
    aws, ledger = source(), Ledger()
    ledger.read(aws, at("06-04T00"))
    assert ledger.meters == {"USD//": MeterReading(at("06-03T00"), Decimal("20.0"))}
    publish(indexed, "06-03T12 24", "06-04T06 31")
    ledger.read(aws, at("06-04T07"))
    assert ledger.batches[-1].replaces[Series("aws", "USD")].start == at("06-03T00")
    assert ledger.shown() == [
        "/ 06-01T00 06-02T00 10.0",
        "/ 06-02T00 06-03T00 10.0",
        "/ 06-03T00 06-03T12 4.0",
        "/ 06-03T12 06-04T00 6.0",
        "/ 06-04T00 06-04T06 1.0",
    ]


def test_service_that_appears_in_the_middle_of_a_month_is_read_from_its_start(indexed: IndexedCloudWatch) -> None:
    aws, ledger = source(by=["service"]), Ledger()
    publish(indexed, "06-02T00 10", "06-03T00 20", "06-04T00 30")
    publish(indexed, "06-02T00 10", "06-03T00 20", "06-04T00 30", service="AmazonS3")
    ledger.read(aws, at("06-04T00"))
    publish(indexed, "06-05T00 100")
    publish(indexed, "06-05T00 40", service="AmazonS3")
    publish(indexed, "06-05T00 60", service="AmazonEC2")
    ledger.read(aws, at("06-05T00"))
    assert ledger.shown() == [
        "/(unattributed) 06-01T00 06-02T00 -60.0",
        "/AmazonS3 06-01T00 06-02T00 10.0",
        "/AmazonEC2 06-01T00 06-05T00 60.0",
        "/AmazonS3 06-02T00 06-03T00 10.0",
        "/AmazonS3 06-03T00 06-04T00 10.0",
        "/(unattributed) 06-04T00 06-05T00 60.0",
        "/AmazonS3 06-04T00 06-05T00 10.0",
    ]


def test_part_that_is_newer_than_the_total_waits(indexed: IndexedCloudWatch) -> None:
    publish(indexed, "06-02T00 10")
    publish(indexed, "06-02T00 8", "06-02T04 12", service="AmazonS3")
    batch = read("06-02T06", by=["service"])
    assert shown(batch) == ["/(unattributed) 06-01T00 06-02T00 2.0", "/AmazonS3 06-01T00 06-02T00 8.0"]
    assert batch.data_as_of == at("06-02T00")


def test_metric_that_is_no_longer_listed_is_still_read(indexed: IndexedCloudWatch) -> None:
    aws, ledger = source(by=["service"]), Ledger()
    publish(indexed, "06-02T00 10")
    publish(indexed, "06-02T00 8", service="AmazonS3")
    ledger.read(aws, at("06-02T00"))
    indexed.every_time.append(
        lambda operation, request, answer: {"Metrics": []} if operation == "ListMetrics" else None
    )
    ledger.read(aws, at("06-02T01"))
    assert ledger.shown() == ["/(unattributed) 06-01T00 06-02T00 2.0", "/AmazonS3 06-01T00 06-02T00 8.0"]


def test_answer_without_a_single_reading_withdraws_nothing(indexed: IndexedCloudWatch) -> None:
    aws, ledger = source(), Ledger()
    publish(indexed, "06-02T00 10", "06-03T00 20", "06-04T00 30")
    ledger.read(aws, at("06-04T00"))
    before = dict(ledger.charges)
    indexed.every_time.append(fault("GetMetricData", Timestamps=[], Values=[]))
    ledger.read(aws, at("06-04T01"))
    assert ledger.charges == before


def test_last_values_of_a_month_that_come_after_its_end_belong_to_it(indexed: IndexedCloudWatch) -> None:
    aws, ledger = source(), Ledger()
    publish(indexed, "05-29T00 85", "05-31T20 90")
    ledger.read(aws, at("05-31T21"))
    publish(indexed, "06-01T04 93")
    ledger.read(aws, at("06-01T05"))
    assert ledger.shown()[-1] == "/ 05-31T20 06-01T00 3.0"
    publish(indexed, "06-01T08 95", "06-01T12 2")
    ledger.read(aws, at("06-01T13"))
    assert ledger.shown()[-2:] == ["/ 05-31T20 06-01T00 5.0", "/ 06-01T00 06-01T12 2.0"]
    assert ledger.by_month() == {at("05-01T00"): Decimal(95), at("06-01T00"): Decimal(2)}


def test_first_look_on_the_first_leaves_no_hole_in_the_month_before(indexed: IndexedCloudWatch) -> None:
    aws, ledger = source(), Ledger()
    publish(indexed, "05-31T20 90", "06-01T04 93")
    ledger.read(aws, at("06-01T05"))
    assert ledger.by_month() == {at("05-01T00"): Decimal(93)}
    publish(indexed, "06-01T08 95", "06-01T12 2")
    ledger.read(aws, at("06-01T13"))
    assert ledger.by_month() == {at("05-01T00"): Decimal(95), at("06-01T00"): Decimal(2)}


def test_first_look_reads_the_running_month_first_and_then_what_is_kept(indexed: IndexedCloudWatch) -> None:
    publish(indexed, "04-10T00 50", "04-30T20 60", "05-10T00 70", "05-31T20 90", "06-02T00 5")
    aws = AwsCloudWatch(Settings(name="aws", backfill="62d"))
    windows = aws.windows(at("06-02T12"), {}, None)
    assert [window.period.start for window in windows] == [at("06-01T00"), at("05-01T00"), at("04-01T00")]
    ledger = Ledger()
    ledger.read(aws, at("06-02T12"))
    assert ledger.by_month() == {at("04-01T00"): Decimal(60), at("05-01T00"): Decimal(90), at("06-01T00"): Decimal(5)}
    assert ledger.filled_since == at("04-01T00")
    later = aws.windows(at("06-05T12"), ledger.meters, ledger.filled_since)
    assert [window.period.start for window in later] == [at("06-01T00")]


def test_tail_that_was_published_between_two_distant_looks_is_not_lost(indexed: IndexedCloudWatch) -> None:
    publish(indexed, "05-10T00 70", "05-31T20 90")
    ledger, aws = Ledger(), AwsCloudWatch(Settings(name="aws", backfill="62d"))
    ledger.read(aws, at("06-01T03"))
    publish(indexed, "06-01T05 95", "06-01T12 1", "06-03T06 4")
    ledger.read(aws, at("06-03T08"))
    assert ledger.by_month() == {at("05-01T00"): Decimal(95), at("06-01T00"): Decimal(4)}


def test_backfill_goes_on_where_it_stopped() -> None:
    aws = AwsCloudWatch(Settings(name="aws", backfill="100d"))
    meters = {"USD//": MeterReading(at("06-19T00"), Decimal(1))}
    windows = aws.windows(at("06-20T12"), meters, at("05-01T00"))
    assert [window.period for window in windows[1:]] == [
        Period(at("04-01T00"), at("05-01T00")),
        Period(at("03-01T00"), at("04-01T00")),
    ]
    assert windows[0] == Window(Period(at("06-19T00"), at("06-20T12") + timedelta(seconds=1)), meters)


def test_month_that_is_over_does_not_touch_the_next(indexed: IndexedCloudWatch) -> None:
    publish(indexed, "05-10T00 70", "05-31T20 90", "06-01T04 92", "06-01T08 1", "06-02T00 5")
    batch = source().fetch(Window(Period(at("05-01T00"), at("06-01T00"))))
    assert shown(batch) == ["/ 05-01T00 05-10T00 70.0", "/ 05-10T00 05-31T20 20.0", "/ 05-31T20 06-01T00 2.0"]
    assert batch.meters == {}


def test_past_month_with_a_broken_part_is_tried_again(indexed: IndexedCloudWatch) -> None:
    publish(indexed, "05-10T00 70")
    publish(indexed, "05-10T00 70", service="AmazonS3")
    indexed.every_time.append(fault("GetMetricData", dimensions=2, StatusCode="InternalError"))
    with pytest.raises(BadDataError, match="service AmazonS3"):
        source(by=["service"]).fetch(Window(Period(at("05-01T00"), at("06-01T00"))))


def test_one_client_is_made_and_kept(indexed: IndexedCloudWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = aws_cloudwatch.make_client
    monkeypatch.setattr(aws_cloudwatch, "make_client", lambda *args, **kwargs: made.append(1) or real(*args, **kwargs))
    aws = source()
    for _ in range(3):
        aws.fetch(Window(Period(at("06-01T00"), at("06-02T00"))))
    assert made == [1]


@pytest.mark.parametrize(
    "wrong",
    [{"by": ["region"]}, {"currency": "usd"}, {"backfill": "456d"}, {"every": "0s"}, {"name": ""}, {"regoin": "x"}],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"name": "aws", "type": "aws_cloudwatch"} | wrong)


def test_settings_defaults() -> None:
    settings = Settings.model_validate({"name": "aws", "type": "aws_cloudwatch", "by": ["service"]})
    assert (settings.every, settings.late_after, settings.stale_after, settings.backfill) == tuple(
        timedelta(hours=hours) for hours in (1, 36, 48, 455 * 24)
    )
    assert (settings.region, settings.currency, settings.by) == ("us-east-1", "USD", ["service"])
