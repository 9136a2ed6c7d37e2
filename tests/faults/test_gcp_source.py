"""The GCP source x faults: over TLS, behind a proxy that misbehaves, in whole turns on a real store.

Whatever happens: no figure falls, no alarm ends, the error is a sentence, and the next read is as if nothing had been.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest

from alarms.model import Kind
from monitor.config import load
from monitor.cycle import Cycle
from monitor.registry import create
from monitor.sources import gcp_billing_export
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.fault_proxy import HTTP, PASS, TCP, TLS, Authority, FaultProxy, Plan, http_answer
from tests.fakes.fault_server import answer
from tests.fakes.gcp_stage import TABLE, Stage, at, line, stage_of
from tests.faults.world import HOUR, Turns

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

START = at("11-10T12")
MINUTE = timedelta(minutes=1)
CANARY = "canary-5up3r-s3cr3t"
DEADLINE_S = 3.0
CONFIG = f"""
[[sources]]
name = "gcp"
type = "gcp_billing_export"
table = "{TABLE}"
backfill = "1d"
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:NOBODY"
allow_private = true
[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
period = "month"
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "actual", at = "100%", severity = "critical" }},
]
"""


@dataclass
class World(Turns):
    stage: Stage
    proxy: FaultProxy
    store: Store
    cycle: Cycle
    now: Any = START

    @property
    def spend(self) -> str | None:
        spend: str | None = self.facts["budgets"][0]["spend"]
        return spend


@pytest.fixture
def world(tmp_path: Path, authority: Authority) -> Iterator[World]:
    with (
        stage_of(tmp_path) as stage,
        FaultProxy(urlsplit(stage.cloud.url).port or 0, authority) as proxy,
        mock.patch.dict(
            "os.environ",
            stage.cloud.environment(tmp_path, url=f"https://127.0.0.1:{proxy.port}")
            | {"REQUESTS_CA_BUNDLE": str(authority.file), "NO_PROXY": "127.0.0.1"},
        ),
        open_store(tmp_path / "state") as store,
    ):
        path = tmp_path / "config.toml"
        path.write_text(CONFIG)
        path.chmod(0o600)
        config = load(path)
        yield World(stage, proxy, store, Cycle(config, [create(config.sources[0])], store, StoredOutbox(store)))


def google(status: int, body: Any, **headers: str) -> Plan:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Plan(answer(http_answer(status, text, Content_Type="application/json; charset=UTF-8", **headers)))


def refusal(status: int, reason: str, **headers: str) -> Plan:
    error = {"reason": reason, "message": f"for {CANARY}", "domain": "global"}
    return google(status, {"error": {"code": status, "message": f"for {CANARY}", "errors": [error]}}, **headers)


GOOGLE = {
    "throttled": refusal(403, "rateLimitExceeded"),
    "throttled with Retry-After": refusal(403, "rateLimitExceeded", Retry_After="600"),
    "429 of Google with Retry-After": refusal(429, "rateLimitExceeded", Retry_After="600"),
    "quota": refusal(403, "quotaExceeded"),
    "500 of Google": refusal(500, "internalError"),
    "503 of Google": refusal(503, "backendError"),
    "not allowed": refusal(403, "accessDenied"),
    "not enabled": refusal(403, "accessNotConfigured"),
    "revoked credentials": refusal(401, "authError"),
    "not found": refusal(404, "notFound"),
    "invalid": refusal(400, "invalidQuery"),
    "an error of another shape": google(403, {"error": ["x", CANARY]}),
    "an error that is a list": google(500, [CANARY]),
    "an empty object": google(200, {}),
    "a list": google(200, [1, 2]),
    "null": google(200, None),
    "a number": google(200, 7),
    "a table of nothing": google(200, {"tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"}}),
    "a table with a schema of another shape": google(200, {"schema": {"fields": "none"}, "type": "TABLE"}),
    "a table modified never": google(200, {"schema": {"fields": []}, "type": "TABLE", "lastModifiedTime": "x"}),
}
FAULTS = {**TCP, **TLS, **HTTP, **GOOGLE}
LOCKED_OUT = {*TLS, "not allowed", "not enabled", "revoked credentials"}
WAITS = {name for name in FAULTS if "Retry-After" in name}


def assert_a_sentence(text: str) -> None:
    assert 20 < len(text) < 400, text
    assert not set(text) & set("\n{}"), text
    assert "defect" not in text


def suffer(world: World, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One fault at the second of three reads."""
    world.stage.load(line("11-09T00", "900"))
    world.turn(MINUTE)
    assert (world.spend, world.heard()) == ("900", [(Kind.FIRING, "training 80%")])
    world.stage.load(line("11-09T12", "200"))
    world.proxy.always = FAULTS[name]
    tried = world.proxy.connections
    # The first read has its whole minute: a machine that is busy is no fault.
    with mock.patch.object(gcp_billing_export, "DEADLINE_S", DEADLINE_S):
        report = world.turn()
    assert not report.no_failure
    assert world.proxy.connections - tried <= 3
    assert world.spend == "900"
    assert world.facts["budgets"][0]["alarms"][0]["state"] == "FIRING"
    assert_a_sentence(world.source["error"])
    assert CANARY not in json.dumps(world.facts) + caplog.text
    assert all(kind is Kind.FIRING for kind, _ in world.heard())
    assert world.source["access"] is (name not in LOCKED_OUT), world.source["error"]
    if name in WAITS:
        tried = world.proxy.connections
        for _ in range(9):
            world.turn(MINUTE)
        assert world.proxy.connections == tried
    world.proxy.always = PASS
    world.turn(max(timedelta(0), START + 2 * HOUR - world.now))
    assert (world.spend, world.source["error"], world.source["access"]) == ("1100", None, True)
    assert (Kind.FIRING, "training 100%") in world.heard()


SAMPLE = [
    "refused",
    "certificate of another host",
    "429 of Google with Retry-After",
    "JSON with a key twice",
    "not allowed",
]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAULTS.keys() - set(SAMPLE)))
def test_every_fault_costs_one_read_and_no_figure(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    suffer(world, name, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("call", range(1, 5))
@pytest.mark.parametrize(
    "name", ["answer cut off after 10 bytes", "HTML with 200", "a list", "an empty object", "deep JSON"]
)
def test_a_fault_at_each_call_of_a_read(world: World, caplog: pytest.LogCaptureFixture, name: str, call: int) -> None:
    world.stage.load(line("11-09T00", "900"))
    world.turn(MINUTE)
    world.stage.load(line("11-09T12", "200"))
    # A connection for each call, so that the proxy can tell them apart.
    with mock.patch("monitor.simulation.gcp.BaseHTTPRequestHandler.protocol_version", "HTTP/1.0"):
        world.proxy.always = PASS
        world.proxy.script.extend([PASS] * (call - 1) + [FAULTS[name]] * 3)
        world.turn()
    world.proxy.script.clear()
    assert world.spend in ("900", "1100")
    if world.spend == "900":
        assert_a_sentence(world.source["error"])
    world.turn(2 * HOUR)
    assert (world.spend, world.source["error"]) == ("1100", None)


def test_an_export_that_is_empty_for_days_is_stale_and_never_zero(world: World) -> None:
    world.stage.load(line("11-09T00", "900"))
    world.turn(MINUTE)
    world.heard()
    world.stage.bigquery.execute(TABLE, "DELETE FROM {table}")
    heard = []
    for _ in range(9):
        world.turn(6 * HOUR)
        heard += world.heard()
        assert world.spend == "900"
    assert (Kind.FIRING, "Source gcp is stale") in heard
    assert all(kind is not Kind.RESOLVED for kind, _ in heard)


def test_an_answer_of_100_mb_is_not_read_to_its_end(world: World) -> None:
    world.stage.load(line("11-09T00", "900"))
    world.proxy.always = HTTP["100 MB"]
    world.turn()
    assert "an answer of more than 32 MB" in world.source["error"]
    assert world.proxy.connections == 1, "once is enough"


def test_an_amount_that_is_none_lowers_nothing_that_was_booked(world: World) -> None:
    world.stage.load(line("11-09T00", "900"))
    world.turn(MINUTE)
    world.stage.bigquery.execute(TABLE, "UPDATE {table} SET cost = 'NaN'::DOUBLE")
    world.stage.load(line("11-09T00", "1"))
    world.turn()
    assert world.spend == "900"
    assert "unusable readings" in world.source["error"]


def test_a_month_ends_on_an_estimate_and_late_lines_still_count_in_it(world: World) -> None:
    world.stage.load(line("11-09T00", "900"))
    world.turn(MINUTE)
    world.heard()
    world.stage.load(line("11-30T20", "150", exported_at="12-01T10"), line("12-01T09", "1", exported_at="12-01T10"))
    world.now = at("12-01T11")
    world.turn()
    # Over its end the old month is still judged: until its data is complete.
    assert (Kind.FIRING, "training 100%") in world.heard()
    assert world.spend == "1"
