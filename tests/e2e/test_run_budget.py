"""A budget that watches a plan, with the real process: figures, messages, exit codes, and what is left of the plan."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor import plan_answer
from monitor.config import load
from monitor.config.prices import read_prices
from monitor.plan_text import as_text
from monitor.training.plan import project
from tests.e2e.conftest import Stage
from tests.e2e.test_daemon import until

RUN = """
[[budgets]]
name = "deepseek"
amount = "20000"
currency = "USD"
period = "run"
receivers = ["oncall"]
thresholds = [
  { on = "actual", at = "100%", severity = "critical" },
  { on = "plan", at = "120%", severity = "warning" },
  { on = "at_completion", at = "100%", severity = "critical" },
]

[[plans]]
name = "deepseek-ft"
budget = "deepseek"
start = 2026-12-01T00:00:00Z
quotes = "article"
phases = [
  { name = "pretrain", on = "aws:p4d.24xlarge", count = 1, hours = 500, pricing = "on_demand" },
  { name = "validate", on = "ciuic:8xA100", hours = 20, pricing = "spot", after = "pretrain" },
]
"""


@pytest.fixture
def watched(stage: Stage) -> Stage:
    stage.write_config(amount="1000000", more=RUN)
    return stage


def publish(stage: Stage, series: dict[str, str]) -> None:
    for instant, value in series.items():
        stage.aws.publish_charge(datetime.fromisoformat(instant).replace(tzinfo=UTC), value)


def status(stage: Stage, at: str) -> tuple[int, dict[str, Any]]:
    done = stage.run("status", "--json", "--as-of", at)
    rows = {row["name"]: row for row in json.loads(done.stdout)["budgets"]}
    return done.returncode, rows["deepseek"]


def transitions(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(one["on"], one["from"], one["to"], one["reason"]) for one in report["transitions"]]


def test_a_run_from_before_its_plan_to_after_its_end(watched: Stage) -> None:
    """32.77 an hour are 786.48 a day: as planned for two days, then nearly half as much again."""
    publish(watched, {"2026-11-30T00:00": "5000", "2026-12-01T00:00": "0"})
    watched.once("2026-12-01T00:05:00Z")
    publish(watched, {"2026-12-03T00:00": "1572.96"})
    assert transitions(watched.once("2026-12-03T06:00:00Z")) == []
    code, row = status(watched, "2026-12-03T06:00:00Z")
    assert code == 0
    assert row["period"] == {"start": "2026-12-01T00:00:00Z", "end": "2027-01-14T00:00:00Z"}
    # The two points are 48 h apart, and data ends at the second.
    assert (row["spend"], row["planned"], row["at_completion"]) == ("1572.96", "1572.96", "16556")
    assert row["forecast"] is None
    publish(watched, {"2026-12-05T00:00": "3800"})
    assert transitions(watched.once("2026-12-05T06:00:00Z")) == [("plan", "OK", "FIRING", "crossed")]
    (message,) = watched.slack.messages
    said = json.dumps(message)
    assert "WARNING deepseek: 3,800.00 spent, 3,145.92 USD planned by then, over 120% of the plan" in said
    assert "17,210.08 USD: what is spent, and what the plan still foresees" in said
    code, row = status(watched, "2026-12-05T06:00:00Z")
    assert (code, row["planned"], row["at_completion"]) == (1, "3145.92", "17210.08")
    text = watched.run("status", "--as-of", "2026-12-05T06:00:00Z").stdout
    assert "deepseek: 3,800.00 spent, 3,145.92 USD planned by then" in text
    assert "planned by then 3,145.92, at completion 17,210.08" in text
    assert [line for line in text.splitlines() if len(line) > 80] == []
    publish(watched, {"2026-12-07T00:00": "8200"})
    assert transitions(watched.once("2026-12-07T06:00:00Z")) == [("at_completion", "OK", "FIRING", "crossed")]
    assert status(watched, "2026-12-07T06:00:00Z")[0] == 2


def test_the_rest_of_a_plan_is_what_must_fit(watched: Stage) -> None:
    publish(watched, {"2026-11-30T00:00": "5000", "2026-12-01T00:00": "0", "2026-12-03T00:00": "1572.96"})
    watched.once("2026-12-03T06:00:00Z")
    config, book = load(watched.config), read_prices(watched.config)[0]
    now = datetime(2026, 12, 3, 6, tzinfo=UTC)
    (answer,) = plan_answer.answer(config, None, book, watched.state, now)
    (plan,) = json.loads(plan_answer.as_json([answer]))["plans"]
    assert (plan["fits"], plan["left_in_budget"]) == (True, "18427.04")
    assert (plan["period"]["p90"], plan["period"]["p90_since"]) == ("14983.04", "2026-12-03T00:00:00Z")
    text = " ".join(as_text([answer]).split())
    assert "Fits: P90 14,983.04 USD for what is to come after 3 Dec 2026 00:00 UTC of 18,427.04 USD left" in text


def test_a_run_reports_with_and_without_a_daemon(watched: Stage, daemon: list[subprocess.Popen[str]]) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    month = now.replace(day=1, hour=0, minute=0, second=0)
    text = watched.config.read_text().replace("2026-12-01T00:00:00Z", f"{month:%Y-%m-%dT%H:%M:%SZ}")
    watched.config.write_text(text)
    watched.aws.publish_charge(month, "0")
    watched.aws.publish_charge(max(now, month + timedelta(seconds=2)), "1000")
    assert watched.run("once").returncode == 0
    asked = ("progress", "deepseek-ft", "--step", "300", "--of", "1000")
    done = watched.run(*asked, "--at", (max(now, month) - timedelta(seconds=1)).isoformat())
    assert (done.returncode, done.stdout, done.stderr) == (0, "deepseek-ft: step 300 of 1,000\n", "")
    daemon.append(watched.start())
    until((watched.state / "control.sock").exists, "the socket")
    done = watched.run("progress", "deepseek-ft", "--step", "400", "--of", "1000")
    assert (done.returncode, done.stdout, done.stderr) == (0, "deepseek-ft: step 400 of 1,000\n", "")
    done = watched.run("progress", "deepsek-ft", "--step", "4", "--of", "10")
    assert (done.returncode, done.stdout) == (64, "")
    assert 'no run is named "deepsek-ft"; did you mean "deepseek-ft"?' in done.stderr

    def told() -> bool:
        rows = json.loads(watched.run("status", "--json").stdout)["budgets"]
        (row,) = (row for row in rows if row["name"] == "deepseek")
        return bool(row["progress"] and row["progress"]["step"] == 400 and row["at_completion"] is not None)

    until(told, "a turn that knows of it")


def test_a_finished_run_keeps_the_prices_it_ran_at(watched: Stage) -> None:
    config = watched.config.read_text().replace('quotes = "article"\n', "")
    config = config.replace("aws:p4d.24xlarge", "x:8").replace('on = "ciuic:8xA100"', 'on = "x:8"')
    watched.config.write_text(config)
    quote = """[[quote]]
offer = "x:8"
seller = "X"
gpu = "A100-80GB"
gpus = 8
currency = "USD"
on_demand = "{}"
spot = "1"
as_of = {}
source = "a test"
"""
    prices = watched.directory / "prices.toml"
    prices.write_text(quote.format("10", "2026-11-01"))
    prices.chmod(0o600)
    before = [phase.cost for phase in project(load(watched.config).plans[0]).phases]
    assert before == [5000, 20]
    prices.write_text(quote.format("10", "2026-11-01") + quote.format("99", "2026-12-02"))
    assert [phase.cost for phase in project(load(watched.config).plans[0]).phases] == before
