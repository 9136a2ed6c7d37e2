"""Sources x faults: the real source over HTTP, behind a proxy that misbehaves, and whole turns on a real store.

Whatever happens: no figure falls, no alarm ends, the error is a sentence, and the next read is as if nothing had been.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest

from alarms.model import Kind
from monitor.config import load
from monitor.config.model import Config
from monitor.cycle import Cycle
from monitor.registry import create
from monitor.sources import aws_cloudwatch
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.cloudwatch_indexed import IndexedCloudWatch, Refusal
from tests.fakes.fault_proxy import HTTP, PASS, TCP, TLS, Authority, FaultProxy, Plan, http_answer, json_answer
from tests.fakes.fault_server import answer
from tests.faults.world import HOUR, Turns

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

START = datetime(2026, 11, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CANARY = "canary-5up3r-s3cr3t"
DEADLINE_S = 3.0


@dataclass
class World(Turns):
    """Sources, each with its own proxy in front of one CloudWatch, and a monitor over them."""

    directory: Path
    store: Store
    bill: IndexedCloudWatch
    proxies: dict[str, FaultProxy]
    now: datetime = START
    by: str = "[]"
    budgets: list[str] = field(default_factory=lambda: ['name = "training"\nscope = {}'])
    _cycle: Cycle | None = None

    @property
    def config(self) -> Config:
        lines = ["[monitor]", 'receivers = ["oncall"]']
        for name, proxy in self.proxies.items():
            lines += ["[[sources]]", f'name = "{name}"', 'type = "aws_cloudwatch"', f"by = {self.by}"]
            lines += ['backfill = "1d"', f'endpoint_url = "https://127.0.0.1:{proxy.port}"']
        lines += [
            "[[receivers]]",
            'name = "oncall"',
            'type = "slack"',
            'webhook_url = "env:NOBODY"',
            "allow_private = true",
        ]
        for budget in self.budgets:
            lines += ["[[budgets]]", budget, 'amount = "1000"', 'currency = "USD"', 'period = "month"']
            lines += ['receivers = ["oncall"]', 'thresholds = [{ on = "actual", at = "80%", severity = "warning" },']
            lines += ['  { on = "actual", at = "100%", severity = "critical" }]']
        path = self.directory / "config.toml"
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        return load(path)

    @property
    def cycle(self) -> Cycle:
        if self._cycle is None:
            config = self.config
            self._cycle = Cycle(config, [create(each) for each in config.sources], self.store, StoredOutbox(self.store))
        return self._cycle

    def publish(self, value: str, at: datetime | None = None, **dimensions: str) -> None:
        """Publish as of a bit before now."""
        self.bill.publish(at or self.now, value, **dimensions)

    def spend(self, budget: str = "training") -> str | None:
        (spend,) = [each["spend"] for each in self.facts["budgets"] if each["name"] == budget]
        return spend  # type: ignore[no-any-return] # JSON


@contextmanager
def world_of(directory: Path, authority: Authority, names: Collection[str], **more: Any) -> Iterator[World]:
    """As many sources as there are names."""
    with ExitStack() as stack:
        bill = stack.enter_context(IndexedCloudWatch())
        proxies = {name: stack.enter_context(FaultProxy(_port(bill.url), authority)) for name in names}
        environment = {name: value for name, value in bill.environment.items() if "ENDPOINT" not in name}
        environment |= {"AWS_SECRET_ACCESS_KEY": CANARY, "AWS_CA_BUNDLE": str(authority.file), "NO_PROXY": "127.0.0.1"}
        stack.enter_context(mock.patch.dict("os.environ", environment))
        stack.enter_context(mock.patch.object(aws_cloudwatch, "DEADLINE_S", DEADLINE_S))
        store = stack.enter_context(open_store(directory / "state"))
        yield World(directory, store, bill, proxies, **more)


def _port(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.fixture
def world(tmp_path: Path, authority: Authority) -> Iterator[World]:
    with world_of(tmp_path, authority, ["aws"]) as made:
        yield made


def results(*values: Any, **more: Any) -> Plan:
    """An answer to GetMetricData that says these values of the total, an hour apart up to the hour before."""
    newest = int(START.timestamp()) + 3600
    instants = [newest - 3600 * age for age in reversed(range(len(values)))]
    result = {"Id": "m0", "Label": "x", "Timestamps": instants, "Values": list(values), "StatusCode": "Complete"} | more
    return json_answer({"MetricDataResults": [{k: v for k, v in result.items() if v != "absent"}], "Messages": []})


def refusal(status: int, code: str, **headers: str) -> Plan:
    body = json.dumps({"__type": f"com.amazonaws.cloudwatch#{code}", "message": f"for {CANARY}"}).encode()
    return Plan(answer(http_answer(status, body, Content_Type="application/x-amz-json-1.0", **headers)))


TWICE = (
    b'{"MetricDataResults": [{"Id": "m0", "Timestamps": [1], "Values": [1.0], "StatusCode": "Complete"}], '
    b'"MetricDataResults": [{"Id": "m0", "Timestamps": [], "Values": [], "StatusCode": "Complete"}], "Messages": []}'
)
AWS = {
    "throttled": refusal(400, "ThrottlingException"),
    "throttled with Retry-After": refusal(400, "ThrottlingException", Retry_After="600"),
    "429 of AWS with Retry-After": refusal(429, "TooManyRequestsException", Retry_After="600"),
    "500 of AWS": refusal(500, "InternalServiceFault"),
    "503 of AWS": refusal(503, "ServiceUnavailable"),
    "invalid parameter": refusal(400, "InvalidParameterValue"),
    "not allowed": refusal(403, "AccessDeniedException"),
    "expired credentials": refusal(400, "ExpiredTokenException"),
    "revoked credentials": refusal(403, "UnrecognizedClientException"),
    "no results": json_answer({"Messages": []}),
    "results are null": json_answer({"MetricDataResults": None, "Messages": []}),
    "results are a text": json_answer({"MetricDataResults": "none"}),
    "results of another shape": json_answer({"MetricDataResults": [["m0"], 7, None]}),
    "a list": json_answer([1, 2]),
    "no metric": json_answer({"MetricDataResults": []}),
    "another metric": results(900.0, 950.0, Id="m1"),
    "a metric without values": results(900.0, 950.0, Values="absent"),
    "a metric without a status": results(900.0, 950.0, StatusCode="absent"),
    "more values than instants": results(900.0, 950.0, Timestamps=[1]),
    "an instant that is none": results(900.0, 950.0, Timestamps=["yesterday", "today"]),
    "an instant beyond all years": results(900.0, 950.0, Timestamps=[1e300, 1e300]),
    "an instant that is NaN": results(900.0, 950.0, Timestamps=[float("nan"), 1]),
    "part of the data": results(900.0, 950.0, StatusCode="PartialData"),
    "an internal error for the metric": results(900.0, 950.0, StatusCode="InternalError"),
    "forbidden metric": results(StatusCode="Forbidden"),
    "no readings": results(),
    "the newest reading is gone": results(800.0, Timestamps=[int(START.timestamp()) - 7200]),
    "a key twice": Plan(answer(http_answer(200, TWICE, Content_Type="application/x-amz-json-1.0"))),
}
UNUSABLE = ["NaN", "", None, "1_000", "\uff11\uff12", "1e3", float("nan"), float("inf"), 1e300, True, [1], {}]
FAULTS = {**TCP, **TLS, **HTTP, **AWS}
LOCKED_OUT = {*TLS, "not allowed", "expired credentials", "revoked credentials", "forbidden metric"}
WAITS = {name for name in FAULTS if "Retry-After" in name}


def assert_a_sentence(text: str) -> None:
    assert 20 < len(text) < 300, text
    assert not set(text) & set("\n<>{}"), text
    assert "defect" not in text


def suffer(world: World, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One fault at the second of three reads."""
    (proxy,) = world.proxies.values()
    world.publish("700", START - HOUR)
    world.publish("900", START)
    world.turn(MINUTE)
    assert (world.spend(), world.heard()) == ("900", [(Kind.FIRING, "training 80%")])
    world.publish("1100", START + HOUR)
    proxy.always = FAULTS[name]
    tried = proxy.connections
    report = world.turn()
    assert not report.no_failure
    assert proxy.connections - tried <= 3
    assert world.spend() == "900"
    assert world.facts["budgets"][0]["alarms"][0]["state"] == "FIRING"
    assert_a_sentence(world.source["error"])
    assert CANARY not in json.dumps(world.facts) + caplog.text
    assert all(kind is Kind.FIRING for kind, _ in world.heard())
    assert world.source["access"] is (name not in LOCKED_OUT)
    if name in WAITS:
        tried = proxy.connections
        for _ in range(9):
            world.turn(MINUTE)
        assert proxy.connections == tried
    proxy.always = PASS
    world.turn(max(timedelta(0), START + 2 * HOUR - world.now))
    assert (world.spend(), world.source["error"], world.source["access"]) == ("1100", None, True)
    assert (Kind.FIRING, "training 100%") in world.heard()


SAMPLE = ["refused", "certificate of another host", "429 with Retry-After", "a key twice"]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAULTS.keys() - set(SAMPLE)))
def test_every_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


@pytest.mark.parametrize("value", UNUSABLE, ids=repr)
def test_an_unusable_value_is_left_out_and_said_and_the_one_before_stays(world: World, value: Any) -> None:
    world.publish("700", START - HOUR)
    world.publish("900", START)
    world.turn(MINUTE)
    world.heard()
    (proxy,) = world.proxies.values()
    proxy.always = results(900.0, value)
    assert world.turn().sources["aws"].rejected == 1
    assert (world.spend(), world.source["missing"], world.source["error"]) == ("900", ["1 unusable reading"], None)
    assert world.facts["budgets"][0]["lower_bound"]
    assert world.heard() == [(Kind.FIRING, "Source aws is read in part")]
    assert world.turn().unread == ("aws",)
    assert world.heard() == []
    proxy.always = PASS
    world.publish("1100")
    world.turn()
    assert (world.spend(), world.source["missing"]) == ("1100", [])
    assert set(world.heard()) == {
        (Kind.RESOLVED, "source aws is no longer read in part"),
        (Kind.FIRING, "training 100%"),
    }


@pytest.mark.parametrize("value", UNUSABLE, ids=repr)
def test_an_unusable_value_in_place_of_one_that_is_booked_lowers_nothing(world: World, value: Any) -> None:
    world.publish("700", START)
    world.publish("900", START + HOUR)
    world.turn(HOUR + MINUTE)
    world.heard()
    (proxy,) = world.proxies.values()
    proxy.always = results(700.0, value)
    world.turn()
    assert world.spend() == "900"
    assert_a_sentence(world.source["error"])


def spoilt(dimensions: int, instant: datetime, value: Any) -> Any:
    """CloudWatch gives this as the reading at that instant of whatever has so many dimensions."""

    def change(operation: str, request: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        for query, result in zip(
            request.get("MetricDataQueries", []), document.get("MetricDataResults", []), strict=True
        ):
            if len(query["MetricStat"]["Metric"]["Dimensions"]) == dimensions:
                at = [int(instant.timestamp()) == stamp for stamp in result["Timestamps"]]
                result["Values"] = [value if hit else good for hit, good in zip(at, result["Values"], strict=True)]
        return document

    return change


PARTS = ['name = "training"\nscope = {}', 'name = "ec2"\nscope = { service = ["AmazonEC2"] }']


def publish_both(world: World, total: str, ec2: str, at: datetime) -> None:
    world.publish(total, at)
    world.publish(ec2, at, service="AmazonEC2")


def test_an_unusable_value_of_a_part_keeps_what_it_had_and_the_total_is_still_heard(
    tmp_path: Path, authority: Authority
) -> None:
    with world_of(tmp_path, authority, ["aws"], by='["service"]', budgets=PARTS) as world:
        publish_both(world, "900", "600", START)
        world.turn(MINUTE)
        world.heard()
        publish_both(world, "1100", "750", START + HOUR)
        world.bill.every_time.append(spoilt(2, START + HOUR, "NaN"))
        world.turn()
        assert (world.spend(), world.spend("ec2")) == ("1100", "600")
        assert world.source["missing"] == ["1 unusable reading"]
        assert (Kind.FIRING, "training 100%") in world.heard()


def test_an_unusable_value_of_a_part_that_was_booked_keeps_every_figure(tmp_path: Path, authority: Authority) -> None:
    with world_of(tmp_path, authority, ["aws"], by='["service"]', budgets=PARTS) as world:
        publish_both(world, "700", "500", START - HOUR)
        publish_both(world, "900", "850", START)
        world.turn(MINUTE)
        assert world.spend("ec2") == "850"
        world.heard()
        world.publish("1100", START + HOUR)
        world.bill.every_time.append(spoilt(2, START, "NaN"))
        world.turn()
        assert (world.spend(), world.spend("ec2")) == ("900", "850")
        assert "unusable readings" in world.source["error"]
        assert world.heard() == []
        world.bill.every_time.clear()
        world.turn()
        assert (world.spend(), world.spend("ec2"), world.source["error"]) == ("1100", "850", None)


def test_the_last_literal_of_json_is_no_number_either(world: World) -> None:
    world.publish("900", START)
    world.turn(MINUTE)
    (proxy,) = world.proxies.values()
    instants = f"[{int(START.timestamp())}, {int(START.timestamp()) + 3600}]"
    body = '{"MetricDataResults": [{"Id": "m0", "Timestamps": %s, "Values": [900, 1e999], "StatusCode": "Complete"}]}'
    proxy.always = Plan(answer(http_answer(200, (body % instants).encode(), Content_Type="application/x-amz-json-1.0")))
    world.turn()
    assert (world.spend(), world.source["missing"]) == ("900", ["1 unusable reading"])


def test_no_call_before_retry_after_and_then_one(world: World) -> None:
    world.publish("900", START)
    (proxy,) = world.proxies.values()
    proxy.always = AWS["throttled with Retry-After"]
    world.turn()
    assert proxy.connections == 1
    for _ in range(9):
        world.turn(MINUTE)
    assert proxy.connections == 1
    proxy.always = PASS
    world.turn(MINUTE)
    assert world.spend() == "900"


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [["7", "7"], [f"{number}" for number in range(10_000)]])
def test_pages_without_end_stop_at_a_cap(world: World, monkeypatch: pytest.MonkeyPatch, tokens: list[str]) -> None:
    monkeypatch.setattr(aws_cloudwatch, "DEADLINE_S", 60.0)
    world.publish("900", START)
    world.turn(MINUTE)
    world.publish("1100", START + HOUR)
    asked, next_token = world.bill.requests.total(), iter(tokens)
    world.bill.every_time.append(lambda operation, request, document: {**document, "NextToken": next(next_token)})
    world.turn()
    assert world.bill.requests.total() - asked <= 100
    assert world.spend() == "900"
    assert "pages without end" in world.source["error"]


def test_a_read_that_fails_at_its_third_page_leaves_nothing(tmp_path: Path, authority: Authority) -> None:
    with world_of(tmp_path, authority, ["aws"], by='["service"]', budgets=PARTS) as world:
        publish_both(world, "900", "600", START)
        world.turn(MINUTE)
        for hours in range(1, 5):
            publish_both(world, "1100", "700", START + hours * HOUR)
        world.bill.max_points = 2
        pages = iter(range(10**6))
        world.bill.every_time.append(
            lambda operation, *_: (
                Refusal(500, "InternalServiceFault") if operation == "GetMetricData" and next(pages) >= 2 else None
            )
        )
        world.turn(5 * HOUR)
        assert (world.spend(), world.spend("ec2")) == ("900", "600")
        assert "InternalServiceFault" in world.source["error"]
        world.bill.every_time.clear()
        world.turn()
        assert (world.spend(), world.spend("ec2")) == ("1100", "700")


def test_an_account_that_may_not_be_seen_makes_it_at_least_and_the_rest_still_fires(
    tmp_path: Path, authority: Authority
) -> None:
    budgets = ['name = "training"\nscope = {}', 'name = "first"\nscope = { account = ["000000000000"] }']
    with world_of(tmp_path, authority, ["aws"], by='["account"]', budgets=budgets) as world:
        world.publish("1500", START)
        for number in range(40):
            world.publish("1100" if number == 0 else "10", START, account=f"{number:012}")
        world.bill.every_time.append(forbidden("000000000039"))
        world.turn(MINUTE)
        assert (world.spend(), world.spend("first")) == ("1500", "1100")
        assert world.source["missing"] == ["account 000000000039"]
        assert all(budget["lower_bound"] for budget in world.facts["budgets"])
        assert {"first 100%", "training 100%", "Source aws is read in part"} <= {what for _, what in world.heard()}


def forbidden(account: str) -> Any:
    def change(operation: str, request: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        for query, result in zip(
            request.get("MetricDataQueries", []), document.get("MetricDataResults", []), strict=True
        ):
            if {"Name": "LinkedAccount", "Value": account} in query["MetricStat"]["Metric"]["Dimensions"]:
                result |= {"StatusCode": "Forbidden", "Timestamps": [], "Values": []}
        return document

    return change


def test_a_new_account_is_watched_from_its_first_reading_and_a_closed_one_keeps_what_it_cost(
    tmp_path: Path, authority: Authority
) -> None:
    budgets = ['name = "training"\nscope = {}', 'name = "each"\neach = "account"']
    with world_of(tmp_path, authority, ["aws"], by='["account"]', budgets=budgets) as world:
        for account in ("1" * 12, "2" * 12):
            world.publish("300", START, account=account)
        world.publish("600", START)
        world.turn(MINUTE)
        assert world.heard() == []
        # The first is closed and not published any more; a third appears that nobody has named.
        world.publish("300", START + HOUR, account="2" * 12)
        world.publish("1050", START + HOUR, account="3" * 12)
        world.publish("1650", START + HOUR)
        world.turn()
        assert (world.spend(), world.spend("each/" + "1" * 12), world.spend("each/" + "3" * 12)) == (
            "1650",
            "300",
            "1050",
        )
        assert {"each/333333333333 100%", "training 100%"} <= {what for _, what in world.heard()}


def test_two_currencies_are_never_added(tmp_path: Path, authority: Authority) -> None:
    with world_of(tmp_path, authority, ["aws"]) as world:
        world.publish("900", START)
        world.publish("5000", START, currency="CNY")
        world.turn(MINUTE)
        assert world.spend() == "900"
        assert world.heard() == [(Kind.FIRING, "training 80%")]


def test_an_answer_without_readings_for_days_is_stale_and_never_zero(world: World) -> None:
    world.publish("900", START)
    world.turn(MINUTE)
    world.heard()
    world.bill.every_time.append(
        lambda operation, request, document: {
            **document,
            "MetricDataResults": [
                {**one, "Timestamps": [], "Values": []} for one in document.get("MetricDataResults", [])
            ],
        }
    )
    heard = []
    for _ in range(9):
        world.turn(6 * HOUR)
        heard += world.heard()
        assert world.spend() == "900"
    assert (Kind.FIRING, "Source aws is stale") in heard
    assert all(kind is not Kind.RESOLVED for kind, _ in heard)


def test_expired_credentials_are_told_once_a_day_and_the_others_go_on(tmp_path: Path, authority: Authority) -> None:
    with world_of(tmp_path, authority, ["aws", "other"]) as world:
        world.publish("900", START)
        world.proxies["aws"].always = AWS["expired credentials"]
        heard = []
        for hours in range(25):
            world.publish("900", START + hours * HOUR)
            world.turn()
            heard += world.heard()
        said = "Source aws lets us in no more"
        assert [kind for kind, what in heard if what == said] == [Kind.FIRING, Kind.REPEAT]
        assert (Kind.FIRING, "training 80%") in heard
        world.proxies["aws"].always = PASS
        world.turn()
        assert (Kind.RESOLVED, "source aws is no longer locked out") in world.heard()


def test_an_answer_of_100_mb_is_not_read_to_its_end(world: World) -> None:
    world.publish("900", START)
    (proxy,) = world.proxies.values()
    proxy.always = HTTP["100 MB"]
    world.turn()
    assert "an answer of more than 32 MB" in world.source["error"]
    assert proxy.connections == 1, "once is enough"
