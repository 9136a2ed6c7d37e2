"""Twins inside Azure, by the real commands and the real SDK with its login, against a simulated Azure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alarms.clients.azure_names import name_of
from monitor.simulation.azure import READ_BUDGETS, SUBSCRIPTION, WRITE_BUDGETS, AzureCloud, throttled
from monitor.simulation.mail import MailServer
from monitor.simulation.slack import SlackServer
from tests.contract.clouds import ACTION_GROUP
from tests.e2e.test_azure import Stage, stage_environment
from tests.e2e.test_native import flat

# Each starts real processes and clouds: together they take longer than a minute.
pytestmark = pytest.mark.slow

NAME = name_of("cloud-budget-monitor", "training")
CONFIG = """
[monitor]
[[sources]]
name = "azure"
type = "azure_cost"
scope = "/subscriptions/{subscription}"
endpoint_url = "{url}"
native_action_groups = ["{group}"]
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK_WEBHOOK"
allow_private = true
[[receivers]]
name = "mail"
type = "email"
host = "127.0.0.1"
port = {port}
tls = "none"
allow_private = true
sender = "monitor@example.com"
to = ["ml-leads@example.com"]
[[budgets]]
name = "training"
amount = "1000.50"
currency = "USD"
native = true
receivers = ["oncall", "mail"]
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with AzureCloud(tmp_path) as azure, SlackServer() as slack, MailServer() as mail:
        azure.budgets.add_group(ACTION_GROUP, "oncall@example.com")
        config = tmp_path / "config.toml"
        text = CONFIG.format(subscription=SUBSCRIPTION, url=azure.url, group=ACTION_GROUP, port=mail.port)
        config.write_text(text)
        config.chmod(0o600)
        yield Stage(config, azure, slack, stage_environment(azure, slack))


def plan(stage: Stage) -> tuple[int, Any]:
    done = stage.run("alarms", "plan", "--json")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def manage(stage: Stage) -> None:
    stage.config.write_text(stage.config.read_text() + "manage = true\n")


def test_plan_says_apply_does_and_then_there_is_nothing_to_do(stage: Stage) -> None:
    code, document = plan(stage)
    (account,) = document["accounts"]
    assert (code, account["place"]) == (2, f"subscriptions/{SUBSCRIPTION}")
    assert [(one["op"], one["kind"], one["name"]) for one in account["changes"]] == [("create", "budget", NAME)]
    assert {one["what"] for one in account["cannot"]} == {"refunds", "receiver oncall"}
    shown = stage.run("alarms", "plan").stdout
    assert f"  + budget {NAME}\n" in shown
    assert "+ amount: 1000.5\n" in shown
    assert max(len(line) for line in shown.splitlines() if "actiongroups" not in line.lower()) <= 80
    done = stage.run("alarms", "apply")
    assert (done.returncode, done.stderr) == (0, "")
    assert "IN_SYNC training" in flat(done.stdout)
    code, document = plan(stage)
    assert (code, document["pending"]) == (0, 0)
    assert stage.run("alarms", "apply").returncode == 0
    assert len(stage.azure.budgets.sent) == 1, "nothing is written twice"
    told = stage.azure.budgets.evaluate({NAME: (900, 1200)})
    assert {to for to, _ in told} == {"ml-leads@example.com", ACTION_GROUP.lower()}


def test_who_may_not_look_ends_with_77_and_who_may_not_write_with_75(stage: Stage) -> None:
    stage.azure.forbidden = {WRITE_BUDGETS}
    done = stage.run("alarms", "apply")
    assert done.returncode == 75
    assert "FAILED: Azure answered AuthorizationFailed (HTTP 403): give the identity" in flat(done.stdout)
    assert "MISSING training" in flat(done.stdout)
    stage.azure.forbidden = {READ_BUDGETS}
    done = stage.run("alarms", "plan")
    assert done.returncode == 77
    assert "no native backstop is known for training" in flat(done.stdout)
    stage.azure.forbidden = set()
    stage.azure.spoil = lambda operation: throttled(entity="600")
    assert stage.run("alarms", "plan").returncode == 75


def test_the_watch_tells_missing_drifted_and_unknown_and_mends_what_is_managed(stage: Stage) -> None:
    now = datetime.now(UTC)

    def state(more: str = "once") -> tuple[str, str]:
        assert stage.run(more).returncode in (0, 75)
        (row,) = json.loads(stage.run("status", "--json").stdout)["native"]
        return row["state"], row["detail"]

    stage.azure.bill(now.date(), "Storage", "1")
    assert state()[0] == "MISSING"
    assert stage.run("alarms", "apply").returncode == 0
    assert state() == ("IN_SYNC", "")
    (budget,) = stage.azure.budgets.held.values()
    budget["properties"]["amount"] = 9000.0
    assert state() == ("DRIFTED", f"budget {NAME}: amount differs")
    stage.azure.forbidden = {READ_BUDGETS}
    assert state()[0] == "UNKNOWN"
    stage.azure.forbidden = set()
    manage(stage)
    assert state() == ("IN_SYNC", "")
    (budget,) = stage.azure.budgets.held.values()
    assert budget["properties"]["amount"] == 1000.5
    stage.config.write_text(stage.config.read_text().replace('name = "training"', 'name = "renamed"'))
    assert state() == ("IN_SYNC", "")
    assert [name for _, name in stage.azure.budgets.held] == [name_of("cloud-budget-monitor", "renamed")]


def test_a_drill_says_what_azure_cannot_be_made_to_do(stage: Stage) -> None:
    stage.azure.bill(datetime.now(UTC).date(), "Storage", "1")
    assert stage.run("once").returncode == 0
    assert stage.run("alarms", "apply").returncode == 0
    done = stage.run("alarms", "drill")
    assert (done.returncode, done.stderr) == (0, "")
    shown = flat(done.stdout)
    assert f"ok budget {NAME}: it is there, with 2 notifications switched on" in shown
    assert "it calls 1" in shown
    assert "- e-mail of Azure: Azure sends it only when a notification fires: not tried" in shown
    stage.azure.budgets.groups.clear()
    assert stage.run("alarms", "drill").returncode == 69
