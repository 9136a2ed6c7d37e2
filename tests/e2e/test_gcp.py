"""The real process against a Google Cloud on loopback: the figures that people and scripts get of its export."""

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

from monitor.simulation.pubsub import PubSub
from monitor.simulation.slack import SlackServer
from tests.fakes.gcp_stage import TABLE, Stage, at, line, stage_of

CONFIG = f"""
[[sources]]
name = "gcp"
type = "gcp_billing_export"
table = "{TABLE}"
tags = ["team"]
{{more}}

[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK_WEBHOOK"
allow_private = true

[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
period = "month"
thresholds = [{{{{ on = "actual", at = "80%", severity = "warning" }}}}]

[[budgets]]
name = "r1"
amount = "1000"
currency = "USD"
period = "month"
scope = {{{{ run = ["r1"] }}}}
thresholds = [{{{{ on = "actual", at = "100%", severity = "critical" }}}}]
"""
RUN = {"training-run": "r1"}


class Process:
    """The program, its config and its state in one directory."""

    def __init__(self, directory: Path, slack: SlackServer) -> None:
        self.config = directory / "config.toml"
        self.write()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MONITOR_"))},
            "SLACK_WEBHOOK": slack.url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NO_PROXY": "127.0.0.1",
        }

    def write(self, more: str = "") -> None:
        self.config.write_text(CONFIG.format(more=more))
        self.config.chmod(0o600)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monitor", "--config", str(self.config), *arguments]
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=60, check=False)

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def spend(self, by: str) -> dict[str, Decimal]:
        found = self.json("spend", "--by", by, "--since", "2026-10-01", "--until", "2026-12-01")
        return {row["key"]: Decimal(row["billed"]) for row in found["rows"]}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stage_of(tmp_path) as made:
        yield made


@pytest.fixture
def process(stage: Stage, tmp_path: Path) -> Iterator[Process]:
    with SlackServer() as slack:
        yield Process(tmp_path, slack)


def test_once_gives_the_right_figures_and_spend_tells_them_apart(stage: Stage, process: Process) -> None:
    stage.load(
        line("11-02T00", "700.25", labels=RUN | {"team": "ml"}, credits=("-100", "-50.25")),
        line("11-03T00", "120", service="Cloud Storage"),
        line("11-03T00", "9.75", end="11-03T00", project=None, service="Invoice", cost_type="tax"),
        line("10-31T20", "40", labels=RUN),
        line("11-01T03", "2", labels=RUN),
    )
    report = process.json("once", "--as-of", "2026-11-03T12:00:00Z")
    (source,) = report["sources"]
    assert (source["ok"], source["rejected"], source["error"]) == (True, 0, None)
    # Gross: 700.25 + 120 + 9.75 + 2 in November.
    assert [(one["budget"], one["at"], one["to"]) for one in report["transitions"]] == [("training", "80%", "FIRING")]
    totals = process.json("spend", "--since", "2026-10-01", "--until", "2026-12-01")["totals"]
    assert [(total["billed"], total["credits"], total["net"]) for total in totals] == [("872", "-150.25", "721.75")]
    assert process.spend("service") == {
        "Compute Engine": Decimal("700.25") + 42,
        "Cloud Storage": Decimal(120),
        "Invoice": Decimal("9.75"),
    }
    assert process.spend("run") == {"r1": Decimal("742.25"), "(untagged)": Decimal("129.75")}
    assert process.spend("account") == {"train": Decimal("862.25"), "(unattributed)": Decimal("9.75")}
    assert process.spend("tag:team") == {"ml": Decimal("700.25"), "(untagged)": Decimal("171.75")}
    assert process.spend("day") == {
        "2026-10-31": Decimal(40),
        "2026-11-01": Decimal(2),
        "2026-11-02": Decimal("700.25"),
        "2026-11-03": Decimal("129.75"),
    }


def test_a_run_that_goes_over_is_told_and_a_failure_lowers_nothing(stage: Stage, process: Process) -> None:
    stage.load(line("11-02T00", "999.99", labels=RUN))
    process.json("once", "--as-of", "2026-11-02T12:00:00Z")
    stage.load(line("11-02T06", "0.01", labels=RUN))
    report = process.json("once", "--as-of", "2026-11-02T14:00:00Z")
    assert [(one["budget"], one["at"], one["to"]) for one in report["transitions"]] == [("r1", "100%", "FIRING")]
    stage.cloud.denied = {"bigquery.tables.getData"}
    stage.load(line("11-02T07", "5", labels=RUN))
    done = process.run("once", "--json", "--as-of", "2026-11-02T15:00:00Z")
    assert done.returncode == 75
    (source,) = json.loads(done.stdout)["sources"]
    assert "allow bigquery.tables.getData" in source["error"]
    status = process.json("status", "--as-of", "2026-11-02T15:01:00Z")
    assert status["sources"][0]["freshness"] == "NO_ACCESS"
    assert {budget["spend"] for budget in status["budgets"]} == {"1000"}
    stage.cloud.denied = set()
    process.json("once", "--as-of", "2026-11-02T16:00:00Z")
    assert process.spend("run") == {"r1": Decimal(1005)}


def test_messages_of_a_budget_are_another_view_of_the_bill_and_never_added(stage: Stage, process: Process) -> None:
    name = "projects/bill-proj/subscriptions/budget"
    with PubSub(name) as topic:
        process.environment |= topic.environment
        live = ["[[sources]]", 'name = "live"', 'type = "gcp_budget_messages"', f'subscription = "{name}"']
        process.write(more="\n".join([*live, 'billing_account = "0123AB-4567CD-89EF01"']))
        stage.load(line("11-02T00", "700"))
        topic.tell(at("11-02T10"), 850.25, at("11-01T07"))
        report = process.json("once", "--as-of", "2026-11-02T12:00:00Z")
        assert [(one["budget"], one["at"]) for one in report["transitions"]] == [("training", "80%")]
        assert spend_at(process, "2026-11-02T12:01:00Z") == "850.25"
        stage.load(line("11-02T08", "200"))
        process.json("once", "--as-of", "2026-11-02T18:00:00Z")
        assert spend_at(process, "2026-11-02T18:01:00Z") == "900"
        assert topic.held == {}


def test_a_budget_that_follows_the_invoice_counts_what_is_on_it(stage: Stage, process: Process) -> None:
    budget = process.config.read_text().replace('name = "r1"', 'name = "invoice"\ncalendar = "billing"')
    process.config.write_text(budget.replace('scope = { run = ["r1"] }', ""))
    stage.load(
        line("11-02T00", "100"),
        # On the 1st (UTC), but October's in California; October's, but invoiced in November; of July, corrected now.
        line("11-01T03", "1000"),
        line("10-30T10", "0.5", invoice="202611", exported_at="11-02T00"),
        line("07-15T00", "-2", invoice="202611", exported_at="11-02T00"),
    )
    process.json("once", "--as-of", "2026-11-03T12:00:00Z")
    status = process.json("status", "--as-of", "2026-11-03T12:01:00Z")
    found = {one["name"]: (one["period"]["start"], one["spend"]) for one in status["budgets"]}
    assert found == {
        "invoice": ("2026-11-01T07:00:00Z", "98.5"),
        "training": ("2026-11-01T00:00:00Z", "1098"),
    }


def spend_at(process: Process, as_of: str) -> str:
    budgets = process.json("status", "--as-of", as_of)["budgets"]
    (spend,) = [budget["spend"] for budget in budgets if budget["name"] == "training"]
    return str(spend)


def test_check_config_live_tries_it(stage: Stage, process: Process) -> None:
    stage.load(line("11-02T00", "1"))
    process.write(more=f'billing_endpoint = "{stage.cloud.url}"')
    done = process.run("check-config", "--live")
    assert done.returncode == 0, done.stderr
    assert "the export of 0123AB-4567CD-89EF01 in US" in done.stdout
    assert "its billing account is open" in done.stdout
    stage.cloud.denied = {"bigquery.jobs.create"}
    done = process.run("check-config", "--live")
    assert done.returncode != 0
    assert "allow bigquery.jobs.create (role BigQuery Job User) on project bill-proj" in done.stdout + done.stderr


def test_check_config_names_what_cannot_be(process: Process) -> None:
    process.write(more='max_bytes_per_query = "a lot"\nrun_tag = "Training Run"\nby = ["sku"]')
    done = process.run("check-config")
    assert done.returncode == 78
    for words in (
        "config.toml:7: sources[0].max_bytes_per_query",
        "config.toml:8: sources[0].run_tag",
        "config.toml:9:",
    ):
        assert words in done.stdout + done.stderr
