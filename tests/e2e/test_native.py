"""Twins inside the clouds, by the real commands and the real SDK against a simulated account."""

from __future__ import annotations

import json

import boto3
import pytest

from tests.e2e.conftest import Stage

NATIVE = "native = true\n"
PREFIX = "cloud-budget-monitor/training"


@pytest.fixture
def native(stage: Stage) -> Stage:
    stage.aws.let_budgets_publish(stage.topic)
    stage.write_config(more=NATIVE)
    return stage


def plan(stage: Stage) -> tuple[int, dict]:
    done = stage.run("alarms", "plan", "--json")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def cloudwatch(stage: Stage):
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client("cloudwatch", endpoint_url=stage.aws.url, region_name="us-east-1", **keys)


def test_plan_says_apply_does_and_then_there_is_nothing_to_do(native: Stage) -> None:
    code, document = plan(native)
    assert code == 2
    assert [(one["op"], one["kind"], one["name"]) for one in document["accounts"][0]["changes"]] == [
        ("create", "alarm", f"{PREFIX}/actual-100pct-critical"),
        ("create", "alarm", f"{PREFIX}/actual-80pct-warning"),
        ("create", "budget", PREFIX),
    ]
    shown = native.run("alarms", "plan")
    assert "  + alarm cloud-budget-monitor/training/actual-80pct-warning\n" in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    done = native.run("alarms", "apply")
    assert (done.returncode, done.stderr) == (0, "")
    assert "IN_SYNC training" in done.stdout
    code, document = plan(native)
    assert (code, document["pending"]) == (0, 0)
    (alarm, _) = cloudwatch(native).describe_alarms(AlarmNamePrefix=f"{PREFIX}/")["MetricAlarms"]
    assert (alarm["Threshold"], alarm["StateValue"], alarm["AlarmActions"]) == (
        1000.0,
        "INSUFFICIENT_DATA",
        [native.topic],
    )
