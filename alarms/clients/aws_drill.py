"""The drill inside AWS: each alarm is made to call its topics, and every topic is looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from alarms.clients import aws_twins as forms
from alarms.clients.aws_calls import call, pages
from alarms.clients.aws_topics import lets_publish
from alarms.errors import OutsideError
from alarms.twins import Step, Twin

REASON = "A drill of cloud-budget-monitor: nothing is wrong, and nothing has to be done."
_LOOKS = 15
_NEVER = threading.Event()
_SHOWN = 3
_ALARMS_SERVICE, _BUDGETS_SERVICE = "cloudwatch.amazonaws.com", "budgets.amazonaws.com"
# The key that AWS manages itself lets none of its services publish to a topic that is encrypted with it.
_KEY_OF_AWS = "alias/aws/sns"


class Drill:
    """`topics`: a client of SNS for a region. `pause`: what to wait with between two looks, in seconds."""

    def __init__(
        self,
        cloudwatch: Any,
        topics: Callable[[str], Any],
        account: str,
        partition: str,
        pause: Callable[[float], object] = _NEVER.wait,
    ) -> None:
        self._cloudwatch = cloudwatch
        self._topics = topics
        self._account = account
        self._partition = partition
        self._pause = pause

    def of(self, twins: Sequence[Twin]) -> list[Step]:
        """Every step, failed or not."""
        steps = [self._attempt(f"alarm {t.name}", partial(self._ring, t)) for t in twins if t.kind == forms.ALARM]
        for topic, services in sorted(self._called(twins).items()):
            steps.append(self._attempt(f"topic {topic}", partial(self._look_at, topic, services)))
        mails = {
            one for t in twins for people in forms.notifications_in(t).values() for one in people if "EMAIL " in one
        }
        if mails:
            steps.append(Step("e-mail of AWS Budgets", None, "AWS sends it only when a notification fires: not tried"))
        return steps

    def _attempt(self, what: str, step: Callable[[], tuple[bool, str]]) -> Step:
        try:
            return Step(what, *step())
        except OutsideError as error:
            return Step(what, ok=False, detail=str(error))

    def _called(self, twins: Sequence[Twin]) -> dict[str, dict[str, str]]:
        """Of each topic the services that publish to it, each with one that it does so for."""
        found: dict[str, dict[str, str]] = {}
        for twin in twins:
            if twin.kind == forms.ALARM:
                for topic in twin.fields.get("AlarmActions", ()):
                    arn = f"arn:{self._partition}:cloudwatch:{topic.split(':')[3]}:{self._account}:alarm:{twin.name}"
                    found.setdefault(topic, {})[_ALARMS_SERVICE] = arn
            for people in forms.notifications_in(twin).values():
                for one in people:
                    kind, _, topic = one.partition(" ")
                    if kind == "SNS":
                        arn = f"arn:{self._partition}:budgets::{self._account}:budget/{twin.name}"
                        found.setdefault(topic, {})[_BUDGETS_SERVICE] = arn
        return found

    def _ring(self, twin: Twin) -> tuple[bool, str]:
        """An action is invoked when the state changes: one that is in ALARM already is first taken out of it."""
        wanted = set(twin.fields.get("AlarmActions", ()))
        before = set(self._actions_of(twin.name))
        answer = call(self._cloudwatch, "describe_alarms", AlarmNames=[twin.name])["MetricAlarms"]
        if not answer:
            return False, "it is not there"
        if not answer[0]["ActionsEnabled"]:
            return False, "its actions are switched off"
        if answer[0]["StateValue"] == "ALARM":
            self._set(twin.name, "OK")
        self._set(twin.name, "ALARM")
        told: list[str] = []
        for _ in range(_LOOKS):
            told = [summary for at, summary in self._actions_of(twin.name) if (at, summary) not in before]
            called = {arn for arn in wanted for summary in told if "Success" in summary and arn in summary}
            if called == wanted:
                return True, f"has called {', '.join(sorted(called))}"
            if any("Fail" in summary for summary in told):
                break
            self._pause(1.0)
        failed = "; ".join(summary for summary in told if "Fail" in summary)
        return False, failed or "CloudWatch does not tell within 15 s that it has called its topics"

    def _set(self, name: str, state: str) -> None:
        call(self._cloudwatch, "set_alarm_state", AlarmName=name, StateValue=state, StateReason=REASON)

    def _actions_of(self, name: str) -> list[tuple[str, str]]:
        items = pages(
            self._cloudwatch,
            "describe_alarm_history",
            "AlarmHistoryItems",
            AlarmName=name,
            HistoryItemType="Action",
            ScanBy="TimestampDescending",
        )
        return [(str(item["Timestamp"]), str(item["HistorySummary"])) for item in items]

    def _look_at(self, topic: str, services: dict[str, str]) -> tuple[bool, str]:
        client = self._topics(topic.split(":")[3])
        attributes = call(client, "get_topic_attributes", TopicArn=topic)["Attributes"]
        problems = [*self._refusals(attributes, topic, services)]
        if attributes.get("KmsMasterKeyId") == _KEY_OF_AWS:
            problems.append(f"it is encrypted with {_KEY_OF_AWS}, with which no service of AWS can publish")
        subscriptions = list(pages(client, "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic))
        pending = [_shown(one) for one in subscriptions if not str(one["SubscriptionArn"]).startswith("arn:")]
        confirmed = len(subscriptions) - len(pending)
        if not confirmed:
            problems.append("nobody has confirmed a subscription")
        waiting = f", {len(pending)} not confirmed yet ({', '.join(pending[:_SHOWN])})" if pending else ""
        if problems:
            return False, "; ".join(problems) + waiting
        return True, f"{confirmed} confirmed subscription{'s' if confirmed > 1 else ''}{waiting}"

    def _refusals(self, attributes: dict[str, str], topic: str, services: dict[str, str]) -> Iterator[str]:
        for service, arn in services.items():
            policy = attributes.get("Policy", "")
            if not lets_publish(policy, service=service, source_arn=arn, account=self._account, topic=topic):
                yield f"its policy does not let {service} publish (sns:Publish)"


def _shown(subscription: Mapping[str, Any]) -> str:
    """Who it is, for people: the rest of the address of a web hook is as good as a password."""
    protocol, endpoint = str(subscription.get("Protocol", "")), str(subscription.get("Endpoint", ""))
    if endpoint.startswith("arn:"):
        return endpoint
    if protocol in ("http", "https") or "://" in endpoint:
        try:
            endpoint = urlsplit(endpoint).hostname or ""
        except ValueError:
            endpoint = ""
    return f"{protocol} {endpoint}".strip()
