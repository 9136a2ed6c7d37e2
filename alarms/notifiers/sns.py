"""An Amazon SNS topic, standard or FIFO."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib.util import find_spec
from typing import Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from alarms.clients.aws import AwsSettings, make_client, translated
from alarms.clients.aws_calls import code_of
from alarms.clients.deadline import within
from alarms.clients.http import Target, parse_target, require_public
from alarms.errors import MissingExtraError, PermanentError
from alarms.model import Kind, Notification, Receipt
from alarms.ports import Notifier
from alarms.render import Rendered, render
from alarms.settings import ReceiverSettings
from alarms.words import clean

DEADLINE_S = 30.0
# SNS counts the attributes' names, types and values; the subject is counted here to be safe.
LARGEST = 262_144
_ARN = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?", re.ASCII)
_MESSAGE_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_FIFO_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
# Names of budgets in the attributes of a digest: with the longest names there is still room for a message.
_MOST_BUDGETS = 200
_NO_TOPIC = ("NotFound", "NotFoundException")
_CUT = "\n(cut)\n"


def _topic_arn(text: str) -> str:
    if not _ARN.fullmatch(text):
        raise ValueError('expected the ARN of a topic, such as "arn:aws:sns:us-east-1:123456789012:MyTopic"')
    return text


class Settings(ReceiverSettings, AwsSettings):
    """`region` "": that of the topic."""

    topic_arn: Annotated[str, AfterValidator(_topic_arn)]
    region: str = ""

    @model_validator(mode="after")
    def _endpoint_is_usable(self) -> Self:
        _endpoint(self)
        return self


def create(
    settings: Settings, *, now: Callable[[], datetime], timezone: tzinfo = UTC, deadline_s: float = DEADLINE_S
) -> Notifier:
    """Make the notifier. Raises MissingExtraError without boto3."""
    if find_spec("boto3") is None:
        raise MissingExtraError("boto3 is not installed: pip install 'cloud-budget-monitor[aws]'")
    region = settings.region or settings.topic_arn.split(":")[3]
    client = cache(lambda: make_client("sns", settings, retries=0, region=region))
    return SnsNotifier(settings, client, now, timezone, deadline_s)


@dataclass(frozen=True, slots=True)
class SnsNotifier:
    """Publishes to one topic.

    `client` makes the SDK's client when first asked: finding credentials may take the network, which belongs behind
    the deadline and must not keep the daemon from starting.
    """

    settings: Settings
    client: Callable[[], Any]
    now: Callable[[], datetime]
    timezone: tzinfo
    deadline_s: float

    def send(self, notification: Notification) -> Receipt:
        """Publish once."""
        rendered = render(notification, now=self.now(), timezone=self.timezone)
        message = publication(notification, rendered, self.settings.topic_arn)

        def publish() -> Any:
            # Amazon's own endpoints may well be private: those of a VPC.
            endpoint = None if self.settings.allow_private else _endpoint(self.settings)
            if endpoint is not None:
                require_public(endpoint, deadline_s=self.deadline_s)
            client = self.client()
            try:
                with translated():
                    return client.publish(**message)
            except PermanentError as error:
                if code_of(error) not in _NO_TOPIC:
                    raise
                where = f"{self.settings.topic_arn} in {client.meta.region_name}"
                raise PermanentError(f"there is no topic {where}: check topic_arn and region") from error

        answer = within(self.deadline_s, publish, what=f"SNS for receiver {self.settings.name}", uncertain=True)
        identity = str(answer.get("MessageId", ""))
        return Receipt(remote_id=identity if _MESSAGE_ID.fullmatch(identity) else "")


def _endpoint(settings: Settings) -> Target | None:
    if settings.endpoint_url is None:
        return None
    try:
        return parse_target(settings.endpoint_url, allow_private=settings.allow_private)
    except ValueError as error:
        raise ValueError(f"endpoint_url: {error}") from None


def publication(notification: Notification, rendered: Rendered, topic_arn: str) -> dict[str, Any]:
    """Give the arguments of `publish`, within SNS's limits on size and characters."""
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in _attributes(notification).items()
        if value  # SNS refuses empty ones
    }
    if budgets := _budgets(notification):
        attributes["budget"] = {"DataType": "String.Array", "StringValue": json.dumps(budgets, ensure_ascii=False)}
    taken = len(rendered.subject) + sum(
        len(name) + len(value["DataType"]) + len(value["StringValue"].encode()) for name, value in attributes.items()
    )
    arguments = {
        "TopicArn": topic_arn,
        "Subject": rendered.subject,
        "Message": cut(rendered.text, LARGEST - taken),
        "MessageAttributes": attributes,
    }
    if topic_arn.endswith(".fifo"):
        arguments["MessageGroupId"] = _group(notification.facts.budget or "monitor")
        arguments["MessageDeduplicationId"] = _fifo_id(notification.id)
    return arguments


def cut(text: str, size: int) -> str:
    """Cut a text to `size` bytes of UTF-8, between characters, and say so at its end."""
    data = text.encode()
    if len(data) <= size:
        return text
    return data[: size - len(_CUT)].decode(errors="ignore") + _CUT


def _attributes(notification: Notification) -> dict[str, str]:
    facts = notification.facts
    return {
        "budget": clean(facts.budget or "", 256),
        # A digest has none: whoever filters by it waits for alarms.
        "severity": "" if facts.kind is Kind.SUMMARY else str(facts.severity),
        "kind": str(facts.kind),
        "id": clean(notification.id, 256),
    }


def _budgets(notification: Notification) -> list[str]:
    """Of a digest, so that whoever filters by budget gets it too."""
    names = dict.fromkeys(clean(each.facts.budget, 256) for each in notification.facts.held if each.facts.budget)
    return list(names)[:_MOST_BUDGETS]


def _group(budget: str) -> str:
    # One order per budget; two names that look the same after this merely share it.
    return re.sub(r"[^A-Za-z0-9_.-]", "-", budget)[:128]


def _fifo_id(text: str) -> str:
    return text if _FIFO_ID.fullmatch(text) else hashlib.sha256(text.encode(errors="replace")).hexdigest()
