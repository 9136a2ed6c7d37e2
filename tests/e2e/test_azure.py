"""From an Azure bill to a message: the real process, the real SDK with its login, over HTTPS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.simulation.azure import SUBSCRIPTION, AzureCloud, refusal, throttled
from monitor.simulation.slack import SlackServer

CONFIG = """
[monitor]
[[sources]]
name = "azure"
type = "azure_cost"
scope = "/subscriptions/{subscription}"
endpoint_url = "{url}"
run_tag = "training-run"
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK_WEBHOOK"
allow_private = true
[[budgets]]
name = "llama"
amount = "1000"
currency = "USD"
scope = {{ run = "llama", service = "Virtual Machines" }}
"""


@dataclass
class Stage:
    config: Path
    azure: AzureCloud
    slack: SlackServer
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monitor", "--config", str(self.config), *arguments]
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=60, check=False)

    def json(self, *arguments: str, code: int = 0) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == code, done.stderr[-3000:]
        return json.loads(done.stdout)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with AzureCloud(tmp_path) as azure, SlackServer() as slack:
        config = tmp_path / "config.toml"
        config.write_text(CONFIG.format(subscription=SUBSCRIPTION, url=azure.url))
        config.chmod(0o600)
        yield Stage(config, azure, slack, stage_environment(azure, slack))


def stage_environment(azure: AzureCloud, slack: SlackServer) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "MONITOR_", "REQUESTS_"))
    }
    repository = {"PYTHONPATH": str(Path(__file__).parents[2]), "SLACK_WEBHOOK": slack.url, "MONITOR_DEBUG": "1"}
    return {**inherited, **azure.environment, **repository}


def bill(azure: AzureCloud) -> None:
    for day in range(1, 21):
        azure.bill(date(2026, 11, day), "Virtual Machines", "45.000000001", tags={"training-run": "llama"})
        azure.bill(date(2026, 11, day), "Storage", "0.07")
    azure.bill(date(2026, 11, 20), "Virtual Machines", "-3", charge_type="Refund")


def test_a_run_that_passes_its_budget_is_told_and_its_figures_are_exact(stage: Stage) -> None:
    bill(stage.azure)
    report = stage.json("once", "--as-of", "2026-11-21T06:00:00Z")
    (source,) = report["sources"]
    assert source == {"name": "azure", "ok": True, "charges": 41, "rejected": 0, "missing": [], "error": None}
    assert [(one["at"], one["to"]) for one in report["transitions"]] == [("80%", "FIRING")]
    assert "900.00" in json.dumps(stage.slack.messages[0])
    status = stage.json("status", "--as-of", "2026-11-21T06:01:00Z", code=1)
    assert status["budgets"][0]["billed"] == "900.00000002"
    assert (status["sources"][0]["freshness"], status["sources"][0]["data_as_of"]) == ("FRESH", "2026-11-20T00:00:00Z")
    services = stage.json("spend", "--by", "service", "--since", "2026-11-01", "--until", "2026-12-01")
    assert {row["key"]: row["billed"] for row in services["rows"]} == {
        "Virtual Machines": "900.00000002",
        "Storage": "1.4",
    }
    assert sum(Decimal(row["credits"]) for row in services["rows"]) == -3
    # Rated anew, and one day more.
    stage.azure.bill(date(2026, 11, 3), "Virtual Machines", "30", tags={"training-run": "llama"})
    stage.azure.bill(date(2026, 11, 21), "Virtual Machines", "80", tags={"training-run": "llama"})
    again = stage.json("once", "--as-of", "2026-11-22T06:00:00Z")
    assert [(one["at"], one["to"]) for one in again["transitions"]] == [("100%", "FIRING")]


def test_a_budget_by_invoice_goes_from_the_16th_to_the_15th(stage: Stage) -> None:
    text = stage.config.read_text().replace('run_tag = "training-run"', "billing_period_starts = 16")
    text = text.replace('scope = { run = "llama", service = "Virtual Machines" }', 'calendar = "billing"')
    stage.config.write_text(text)
    for month, day in ((10, 15), (10, 16), (11, 1), (11, 15), (11, 16)):
        stage.azure.bill(date(2026, month, day), "Storage", f"{month}.{day:02}")
    stage.json("once", "--as-of", "2026-11-15T23:00:00Z")
    (before,) = stage.json("status", "--as-of", "2026-11-15T23:01:00Z")["budgets"]
    stage.json("once", "--as-of", "2026-11-17T06:00:00Z")
    (after,) = stage.json("status", "--as-of", "2026-11-17T06:01:00Z")["budgets"]
    assert (before["period"]["start"], before["billed"]) == ("2026-10-16T00:00:00Z", "32.32")
    assert (after["period"]["start"], after["billed"]) == ("2026-11-16T00:00:00Z", "11.16")


def test_a_throttled_read_is_one_sentence_and_lowers_nothing(stage: Stage) -> None:
    bill(stage.azure)
    stage.json("once", "--as-of", "2026-11-21T06:00:00Z")
    stage.azure.script.append(throttled(qpu="60", tenant="3600"))
    done = stage.run("once", "--json", "--as-of", "2026-11-21T10:00:00Z")
    assert done.returncode == 75
    (source,) = json.loads(done.stdout)["sources"]
    assert "the limit of query units and the tenant); it asks to wait 3600 s" in source["error"]
    status = stage.json("status", "--as-of", "2026-11-21T10:01:00Z", code=1)
    assert status["budgets"][0]["billed"] == "900.00000002"


def test_check_config_tries_it_and_says_what_mends_it(stage: Stage) -> None:
    good = stage.run("check-config", "--live")
    assert (good.returncode, f"costs of /subscriptions/{SUBSCRIPTION} in USD: none since" in good.stdout) == (0, True)
    stage.azure.denied.add(f"/subscriptions/{SUBSCRIPTION}")
    denied = stage.run("check-config", "--live")
    assert denied.returncode == 78
    assert 'give the identity the role "Cost Management Reader"' in denied.stdout + denied.stderr
    stage.environment["AZURE_CLIENT_SECRET"] = "canary-in-the-secret"
    refused = stage.run("check-config", "--live")
    said = refused.stdout + refused.stderr
    assert "AADSTS7000215: AZURE_CLIENT_SECRET is not a secret of this application" in said
    assert "canary-in-the-secret" not in said
    assert "Traceback" not in said
    stage.config.write_text(stage.config.read_text().replace("/subscriptions/0", "/subscription/0"))
    wrong = stage.run("check-config")
    assert wrong.returncode == 78
    assert (
        'config.toml:6: sources[0].scope: expected a scope of Azure: "/subscriptions/ID"' in wrong.stdout + wrong.stderr
    )


def test_neither_the_secret_nor_the_token_is_anywhere_in_what_is_left(stage: Stage) -> None:
    secret, token = "canary-of-the-secret", "canary-of-the-token"
    stage.azure.secret = stage.environment["AZURE_CLIENT_SECRET"] = secret
    stage.azure.token = token
    bill(stage.azure)
    said = ""
    for hour, reply in enumerate((None, refusal(403, "Denied", f"{secret} {token}"), refusal(400, secret, token))):
        stage.azure.script.append(reply)
        done = stage.run("once", "--as-of", f"2026-11-21T0{hour}:00:00Z")
        said += done.stdout + done.stderr
    assert "Cost Management Reader" in said
    left = b"".join(file.read_bytes() for file in stage.config.parent.rglob("*") if file.is_file())
    for canary in (secret, token):
        assert canary not in said
        assert canary.encode() not in left
