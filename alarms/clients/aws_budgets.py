"""Alarms of CloudWatch and budgets of AWS Budgets: which there are, and how they are made, changed and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from alarms.clients import aws_twins as forms
from alarms.clients.aws_calls import call, pages
from alarms.errors import PermanentError, TemporaryError
from alarms.twins import OWNER_TAG, Owned, Twin

_GONE = ("NotFoundException",)


@dataclass(frozen=True, slots=True)
class Alarms:
    """Those of one region. `client`: of CloudWatch."""

    client: Any
    prefix: str

    def owned(self) -> Owned:
        """Those with our prefix, with our tag or without."""
        found = _Found(self.prefix)
        named: dict[str, Any] = {"AlarmNamePrefix": f"{self.prefix}/", "AlarmTypes": ["MetricAlarm"]}
        for alarm in pages(self.client, "describe_alarms", "MetricAlarms", **named):
            tags = call(self.client, "list_tags_for_resource", ResourceARN=alarm["AlarmArn"])
            found.add(forms.ALARM, alarm["AlarmName"], forms.tags_of(tags["Tags"]), partial(forms.alarm_twin, alarm))
        return found.owned

    def create(self, twin: Twin) -> None:
        """Make it, tagged. AWS would overwrite one of the same name: that it is free was seen by `owned`."""
        self._refuse_taken(twin)
        tags = forms.tag_list(twin, self.prefix)
        call(self.client, "put_metric_alarm", **forms.alarm_arguments(twin), Tags=tags)

    def update(self, actual: Twin, wanted: Twin) -> None:
        """Write all of it anew; its state stays. Tags are not among what PutMetricAlarm changes."""
        arn = self._described(wanted.name)["AlarmArn"]
        self._refuse_lost(wanted.name, arn)
        call(self.client, "put_metric_alarm", **forms.alarm_arguments(wanted))
        if actual.fields.get(forms.TAG) != wanted.fields.get(forms.TAG):
            call(self.client, "tag_resource", ResourceARN=arn, Tags=forms.tag_list(wanted, self.prefix))

    def delete(self, twin: Twin) -> None:
        """Remove it; that it is not there is no error."""
        found = call(self.client, "describe_alarms", AlarmNames=[twin.name]).get("MetricAlarms")
        if found:
            self._refuse_lost(twin.name, found[0]["AlarmArn"])
            call(self.client, "delete_alarms", fine=("ResourceNotFound",), AlarmNames=[twin.name])

    def state(self, name: str) -> str:
        """OK, ALARM or INSUFFICIENT_DATA."""
        return str(self._described(name)["StateValue"])

    def _refuse_taken(self, twin: Twin) -> None:
        answer = call(
            self.client, "describe_alarms", AlarmNames=[twin.name], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        if answer.get("MetricAlarms") or answer.get("CompositeAlarms"):
            raise PermanentError(f"an alarm {twin.name} has come to be there meanwhile: look at the plan again")

    def _refuse_lost(self, name: str, arn: str) -> None:
        tags = call(self.client, "list_tags_for_resource", ResourceARN=arn)["Tags"]
        _refuse_other(forms.ALARM, name, tags, self.prefix)

    def _described(self, name: str) -> Any:
        answer = call(self.client, "describe_alarms", AlarmNames=[name])
        if not answer.get("MetricAlarms"):
            raise TemporaryError(f"the alarm {name} is not there any more: look at the plan again")
        return answer["MetricAlarms"][0]


@dataclass(frozen=True, slots=True)
class Budgets:
    """Those of one account. `client`: of AWS Budgets. `arn`: of a budget, up to its name."""

    client: Any
    prefix: str
    account: str
    arn: str
    now: Callable[[], datetime]

    def owned(self) -> Owned:
        """Those with our prefix, with our tag or without."""
        found = _Found(self.prefix)
        for budget in pages(self.client, "describe_budgets", "Budgets", AccountId=self.account):
            name = budget["BudgetName"]
            if not name.startswith(f"{self.prefix}/"):
                continue
            tags = call(self.client, "list_tags_for_resource", ResourceARN=f"{self.arn}{name}")
            found.add(forms.BUDGET, name, forms.tags_of(tags.get("ResourceTags") or ()), partial(self._twin, budget))
        return found.owned

    def create(self, twin: Twin) -> None:
        """Make it with its notifications and tags; AWS refuses a name that is taken."""
        notifications = [
            {"Notification": forms.notification_argument(name), "Subscribers": _subscribers(to)}
            for name, to in forms.notifications_in(twin).items()
        ]
        call(
            self.client,
            "create_budget",
            AccountId=self.account,
            Budget=forms.budget_argument(twin, self.now()),
            NotificationsWithSubscribers=notifications,
            ResourceTags=forms.tag_list(twin, self.prefix),
        )

    def update(self, actual: Twin, wanted: Twin) -> None:
        """What differs, by as few calls as it takes; the budget first, then its notifications, then their people."""
        if not self._is_there(wanted.name):
            raise TemporaryError(f"the budget {wanted.name} is not there any more: look at the plan again")
        names = {*actual.fields, *wanted.fields}
        differing = {name for name in names if (actual.fields.get(name) or "") != (wanted.fields.get(name) or "")}
        if differing & forms.MADE_ANEW:
            self._delete(actual.name)
            self.create(wanted)
            return
        if any(not name.startswith((forms.NOTIFICATION, "tag ")) for name in differing):
            new = forms.budget_argument(wanted, self.now())
            call(self.client, "update_budget", AccountId=self.account, NewBudget=new)
        if forms.TAG in differing:
            tags = forms.tag_list(wanted, self.prefix)
            call(self.client, "tag_resource", ResourceARN=f"{self.arn}{wanted.name}", ResourceTags=tags)
        self._notify_as_wanted(wanted.name, forms.notifications_in(actual), forms.notifications_in(wanted))

    def delete(self, twin: Twin) -> None:
        """Remove it, with its notifications; that it is not there is no error."""
        if self._is_there(twin.name):
            self._delete(twin.name)

    def _is_there(self, name: str) -> bool:
        """Whether it is, and ours. Raises TemporaryError if somebody has made it theirs since it was seen."""
        tags = call(self.client, "list_tags_for_resource", fine=_GONE, ResourceARN=f"{self.arn}{name}")
        if tags is None:
            return False
        _refuse_other(forms.BUDGET, name, tags.get("ResourceTags") or (), self.prefix)
        return True

    def _delete(self, name: str) -> None:
        call(self.client, "delete_budget", fine=_GONE, AccountId=self.account, BudgetName=name)

    def _notify_as_wanted(
        self, name: str, actual: Mapping[str, tuple[str, ...]], wanted: Mapping[str, tuple[str, ...]]
    ) -> None:
        extra = [one for one in actual if one not in wanted]
        new = [one for one in wanted if one not in actual]
        if len(actual) + len(new) > forms.MOST_NOTIFICATIONS:
            for one in extra:
                self._on("delete_notification", name, one)
        for one in new:
            self._on("create_notification", name, one, Subscribers=_subscribers(wanted[one]))
        for one, people in wanted.items():
            if one in actual and actual[one] != people:
                self._subscribe_as_wanted(name, one, set(actual[one]), set(people))
        if len(actual) + len(new) <= forms.MOST_NOTIFICATIONS:
            for one in extra:
                self._on("delete_notification", name, one)

    def _subscribe_as_wanted(self, budget: str, notification: str, actual: set[str], wanted: set[str]) -> None:
        """At no instant nobody, which AWS refuses; and there may be one topic only, so one takes another's place."""
        extra, new = sorted(actual - wanted), sorted(wanted - actual)
        for kind in ("SNS ", "EMAIL "):
            old = next((one for one in extra if one.startswith(kind)), None)
            another = next((one for one in new if one.startswith(kind)), None)
            if old is not None and another is not None:
                pair = {
                    "OldSubscriber": forms.subscriber_argument(old),
                    "NewSubscriber": forms.subscriber_argument(another),
                }
                self._on("update_subscriber", budget, notification, **pair)
                extra.remove(old)
                new.remove(another)
        for one in new:
            self._on("create_subscriber", budget, notification, Subscriber=forms.subscriber_argument(one))
        for one in extra:
            self._on("delete_subscriber", budget, notification, Subscriber=forms.subscriber_argument(one))

    def _on(self, operation: str, budget: str, notification: str, **more: Any) -> None:
        named: dict[str, Any] = {"AccountId": self.account, "BudgetName": budget}
        call(self.client, operation, **named, Notification=forms.notification_argument(notification), **more)

    def _twin(self, budget: Mapping[str, Any], tags: Mapping[str, str]) -> Twin:
        named = {"AccountId": self.account, "BudgetName": budget["BudgetName"]}
        notifications = {}
        for one in pages(self.client, "describe_notifications_for_budget", "Notifications", **named):
            name = forms.notification_name(one)
            asked = {**named, "Notification": forms.notification_argument(name)}
            found = pages(self.client, "describe_subscribers_for_notification", "Subscribers", **asked)
            notifications[name] = tuple(sorted(map(forms.subscriber_text, found)))
        return forms.budget_twin(budget, notifications, tags, self.now())


class _Found:
    """Sorts what is there into ours and not ours."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._twins: list[Twin] = []
        self._foreign: dict[tuple[str, str], str] = {}

    def add(self, kind: str, name: str, tags: Mapping[str, str], twin: Callable[[Mapping[str, str]], Twin]) -> None:
        if tags.get(OWNER_TAG) == self._prefix:
            self._twins.append(twin(tags))
            return
        self._foreign[kind, name] = (
            f"{kind} {name} does not bear the tag {OWNER_TAG} = {self._prefix}, so it is not ours: tag it, or remove it"
        )

    @property
    def owned(self) -> Owned:
        return Owned(tuple(self._twins), self._foreign)


def _subscribers(texts: tuple[str, ...]) -> list[dict[str, str]]:
    return [forms.subscriber_argument(text) for text in texts]


def _refuse_other(kind: str, name: str, tags: Sequence[Mapping[str, str]], prefix: str) -> None:
    if forms.tags_of(tags).get(OWNER_TAG) != prefix:
        raise TemporaryError(f"the {kind} {name} is not ours any more: look at the plan again")
