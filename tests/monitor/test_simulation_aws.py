"""The simulated account does what AWS does where moto alone does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError

from monitor.simulation.aws import AwsAccount

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
USD = [{"Name": "Currency", "Value": "USD"}]


@pytest.fixture
def aws() -> Iterator[AwsAccount]:
    with AwsAccount() as account, mock.patch.dict(os.environ, account.environment):
        yield account


def query(number: int = 0, *, dimensions: Any = USD, namespace: str = "AWS/Billing") -> dict[str, Any]:
    metric = {"Namespace": namespace, "MetricName": "EstimatedCharges", "Dimensions": dimensions}
    return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Maximum"}}


def ask(*queries: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = boto3.client("cloudwatch").get_metric_data(
        MetricDataQueries=list(queries), StartTime=NOW - timedelta(days=1), EndTime=NOW, **more
    )
    return answer


def values(*queries: dict[str, Any], **more: Any) -> list[list[float]]:
    return [result["Values"] for result in ask(*queries, **more)["MetricDataResults"]]


def test_only_the_exact_metric_is_found(aws: AwsAccount) -> None:
    at = NOW - timedelta(hours=4)
    aws.publish_charge(at, Decimal(100))
    aws.publish_charge(at, Decimal(60), service="AmazonEC2", account="1" * 12)
    noise = {"MetricName": "EstimatedCharges", "Dimensions": USD, "Timestamp": at, "Value": 9e9}
    boto3.client("cloudwatch").put_metric_data(Namespace="Custom/Noise", MetricData=[noise])  # type: ignore[list-item] # as sent
    both = [{"Name": "ServiceName", "Value": "AmazonEC2"}, *USD, {"Name": "LinkedAccount", "Value": "1" * 12}]
    assert values(query(), query(1, dimensions=both), query(2, dimensions=[])) == [[100.0], [60.0], []]


def test_readings_are_stamped_with_the_start_of_their_hour(aws: AwsAccount) -> None:
    aws.publish_charge(NOW - timedelta(hours=4, minutes=-10), Decimal(1))
    aws.publish_charge(NOW - timedelta(hours=4, minutes=-50), Decimal(3))
    (result,) = ask(query())["MetricDataResults"]
    assert result["Timestamps"] == [NOW - timedelta(hours=4)]
    assert result["Values"] == [3.0]


def test_more_than_500_queries_are_refused(aws: AwsAccount) -> None:
    with pytest.raises(ClientError, match="must not have a size greater than 500"):
        ask(*map(query, range(501)))


def test_readings_come_in_pages(aws: AwsAccount) -> None:
    for hours in range(1, 6):
        aws.publish_charge(NOW - timedelta(hours=hours), Decimal(10 - hours))
    first = ask(query(), query(1), MaxDatapoints=7, ScanBy="TimestampAscending")
    assert [(r["StatusCode"], len(r["Values"])) for r in first["MetricDataResults"]] == [
        ("Complete", 5),
        ("PartialData", 2),
    ]
    rest = ask(query(), query(1), MaxDatapoints=7, ScanBy="TimestampAscending", NextToken=first["NextToken"])
    assert [r["Values"] for r in rest["MetricDataResults"]] == [[], [7.0, 8.0, 9.0]]
    assert "NextToken" not in rest


def test_alarm_is_judged_and_tells_its_topic(aws: AwsAccount) -> None:
    cloudwatch = boto3.client("cloudwatch")
    topic = aws.create_topic("budget")

    def put(threshold: float) -> None:
        cloudwatch.put_metric_alarm(
            AlarmName="twin",
            Namespace="AWS/Billing",
            MetricName="EstimatedCharges",
            Dimensions=USD,  # type: ignore[arg-type] # as sent
            Statistic="Maximum",
            Period=21600,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[topic],
            OKActions=[topic],
        )

    def state() -> str:
        return str(cloudwatch.describe_alarms(AlarmNames=["twin"])["MetricAlarms"][0]["StateValue"])

    put(120)
    assert state() == "INSUFFICIENT_DATA"
    aws.publish_charge(NOW - timedelta(hours=6), Decimal("130.5"))
    assert aws.evaluate_alarms(NOW) == [("twin", "INSUFFICIENT_DATA", "ALARM")]
    put(500)
    assert state() == "ALARM", "a changed alarm keeps its state"
    assert aws.evaluate_alarms(NOW) == [("twin", "ALARM", "OK")]
    assert aws.evaluate_alarms(NOW) == []
    assert aws.evaluate_alarms(NOW + timedelta(days=1)) == [("twin", "OK", "INSUFFICIENT_DATA")]
    told = [json.loads(delivered.message)["NewStateValue"] for delivered in aws.delivered(topic)]
    assert told == ["ALARM", "OK"]


def test_published_message_is_delivered_with_subject_and_attributes(aws: AwsAccount) -> None:
    topic = aws.create_topic("budget")
    attributes: Any = {"severity": {"DataType": "String", "StringValue": "critical"}}
    boto3.client("sns").publish(TopicArn=topic, Subject="over", Message="100 %", MessageAttributes=attributes)
    (delivered,) = aws.delivered(topic)
    assert (delivered.subject, delivered.message, delivered.attributes) == ("over", "100 %", {"severity": "critical"})


def test_account_is_empty_on_entry(aws: AwsAccount) -> None:
    assert values(query()) == [[]]
    aws.publish_charge(NOW - timedelta(hours=4), Decimal(1))
    aws.reset()
    assert values(query()) == [[]]


def alarm(**changes: Any) -> None:
    arguments: dict[str, Any] = {
        "AlarmName": "twin",
        "Namespace": "AWS/Billing",
        "MetricName": "EstimatedCharges",
        "Dimensions": USD,
        "Statistic": "Maximum",
        "Period": 21600,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    boto3.client("cloudwatch").put_metric_alarm(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Period": 61}, "multiple of 60"),
        ({"Period": 86400, "EvaluationPeriods": 8}, "more than a week"),
        ({"AlarmActions": ["arn:aws:sns:eu-west-1:123456789012:x"]}, "Invalid region eu-west-1"),
        ({"AlarmActions": ["arn:aws:sns:us-east-1:123456789012:x.fifo"]}, "Invalid arn syntax"),
        ({"OKActions": ["arn:aws:sns:us-east-1:123456789012:x"] * 6}, "less than or equal to 5"),
    ],
)
def test_alarms_that_aws_refuses(aws: AwsAccount, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        alarm(**change)


def test_tags_of_a_changed_alarm_are_ignored_and_go_with_it(aws: AwsAccount) -> None:
    client = boto3.client("cloudwatch")

    def tags() -> Any:
        arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:twin"
        return [tag["Value"] for tag in client.list_tags_for_resource(ResourceARN=arn)["Tags"]]

    alarm(Tags=[{"Key": "a", "Value": "1"}])
    alarm(Tags=[{"Key": "a", "Value": "2"}])
    assert tags() == ["1"]
    client.delete_alarms(AlarmNames=["twin"])
    alarm()
    assert tags() == []


def test_a_state_that_is_set_calls_the_topics_once_and_is_in_the_history(aws: AwsAccount) -> None:
    client, topic = boto3.client("cloudwatch"), aws.create_topic("budget")
    alarm(AlarmActions=[topic])
    for _ in range(2):
        client.set_alarm_state(AlarmName="twin", StateValue="ALARM", StateReason="a drill")
    assert [json.loads(one.message)["NewStateReason"] for one in aws.delivered(topic)] == ["a drill"]
    items = client.describe_alarm_history(AlarmName="twin", HistoryItemType="Action")["AlarmHistoryItems"]
    assert [one["HistorySummary"] for one in items] == [f"Successfully executed action {topic}"]


def test_alarms_come_in_pages_of_fifty(aws: AwsAccount) -> None:
    for number in range(60):
        alarm(AlarmName=f"twin{number:02}")
    first = boto3.client("cloudwatch").describe_alarms()
    rest = boto3.client("cloudwatch").describe_alarms(NextToken=first["NextToken"])
    assert [len(page["MetricAlarms"]) for page in (first, rest)] == [50, 10]
    assert "NextToken" not in rest


LIMIT = {"Amount": "100", "Unit": "USD"}
MAIL = {"SubscriptionType": "EMAIL", "Address": "a@example.com"}


def budget(name: str = "b", notifications: Any = (), **changes: Any) -> None:
    made = {"BudgetName": name, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": LIMIT, **changes}
    boto3.client("budgets").create_budget(
        AccountId="123456789012", Budget=made, NotificationsWithSubscribers=list(notifications)
    )


def notification(threshold: float = 80, kind: str = "ACTUAL", people: Any = (MAIL,)) -> dict[str, Any]:
    told = {"NotificationType": kind, "ComparisonOperator": "GREATER_THAN", "Threshold": threshold}
    return {"Notification": told, "Subscribers": list(people)}


def mails(count: int) -> list[dict[str, str]]:
    return [{**MAIL, "Address": f"p{number}@example.com"} for number in range(count)]


def topics(count: int) -> list[dict[str, str]]:
    return [{"SubscriptionType": "SNS", "Address": f"arn:aws:sns:us-east-1:1:{number}"} for number in range(count)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"notifications": [notification(number) for number in range(1, 7)]}, "CreationLimitExceededException"),
        ({"notifications": [notification(people=mails(11))]}, "CreationLimitExceededException"),
        ({"notifications": [notification(people=topics(2))]}, "CreationLimitExceededException"),
        ({"notifications": [notification(), notification()]}, "DuplicateRecordException"),
        ({"notifications": [notification(people=[MAIL, MAIL])]}, "DuplicateRecordException"),
        ({"notifications": [notification(kind="FORECASTED")], "TimeUnit": "DAILY"}, "InvalidParameterException"),
        ({"name": "a/action/b"}, "InvalidParameterException"),
        ({"CostFilters": {}, "Metrics": ["UnblendedCost"]}, "InvalidParameterException"),
        ({"name": "there"}, "DuplicateRecordException"),
    ],
)
def test_budgets_that_aws_refuses(aws: AwsAccount, change: dict[str, Any], code: str) -> None:
    budget("there")
    with pytest.raises(ClientError) as caught:
        budget(**change)
    assert caught.value.response["Error"]["Code"] == code


def test_the_last_subscriber_cannot_be_taken_away(aws: AwsAccount) -> None:
    budget(notifications=[notification()])
    client: Any = boto3.client("budgets")
    named = {"AccountId": "123456789012", "BudgetName": "b", "Notification": notification()["Notification"]}
    with pytest.raises(ClientError, match="needs a subscriber"):
        client.delete_subscriber(**named, Subscriber=MAIL)
    client.update_subscriber(**named, OldSubscriber=MAIL, NewSubscriber={**MAIL, "Address": "b@example.com"})
    (one,) = client.describe_subscribers_for_notification(**named)["Subscribers"]
    assert one["Address"] == "b@example.com"


def test_a_budget_tells_once_by_mail_and_by_a_topic_that_lets_it(aws: AwsAccount) -> None:
    topic = aws.create_topic("budget")
    sns = {"SubscriptionType": "SNS", "Address": topic}
    budget(notifications=[notification(80, people=(MAIL, sns)), notification(100, "FORECASTED")])
    assert aws.evaluate_budgets({"b": (Decimal(80), Decimal(90))}) == []
    assert [name for name, _ in aws.evaluate_budgets({"b": (Decimal("80.01"), Decimal(90))})] == ["b"]
    assert aws.delivered(topic) == [], "SNS's own policy does not let it"
    aws.let_budgets_publish(topic)
    assert aws.evaluate_budgets({"b": (Decimal(81), Decimal(90))}) == [], "it is exceeded already"
    assert aws.evaluate_budgets({"b": (Decimal(1), Decimal(120))}) != []
    aws.evaluate_budgets({"b": (Decimal(90), Decimal(120))})
    assert len(aws.delivered(topic)) == 1
    assert [address for address, _ in aws.mails_of_budgets()] == ["a@example.com"] * 3
