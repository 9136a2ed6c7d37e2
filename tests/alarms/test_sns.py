from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from moto.sns.models import sns_backends
from pydantic import ValidationError

from alarms.clients.aws import make_client
from alarms.digest import digest_of
from alarms.errors import PermanentError
from alarms.model import Delivery, DeliveryState, Kind
from alarms.notifiers.sns import LARGEST, Settings, create, cut, publication
from alarms.render import render
from monitor.simulation.aws import ACCOUNT, REGION, AwsAccount
from tests.fakes.messages import FACTS, MESSAGE, NOW, OWN

ARN = "arn:aws:sns:eu-west-1:123456789012:alarms"


def settings(arn: str = ARN, **more: Any) -> Settings:
    return Settings.model_validate({"name": "topic", "type": "sns", "topic_arn": arn, **more})


def published(arn: str = ARN, **more: Any) -> dict[str, Any]:
    message = replace(MESSAGE, **more)
    return publication(message, render(message, now=NOW), arn)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://sns.example.com", "plain http is accepted only with allow_private"),
        ("https://me:canary@sns.example.com", "user name or password"),
        ("canary", "not a URL"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused_without_an_echo(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        settings(endpoint_url=url)
    assert "canary" not in str(caught.value)


def test_an_endpoint_at_a_private_address_needs_permission(
    account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    private = settings(endpoint_url=account.url.replace("http:", "https:"))
    with pytest.raises(PermanentError, match="set allow_private = true on this receiver"):
        create(private, now=lambda: NOW).send(MESSAGE)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsAccount]:
    with AwsAccount() as account:
        for name, value in account.environment.items():
            monkeypatch.setenv(name, value)
        yield account


def test_a_topic_that_is_gone_is_named(account: AwsAccount) -> None:
    gone = f"arn:aws:sns:{REGION}:{ACCOUNT}:gone"
    with pytest.raises(PermanentError) as caught:
        create(settings(gone, allow_private=True), now=lambda: NOW).send(MESSAGE)
    assert str(caught.value) == f"there is no topic {gone} in {REGION}: check topic_arn and region"
    assert caught.value.whole_receiver


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "MyTopic",
        ARN + "\n",
        "arn:aws:sqs:us-east-1:123456789012:q",
        "arn:aws:sns:us-east-1:12345:t",
        f"{ARN}.txt",
        f"{ARN}:sub",
    ],
)
def test_a_wrong_arn_is_a_config_error(arn: str) -> None:
    with pytest.raises(ValidationError, match="expected the ARN of a topic"):
        settings(arn)


@pytest.mark.parametrize("arn", [ARN, f"{ARN}.fifo", "arn:aws-cn:sns:cn-north-1:123456789012:t-_T"])
def test_right_arns(arn: str) -> None:
    assert settings(arn).topic_arn == arn


def test_region_is_that_of_the_topic_unless_said(account: AwsAccount) -> None:
    arn = str(sns_backends[ACCOUNT]["eu-west-1"].create_topic("alarms", {}).arn)
    assert arn == ARN
    create(settings(), now=lambda: NOW).send(MESSAGE)
    with pytest.raises(PermanentError):
        create(settings(region="us-west-2"), now=lambda: NOW).send(MESSAGE)
    assert len(sns_backends[ACCOUNT]["eu-west-1"].topics[arn].sent_notifications) == 1


def test_attributes_for_filters() -> None:
    values = {name: value["StringValue"] for name, value in published()["MessageAttributes"].items()}
    assert values == {"budget": "training", "severity": "critical", "kind": "FIRING", "id": MESSAGE.id}
    assert set(published(facts=OWN)["MessageAttributes"]) == {"severity", "kind", "id"}


def test_standard_topics_get_no_fifo_arguments() -> None:
    assert set(published()) == {"TopicArn", "Subject", "Message", "MessageAttributes"}


def test_fifo_arguments() -> None:
    arguments = published(f"{ARN}.fifo", facts=replace(FACTS, budget="Équipe ML / é" * 30))
    assert arguments["MessageDeduplicationId"] == MESSAGE.id
    assert len(arguments["MessageGroupId"]) == 128
    assert arguments["MessageGroupId"].startswith("-quipe-ML---")
    assert published(f"{ARN}.fifo", facts=OWN)["MessageGroupId"] == "monitor"
    for identity in ("x" * 129, "a b/c/1", "é/l/1"):
        made = published(f"{ARN}.fifo", id=identity)["MessageDeduplicationId"]
        assert made.isascii()
        assert len(made) == 64
        assert made == published(f"{ARN}.fifo", id=identity)["MessageDeduplicationId"]
        assert made != published(f"{ARN}.fifo", id=identity + "2")["MessageDeduplicationId"]


def test_fire_and_resolve_within_the_same_minutes_both_arrive(account: AwsAccount) -> None:
    backend = sns_backends[ACCOUNT][REGION]
    arn = str(backend.create_topic("alarms.fifo", {"FifoTopic": "true"}).arn)
    notifier = create(settings(arn), now=lambda: NOW)
    resolved = replace(MESSAGE, id="4f2a9c01d7be/actual-100pct-critical/2", facts=replace(FACTS, kind=Kind.RESOLVED))
    receipts = [notifier.send(MESSAGE), notifier.send(resolved)]
    sent = backend.topics[arn].sent_notifications
    assert [message[2].split()[0] for message in sent] == ["CRITICAL", "RESOLVED"]
    assert len({receipt.remote_id for receipt in receipts}) == 2


def test_cut_falls_between_characters_and_says_so() -> None:
    text = "é" * 100
    assert cut(text, 200) == text
    for size in range(20, 200):
        short = cut(text, size)
        assert len(short.encode()) <= size
        assert short.endswith("\n(cut)\n")
        assert set(short.removesuffix("\n(cut)\n")) == {"é"}


def test_the_largest_message_is_accepted(account: AwsAccount) -> None:
    arn = account.create_topic("alarms")
    message = replace(MESSAGE, facts=replace(FACTS, budget="é" * 5000))
    rendered = replace(render(message, now=NOW), id="é" * 300_000)
    arguments = publication(message, rendered, arn)
    attributes = arguments["MessageAttributes"]
    taken = sum(len(name) + len("String") + len(value["StringValue"].encode()) for name, value in attributes.items())
    assert LARGEST - 200 < taken + len(arguments["Message"].encode()) <= LARGEST
    assert arguments["Message"].endswith("(cut)\n")
    make_client("sns", settings(arn), retries=0, region=REGION).publish(**arguments)
    assert len(account.delivered(arn)) == 1


def test_a_digest_passes_the_filters_of_each_of_its_budgets() -> None:
    names = [f"b{number}" for number in range(300)]
    held = [replace(MESSAGE, id=f"{name}/l/1", facts=replace(FACTS, budget=name)) for name in [*names, "b0"]]
    digest = digest_of([Delivery(each, DeliveryState.DUE, 0, NOW) for each in held]).notification
    message = publication(digest, render(digest, now=NOW), f"{ARN}.fifo")
    budgets = message["MessageAttributes"]["budget"]
    assert budgets["DataType"] == "String.Array"
    assert json.loads(budgets["StringValue"]) == names[:200]
    assert message["MessageAttributes"]["severity"]["StringValue"] == "critical"
    assert message["MessageDeduplicationId"] == digest.id
    fault = digest_of([Delivery(replace(MESSAGE, facts=OWN), DeliveryState.DUE, 0, NOW)]).notification
    assert "budget" not in publication(fault, render(fault, now=NOW), ARN)["MessageAttributes"]
