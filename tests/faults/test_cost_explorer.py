"""Cost Explorer x faults: the real source over HTTPS, behind a proxy that misbehaves; whole turns on a real store.

Also both sources of one AWS account at once: whichever of them fails, the figure does not fall.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest

from alarms.model import Kind, Receipt
from monitor.config import load
from monitor.cycle import Cycle
from monitor.registry import create
from monitor.simulation.cost_explorer import CostExplorer
from monitor.sources import aws_cost_explorer
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.cloudwatch_indexed import IndexedCloudWatch
from tests.fakes.fault_proxy import HTTP, PASS, TCP, TLS, Authority, FaultProxy, Plan, http_answer, json_answer
from tests.fakes.fault_server import answer
from tests.faults.world import HOUR, Turns

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

START = datetime(2026, 11, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CANARY = "canary-5up3r-s3cr3t"
DEADLINE_S = 3.0
CONFIG = """\
[monitor]
receivers = ["oncall"]
[[sources]]
name = "metrics"
type = "aws_cloudwatch"
backfill = "1d"
endpoint_url = "https://127.0.0.1:{metrics}"
[[sources]]
name = "explorer"
type = "aws_cost_explorer"
every = "1h"
backfill = "1d"
endpoint_url = "https://127.0.0.1:{explorer}"
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:NOBODY"
allow_private = true
[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
{scope}
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "actual", at = "100%", severity = "critical" }},
]
"""


@dataclass
class World(Turns):
    store: Store
    explorer: CostExplorer
    bill: IndexedCloudWatch
    proxies: dict[str, FaultProxy]
    cycle: Cycle
    now: datetime = START

    @property
    def budget(self) -> dict[str, Any]:
        row: dict[str, Any] = self.facts["budgets"][0]
        return row

    @property
    def source(self) -> dict[str, Any]:
        (row,) = (row for row in self.facts["sources"] if row["name"] == "explorer")
        return row  # type: ignore[no-any-return] # JSON

    def heard(self) -> list[tuple[Kind, str]]:
        """Everything owed since the last look, as though it were delivered, with its limit if it is of a budget."""
        outbox, found = StoredOutbox(self.store), []
        while (delivery := next(iter(outbox.owed("oncall")), None)) is not None:
            said = delivery.notification.facts
            found.append((said.kind, said.at if said.budget else ""))
            outbox.sent(delivery, Receipt(), self.now)
        return found


@pytest.fixture
def world(tmp_path: Path, authority: Authority, request: pytest.FixtureRequest) -> Iterator[World]:
    scope = getattr(request, "param", 'scope = { source = "explorer" }')
    with (
        CostExplorer(START.date()) as explorer,
        IndexedCloudWatch() as bill,
        FaultProxy(urlsplit(explorer.url).port or 0, authority) as explorer_proxy,
        FaultProxy(urlsplit(bill.url).port or 0, authority) as metrics_proxy,
        open_store(tmp_path / "state") as store,
    ):
        environment = {name: value for name, value in bill.environment.items() if "ENDPOINT" not in name}
        environment |= {"AWS_SECRET_ACCESS_KEY": CANARY, "AWS_CA_BUNDLE": str(authority.file), "NO_PROXY": "127.0.0.1"}
        proxies = {"explorer": explorer_proxy, "metrics": metrics_proxy}
        path = tmp_path / "config.toml"
        path.write_text(CONFIG.format(scope=scope, **{name: proxy.port for name, proxy in proxies.items()}))
        path.chmod(0o600)
        with mock.patch.dict("os.environ", environment):
            config = load(path)
            cycle = Cycle(config, [create(each) for each in config.sources], store, StoredOutbox(store))
            yield World(store, explorer, bill, proxies, cycle)


both = pytest.mark.parametrize("world", [""], indirect=True)


def refusal(status: int, code: str, **headers: str) -> Plan:
    body = json.dumps({"__type": code, "message": f"for {CANARY}"}).encode()
    return Plan(answer(http_answer(status, body, Content_Type="application/x-amz-json-1.1", **headers)))


def results(*groups: Any, last: Any = (), **more: Any) -> Plan:
    """The whole window, with these groups on the day before the last, and these on the last."""
    by_day = {date(2026, 11, 9): list(groups), date(2026, 11, 10): list(last)}
    days = [date(2026, 10, 1) + number * timedelta(days=1) for number in range(41)]
    found = [
        {
            "TimePeriod": {"Start": f"{day}", "End": f"{day + timedelta(days=1)}"},
            "Total": {},
            "Groups": by_day.get(day, []),
            "Estimated": True,
        }
        for day in days
    ]
    return json_answer({"ResultsByTime": found, **more})


def group(amount: Any, unit: str = "USD", keys: Any = ("123456789012", "EC2")) -> dict[str, Any]:
    return {"Keys": list(keys), "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": unit}}}


TWICE = b'{"ResultsByTime": [], "ResultsByTime": []}'
AWS = {
    "throttled": refusal(400, "LimitExceededException"),
    "throttled with Retry-After": refusal(400, "LimitExceededException", Retry_After="600"),
    "500 of AWS": refusal(500, "InternalFailure"),
    "no data yet": refusal(400, "DataUnavailableException"),
    "validation": refusal(400, "ValidationException"),
    "not allowed": refusal(400, "AccessDeniedException"),
    "expired credentials": refusal(400, "ExpiredTokenException"),
    "no results": json_answer({}),
    "empty results": json_answer({"ResultsByTime": []}),
    "results are null": json_answer({"ResultsByTime": None}),
    "a list": json_answer([1, 2]),
    "groups of another shape": results(["EC2", 7]),
    "a key too few": results(group("1100", keys=["EC2"])),
    "another currency": results(group("1100", unit="EUR")),
    "two amounts": results(group("900"), group("950")),
    "nothing where there was much": results(),
    "pages without end": results(group("900"), NextPageToken="again"),
    "a key twice": Plan(answer(http_answer(200, TWICE, Content_Type="application/x-amz-json-1.1"))),
}
FAULTS = {**TCP, **TLS, **HTTP, **AWS}
LOCKED_OUT = {*TLS, "not allowed", "expired credentials"}
# AWS asks nothing of whoever waits for the first data; we wait an hour.
WAITS = {name for name in FAULTS if "Retry-After" in name} | {"no data yet"}


def assert_a_sentence(text: str) -> None:
    assert 20 < len(text) < 320, text
    assert not set(text) & set("\n<>{}"), text
    assert "defect" not in text


def suffer(world: World, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One fault at the second of three reads."""
    proxy = world.proxies["explorer"]
    world.explorer.bill(date(2026, 11, 9), "900", service="EC2")
    world.turn(MINUTE)
    assert (world.budget["spend"], world.heard()) == ("900", [(Kind.FIRING, "80%")])
    world.explorer.bill(date(2026, 11, 10), "200", service="EC2")
    proxy.always = FAULTS[name]
    tried = proxy.connections
    # The first read has its whole minute: a machine that is busy is no fault.
    with mock.patch.object(aws_cost_explorer, "DEADLINE_S", DEADLINE_S):
        report = world.turn()
    assert not report.sources["explorer"].ok or world.source["error"]
    assert proxy.connections - tried <= 3
    assert world.budget["spend"] == "900"
    assert world.budget["alarms"][0]["state"] == "FIRING"
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
    world.turn(max(timedelta(0), START + 3 * HOUR - world.now))
    assert (world.budget["spend"], world.source["error"], world.source["access"]) == ("1100", None, True)
    assert (Kind.FIRING, "100%") in world.heard()


SAMPLE = ["refused", "certificate of another host", "HTML with 200", "throttled with Retry-After", "a key twice"]
SAMPLE += ["nothing where there was much", "deep JSON"]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAULTS.keys() - set(SAMPLE)))
def test_every_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


UNUSABLE = ["NaN", "", "1_000", "\uff11\uff12", "1e999", 1100, True, [1], {}]


@pytest.mark.parametrize("amount", UNUSABLE, ids=repr)
def test_an_unusable_amount_is_left_out_and_said_and_lowers_nothing(world: World, amount: Any) -> None:
    world.explorer.bill(date(2026, 11, 9), "900", service="EC2")
    world.turn(MINUTE)
    world.proxies["explorer"].always = results(group("950"), group(amount, keys=("123456789012", "S3")))
    world.turn()
    assert (world.budget["spend"], world.source["missing"]) == ("950", ["1 unusable amount"])
    assert world.budget["lower_bound"]
    # What was booked stays; where something else of the same is told, nothing of that read is kept.
    world.proxies["explorer"].always = results(group(amount), group("1", keys=("123456789012", "S3")))
    world.turn()
    assert world.budget["spend"] == "951"
    world.proxies["explorer"].always = results(group(amount), last=[group("3")])
    world.turn()
    assert world.budget["spend"] == "951"
    assert_a_sentence(world.source["error"])


def publish(world: World, day: int, explorer: str, metrics: str) -> None:
    world.explorer.bill(date(2026, 11, day), explorer, service="Amazon Elastic Compute Cloud - Compute")
    world.bill.publish(world.now, metrics)


@both
def test_both_sources_of_an_account_are_never_added_and_neither_failing_lowers_the_figure(world: World) -> None:
    publish(world, 9, "850", "830")
    world.turn(MINUTE)
    assert (world.budget["spend"], world.budget["counted"]) == ("850", ["explorer"])
    assert world.budget["views"] == {"metrics": "830", "explorer": "850"}
    assert world.heard() == [(Kind.FIRING, "80%")]
    for failing, working in (("explorer", "metrics"), ("metrics", "explorer")):
        world.proxies[failing].always = AWS["expired credentials"]
        for _ in range(3):
            world.turn()
            assert world.budget["spend"] == "850"
            assert all(kind is not Kind.RESOLVED for kind, limit in world.heard() if limit)
        world.proxies[failing].always = PASS
        assert world.proxies[working].always is PASS
    # Cost Explorer is late: the metric has gone on, and counts.
    publish(world, 9, "0", "1010")
    world.turn()
    assert (world.budget["spend"], world.budget["counted"]) == ("1010", ["metrics"])
    assert (Kind.FIRING, "100%") in world.heard()
    publish(world, 10, "200", "1010")
    world.turn()
    assert (world.budget["spend"], world.budget["counted"]) == ("1050", ["explorer"])
