"""docs/permissions/aws-writer.md allows what keeping twins does, no less and no more: recorded from the calls made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alarms.clients import aws_budgets, aws_calls, aws_drill, aws_topics
from alarms.native import aws
from alarms.reconcile import carry_out, compare
from alarms.twins import BUDGET_TAG, Wanted
from tests.alarms.test_native_aws import ALARM, BUDGET, MAIL, TOPIC, WANTED, retag, threshold
from tests.contract.clouds import PREFIX, Cloud, aws_cloud

PAGE = (Path(__file__).parents[1] / "docs/permissions/aws-writer.md").read_text(encoding="utf-8")

# What AWS asks for, by service and operation: https://docs.aws.amazon.com/service-authorization/latest/reference/
MODIFYING = (
    *("update_budget", "delete_budget", "create_notification", "delete_notification"),
    *("create_subscriber", "update_subscriber", "delete_subscriber"),
)
BUDGETS: dict[str, set[str]] = {
    "describe_budgets": {"budgets:ViewBudget"},
    "describe_notifications_for_budget": {"budgets:ViewBudget"},
    "describe_subscribers_for_notification": {"budgets:ViewBudget"},
    "list_tags_for_resource": {"budgets:ListTagsForResource"},
    "create_budget": {"budgets:ModifyBudget", "budgets:TagResource"},
    "tag_resource": {"budgets:TagResource"},
    **{operation: {"budgets:ModifyBudget"} for operation in MODIFYING},
}
CLOUDWATCH = {
    "describe_alarms": {"cloudwatch:DescribeAlarms"},
    "describe_alarm_history": {"cloudwatch:DescribeAlarmHistory"},
    "list_tags_for_resource": {"cloudwatch:ListTagsForResource"},
    # With tags, as every new alarm is put.
    "put_metric_alarm": {"cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"},
    "delete_alarms": {"cloudwatch:DeleteAlarms"},
    "set_alarm_state": {"cloudwatch:SetAlarmState"},
    "tag_resource": {"cloudwatch:TagResource"},
}
SNS = {
    "get_topic_attributes": {"sns:GetTopicAttributes"},
    "list_subscriptions_by_topic": {"sns:ListSubscriptionsByTopic"},
}
NEEDED: dict[str, dict[str, set[str]]] = {
    "budgets": BUDGETS,
    "cloudwatch": CLOUDWATCH,
    "sns": SNS,
    "sts": {"get_caller_identity": set()},
}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with aws_cloud() as there:
        yield there


class Recorder:
    """Every call, by what it needs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.actions: set[str] = set()
        self.calls: set[tuple[str, str]] = set()
        real = aws_calls.call

        def call(client: Any, operation: str, **arguments: Any) -> Any:
            service = client.meta.service_model.service_name
            self.calls.add((service, operation))
            self.actions |= NEEDED[service][operation]
            return real(client, operation, **arguments)

        for module in (aws_calls, aws_budgets, aws_drill, aws):
            monkeypatch.setattr(module, "call", call)

    def taken(self) -> set[str]:
        taken, self.actions = self.actions, set()
        return taken


def statements() -> dict[str, Any]:
    policy = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    return {one["Sid"]: one for one in policy["Statement"]}


def shapes() -> list[Wanted]:
    """On the way from one to the next every operation on a notification and its people is needed."""
    topic, mail = threshold("actual", 80, "warning", "topic"), threshold("actual", 80, "warning", "mail")
    both = threshold("actual", 80, "warning", "topic", "mail")
    more = replace(WANTED.addresses["mail"], to=(MAIL, "x@example.com"))
    other = replace(WANTED.addresses["mail"], to=("y@example.com",))
    return [
        replace(WANTED, thresholds=(topic,)),
        replace(WANTED, thresholds=(both,)),
        replace(WANTED, thresholds=(mail,)),
        replace(WANTED, thresholds=(mail,), addresses={**WANTED.addresses, "mail": more}),
        replace(WANTED, thresholds=(mail,), addresses={**WANTED.addresses, "mail": other}),
        replace(WANTED, thresholds=(both, threshold("forecast", 100))),
        replace(WANTED, thresholds=(both,), amount=Decimal(2000)),
    ]


def test_each_statement_is_what_its_command_does(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.reset()
    recorder = Recorder(monkeypatch)
    native = cloud.make()
    looked, kept = set[str](), set[str]()
    for wanted in [*shapes(), None]:
        recorder.taken()
        twins = native.design(wanted, native.place()).twins if wanted else ()
        changes = compare(twins, native.owned())
        looked |= recorder.taken()
        assert not [one for one in carry_out(native, changes) if one.error]
        kept |= recorder.taken()
        for name in (ALARM, BUDGET) if wanted == shapes()[0] else ():
            retag(name, {BUDGET_TAG: "x"})
    assert sorted(looked) == statements()["LookAtTwins"]["Action"]
    assert sorted(kept - looked) == statements()["KeepTwins"]["Action"]
    carry_out(native, compare(native.design(WANTED, native.place()).twins, native.owned()))
    twins = native.owned().twins
    recorder.taken()
    native.drill(twins)
    assert sorted(recorder.taken() - looked) == statements()["DrillTwins"]["Action"]
    assert recorder.calls == {(service, one) for service, operations in NEEDED.items() for one in operations}


def test_what_is_written_is_held_to_the_prefix() -> None:
    for resource in statements()["KeepTwins"]["Resource"]:
        assert resource.endswith(f"{PREFIX}/*")


def test_the_policy_of_the_topic_lets_both_services_publish() -> None:
    statement = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[1].replace("MyTopic", "budgets"))
    text = json.dumps({"Statement": [statement]})
    for service in ("budgets.amazonaws.com", "cloudwatch.amazonaws.com"):
        assert aws_topics.lets_publish(text, service=service, source_arn="x", account="123456789012", topic=TOPIC)
