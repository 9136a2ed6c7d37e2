"""Twins inside Google Cloud, by the real commands and the real SDK against a simulated account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.simulation.gcp import RefusedError
from monitor.simulation.gcp_budgets import BudgetService
from monitor.simulation.gcp_topics import Topics
from monitor.simulation.slack import SlackServer
from tests.contract.clouds import GCP_TOPIC
from tests.fakes.gcp_stage import TABLE, Stage, line, stage_of

# Each starts real processes and clouds: together they take longer than a minute.
pytestmark = pytest.mark.slow

CONFIG = """
[[sources]]
name = "gcp"
type = "gcp_billing_export"
table = "{table}"
native_endpoint = "{url}"
native_topic = "{topic}"

[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK_WEBHOOK"
allow_private = true

[monitor]
receivers = ["oncall"]

[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
period = "month"
native = true
scope = {{ account = ["train"], service = ["Compute Engine"] }}
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "forecast", at = "100%", severity = "critical" }},
  {{ on = "burn_rate", at = 2.0, over = ["6h"], severity = "warning" }},
]
"""
NAME = "cloud-budget-monitor/training #cef8f170"
BACKSTOP = "no native backstop"


class Process:
    """The program, its config and its state in one directory, and the cloud that it is in."""

    def __init__(self, stage: Stage, budgets: BudgetService, topics: Topics, slack: SlackServer) -> None:
        self.budgets = budgets
        self.cloud = stage.cloud
        self.slack = slack
        self.config = stage.directory / "config.toml"
        self.text = CONFIG.format(table=TABLE, url=stage.cloud.url, topic=GCP_TOPIC)
        self.write()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MONITOR_"))},
            **topics.environment,
            "SLACK_WEBHOOK": slack.url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NO_PROXY": "127.0.0.1",
        }

    def write(self, old: str = "", new: str = "") -> None:
        self.config.write_text(self.text.replace(old, new) if old else self.text)
        self.config.chmod(0o600)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monitor", "--config", str(self.config), *arguments]
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=60, check=False)

    def once(self, now: str) -> dict[str, Any]:
        done = self.run("once", "--as-of", now, "--json")
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def natives(self) -> list[tuple[str, str]]:
        rows = json.loads(self.run("status", "--json").stdout)["native"]
        return [(row["budget"], row["state"]) for row in rows]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with stage_of(tmp_path) as stage, Topics(GCP_TOPIC) as topics, SlackServer() as slack:
        stage.load(line("11-02T00", "100"))
        yield Process(stage, BudgetService(stage.cloud), topics, slack)


def flat(text: str) -> str:
    """However its lines were broken."""
    return " ".join(text.split())


def test_plan_says_apply_does_and_then_there_is_nothing_to_do(process: Process) -> None:
    done = process.run("alarms", "plan")
    assert (done.returncode, done.stderr) == (2, "")
    assert f"  + budget {NAME}\n" in done.stdout
    assert "      + projects: projects/111111111111\n" in done.stdout
    assert max(len(text) for text in done.stdout.splitlines()) <= 80
    assert "training, burn_rate 2.0: GCP budget: it knows actual spend" in flat(done.stdout)
    assert "nothing inside GCP calls a receiver of type slack" in flat(done.stdout)
    assert "all of its thresholds tell the same: the billing account's administrators" in flat(done.stdout)
    done = process.run("alarms", "apply")
    assert (done.returncode, done.stderr) == (0, "")
    assert "IN_SYNC training" in flat(done.stdout)
    done = process.run("alarms", "plan", "--json")
    assert (done.returncode, json.loads(done.stdout)["pending"]) == (0, 0)
    process.once("2026-11-03T00:00:00Z")
    done = process.run("alarms", "drill")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The whole way works." in done.stdout
    process.write('name = "training"', 'name = "renamed"')
    assert process.run("alarms", "apply").returncode == 0
    assert [one["displayName"].partition(" #")[0] for one in process.budgets.budgets] == [
        "cloud-budget-monitor/renamed"
    ]


def test_the_twin_tells_people_while_nobody_runs_us(process: Process) -> None:
    """A month at 1.80 USD an hour: 800 is passed after 445 h; the forecast, 1296, from the first day on."""
    assert process.run("alarms", "apply").returncode == 0
    told: list[tuple[str, int]] = []
    for hours in range(6, 30 * 24, 6):
        spent = Decimal(hours) * Decimal("1.8")
        process.budgets.evaluate(NAME, spent, spent * 30 * 24 / hours)
        told += [(text, hours) for _, text in process.budgets.sent[len(told) :]]
    assert told == [("FORECASTED_SPEND 1.0", 6), ("CURRENT_SPEND 0.8", 450)]
    assert {topic for topic, _ in process.budgets.published} == {GCP_TOPIC}


def test_drift_is_told_and_mended_where_it_is_managed(process: Process) -> None:
    assert process.run("alarms", "apply").returncode == 0
    process.once("2026-11-03T00:00:00Z")
    assert process.natives() == [("training", "IN_SYNC")]
    process.budgets.spoil(NAME, lambda budget: budget["thresholdRules"].pop())
    process.once("2026-11-03T02:00:00Z")
    assert process.natives() == [("training", "DRIFTED")]
    assert any("were changed" in json.dumps(message) for message in process.slack.messages)
    process.write("native = true", "native = true\nmanage = true")
    process.once("2026-11-03T04:00:00Z")
    assert process.natives() == [("training", "IN_SYNC")]
    assert len(process.budgets.budgets[0]["thresholdRules"]) == 2
    process.write("native = true", "native = false")
    process.once("2026-11-03T06:00:00Z")
    assert process.budgets.budgets == [], "what it managed is removed with the key"


def test_who_may_not_look_or_write_is_told_what_to_allow(process: Process) -> None:
    process.cloud.denied.add("billing.budgets.list")
    done = process.run("alarms", "plan")
    assert done.returncode == 77
    assert "allow billing.budgets.list on billing account 0123AB-4567CD-89EF01" in flat(done.stdout)
    process.once("2026-11-03T00:00:00Z")
    assert process.natives() == [("training", "UNKNOWN")]
    process.cloud.denied = {"billing.budgets.create"}
    done = process.run("alarms", "apply")
    assert done.returncode == 75
    assert "allow billing.budgets.create" in flat(done.stdout)
    assert process.natives() == [("training", "MISSING")]
    process.once("2026-11-03T02:00:00Z")
    assert BACKSTOP in flat(process.run("status", "--as-of", "2026-11-03T02:00:00Z").stdout)
    assert any(BACKSTOP in json.dumps(message) for message in process.slack.messages)


def test_half_of_an_apply_is_finished_by_the_next(process: Process) -> None:
    def lose() -> None:
        process.budgets.changed = lambda: None
        raise RefusedError(503, "UNAVAILABLE")

    process.budgets.changed = lose
    assert process.run("alarms", "apply").returncode == 0, "what was lost is the answer alone: it is seen to be there"
    assert len(process.budgets.budgets) == 1
    process.cloud.always = lambda call: RefusedError(503, "UNAVAILABLE") if call.method == "PATCH" else None
    process.write('amount = "1000"', 'amount = "2000"')
    assert process.run("alarms", "apply").returncode == 75
    process.cloud.always = None
    assert process.run("alarms", "apply").returncode == 0
    assert process.budgets.budgets[0]["amount"]["specifiedAmount"]["units"] == "2000"
