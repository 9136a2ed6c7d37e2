"""Azure x faults: the real source and SDK over HTTPS, behind a proxy that misbehaves, and whole turns on a real store.

Whatever happens: no figure falls, no alarm ends, the error is a sentence, and the next read is as if nothing had been.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from alarms.model import Kind
from monitor.config import load
from monitor.cycle import Cycle
from monitor.registry import create
from monitor.simulation.azure import SUBSCRIPTION, AzureCloud, Reply, refusal, throttled
from monitor.sources import azure_cost
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.fault_proxy import HTTP, PASS, TCP, TLS, Authority, FaultProxy, Plan, http_answer, json_answer
from tests.fakes.fault_server import answer
from tests.faults.world import HOUR, Turns

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

START = datetime(2026, 11, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CANARY = "canary-5up3r-s3cr3t"
DEADLINE_S = 3.0
OTHER = "00000000-0000-0000-0000-000000000002"
ONE = f'"/subscriptions/{SUBSCRIPTION}"'
BOTH = f'["/subscriptions/{SUBSCRIPTION}", "/subscriptions/{OTHER}"]'
CONFIG = """
[monitor]
receivers = ["oncall"]
[[sources]]
name = "azure"
type = "azure_cost"
every = "1m"
backfill = "1d"
run_tag = "training-run"
scope = {scope}
endpoint_url = "https://127.0.0.1:{port}"
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:NOBODY"
allow_private = true
[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }}, {{ on = "actual", at = "100%", severity = "critical" }}
]
"""


@dataclass
class World(Turns):
    """An Azure that logs in over TLS and answers in plain behind a proxy with TLS, and a monitor over it."""

    store: Store
    login: AzureCloud
    bill: AzureCloud
    proxy: FaultProxy
    cycle: Cycle
    now: datetime = START

    def publish(self, cost: str, day: int, **more: Any) -> None:
        self.bill.bill(date(2026, 11, day), "Virtual Machines", cost, **more)

    @property
    def spend(self) -> str | None:
        spend: str | None = self.facts["budgets"][0]["spend"]
        return spend


@contextmanager
def world_of(directory: Path, authority: Authority, scope: str = ONE, *, to_login: bool = False) -> Iterator[World]:
    """`to_login`: the proxy stands before the login instead."""
    with ExitStack() as stack:
        login = stack.enter_context(AzureCloud(directory))
        bill = stack.enter_context(AzureCloud(None))
        proxy = stack.enter_context(FaultProxy(bill.port, authority))
        assert login.ca_file is not None
        trusted = directory / "trusted.pem"
        trusted.write_bytes(login.ca_file.read_bytes() + authority.file.read_bytes())
        environment = {**login.environment, "AZURE_CLIENT_SECRET": CANARY, "REQUESTS_CA_BUNDLE": str(trusted)}
        login.secret = bill.secret = CANARY
        if to_login:
            environment["AZURE_AUTHORITY_HOST"] = bill.public_url = f"https://127.0.0.1:{proxy.port}"
        stack.enter_context(mock.patch.dict("os.environ", environment))
        stack.enter_context(mock.patch.object(azure_cost, "DEADLINE_S", DEADLINE_S))
        path = directory / "config.toml"
        path.write_text(CONFIG.format(scope=scope, port=proxy.port))
        path.chmod(0o600)
        config = load(path)
        store = stack.enter_context(open_store(directory / "state"))
        cycle = Cycle(config, [create(each) for each in config.sources], store, StoredOutbox(store))
        yield World(store, login, bill, proxy, cycle)


@pytest.fixture
def world(tmp_path: Path, authority: Authority) -> Iterator[World]:
    with world_of(tmp_path, authority) as made:
        yield made


def as_plan(reply: Reply) -> Plan:
    headers = {name.replace("-", "_"): value for name, value in reply.headers.items()}
    return Plan(answer(http_answer(reply.status, reply.body, **headers)))


def rows(*lines: list[Any], **more: Any) -> Plan:
    """An answer to the first query of a read."""
    return json_answer({"properties": {"nextLink": None, "columns": COLUMNS, "rows": list(lines), **more}})


COLUMNS = [{"name": name} for name in ("Cost", "UsageDate", "ChargeType", "ServiceName", "Currency")]
VM = ["Usage", "Virtual Machines", "USD"]
TWICE = b'{"properties": {"columns": [], "rows": []}, "properties": {"columns": [], "rows": []}}'
AZURE = {
    "throttled by query units": as_plan(throttled(qpu="600")),
    "throttled by the scope": as_plan(throttled(entity="600")),
    "throttled by the tenant": as_plan(throttled(tenant="600")),
    "throttled by the client type": as_plan(throttled(clienttype="600")),
    "throttled by all": as_plan(throttled(qpu="1", entity="600", tenant="2", clienttype="3")),
    "500 of Azure": as_plan(refusal(500, "InternalServerError")),
    "503 of Azure": as_plan(refusal(503, "ServiceUnavailable")),
    "not allowed": as_plan(refusal(403, "AuthorizationFailed", f"for {CANARY}")),
    "expired token": as_plan(refusal(401, "ExpiredAuthenticationToken", f"for {CANARY}")),
    "another tenant": as_plan(refusal(401, "InvalidAuthenticationTokenTenant")),
    "no such scope": as_plan(refusal(404, "ResourceGroupNotFound")),
    "offer that is not served": as_plan(refusal(400, "BadRequest", "The offer MS-AZR-0243P is not supported.")),
    "a redirect": as_plan(Reply(307, b"", {"Location": "https://evil.example/"})),
    "no properties": json_answer({"id": "x"}),
    "properties are null": json_answer({"properties": None}),
    "a list": json_answer([1, 2]),
    "no rows": rows(),
    "no content": Plan(answer(b"HTTP/1.1 204 Answer\r\nConnection: close\r\n\r\n")),
    "rows of another width": rows([1.0, 20261101]),
    "rows are a text": rows(rows="none"),
    "a day that was not asked for": rows([2000.0, 20260101, *VM]),
    "the newest days are gone": rows([100.0, 20261001, *VM]),
    "the first days are gone": rows([1500.0, 20261009, *VM]),
    "columns without a cost": rows([1.0], columns=[{"name": "Currency", "type": "String"}]),
    "a link to somewhere else": rows([100.0, 20261001, *VM], nextLink="https://evil.example/?x=1"),
    "only unusable costs": rows(["NaN", 20261001, *VM], [None, 20261002, *VM], [float("inf"), 20261003, *VM]),
    "a key twice": Plan(answer(http_answer(200, TWICE))),
}
FAULTS = {**TCP, **TLS, **HTTP, **AZURE}
LOCKED_OUT = {*TLS, "not allowed", "expired token", "another tenant"}
WAITS = {name for name in FAULTS if "Retry-After" in name or "throttled" in name}


def assert_a_sentence(text: str) -> None:
    assert 20 < len(text) < 300, text
    assert not set(text) & set("\n<>{}"), text
    assert "defect" not in text


def publish_900(world: World) -> None:
    for day in range(1, 10):
        world.publish("100", day)


def suffer(world: World, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One fault at the second of three reads."""
    publish_900(world)
    world.turn(MINUTE)
    assert (world.spend, world.heard()) == ("900", [(Kind.FIRING, "training 80%")])
    world.publish("200", 10)
    world.proxy.always = FAULTS[name]
    tried = world.proxy.connections
    report = world.turn()
    assert report.unread == ("azure",)
    assert world.proxy.connections - tried <= 4
    assert world.spend == "900"
    assert world.facts["budgets"][0]["alarms"][0]["state"] == "FIRING"
    assert_a_sentence(world.source["error"])
    assert CANARY not in json.dumps(world.facts) + caplog.text
    assert all(kind is Kind.FIRING for kind, _ in world.heard())
    assert world.source["access"] is (name not in LOCKED_OUT)
    if name in WAITS:
        tried = world.proxy.connections
        for _ in range(9):
            world.turn(MINUTE)
        assert world.proxy.connections == tried
    world.proxy.always = PASS
    world.turn(max(timedelta(0), START + 2 * HOUR - world.now))
    assert (world.spend, world.source["error"], world.source["access"]) == ("1100", None, True)
    assert (Kind.FIRING, "training 100%") in world.heard()


SAMPLE = ["refused", "certificate of another host", "throttled by all", "a key twice", "the newest days are gone"]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAULTS.keys() - set(SAMPLE)))
def test_every_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


LOGIN = {
    **{name: TCP[name] for name in ("accepted and hung", "answer cut off after 10 bytes")},
    **{name: HTTP[name] for name in ("HTML with 200", "empty with 200", "429 with Retry-After", "500", "deep JSON")},
    "certificate of nobody": TLS["certificate of nobody"],
}


@pytest.mark.parametrize("name", LOGIN)
def test_a_login_that_misbehaves_costs_one_read_and_no_figure(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with world_of(tmp_path, authority, to_login=True) as world:
        publish_900(world)
        world.turn(MINUTE)
        assert world.spend == "900"
        (source,) = world.cycle._sources.values()
        source._client = None  # type: ignore[attr-defined] # as after a restart: a token lasts an hour
        world.publish("200", 10)
        world.proxy.always = LOGIN[name]
        world.turn()
        assert world.spend == "900"
        assert_a_sentence(world.source["error"])
        assert CANARY not in json.dumps(world.facts) + caplog.text
        world.proxy.always = PASS
        world.turn()
        assert (world.spend, world.source["error"], world.source["access"]) == ("1100", None, True)


@pytest.mark.parametrize("value", ["NaN", "", None, "1_000", float("nan"), float("inf"), 1e300, True, {}], ids=repr)
def test_an_unusable_cost_is_left_out_and_said(world: World, value: Any) -> None:
    publish_900(world)
    world.turn(MINUTE)
    world.heard()
    world.publish("200", 10)
    world.bill.script.extend([None, november([*HUNDREDS, [value, 20261110, *VM]])])
    world.turn()
    assert (world.spend, world.source["missing"], world.source["error"]) == ("900", ["1 unusable row"], None)
    assert world.facts["budgets"][0]["lower_bound"]
    assert world.heard() == [(Kind.FIRING, "Source azure is read in part")]
    world.turn()
    assert (world.spend, world.source["missing"]) == ("1100", [])


@pytest.mark.parametrize("value", ["NaN", None, 1e300], ids=repr)
def test_an_unusable_cost_in_place_of_one_that_is_booked_lowers_nothing(world: World, value: Any) -> None:
    publish_900(world)
    world.turn(MINUTE)
    world.bill.script.extend([None, november([*HUNDREDS[:-1], [value, 20261109, *VM]])])
    world.turn()
    assert world.spend == "900"
    assert_a_sentence(world.source["error"])


HUNDREDS = [[100.0, 20261100 + day, *VM] for day in range(1, 10)]


def november(lines: list[list[Any]]) -> Reply:
    return Reply(200, json.dumps({"properties": {"nextLink": None, "columns": COLUMNS, "rows": lines}}).encode())


def test_an_answer_of_100_mb_is_not_read_to_its_end(world: World) -> None:
    publish_900(world)
    world.proxy.always = HTTP["100 MB"]
    world.turn()
    assert "an answer of more than 32 MB" in world.source["error"]


def test_a_read_that_fails_at_its_third_page_leaves_nothing(world: World) -> None:
    publish_900(world)
    world.turn(MINUTE)
    world.publish("200", 10)
    world.bill.page_size = 3
    world.bill.script.extend([None, None, None, *[refusal(500, "InternalServerError")] * 3])
    world.turn()
    assert world.spend == "900"
    assert "InternalServerError" in world.source["error"]
    world.turn()
    assert world.spend == "1100"


def test_of_two_subscriptions_one_that_may_not_be_read_makes_it_at_least_and_the_other_still_fires(
    tmp_path: Path, authority: Authority
) -> None:
    with world_of(tmp_path, authority, BOTH) as world:
        publish_900(world)
        world.publish("50", 9, subscription=OTHER)
        world.turn(MINUTE)
        assert world.spend == "950"
        world.heard()
        world.bill.denied.add(f"/subscriptions/{OTHER}")
        world.publish("200", 10)
        world.turn()
        assert (world.spend, world.source["missing"]) == ("1150", [f"scope /subscriptions/{OTHER}"])
        assert world.facts["budgets"][0]["lower_bound"]
        assert {"Source azure is read in part", "training 100%"} <= {what for _, what in world.heard()}
        world.bill.denied.clear()
        world.turn()
        assert (world.spend, world.source["missing"]) == ("1150", [])


def test_days_that_are_rated_anew_are_restated_up_and_down(world: World) -> None:
    publish_900(world)
    world.publish("100", 9, charge_type="Purchase")
    world.turn(MINUTE)
    assert world.spend == "1000"
    assert (Kind.FIRING, "training 100%") in world.heard()
    world.bill.usage[2:4] = []  # two days of it are taken off the bill
    world.publish("30", 2)
    world.turn()
    assert world.spend == "830"
    assert world.heard() == [(Kind.RESOLVED, "training 100%")]


def test_a_period_that_is_over_is_read_again_until_the_next_is(world: World) -> None:
    publish_900(world)
    world.turn(MINUTE)
    world.now = datetime(2026, 12, 4, tzinfo=UTC)
    world.publish("500", 28)
    world.bill.bill(date(2026, 12, 3), "Virtual Machines", "7")
    world.turn()
    with world.store.read() as connection:
        ((total,),) = connection.execute(
            "SELECT billed_cost FROM month_total WHERE billed_cost NOT IN ('7')"
        ).fetchall()
    assert (total, world.spend) == ("1400", "7")


def test_a_new_tag_moves_cost_to_its_run_and_loses_none(world: World) -> None:
    publish_900(world)
    world.turn(MINUTE)
    usage = world.bill.usage
    usage[0] = type(usage[0])(
        usage[0].day, usage[0].subscription, usage[0].service, usage[0].cost, tags={"training-run": "x"}
    )
    world.turn()
    assert world.spend == "900"
    with world.store.read() as connection:
        found = dict(
            connection.execute(
                "SELECT run, billed_cost FROM month_total JOIN series ON series.id = series_id WHERE days > 0"
            ).fetchall()
        )
    assert found == {"": "800", "x": "100"}
