"""For each cloud with native alarms: the real SDK against a server on loopback, and what somebody else has there."""

from __future__ import annotations

import copy
import gc
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import boto3

from alarms.clients import aws_calls
from alarms.clients.aws import AwsSettings
from alarms.clients.azure import ScopedSettings
from alarms.clients.azure_budgets import Budgets
from alarms.clients.azure_names import name_of
from alarms.clients.gcp_settings import GcpTwinSettings
from alarms.clients.gcp_twins import budget_name
from alarms.errors import TemporaryError
from alarms.native import aws, gcp
from alarms.native.azure import AzureNative
from alarms.ports import Native
from alarms.twins import OWNER_TAG
from monitor.simulation import gcp_budgets
from monitor.simulation.aws import ACCOUNT, AwsAccount
from monitor.simulation.azure import SUBSCRIPTION, AzureCloud
from monitor.simulation.azure_usage import QueryError
from monitor.simulation.gcp import Call, GoogleCloud, RefusedError
from monitor.simulation.gcp_budgets import BudgetService
from monitor.simulation.gcp_topics import Topics

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
PREFIX = "cloud-budget-monitor"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:budgets"


@dataclass
class Cloud:
    """`make`: a native as it is made for a source. `reset`: empty the account. `others`: everything in it that is
    somebody else's, some of it with names that begin as ours. `failing_at(n)`: the n-th call that changes something
    does not get through; the result is whether there was one. `least_calls`: that a change takes. `take_over`: every
    twin becomes somebody else's, by its tag, its name, or (where neither can change) what it says. `everything`: there.
    """

    make: Callable[[], Native]
    reset: Callable[[], None]
    others: Callable[[], Any]
    plant_others: Callable[[], None]
    failing_at: Callable[[int], AbstractContextManager[Callable[[], bool]]]
    place: str
    take_over: Callable[[], None]
    everything: Callable[[], Any]
    least_calls: int = 2


def _aws_keys() -> dict[str, Any]:
    return {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}


@contextmanager
def aws_cloud() -> Iterator[Cloud]:
    with AwsAccount() as account:
        environment = {name: os.environ[name] for name in ("PATH",)} | account.environment
        with mock.patch.dict(os.environ, environment):
            for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "AWS_PROFILE"):
                os.environ.pop(name, None)
            yield Cloud(
                make=lambda: aws.create(AwsSettings(), prefix=PREFIX, now=lambda: NOW),
                reset=lambda: _aws_reset(account),
                others=lambda: _aws_others(account),
                plant_others=lambda: _aws_plant(account),
                failing_at=_aws_failing_at,
                place=ACCOUNT,
                take_over=lambda: _aws_take_over(account),
                everything=lambda: _aws_everything(account),
            )


def _aws_reset(account: AwsAccount) -> None:
    account.reset()
    account.create_topic("budgets")
    account.let_budgets_publish(TOPIC)


def _aws_plant(account: AwsAccount) -> None:
    cloudwatch = boto3.client("cloudwatch", endpoint_url=account.url, **_aws_keys())
    budgets = boto3.client("budgets", endpoint_url=account.url, **_aws_keys())
    for name in ("theirs", f"{PREFIX}/theirs/by-hand", f"{PREFIX}-2/training/actual-80pct-warning"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/Billing",
            MetricName="EstimatedCharges",
            Statistic="Maximum",
            Period=21600,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            Tags=[{"Key": "cloud-budget-monitor:owner", "Value": f"{PREFIX}-2"}],
        )
        budgets.create_budget(
            AccountId=ACCOUNT,
            Budget={
                "BudgetName": name,
                "BudgetType": "COST",
                "TimeUnit": "MONTHLY",
                "BudgetLimit": {"Amount": "1", "Unit": "USD"},
            },
        )


def _aws_everything(account: AwsAccount) -> Any:
    cloudwatch = boto3.client("cloudwatch", endpoint_url=account.url, **_aws_keys())
    budgets = boto3.client("budgets", endpoint_url=account.url, **_aws_keys())
    alarms = cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]
    return alarms, budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]


def _aws_take_over(account: AwsAccount) -> None:
    cloudwatch = boto3.client("cloudwatch", endpoint_url=account.url, **_aws_keys())
    budgets = boto3.client("budgets", endpoint_url=account.url, **_aws_keys())
    alarms, found = _aws_everything(account)
    for one in alarms:
        cloudwatch.untag_resource(ResourceARN=one["AlarmArn"], TagKeys=[OWNER_TAG])
    for one in found:
        arn = f"arn:aws:budgets::{ACCOUNT}:budget/{one['BudgetName']}"
        budgets.tag_resource(ResourceARN=arn, ResourceTags=[{"Key": OWNER_TAG, "Value": f"{PREFIX}-2"}])


def _aws_others(account: AwsAccount) -> Any:
    alarms, found = _aws_everything(account)
    return [one for one in alarms if "their" in one["AlarmName"] or f"{PREFIX}-2" in one["AlarmName"]], [
        one for one in found if "their" in one["BudgetName"] or f"{PREFIX}-2" in one["BudgetName"]
    ]


_CHANGING = ("put_", "create_", "update_", "delete_", "tag_", "set_")


@contextmanager
def _aws_failing_at(number: int) -> Iterator[Callable[[], bool]]:
    made = [0]
    real = aws_calls.call

    def call(client: Any, operation: str, **arguments: Any) -> Any:
        if operation.startswith(_CHANGING):
            made[0] += 1
            if made[0] == number:
                raise TemporaryError("the connection was lost")
        return real(client, operation, **arguments)

    with mock.patch("alarms.clients.aws_budgets.call", call):
        yield lambda: made[0] >= number


AZURE_SCOPE = f"/subscriptions/{SUBSCRIPTION}"
ACTION_GROUP = f"{AZURE_SCOPE}/resourceGroups/ops/providers/microsoft.insights/actionGroups/oncall"


@contextmanager
def azure_world() -> Iterator[AzureCloud]:
    """An Azure whose clock stands still, and an environment that logs in there."""
    with TemporaryDirectory() as directory, AzureCloud(Path(directory)) as azure:
        azure.budgets.now = lambda: NOW
        with mock.patch.dict(os.environ, azure.environment):
            for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
                os.environ.pop(name, None)
            yield azure
    gc.collect()


def azure_native(azure: AzureCloud, scope: Any = AZURE_SCOPE, **more: Any) -> AzureNative:
    return AzureNative(ScopedSettings(scope=scope, endpoint_url=azure.url, **more), PREFIX, lambda: NOW)


@contextmanager
def azure_cloud() -> Iterator[Cloud]:
    with azure_world() as azure:
        client = azure_native(azure)._budgets.client
        yield Cloud(
            make=lambda: _with_client(azure_native(azure), client),
            reset=azure.budgets.held.clear,
            others=lambda: _azure_others(azure),
            plant_others=lambda: _azure_plant(azure),
            failing_at=lambda number: _azure_failing_at(azure, number),
            place=AZURE_SCOPE.strip("/"),
            take_over=lambda: _azure_take_over(azure),
            everything=lambda: copy.deepcopy(azure.budgets.held),
        )


def _with_client(native: AzureNative, client: Any) -> AzureNative:
    """One login for all of them."""
    native.__dict__["_budgets"] = Budgets(client)
    return native


def _azure_plant(azure: AzureCloud) -> None:
    one = {"enabled": True, "operator": "GreaterThan", "threshold": 80, "contactEmails": ["x@example.com"]}
    body = {
        "category": "Cost",
        "amount": 1,
        "timeGrain": "Monthly",
        "timePeriod": {"startDate": "2026-11-01T00:00:00Z"},
        "notifications": {"a": one},
    }
    sent = json.dumps({"properties": body}).encode()
    theirs = name_of(f"{PREFIX}-2", "training")
    for scope in (AZURE_SCOPE, f"{AZURE_SCOPE}/resourceGroups/theirs"):
        for name in ("theirs", f"{PREFIX}__theirs", theirs):
            azure.budgets.answer("PUT", scope, name, sent)
    # That of a resource group is not one of its subscription.
    azure.budgets.answer("PUT", f"{AZURE_SCOPE}/resourceGroups/theirs", name_of(PREFIX, "training"), sent)


def _azure_take_over(azure: AzureCloud) -> None:
    for one in azure.budgets.held.values():
        one["properties"]["amount"] = 5.0


def _azure_others(azure: AzureCloud) -> Any:
    return {
        key: value for key, value in azure.budgets.held.items() if "theirs" in "".join(key) or f"{PREFIX}-2" in key[1]
    }


@contextmanager
def _azure_failing_at(azure: AzureCloud, number: int) -> Iterator[Callable[[], bool]]:
    """Odd: what is written does not arrive; even: it does, and the answer is lost."""
    made = [0]
    real = azure.budgets.answer

    def answer(method: str, scope: str, name: str, body: bytes) -> Any:
        if method == "GET":
            return real(method, scope, name, body)
        made[0] += 2
        if made[0] == number + 1:
            raise QueryError(503, "ServiceUnavailable", "")
        found = real(method, scope, name, body)
        if made[0] == number:
            raise QueryError(503, "ServiceUnavailable", "")
        return found

    with mock.patch.object(azure.budgets, "answer", answer):
        yield lambda: made[0] >= number


class GcpSettings(GcpTwinSettings):
    """As a source has them."""

    billing_account: str = gcp_budgets.ACCOUNT


GCP_TOPIC = "projects/bill-proj/topics/budgets"
GCP_CHANNELS = ["projects/bill-proj/notificationChannels/2", "projects/bill-proj/notificationChannels/10"]


@contextmanager
def gcp_cloud() -> Iterator[Cloud]:
    with GoogleCloud() as account, Topics(GCP_TOPIC) as topics, TemporaryDirectory() as directory:
        budgets = BudgetService(account)
        environment = {"PATH": os.environ["PATH"]} | account.environment(Path(directory)) | topics.environment
        with mock.patch.dict(os.environ, environment):
            for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
                os.environ.pop(name, None)
            yield Cloud(
                make=lambda: gcp.create(
                    GcpSettings(native_endpoint=account.url, native_topic=GCP_TOPIC, native_channels=GCP_CHANNELS),
                    prefix=PREFIX,
                    now=lambda: NOW,
                ),
                reset=budgets.clear,
                others=lambda: [one for one in budgets.budgets if "their" in json.dumps(one)],
                plant_others=lambda: _gcp_plant(budgets),
                failing_at=lambda number: _gcp_failing_at(account, number),
                place=gcp_budgets.ACCOUNT,
                take_over=lambda: _gcp_take_over(budgets),
                everything=lambda: budgets.budgets,
                least_calls=1,
            )


def _gcp_plant(budgets: BudgetService) -> None:
    theirs = {"amount": {"specifiedAmount": {"units": "1", "currencyCode": "USD"}}, "budgetFilter": {}}
    mark = budget_name(f"{PREFIX}-2", "their training")
    for name in ("theirs", f"{PREFIX}/theirs", f"{PREFIX}/theirs #0123abcd", f"{PREFIX}-2/theirs #0123abcd", mark):
        budgets.plant({**theirs, "displayName": name})


def _gcp_take_over(budgets: BudgetService) -> None:
    for one in budgets.budgets:
        budgets.spoil(
            one["displayName"], lambda budget: budget.update(displayName=f"mine: {budget['displayName']}"[:60])
        )


@contextmanager
def _gcp_failing_at(account: GoogleCloud, number: int) -> Iterator[Callable[[], bool]]:
    made = [0]

    def refuse(call: Call) -> RefusedError | None:
        made[0] += call.method != "GET"
        # Also when it is tried again.
        return RefusedError(503, "UNAVAILABLE") if call.method != "GET" and made[0] >= number else None

    account.always = refuse
    try:
        yield lambda: made[0] >= number
    finally:
        account.always = None


CLOUDS: dict[str, Callable[[], AbstractContextManager[Cloud]]] = {
    "aws": aws_cloud,
    "azure": azure_cloud,
    "gcp": gcp_cloud,
}
