"""Twins in AWS: what is expressed how, and drift of every field of every one of them, found and mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from moto.cloudwatch.models import cloudwatch_backends
from moto.sns.models import sns_backends

from alarms.clients import aws_twins as forms
from alarms.clients.aws import AwsSettings
from alarms.clients.aws_drill import Drill
from alarms.clients.aws_services import budget_names, metric_name
from alarms.clients.aws_topics import lets_publish
from alarms.errors import AccessError, PermanentError
from alarms.model import Limit, Period, Severity, Threshold
from alarms.native.aws import AwsNative
from alarms.reconcile import Op, carry_out, compare
from alarms.twins import BUDGET_TAG, OWNER_TAG, Address, Cannot, Twin, Wanted
from monitor.simulation import moto_budgets
from monitor.simulation.aws import ACCOUNT, REGION, AwsAccount
from tests.contract.clouds import NOW, PREFIX, TOPIC

ALARM = f"{PREFIX}/training/actual-80pct-warning"
BUDGET = f"{PREFIX}/training"
MAIL = "ml-leads@example.com"


def threshold(on: str = "actual", percent: int = 80, severity: str = "warning", *to: str) -> Threshold:
    return Threshold(on, Limit(f"{percent}%", percent=Decimal(percent)), Severity(severity), to or ("topic", "mail"))


WANTED = Wanted(
    budget="training",
    amount=Decimal(1000),
    currency="USD",
    period="month",
    thresholds=(threshold(), threshold("forecast", 100)),
    addresses={"topic": Address("topic", "sns", (TOPIC,)), "mail": Address("mail", "email", (MAIL,))},
    services=("AmazonEC2",),
    accounts=("1" * 12,),
)


@pytest.fixture(scope="module")
def account() -> Iterator[AwsAccount]:
    with AwsAccount() as there, pytest.MonkeyPatch.context() as patch:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        for name, value in there.environment.items():
            patch.setenv(name, value)
        yield there


@pytest.fixture
def aws(account: AwsAccount) -> AwsNative:
    account.reset()
    account.create_topic("budgets")
    account.let_budgets_publish(TOPIC)
    return AwsNative(AwsSettings(), PREFIX, lambda: NOW)


@pytest.fixture
def applied(aws: AwsNative) -> AwsNative:
    apply(aws)
    return aws


def apply(aws: AwsNative, wanted: Wanted = WANTED) -> None:
    outcomes = carry_out(aws, compare(aws.design(wanted, ACCOUNT).twins, aws.owned()))
    assert [str(outcome.error) for outcome in outcomes if outcome.error] == []


def drift(aws: AwsNative) -> dict[str, list[str]]:
    """By the name of the twin the fields that differ."""
    changes = compare(aws.design(WANTED, ACCOUNT).twins, aws.owned())
    return {change.twin.name: [one.field for one in change.differences] for change in changes}


def twin(wanted: Wanted, kind: str) -> Twin:
    (found,) = (one for one in native().design(wanted, ACCOUNT).twins if one.kind == kind)
    return found


def native() -> AwsNative:
    return AwsNative(AwsSettings(), PREFIX, lambda: NOW)


def cannot(wanted: Wanted) -> list[Cannot]:
    return list(native().design(wanted, ACCOUNT).cannot)


def said(wanted: Wanted, what: str) -> str:
    return " | ".join(one.reason for one in cannot(wanted) if one.what == what)


# --- What is expressed how ------------------------------------------------------------------------------------------


def test_an_alarm_of_cloudwatch() -> None:
    alarm = twin(WANTED, "alarm")
    assert alarm.name == ALARM
    assert alarm.fields == {
        "AlarmDescription": (
            "Budget training of 1000 USD: this month's spend has reached 80% (warning). Kept by cloud-budget-monitor."
        ),
        "Namespace": "AWS/Billing",
        "MetricName": "EstimatedCharges",
        "Dimensions": ("Currency=USD", "LinkedAccount=111111111111", "ServiceName=AmazonEC2"),
        "Statistic": "Maximum",
        "Period": "21600",
        "EvaluationPeriods": "1",
        "DatapointsToAlarm": "1",
        "Threshold": "800",
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "ActionsEnabled": "true",
        "AlarmActions": (TOPIC,),
        f"tag {BUDGET_TAG}": "training",
    }


def test_a_budget_of_aws() -> None:
    fields = twin(WANTED, "budget").fields
    assert fields["filter Service"] == ("Amazon Elastic Compute Cloud - Compute", "EC2 - Other")
    assert fields["filter LinkedAccount"] == ("1" * 12,)
    assert fields["notification ACTUAL GREATER_THAN 80 PERCENTAGE"] == (f"EMAIL {MAIL}", f"SNS {TOPIC}")
    assert fields["notification FORECASTED GREATER_THAN 100 PERCENTAGE"] == (f"EMAIL {MAIL}", f"SNS {TOPIC}")
    assert (fields["IncludeCredit"], fields["IncludeRefund"], fields["IncludeTax"]) == ("false", "false", "true")
    net = twin(replace(WANTED, net=True, effective=True), "budget").fields
    assert (net["IncludeCredit"], net["UseAmortized"], net["UseBlended"]) == ("true", "true", "false")


@pytest.mark.parametrize(
    ("period", "unit"), [("day", "DAILY"), ("month", "MONTHLY"), ("quarter", "QUARTERLY"), ("year", "ANNUALLY")]
)
def test_periods_of_a_budget(period: str, unit: str) -> None:
    assert twin(replace(WANTED, period=period), "budget").fields["TimeUnit"] == unit


def test_fixed_dates(aws: AwsNative) -> None:
    dates = Period(datetime(2026, 11, 3, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC))
    wanted = replace(WANTED, period=dates)
    fields = twin(wanted, "budget").fields
    assert (fields["TimeUnit"], fields["Start"], fields["End"]) == ("CUSTOM", "2026-11-03", "2027-02-01")
    apply(aws, wanted)
    assert compare(aws.design(wanted, ACCOUNT).twins, aws.owned()) == ()


MONTH_TO_DATE = "EstimatedCharges is the month to date"
NOT_EXPRESSED = [
    ({"period": "week"}, "CloudWatch alarm", MONTH_TO_DATE),
    ({"period": "week"}, "AWS budget", "no week"),
    ({"period": "run"}, "AWS budget", "no run"),
    ({"period": "year"}, "CloudWatch alarm", MONTH_TO_DATE),
    ({"period": "day"}, "AWS budget", "it gives no forecast for a day"),
    ({"net": True}, "CloudWatch alarm", "before credits"),
    ({"effective": True}, "CloudWatch alarm", "counts otherwise"),
    ({"regions": ("us-east-1",)}, "CloudWatch alarm", "not by region, run or tag"),
    ({"tags": (("a", "b"),)}, "CloudWatch alarm", "not by region, run or tag"),
    ({"tags": (("a", "b"), ("c", "d"))}, "AWS budget", "wants all of them"),
    ({"first_day": 16}, "CloudWatch alarm", "months of UTC, from the 1st"),
    ({"zone": "America/Los_Angeles"}, "AWS budget", "months of UTC, from the 1st"),
    ({"runs": ("r",)}, "AWS budget", "cannot tell a run's spend"),
    ({"accounts": ("1" * 12, "2" * 12)}, "CloudWatch alarm", "several accounts"),
    ({"services": ("AmazonEC2", "AmazonS3")}, "CloudWatch alarm", "not one of CloudWatch's"),
    ({"services": ("AmazonUnheardOf",)}, "AWS budget", "the other name is not known"),
    ({"thresholds": (threshold("burn_rate"),)}, "CloudWatch alarm", "knows nothing of burn_rate"),
    ({"thresholds": (threshold("burn_rate"),)}, "AWS budget", "nothing of burn_rate"),
    ({"thresholds": (threshold("plan"),)}, "AWS budget", "nothing of plan"),
    ({"thresholds": (threshold("at_completion"),)}, "AWS budget", "nothing of at_completion"),
    ({"thresholds": tuple(threshold(percent=n) for n in range(10, 70, 10))}, "AWS budget", "at most 5 notifications"),
    ({"thresholds": (threshold("actual", 80, "warning", "mail"),)}, "CloudWatch alarm", "would call nobody"),
    ({"thresholds": (threshold("actual", 80, "warning", "chat"),)}, "AWS budget", "none of its receivers"),
    ({"elsewhere": ("gcp",)}, "other sources", "what gcp bills does not count inside AWS"),
    ({"addresses": {**WANTED.addresses, "chat": Address("chat", "slack")}}, "receiver chat", "type slack"),
]


@pytest.mark.parametrize(("change", "what", "words"), NOT_EXPRESSED)
def test_what_aws_cannot_express_is_said(change: dict[str, Any], what: str, words: str) -> None:
    assert words in said(replace(WANTED, **change), what)


def test_of_too_many_notifications_the_critical_ones_stay() -> None:
    many = (*(threshold(percent=n) for n in range(10, 70, 10)), threshold("actual", 100, "critical"))
    budget = twin(replace(WANTED, thresholds=many), "budget")
    assert sorted(forms.notifications_in(budget)) == sorted(
        f"ACTUAL GREATER_THAN {n} PERCENTAGE" for n in (100, 10, 20, 30, 40)
    )
    assert {one.threshold for one in cannot(replace(WANTED, thresholds=many))} == {"actual 50%", "actual 60%"}


def test_two_severities_at_one_limit_are_one_notification_for_all_their_receivers() -> None:
    both = (threshold("actual", 80, "warning", "mail"), threshold("actual", 80, "critical", "topic"))
    budget = twin(replace(WANTED, thresholds=both), "budget")
    assert forms.notifications_in(budget) == {"ACTUAL GREATER_THAN 80 PERCENTAGE": (f"EMAIL {MAIL}", f"SNS {TOPIC}")}


def test_one_topic_and_ten_addresses(aws: AwsNative) -> None:
    addresses = {
        "topic": Address("topic", "sns", (TOPIC, f"{TOPIC}-2")),
        "mail": Address("mail", "email", tuple(f"p{number:02}@example.com" for number in range(12))),
    }
    wanted = replace(WANTED, addresses=addresses, thresholds=(threshold(),))
    ((people),) = forms.notifications_in(twin(wanted, "budget")).values()
    assert len(people) == 11
    reasons = said(wanted, "AWS budget")
    assert f"SNS {TOPIC}-2" in reasons
    assert "EMAIL p11@example.com" in reasons
    assert twin(wanted, "alarm").fields["AlarmActions"] == (TOPIC, f"{TOPIC}-2")
    apply(aws, wanted)


def test_topics_elsewhere_call_nobody() -> None:
    def with_topic(arn: str) -> Wanted:
        return replace(WANTED, addresses={"topic": Address("topic", "sns", (arn,))}, thresholds=(threshold(),))

    far = with_topic(TOPIC.replace("us-east-1", "eu-west-1"))
    assert "SNS topic in us-east-1" in said(far, "CloudWatch alarm")
    assert twin(far, "budget")
    theirs = with_topic(TOPIC.replace(ACCOUNT, "9" * 12))
    assert "topic of account 123456789012" in said(theirs, "AWS budget")
    assert twin(theirs, "alarm")
    assert native().design(with_topic(f"{TOPIC}.fifo"), ACCOUNT).twins == ()


@pytest.mark.parametrize(
    ("services", "metric", "budgets"),
    [
        (["AmazonEC2"], "AmazonEC2", ("Amazon Elastic Compute Cloud - Compute", "EC2 - Other")),
        (
            ["EC2 - Other", "Amazon Elastic Compute Cloud - Compute"],
            "AmazonEC2",
            ("EC2 - Other", "Amazon Elastic Compute Cloud - Compute"),
        ),
        (["Amazon Elastic Compute Cloud - Compute"], None, ("Amazon Elastic Compute Cloud - Compute",)),
        (["AmazonCloudWatch"], "AmazonCloudWatch", ("AmazonCloudWatch",)),
        (["Amazon Simple Storage Service"], "AmazonS3", ("Amazon Simple Storage Service",)),
        (["AmazonUnheardOf"], "AmazonUnheardOf", None),
        (["Amazon Unheard Of"], None, ("Amazon Unheard Of",)),
    ],
)
def test_names_of_services(services: list[str], metric: str | None, budgets: tuple[str, ...] | None) -> None:
    assert metric_name(services) == metric
    assert budget_names(services) == budgets


def test_a_source_that_reads_estimated_charges_says_where_they_are() -> None:
    class Reader(AwsSettings):
        type: str = "aws_cloudwatch"

    assert AwsNative(Reader(region="cn-north-1"), PREFIX, lambda: NOW).region == "cn-north-1"
    assert AwsNative(AwsSettings(region="eu-west-1"), PREFIX, lambda: NOW).region == "us-east-1"
    assert AwsNative(AwsSettings(region="cn-north-1"), PREFIX, lambda: NOW).region == "cn-northwest-1"


# --- Drift: each field of each twin, one by one ---------------------------------------------------------------------

ALARM_DRIFT: dict[str, dict[str, Any]] = {
    "AlarmDescription": {"AlarmDescription": "something else"},
    "Namespace": {"Namespace": "AWS/Other"},
    "MetricName": {"MetricName": "Other"},
    "Statistic": {"Statistic": "Average"},
    "Unit": {"Unit": "Bytes"},
    "Dimensions": {"Dimensions": [{"Name": "Currency", "Value": "EUR"}]},
    "Period": {"Period": 3600},
    "EvaluationPeriods": {"EvaluationPeriods": 2},
    "DatapointsToAlarm": {"EvaluationPeriods": 1, "DatapointsToAlarm": None},
    "Threshold": {"Threshold": 8000},
    "ComparisonOperator": {"ComparisonOperator": "LessThanThreshold"},
    "TreatMissingData": {"TreatMissingData": "notBreaching"},
    "ActionsEnabled": {"ActionsEnabled": False},
    "AlarmActions": {"AlarmActions": []},
    "OKActions": {"OKActions": [TOPIC]},
    "InsufficientDataActions": {"InsufficientDataActions": [TOPIC]},
}
# What PutMetricAlarm cannot be brought to in moto: changed in its memory instead.
ALARM_DRIFT_INSIDE: dict[str, Any] = {
    "ExtendedStatistic": ("extended_statistic", "p90"),
    "EvaluateLowSampleCountPercentile": ("evaluate_low_sample_count_percentile", "ignore"),
    "ThresholdMetricId": ("threshold_metric_id", "m1"),
}
# moto does not tell of these at all; that they are compared is shown below.
ALARM_DRIFT_UNSEEN = {
    "Metrics": [{"Id": "m1", "Expression": "1"}],
    "EvaluationWindow": {"WallClockWindow": {}, "x": 1},
    "WarmUpConfiguration": {"WarmUpPeriodDurationInMinutes": 60},
    "EvaluationCriteria": {"PromQLCriteria": {"Query": "x"}},
    "ActionConfiguration": {"x": 1},
    "EvaluationInterval": 60,
}


def put_by_hand(**changes: Any) -> None:
    cloudwatch = boto3.client("cloudwatch")
    alarm = twin(WANTED, "alarm")
    arguments = {**forms.alarm_arguments(alarm), **changes}
    cloudwatch.put_metric_alarm(**{name: value for name, value in arguments.items() if value is not None})


@pytest.mark.parametrize("field", ALARM_DRIFT)
def test_a_field_of_an_alarm_that_was_changed_is_found_and_mended(applied: AwsNative, field: str) -> None:
    put_by_hand(**ALARM_DRIFT[field])
    assert drift(applied) == {ALARM: [field]}
    apply(applied)
    assert drift(applied) == {}


@pytest.mark.parametrize("field", ALARM_DRIFT_INSIDE)
def test_a_field_that_only_others_set_is_found_and_mended(applied: AwsNative, field: str) -> None:
    name, value = ALARM_DRIFT_INSIDE[field]
    setattr(cloudwatch_backends[ACCOUNT][REGION].alarms[ALARM], name, value)
    assert drift(applied) == {ALARM: [field]}
    apply(applied)
    assert drift(applied) == {}


def test_no_field_of_an_alarm_is_left_out() -> None:
    told = {"AlarmName": ALARM, "Dimensions": [{"Name": "a", "Value": "b"}], "ActionsEnabled": True}
    told |= {name: "x" for name in (*ALARM_DRIFT, *ALARM_DRIFT_INSIDE) if name not in told}
    told |= {"Period": 1, "EvaluationPeriods": 1, "DatapointsToAlarm": 1, "Threshold": 1.0, **ALARM_DRIFT_UNSEEN}
    told |= {name: ["x"] for name in ("AlarmActions", "OKActions", "InsufficientDataActions")}
    seen = set(forms.alarm_twin(told, {}).fields) - {forms.TAG}
    assert seen == {*ALARM_DRIFT, *ALARM_DRIFT_INSIDE, *ALARM_DRIFT_UNSEEN}
    known = boto3.client("cloudwatch", region_name=REGION).meta.service_model.shape_for("MetricAlarm").members
    not_configuration = {
        *("AlarmName", "AlarmArn", "AlarmConfigurationUpdatedTimestamp", "StateValue", "StateReason"),
        *("StateReasonData", "StateUpdatedTimestamp", "EvaluationState", "StateTransitionedTimestamp"),
    }
    assert set(known) - not_configuration - seen == set(), "a newer botocore knows more fields of an alarm"


def test_the_default_window_is_no_drift() -> None:
    told = {"AlarmName": ALARM, "EvaluationWindow": {"SlidingWindow": {}}}
    assert "EvaluationWindow" not in forms.alarm_twin(told, {}).fields


BUDGET_DRIFT: dict[str, dict[str, Any]] = {
    "TimeUnit": {"TimeUnit": "QUARTERLY"},
    "BudgetLimit": {"BudgetLimit": {"Amount": "1000.01", "Unit": "USD"}},
    "Start": {"TimePeriod": {"Start": NOW + timedelta(days=40), "End": datetime(2087, 6, 15, tzinfo=UTC)}},
    "End": {"TimePeriod": {"Start": NOW, "End": NOW.replace(hour=0) + timedelta(days=40)}},
    "filter Service": {"CostFilters": {"LinkedAccount": ["1" * 12], "Service": ["EC2 - Other"]}},
    "filter LinkedAccount": {"CostFilters": {"Service": ["EC2 - Other", "Amazon Elastic Compute Cloud - Compute"]}},
    "filter Region": {
        "CostFilters": {
            "Service": ["EC2 - Other", "Amazon Elastic Compute Cloud - Compute"],
            "LinkedAccount": ["1" * 12],
            "Region": ["eu-west-1"],
        }
    },
}
# What turns a budget into something else: it is made anew.
REMADE: dict[str, Any] = {
    "BudgetType": "USAGE",
    "AutoAdjustData": {"AutoAdjustType": "HISTORICAL"},
    "PlannedBudgetLimits": {"1764547200": {"Amount": "1", "Unit": "USD"}},
    "BillingViewArn": f"arn:aws:billing::{ACCOUNT}:billingview/custom-1",
}


def by_hand(**changes: Any) -> None:
    budget = forms.budget_argument(twin(WANTED, "budget"), NOW)
    boto3.client("budgets").update_budget(AccountId=ACCOUNT, NewBudget={**budget, **changes})


@pytest.mark.parametrize("field", BUDGET_DRIFT)
def test_a_field_of_a_budget_that_was_changed_is_found_and_mended(applied: AwsNative, field: str) -> None:
    by_hand(**BUDGET_DRIFT[field])
    assert drift(applied) == {BUDGET: [field]}
    apply(applied)
    assert drift(applied) == {}


@pytest.mark.parametrize("field", forms.COST_TYPES)
def test_what_a_budget_counts_is_found_and_mended(applied: AwsNative, field: str) -> None:
    counted = forms.budget_argument(twin(WANTED, "budget"), NOW)["CostTypes"]
    by_hand(CostTypes={**counted, field: not counted[field]})
    assert drift(applied) == {BUDGET: [field]}
    apply(applied)
    assert drift(applied) == {}


@pytest.mark.parametrize("field", REMADE)
def test_a_budget_that_became_another_is_made_anew(applied: AwsNative, field: str) -> None:
    held = moto_budgets.budgets_of(ACCOUNT)[BUDGET]
    held.budget[field] = REMADE[field]
    assert drift(applied) == {BUDGET: [field]}
    apply(applied)
    assert drift(applied) == {}
    assert moto_budgets.budgets_of(ACCOUNT)[BUDGET] is not held


def test_a_budget_that_was_remade_with_a_filter_expression_is_made_anew(applied: AwsNative) -> None:
    held = moto_budgets.budgets_of(ACCOUNT)[BUDGET].budget
    del held["CostTypes"], held["CostFilters"]
    held |= {"FilterExpression": {"Dimensions": {"Key": "REGION", "Values": ["x"]}}, "Metrics": ["UnblendedCost"]}
    (fields,) = drift(applied).values()
    assert {"FilterExpression", "Metrics", "filter Service", "IncludeTax"} <= set(fields)
    apply(applied)
    assert drift(applied) == {}


ACTUAL = {
    "NotificationType": "ACTUAL",
    "ComparisonOperator": "GREATER_THAN",
    "Threshold": 80.0,
    "ThresholdType": "PERCENTAGE",
}
NAMED = {"AccountId": ACCOUNT, "BudgetName": BUDGET}
ON_ACTUAL = "notification ACTUAL GREATER_THAN 80 PERCENTAGE"


def subscriber(kind: str, address: str) -> dict[str, str]:
    return {"SubscriptionType": kind, "Address": address}


def changed_notification(**changes: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("update_notification", {"OldNotification": ACTUAL, "NewNotification": {**ACTUAL, **changes}})]


NOTIFICATION_DRIFT: dict[str, tuple[list[tuple[str, dict[str, Any]]], set[str]]] = {
    "deleted": ([("delete_notification", {"Notification": ACTUAL})], {ON_ACTUAL}),
    "threshold": (changed_notification(Threshold=99.0), {ON_ACTUAL, "notification ACTUAL GREATER_THAN 99 PERCENTAGE"}),
    "type": (
        changed_notification(NotificationType="FORECASTED"),
        {ON_ACTUAL, "notification FORECASTED GREATER_THAN 80 PERCENTAGE"},
    ),
    "operator": (
        changed_notification(ComparisonOperator="LESS_THAN"),
        {ON_ACTUAL, "notification ACTUAL LESS_THAN 80 PERCENTAGE"},
    ),
    "unit": (
        changed_notification(ThresholdType="ABSOLUTE_VALUE"),
        {ON_ACTUAL, "notification ACTUAL GREATER_THAN 80 ABSOLUTE_VALUE"},
    ),
    "one more": (
        [
            (
                "create_notification",
                {"Notification": {**ACTUAL, "Threshold": 5.0}, "Subscribers": [subscriber("EMAIL", "x@example.com")]},
            )
        ],
        {"notification ACTUAL GREATER_THAN 5 PERCENTAGE"},
    ),
    "topic taken away": (
        [("delete_subscriber", {"Notification": ACTUAL, "Subscriber": subscriber("SNS", TOPIC)})],
        {ON_ACTUAL},
    ),
    "another topic": (
        [
            (
                "update_subscriber",
                {
                    "Notification": ACTUAL,
                    "OldSubscriber": subscriber("SNS", TOPIC),
                    "NewSubscriber": subscriber("SNS", f"{TOPIC}-2"),
                },
            )
        ],
        {ON_ACTUAL},
    ),
    "mail taken away": (
        [("delete_subscriber", {"Notification": ACTUAL, "Subscriber": subscriber("EMAIL", MAIL)})],
        {ON_ACTUAL},
    ),
    "one more mail": (
        [("create_subscriber", {"Notification": ACTUAL, "Subscriber": subscriber("EMAIL", "x@example.com")})],
        {ON_ACTUAL},
    ),
    "only somebody else": (
        [
            ("delete_subscriber", {"Notification": ACTUAL, "Subscriber": subscriber("SNS", TOPIC)}),
            (
                "update_subscriber",
                {
                    "Notification": ACTUAL,
                    "OldSubscriber": subscriber("EMAIL", MAIL),
                    "NewSubscriber": subscriber("EMAIL", "x@example.com"),
                },
            ),
        ],
        {ON_ACTUAL},
    ),
}


@pytest.mark.parametrize("how", NOTIFICATION_DRIFT)
def test_notifications_and_their_people_are_found_and_mended(applied: AwsNative, how: str) -> None:
    calls, fields = NOTIFICATION_DRIFT[how]
    for operation, arguments in calls:
        getattr(boto3.client("budgets"), operation)(**NAMED, **arguments)
    ((name, found),) = drift(applied).items()
    assert (name, set(found)) == (BUDGET, fields)
    apply(applied)
    assert drift(applied) == {}


def test_all_five_notifications_can_be_changed_at_once(applied: AwsNative) -> None:
    full = replace(WANTED, thresholds=tuple(threshold(percent=n) for n in (10, 20, 30, 40, 50)))
    other = replace(WANTED, thresholds=tuple(threshold(percent=n) for n in (11, 21, 31, 41, 51)))
    for wanted in (full, other):
        apply(applied, wanted)
        assert compare(applied.design(wanted, ACCOUNT).twins, applied.owned()) == ()


@pytest.mark.parametrize("name", [ALARM, BUDGET])
def test_the_tag_that_names_the_budget_is_mended(applied: AwsNative, name: str) -> None:
    retag(name, {BUDGET_TAG: "another"})
    assert drift(applied) == {name: [forms.TAG]}
    apply(applied)
    assert drift(applied) == {}


@pytest.mark.parametrize("name", [ALARM, BUDGET])
def test_what_lost_the_tag_of_its_owner_is_not_touched_any_more(applied: AwsNative, name: str) -> None:
    retag(name, {OWNER_TAG: "somebody"})
    put_by_hand(Threshold=1)
    by_hand(BudgetLimit={"Amount": "1", "Unit": "USD"})
    changes = compare(applied.design(WANTED, ACCOUNT).twins, applied.owned())
    (blocked,) = (change for change in changes if change.op is Op.BLOCKED)
    assert blocked.twin.name == name
    assert "is not ours: tag it, or remove it" in blocked.why
    apply(applied)
    assert [change.twin.name for change in compare(applied.design(WANTED, ACCOUNT).twins, applied.owned())] == [name]
    with pytest.raises(PermanentError):
        applied.create(blocked.twin)


def retag(name: str, tags: dict[str, str]) -> None:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    if name == ALARM:
        arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
        boto3.client("cloudwatch").tag_resource(ResourceARN=arn, Tags=listed)
    else:
        arn = f"arn:aws:budgets::{ACCOUNT}:budget/{name}"
        boto3.client("budgets").tag_resource(ResourceARN=arn, ResourceTags=listed)


def test_a_changed_alarm_keeps_its_state_and_rings_no_second_time(applied: AwsNative, account: AwsAccount) -> None:
    for more in ({}, {"service": "AmazonEC2"}, {"service": "AmazonEC2", "account": "1" * 12}):
        account.publish_charge(NOW - timedelta(hours=3), "900", **more)
    assert account.evaluate_alarms(NOW) == [(ALARM, "INSUFFICIENT_DATA", "ALARM")]
    apply(applied, replace(WANTED, amount=Decimal(1100)))
    assert account.evaluate_alarms(NOW) == []
    assert len(account.delivered(TOPIC)) == 1


def test_hundreds_of_twins_come_in_pages(aws: AwsNative) -> None:
    wanted = [replace(WANTED, budget=f"b{number}", thresholds=(threshold(),)) for number in range(105)]
    twins = [one for each in wanted for one in aws.design(each, ACCOUNT).twins]
    carry_out(aws, compare(twins, aws.owned()))
    assert len(aws.owned().twins) == 210
    assert compare(twins, aws.owned()) == ()


# --- The drill ------------------------------------------------------------------------------------------------------


def steps(aws: AwsNative) -> dict[str, Any]:
    return {step.what.partition(" ")[0]: step for step in quick(aws).of(aws.owned().twins)}


def quick(aws: AwsNative) -> Drill:
    client = boto3.client
    return Drill(client("cloudwatch"), lambda region: client("sns", region_name=region), ACCOUNT, "aws", lambda _: None)


def test_a_drill_rings_every_alarm_and_its_topic(applied: AwsNative, account: AwsAccount) -> None:
    for state in ("INSUFFICIENT_DATA", "ALARM", "OK"):
        cloudwatch_backends[ACCOUNT][REGION].alarms[ALARM].state_value = state
        found = steps(applied)
        assert (found["alarm"].ok, found["topic"].ok, found["e-mail"].ok) == (True, True, None)
    told = [json.loads(one.message) for one in account.delivered(TOPIC)]
    assert [one["NewStateValue"] for one in told] == ["ALARM"] * 3
    assert "nothing is wrong" in told[0]["NewStateReason"]


def test_a_drill_finds_what_keeps_a_message_from_a_person(applied: AwsNative) -> None:
    topics = sns_backends[ACCOUNT][REGION]
    topic = topics.topics[TOPIC]
    default = topic._create_default_topic_policy(REGION, ACCOUNT, "budgets")
    topic.policy = json.dumps(default)
    assert "does not let budgets.amazonaws.com publish" in steps(applied)["topic"].detail
    topics.subscriptions.clear()
    found = steps(applied)["topic"]
    assert (found.ok, "nobody has confirmed a subscription" in found.detail) == (False, True)
    topic.kms_master_key_id = "alias/aws/sns"
    assert "encrypted with alias/aws/sns" in steps(applied)["topic"].detail
    put_by_hand(ActionsEnabled=False)
    assert steps(applied)["alarm"].detail == "its actions are switched off"
    put_by_hand()
    del topics.topics[TOPIC]
    found = steps(applied)
    assert found["alarm"].detail == f"Failed to execute action {TOPIC}"
    assert found["topic"].ok is False


def test_a_subscription_that_nobody_has_confirmed_is_named(applied: AwsNative) -> None:
    (one,) = sns_backends[ACCOUNT][REGION].subscriptions.values()
    one.arn = "PendingConfirmation"
    found = steps(applied)["topic"]
    assert found.ok is False
    assert "1 not confirmed yet (arn:aws:sqs:us-east-1:123456789012:budgets-inbox)" in found.detail


@pytest.mark.parametrize(
    ("protocol", "endpoint", "shown"),
    [
        ("https", "https://events.example.com/integration/CANARY0123456789/enqueue", "https events.example.com"),
        ("http", "http://user:CANARY0123456789@10.0.0.7:8080/x?key=CANARY0123456789", "http 10.0.0.7"),
        ("https", "https://[CANARY0123456789", "https"),
        ("email", "ops@example.com", "email ops@example.com"),
    ],
)
def test_an_address_that_holds_a_key_is_not_shown(applied: AwsNative, protocol: str, endpoint: str, shown: str) -> None:
    (one,) = sns_backends[ACCOUNT][REGION].subscriptions.values()
    one.arn, one.protocol, one.endpoint = "PendingConfirmation", protocol, endpoint
    found = steps(applied)["topic"]
    assert f"1 not confirmed yet ({shown})" in found.detail
    assert "CANARY" not in str(found)


ALARM_ARN = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{ALARM}"
BUDGET_ARN = f"arn:aws:budgets::{ACCOUNT}:budget/{BUDGET}"
OWNER_ONLY = {"Principal": {"AWS": "*"}, "Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT}}}
BUDGETS = {"Principal": {"Service": "budgets.amazonaws.com"}}


def policy(*statements: dict[str, Any]) -> str:
    whole = [{"Effect": "Allow", "Action": "SNS:Publish", "Resource": TOPIC, **one} for one in statements]
    return json.dumps({"Statement": whole})


@pytest.mark.parametrize(
    ("text", "alarms", "budgets"),
    [
        (policy(OWNER_ONLY), True, False),
        (policy(BUDGETS), False, True),
        (policy({"Principal": "*"}), True, True),
        (policy({**BUDGETS, "Action": ["SNS:Subscribe", "sns:*"]}), False, True),
        (policy({**BUDGETS, "Action": "SNS:Subscribe"}), False, False),
        (policy({**BUDGETS, "Resource": f"{TOPIC}-2"}), False, False),
        (policy({**BUDGETS, "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}), False, True),
        (policy({**BUDGETS, "Condition": {"StringEquals": {"aws:SourceAccount": "9" * 12}}}), False, False),
        (
            policy({**BUDGETS, "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:budgets::{ACCOUNT}:*"}}}),
            False,
            True,
        ),
        (
            policy({**BUDGETS, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:budgets::999999999999:*"}}}),
            False,
            False,
        ),
        (policy({**BUDGETS, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}), False, False),
        (policy({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}), False, False),
        (policy({"Principal": "*"}, {"Principal": "*", "Effect": "Deny"}), False, False),
        ("", False, False),
        ("{}", False, False),
    ],
)
def test_whom_a_topic_lets_publish(text: str, alarms: bool, budgets: bool) -> None:
    def lets(service: str, arn: str) -> bool:
        return lets_publish(text, service=service, source_arn=arn, account=ACCOUNT, topic=TOPIC)

    assert lets("cloudwatch.amazonaws.com", ALARM_ARN) == alarms
    assert lets("budgets.amazonaws.com", BUDGET_ARN) == budgets


def test_a_refusal_names_the_permission(aws: AwsNative, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.core.exceptions import JsonRESTError

    def refuse(*_: Any) -> None:
        raise JsonRESTError("AccessDeniedException", "no")

    monkeypatch.setattr(moto_budgets, "_page", refuse)
    with pytest.raises(AccessError, match="allow budgets:ViewBudget to these credentials"):
        aws.owned()
