"""One AWS account read by two sources, from the command line: reconciled, never added; and a budget of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from monitor.simulation.cost_explorer import CostExplorer, Refusal
from tests.e2e.conftest import Stage

MORE = """
[[sources]]
name = "explorer"
type = "aws_cost_explorer"
run_tag = "training-run"
backfill = "1d"

[[budgets]]
name = "llama"
amount = "500"
currency = "USD"
scope = { run = "llama-ft" }
receivers = ["oncall"]

[[budgets]]
name = "after credits"
amount = "1000"
currency = "USD"
basis = "net"
receivers = ["oncall"]
"""
EC2 = "Amazon Elastic Compute Cloud - Compute"


@pytest.fixture
def explorer(stage: Stage) -> Iterator[CostExplorer]:
    with CostExplorer(date(2026, 11, 10)) as made:
        made.activated = {"training-run"}
        stage.environment |= made.environment
        stage.write_config(more=MORE)
        yield made


def test_two_sources_of_one_account_are_one_bill(stage: Stage, explorer: CostExplorer) -> None:
    checked = stage.run("check-config")
    assert checked.returncode == 0
    assert 'reads the same bill as "aws"' in checked.stdout
    assert "never added" in checked.stdout
    stage.aws.publish_charge(datetime(2026, 11, 10, 6, tzinfo=UTC), "640")
    explorer.bill(date(2026, 11, 8), "420.25", service=EC2, tags={"training-run": "llama-ft"})
    explorer.bill(date(2026, 11, 8), "190.5", service=EC2)
    explorer.bill(date(2026, 11, 9), "-100", service=EC2, record_type="Credit")
    turn = stage.once("2026-11-10T12:00:00Z")
    assert [(one["name"], one["ok"]) for one in sorted(turn["sources"], key=lambda one: one["name"])] == [
        ("aws", True),
        ("explorer", True),
    ]
    assert [(one["budget"], one["at"], one["to"]) for one in turn["transitions"]] == [("llama", "80%", "FIRING")]
    status = json.loads(stage.run("status", "--json", "--as-of", "2026-11-10T12:05:00Z").stdout)
    budgets = {row["name"]: row for row in status["budgets"]}
    assert (budgets["training"]["spend"], budgets["training"]["counted"]) == ("640", ["aws"])
    assert budgets["training"]["views"] == {"aws": "640", "explorer": "610.75"}
    assert (budgets["llama"]["spend"], budgets["llama"]["counted"]) == ("420.25", ["explorer"])
    net = budgets["after credits"]
    assert (net["spend"], net["gross"], net["net"], net["counted"]) == ("540", "640", "540", ["aws"])
    text = stage.run("status", "--as-of", "2026-11-10T12:05:00Z").stdout
    assert "by aws; of the same bill explorer says 610.75" in text
    assert "credits -100.00; before them 640.00" in text


def test_spend_of_two_views(stage: Stage, explorer: CostExplorer) -> None:
    stage.aws.publish_charge(datetime(2026, 11, 10, 6, tzinfo=UTC), "600")
    explorer.bill(date(2026, 11, 8), "420.25", service=EC2, tags={"training-run": "llama-ft"})
    explorer.bill(date(2026, 11, 9), "190.5", service=EC2)
    stage.once("2026-11-10T12:00:00Z")
    span = ("--since", "2026-11-01", "--until", "2026-12-01")
    by_source = json.loads(stage.run("spend", "--json", "--by", "source", *span).stdout)
    assert {row["key"]: (row["billed"], row.get("counted_instead")) for row in by_source["rows"]} == {
        "aws": ("600", "explorer"),
        "explorer": ("610.75", None),
    }
    by_run = json.loads(stage.run("spend", "--json", "--by", "run", *span).stdout)
    assert {row["key"]: row["billed"] for row in by_run["rows"]} == {"llama-ft": "420.25", "(untagged)": "190.5"}
    assert by_source["totals"] == by_run["totals"]
    assert [total["billed"] for total in by_run["totals"]] == ["610.75"]


def test_one_of_them_failing_ends_with_75_and_the_figure_stays(stage: Stage, explorer: CostExplorer) -> None:
    stage.aws.publish_charge(datetime(2026, 11, 10, 6, tzinfo=UTC), "600")
    explorer.bill(date(2026, 11, 8), "1010", service=EC2)
    stage.once("2026-11-10T12:00:00Z")
    explorer.every_time.append(lambda *_: Refusal("AccessDeniedException"))
    done = stage.run("once", "--json", "--as-of", "2026-11-10T18:00:00Z")
    assert done.returncode == 75
    assert "ce:GetCostAndUsage" in done.stdout
    assert "Traceback" not in done.stderr
    status = json.loads(stage.run("status", "--json", "--as-of", "2026-11-10T18:05:00Z").stdout)
    (training,) = (row for row in status["budgets"] if row["name"] == "training")
    assert (training["spend"], training["counted"]) == ("1010", ["explorer"])
    assert [alarm["state"] for alarm in training["alarms"]] == ["FIRING", "FIRING"]
