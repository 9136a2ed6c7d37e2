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
