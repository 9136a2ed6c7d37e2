"""docs/permissions/aws.md and its policy grant what is called, and what they grant is called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import botocore.client
import pytest

from alarms import registry as receivers
from alarms.notifiers import sns
from monitor import registry
from monitor.simulation.aws import ACCOUNT, AwsAccount
from monitor.simulation.cost_explorer import CostExplorer
from monitor.sources import aws_cloudwatch, aws_cost_explorer
from tests.fakes.messages import MESSAGE

DOCS = Path(__file__).parents[1] / "docs/permissions"
PAGE = (DOCS / "aws.md").read_text(encoding="utf-8")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/cloud-budget-monitor"
EVERYTHING = {"role_arn": ROLE}


@pytest.fixture
def called() -> Iterator[set[str]]:
    """`service:Operation` of every call that boto3 makes."""
    found: set[str] = set()
    make = botocore.client.BaseClient._make_api_call

    def recorded(self: Any, operation: str, parameters: Any) -> Any:
        found.add(f"{self.meta.service_model.service_name}:{operation}")
        return make(self, operation, parameters)

    with mock.patch.object(botocore.client.BaseClient, "_make_api_call", recorded):
        yield found


def granted() -> set[str]:
    policy = json.loads((DOCS / "aws-reader.json").read_text(encoding="utf-8"))
    actions: set[str] = set()
    for statement in policy["Statement"]:
        actions |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    return actions


def test_what_is_called_is_what_is_granted_and_what_is_explained(called: set[str]) -> None:
    now = datetime.now(UTC)
    yesterday = now - timedelta(days=1)
    with AwsAccount() as aws, CostExplorer(now.date()) as explorer:
        with mock.patch.dict("os.environ", aws.environment | explorer.environment):
            for service in (None, "AmazonEC2"):
                aws.publish_charge(yesterday, "5", service=service)
            explorer.bill(yesterday.date(), "5", tags={"job": "llama"})
            explorer.activated = {"job"}
            metrics = aws_cloudwatch.Settings(name="metrics", by=["service", "account"], **EVERYTHING)
            costs = aws_cost_explorer.Settings(name="costs", run_tag="job", **EVERYTHING)
            for settings in (metrics, costs):
                source = registry.create(settings)
                for window in source.windows(now, {}, None)[:2]:
                    source.fetch(window)
                assert source.probe()
            topic = aws.create_topic("budgets")
            receiver = sns.Settings(name="topic", type="sns", topic_arn=topic, **EVERYTHING)
            receivers.create(receiver, now=lambda: now, timezone=ZoneInfo("UTC")).send(MESSAGE)
        assert explorer.operations.keys() == {"GetCostAndUsage"}
    assert called == granted()
    explained = set(re.findall(r"^\| `(\w+:\w+)` \|", PAGE, re.MULTILINE))
    assert explained == granted()


def test_the_policy_of_the_page_is_the_file() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(block) == json.loads((DOCS / "aws-reader.json").read_text(encoding="utf-8"))
