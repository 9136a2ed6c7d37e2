"""An AWS account on loopback: billing metrics that are published by hand, and SNS topics whose messages can be read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from moto.cloudwatch.models import cloudwatch_backends
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from monitor.simulation import moto_budgets, moto_corrections

ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message as a subscriber of a topic got it."""

    subject: str | None
    message: str
    attributes: dict[str, str]


class AwsAccount:
    """A context manager: on entry an empty account is served on a free port of 127.0.0.1.

    One at a time in a process: moto's accounts are global, so a second one would empty the first.
    """

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)

    def __enter__(self) -> Self:
        moto_corrections.apply()
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.reset()
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Where every service of the account answers: an `endpoint_url`."""
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which any AWS tool talks to this account and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "simulated",
            "AWS_SECRET_ACCESS_KEY": "simulated",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def reset(self) -> None:
        """Empty the account."""
        moto_api_backend.reset()

    def publish_charge(
        self,
        at: datetime,
        value: Decimal | str,
        *,
        service: str | None = None,
        account: str | None = None,
        currency: str = "USD",
    ) -> None:
        """Publish the month to date as AWS does: of everything, or of a service, a linked account, or both."""
        named = {"Currency": currency, "LinkedAccount": account, "ServiceName": service}
        self._metrics.put_metric_data(
            "AWS/Billing",
            [
                {
                    "MetricName": "EstimatedCharges",
                    "Dimensions": [{"Name": name, "Value": text} for name, text in named.items() if text],
                    "Timestamp": at,
                    "Value": float(value),
                }
            ],
        )

    def evaluate_alarms(self, now: datetime) -> list[tuple[str, str, str]]:
        """Let CloudWatch judge its alarms as of `now`: (name, old state, new state) of those that changed."""
        return moto_corrections.evaluate_alarms(now, account=ACCOUNT, region=REGION)

    def evaluate_budgets(self, spend: Mapping[str, tuple[Decimal, Decimal]]) -> list[tuple[str, str]]:
        """Let AWS Budgets judge budgets by their (actual, forecast) spend: (budget, what was exceeded)."""
        return moto_budgets.evaluate(spend, account=ACCOUNT)

    def mails_of_budgets(self) -> list[tuple[str, str]]:
        """What AWS Budgets has mailed so far: (address, text)."""
        return [mail for held in moto_budgets.budgets_of(ACCOUNT).values() for mail in held.mails]

    def let_budgets_publish(self, topic_arn: str) -> None:
        """Give a topic the policy with which AWS Budgets can publish to it."""
        topic = sns_backends[ACCOUNT][topic_arn.split(":")[3]].topics[topic_arn]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]},
            "Action": "SNS:Publish",
            "Resource": topic_arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
        topic.policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def create_topic(self, name: str) -> str:
        """A topic with one subscriber, whose messages `delivered` reads. Returns its ARN."""
        topic = sns_backends[ACCOUNT][REGION].create_topic(name, {}).arn
        queue = sqs_backends[ACCOUNT][REGION].create_queue(f"{name.removesuffix('.fifo')}-inbox")
        sns_backends[ACCOUNT][REGION].subscribe(topic, queue.queue_arn, "sqs")
        return str(topic)

    def delivered(self, topic_arn: str) -> list[Delivered]:
        """Everything that the subscriber of a topic has got so far, oldest first; reading takes nothing away."""
        name = topic_arn.rpartition(":")[2].removesuffix(".fifo")
        queue = sqs_backends[ACCOUNT][REGION].get_queue(f"{name}-inbox")
        return [_delivered(json.loads(message.body)) for message in queue.messages]

    @property
    def _metrics(self) -> Any:
        return cloudwatch_backends[ACCOUNT][REGION]


def _delivered(body: dict[str, Any]) -> Delivered:
    attributes = {name: str(value["Value"]) for name, value in body.get("MessageAttributes", {}).items()}
    return Delivered(body.get("Subject"), body["Message"], attributes)
