"""AWS Budgets as AWS has it: moto knows no update, no subscribers, no tags, no limits, and notifies nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from moto.budgets import models, responses
from moto.budgets.exceptions import DuplicateRecordException, NotFoundException
from moto.core.exceptions import JsonRESTError
from moto.sns.models import sns_backends

Json = dict[str, Any]

_NAME = re.compile(r"(?![^:\\]*/action/)[^:\\]{1,100}")
# The newer of Amazon's pages say ten; whoever keeps to five is right by both.
_MOST_NOTIFICATIONS, _MOST_TOPICS, _MOST_MAILS = 5, 1, 10
_PAGE = 100
_FOREVER = 3706473600  # 2087-06-15
_COUNTED = (
    *("IncludeTax", "IncludeSubscription", "IncludeRefund", "IncludeCredit", "IncludeUpfront", "IncludeRecurring"),
    *("IncludeOtherSubscription", "IncludeSupport", "IncludeDiscount"),
)


@dataclass(slots=True)
class _Notification:
    details: Json
    subscribers: list[Json]


@dataclass(slots=True)
class SimulatedBudget:
    """One budget. `mails`: what its e-mail subscribers got, as (address, text)."""

    budget: Json
    notifications: list[_Notification]
    tags: dict[str, str]
    mails: list[tuple[str, str]] = field(default_factory=list)


def apply() -> None:
    """Put all operations in place of moto's."""
    response: Any = responses.BudgetsResponse
    for operation in _OPERATIONS:
        setattr(response, operation.__name__.lstrip("_"), _served(operation))


def budgets_of(account: str) -> dict[str, SimulatedBudget]:
    """Those of an account, by name."""
    found: dict[str, SimulatedBudget] = models.budgets_backends[account]["aws"].budgets[account]  # type: ignore[assignment]  # ours stand in moto's places
    return found


def evaluate(spend: Mapping[str, tuple[Decimal, Decimal]], *, account: str) -> list[tuple[str, str]]:
    """Judge budgets by their (actual, forecast) spend and notify: (budget, notification) of those newly exceeded."""
    fired = []
    for name, (actual, forecast) in spend.items():
        held = budgets_of(account)[name]
        limit = Decimal(held.budget["BudgetLimit"]["Amount"])
        for one in held.notifications:
            value = actual if one.details["NotificationType"] == "ACTUAL" else forecast
            at = Decimal(repr(one.details["Threshold"]))
            exceeded = value > (at if one.details["ThresholdType"] == "ABSOLUTE_VALUE" else limit * at / 100)
            before, one.details["NotificationState"] = one.details["NotificationState"], "ALARM" if exceeded else "OK"
            if exceeded and before == "OK":
                text = f"{one.details['NotificationType']} {value} exceeds {at} ({one.details['ThresholdType']})"
                fired.append((name, text))
                _notify(held, one, f"AWS Budgets: {name}: {text}", account)
    return fired


def _notify(held: SimulatedBudget, notification: _Notification, text: str, account: str) -> None:
    for subscriber in notification.subscribers:
        address = subscriber["Address"]
        if subscriber["SubscriptionType"] == "EMAIL":
            held.mails.append((address, text))
            continue
        topics = sns_backends[account][address.split(":")[3]]
        # AWS drops it without a word where the topic does not let the service publish.
        if address in topics.topics and "budgets.amazonaws.com" in str(topics.topics[address]._policy_json):  # noqa: SLF001 - moto has no public way to it
            topics.publish(text, address, subject=text[:100])


def _served(operation: Any) -> Any:
    def serve(self: Any) -> str:
        return json.dumps(operation(json.loads(self.body)))

    return serve


def _create_budget(asked: Json) -> Json:
    budget, held = asked["Budget"], budgets_of(asked["AccountId"])
    if not _NAME.fullmatch(budget["BudgetName"]):
        raise _invalid("BudgetName is not valid")
    if budget["BudgetName"] in held:
        raise DuplicateRecordException("budget", budget["BudgetName"])
    made = SimulatedBudget(_whole(budget), [], {tag["Key"]: tag["Value"] for tag in asked.get("ResourceTags") or ()})
    for one in asked.get("NotificationsWithSubscribers") or ():
        _add_notification(made, one["Notification"], one["Subscribers"])
    held[budget["BudgetName"]] = made
    return {}


def _update_budget(asked: Json) -> Json:
    held = _found(asked, asked["NewBudget"]["BudgetName"])
    if asked["NewBudget"]["BudgetType"] != held.budget["BudgetType"]:
        raise _invalid("the type of a budget cannot be changed")
    held.budget = _whole(asked["NewBudget"])
    return {}


def _delete_budget(asked: Json) -> Json:
    _found(asked)
    del budgets_of(asked["AccountId"])[asked["BudgetName"]]
    return {}


def _describe_budget(asked: Json) -> Json:
    return {"Budget": _found(asked).budget}


def _describe_budgets(asked: Json) -> Json:
    return _page(asked, "Budgets", [held.budget for held in budgets_of(asked["AccountId"]).values()])


def _describe_notifications_for_budget(asked: Json) -> Json:
    return _page(asked, "Notifications", [one.details for one in _found(asked).notifications])


def _describe_subscribers_for_notification(asked: Json) -> Json:
    return _page(asked, "Subscribers", _notification(asked).subscribers)


def _create_notification(asked: Json) -> Json:
    _add_notification(_found(asked), asked["Notification"], asked["Subscribers"])
    return {}


def _update_notification(asked: Json) -> Json:
    found = _notification({**asked, "Notification": asked["OldNotification"]})
    found.details = _details(asked["NewNotification"])
    return {}


def _delete_notification(asked: Json) -> Json:
    _found(asked).notifications.remove(_notification(asked))
    return {}


def _create_subscriber(asked: Json) -> Json:
    _set_subscribers(_notification(asked), [*_notification(asked).subscribers, asked["Subscriber"]])
    return {}


def _update_subscriber(asked: Json) -> Json:
    found = _notification(asked)
    if asked["OldSubscriber"] not in found.subscribers:
        raise NotFoundException("there is no such subscriber")
    others = [one for one in found.subscribers if one != asked["OldSubscriber"]]
    _set_subscribers(found, [*others, asked["NewSubscriber"]])
    return {}


def _delete_subscriber(asked: Json) -> Json:
    found = _notification(asked)
    if asked["Subscriber"] not in found.subscribers:
        raise NotFoundException("there is no such subscriber")
    _set_subscribers(found, [one for one in found.subscribers if one != asked["Subscriber"]])
    return {}


def _tag_resource(asked: Json) -> Json:
    _by_arn(asked).tags.update({tag["Key"]: tag["Value"] for tag in asked["ResourceTags"]})
    return {}


def _untag_resource(asked: Json) -> Json:
    for key in asked["ResourceTagKeys"]:
        _by_arn(asked).tags.pop(key, None)
    return {}


def _list_tags_for_resource(asked: Json) -> Json:
    return {"ResourceTags": [{"Key": key, "Value": value} for key, value in _by_arn(asked).tags.items()]}


_OPERATIONS = (
    *(_create_budget, _update_budget, _delete_budget, _describe_budget, _describe_budgets),
    *(_describe_notifications_for_budget, _describe_subscribers_for_notification),
    *(_create_notification, _update_notification, _delete_notification),
    *(_create_subscriber, _update_subscriber, _delete_subscriber),
    *(_tag_resource, _untag_resource, _list_tags_for_resource),
)


def _whole(budget: Json) -> Json:
    """With what AWS adds by itself."""
    if "BudgetLimit" not in budget and "PlannedBudgetLimits" not in budget and "AutoAdjustData" not in budget:
        raise _invalid("one of BudgetLimit, PlannedBudgetLimits and AutoAdjustData is needed")
    if ("CostFilters" in budget or "CostTypes" in budget) and ("FilterExpression" in budget or "Metrics" in budget):
        raise _invalid("either FilterExpression and Metrics or CostFilters and CostTypes")
    whole = deepcopy(budget)
    if "BudgetLimit" in whole:
        # "1200" comes back as "1200.0", as recorded.
        amount = whole["BudgetLimit"]["Amount"]
        whole["BudgetLimit"]["Amount"] = amount if "." in amount else f"{amount}.0"
    if "Metrics" not in whole:
        counted = dict.fromkeys(_COUNTED, True) | {"UseBlended": False, "UseAmortized": False}
        whole["CostTypes"] = counted | whole.get("CostTypes", {})
    period = whole.setdefault("TimePeriod", {})
    period.setdefault("Start", 1577836800)
    period.setdefault("End", _FOREVER)
    nothing = {"Amount": "0.0", "Unit": whole.get("BudgetLimit", {}).get("Unit", "USD")}
    return {**whole, "CalculatedSpend": {"ActualSpend": nothing, "ForecastedSpend": nothing}, "LastUpdatedTime": 0}


def _add_notification(held: SimulatedBudget, notification: Json, subscribers: list[Json]) -> None:
    details = _details(notification)
    if held.budget["TimeUnit"] == "DAILY" and details["NotificationType"] == "FORECASTED":
        raise _invalid("daily budgets have no forecast")
    if any(_same(one.details, details) for one in held.notifications):
        raise DuplicateRecordException("notification", str(details))
    if len(held.notifications) == _MOST_NOTIFICATIONS:
        raise _LimitError(f"a budget has at most {_MOST_NOTIFICATIONS} notifications")
    made = _Notification(details, [])
    _set_subscribers(made, subscribers)
    held.notifications.append(made)


def _details(notification: Json) -> Json:
    return {"ThresholdType": "PERCENTAGE", **notification, "NotificationState": "OK"}


def _set_subscribers(notification: _Notification, subscribers: list[Json]) -> None:
    kinds = [one["SubscriptionType"] for one in subscribers]
    if not subscribers:
        raise _invalid("a notification needs a subscriber")
    if kinds.count("SNS") > _MOST_TOPICS or kinds.count("EMAIL") > _MOST_MAILS:
        raise _LimitError("a notification has at most one topic and ten addresses")
    if len({one["Address"] for one in subscribers}) < len(subscribers):
        raise DuplicateRecordException("subscriber", "one of them")
    notification.subscribers = list(subscribers)


def _notification(asked: Json) -> _Notification:
    for one in _found(asked).notifications:
        if _same(one.details, _details(asked["Notification"])):
            return one
    raise NotFoundException("there is no such notification")


def _same(one: Json, other: Json) -> bool:
    return {**one, "NotificationState": ""} == {**other, "NotificationState": ""}


def _found(asked: Json, name: str | None = None) -> SimulatedBudget:
    held = budgets_of(asked["AccountId"]).get(asked["BudgetName"] if name is None else name)
    if held is None:
        raise NotFoundException("the budget doesn't exist")
    return held


def _by_arn(asked: Json) -> SimulatedBudget:
    account, _, name = asked["ResourceARN"].removeprefix("arn:aws:budgets::").partition(":budget/")
    return _found({"AccountId": account, "BudgetName": name})


def _page(asked: Json, name: str, found: list[Any]) -> Json:
    first, most = int(asked.get("NextToken") or 0), int(asked.get("MaxResults") or _PAGE)
    page: Json = {name: found[first : first + most]}
    if len(found) > first + most:
        page["NextToken"] = str(first + most)
    return page


def _invalid(text: str) -> JsonRESTError:
    return JsonRESTError("InvalidParameterException", text)


class _LimitError(JsonRESTError):
    code = 400

    def __init__(self, text: str) -> None:
        super().__init__("CreationLimitExceededException", text)
