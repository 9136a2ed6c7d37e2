"""Alarms and budgets inside AWS as plain fields, named as AWS names them, and back. Pure: no call is made here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from alarms.money import parse_amount, plain
from alarms.twins import BUDGET_TAG, OWNER_TAG, Twin, Value, value_text

ALARM, BUDGET = "alarm", "budget"
NOTIFICATION = "notification "
FILTER = "filter "
TAG = f"tag {BUDGET_TAG}"
# What a recurring budget says of its beginning and end: it has begun, and AWS does not delete it some day.
BEGUN, NEVER = "in the past", "never"
# The older pages of AWS say five for a budget, newer ones ten: five are always taken.
MOST_NOTIFICATIONS = 5
# The end that AWS gives a budget without one.
_NO_END = datetime(2087, 6, 15, tzinfo=UTC)

_ALARM_TEXTS = (
    *("AlarmDescription", "Namespace", "MetricName", "Statistic", "ExtendedStatistic", "Unit", "ComparisonOperator"),
    *("TreatMissingData", "EvaluateLowSampleCountPercentile", "ThresholdMetricId"),
)
_ALARM_NUMBERS = ("Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "EvaluationInterval")
_ALARM_LISTS = ("AlarmActions", "OKActions", "InsufficientDataActions")
_ALARM_STRUCTURES = ("Metrics", "EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria", "ActionConfiguration")
# The window that an alarm has which was given none.
_SLIDING = "Sliding"

COST_TYPES = (
    *("IncludeTax", "IncludeSubscription", "IncludeRefund", "IncludeCredit", "IncludeUpfront", "IncludeRecurring"),
    *("IncludeOtherSubscription", "IncludeSupport", "IncludeDiscount", "UseBlended", "UseAmortized"),
)
# What UpdateBudget cannot be relied on to take away: such a budget is made anew.
MADE_ANEW = frozenset(
    ("BudgetType", "AutoAdjustData", "PlannedBudgetLimits", "FilterExpression", "Metrics", "BillingViewArn")
)
_PRIMARY_VIEW = "billingview/primary"


def tags_of(answer: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """A list of tags as AWS gives it."""
    return {tag["Key"]: tag["Value"] for tag in answer}


def tag_list(twin: Twin, prefix: str) -> list[dict[str, str]]:
    """Those that make it ours."""
    return [{"Key": OWNER_TAG, "Value": prefix}, {"Key": BUDGET_TAG, "Value": twin.budget}]


def alarm_twin(alarm: Mapping[str, Any], tags: Mapping[str, str]) -> Twin:
    """An alarm as DescribeAlarms tells of it."""
    fields: dict[str, Value] = {name: str(alarm.get(name) or "") for name in _ALARM_TEXTS}
    fields |= {name: _number(alarm.get(name)) for name in _ALARM_NUMBERS}
    fields |= {name: tuple(sorted(alarm.get(name) or ())) for name in _ALARM_LISTS}
    fields |= {name: _structure(alarm.get(name)) for name in _ALARM_STRUCTURES}
    fields["ActionsEnabled"] = _truth(alarm.get("ActionsEnabled"))
    fields["Dimensions"] = tuple(sorted(f"{one['Name']}={one['Value']}" for one in alarm.get("Dimensions") or ()))
    return _twin(ALARM, alarm["AlarmName"], fields, tags)


def alarm_arguments(twin: Twin) -> dict[str, Any]:
    """Those of PutMetricAlarm, without tags."""
    fields = twin.fields
    given: dict[str, Any] = {name: fields[name] for name in _ALARM_TEXTS if fields.get(name)}
    given |= {name: int(value_text(fields[name])) for name in _ALARM_NUMBERS[:3] if fields.get(name)}
    # AWS takes a double; the shortest text of it that stands for this amount is this amount.
    given["Threshold"] = Decimal(value_text(fields["Threshold"]))
    given |= {name: list(fields[name]) for name in _ALARM_LISTS if fields.get(name)}
    pairs = (text.partition("=") for text in fields["Dimensions"])
    given["Dimensions"] = [{"Name": name, "Value": value} for name, _, value in pairs]
    return {**given, "AlarmName": twin.name, "ActionsEnabled": fields["ActionsEnabled"] == "true"}


def budget_twin(
    budget: Mapping[str, Any],
    notifications: Mapping[str, tuple[str, ...]],
    tags: Mapping[str, str],
    now: datetime,
) -> Twin:
    """A budget as DescribeBudgets tells of it; `notifications`: the subscribers of each, by `notification_name`."""
    limit, period = budget.get("BudgetLimit") or {}, budget.get("TimePeriod") or {}
    fields: dict[str, Value] = {
        "BudgetType": budget["BudgetType"],
        "TimeUnit": budget["TimeUnit"],
        "BudgetLimit": f"{_amount(limit.get('Amount', ''))} {limit.get('Unit', '')}".strip(),
        **_time_period(budget["TimeUnit"], period, now),
        **{name: _structure(budget.get(name)) for name in ("AutoAdjustData", "PlannedBudgetLimits")},
        "BillingViewArn": _view(str(budget.get("BillingViewArn") or "")),
    }
    fields |= {
        f"{FILTER}{name}": tuple(sorted(set(found))) for name, found in (budget.get("CostFilters") or {}).items()
    }
    if "CostTypes" in budget:
        fields |= {name: _truth(budget["CostTypes"].get(name)) for name in COST_TYPES}
    else:  # it was remade in the other way that AWS has to say what counts
        fields |= {name: _structure(budget.get(name)) for name in ("FilterExpression", "Metrics")}
    fields |= {f"{NOTIFICATION}{name}": subscribers for name, subscribers in notifications.items()}
    return _twin(BUDGET, budget["BudgetName"], fields, tags)


def budget_argument(twin: Twin, now: datetime) -> dict[str, Any]:
    """The budget of CreateBudget and UpdateBudget."""
    fields = twin.fields
    amount, _, unit = value_text(fields["BudgetLimit"]).partition(" ")
    start = value_text(fields["Start"])
    period = {"Start": datetime(now.year, 1, 1, tzinfo=UTC) if start == BEGUN else _day(start)}
    end = value_text(fields["End"])
    period["End"] = _NO_END if end == NEVER else _day(end)
    return {
        "BudgetName": twin.name,
        "BudgetType": fields["BudgetType"],
        "TimeUnit": fields["TimeUnit"],
        "BudgetLimit": {"Amount": amount, "Unit": unit},
        "TimePeriod": period,
        "CostTypes": {name: fields[name] == "true" for name in COST_TYPES},
        "CostFilters": {
            name.removeprefix(FILTER): list(found)
            for name, found in fields.items()
            if name.startswith(FILTER) and found
        },
    }


def notifications_in(twin: Twin) -> dict[str, tuple[str, ...]]:
    """The subscribers of each notification of a budget, by `notification_name`."""
    return {
        name.removeprefix(NOTIFICATION): tuple(found)
        for name, found in twin.fields.items()
        if name.startswith(NOTIFICATION) and found
    }


def notification_name(notification: Mapping[str, Any]) -> str:
    """`ACTUAL GREATER_THAN 80 PERCENTAGE`."""
    kind = notification.get("ThresholdType") or "PERCENTAGE"
    operator, threshold = notification["ComparisonOperator"], _number(notification["Threshold"])
    return f"{notification['NotificationType']} {operator} {threshold} {kind}"


def notification_argument(name: str) -> dict[str, Any]:
    """The other way."""
    kind, operator, threshold, unit = name.split(" ")
    return {
        "NotificationType": kind,
        "ComparisonOperator": operator,
        "Threshold": Decimal(threshold),
        "ThresholdType": unit,
    }


def subscriber_text(subscriber: Mapping[str, str]) -> str:
    """`EMAIL ml-leads@example.com`, `SNS arn:…`."""
    return f"{subscriber['SubscriptionType']} {subscriber['Address']}"


def subscriber_argument(text: str) -> dict[str, str]:
    """The other way."""
    kind, _, address = text.partition(" ")
    return {"SubscriptionType": kind, "Address": address}


def _twin(kind: str, name: str, fields: dict[str, Value], tags: Mapping[str, str]) -> Twin:
    budget = tags.get(BUDGET_TAG, "")
    named = {field: value for field, value in fields.items() if value}
    return Twin(kind, name, budget or name.split("/")[1], {**named, TAG: budget})


def _number(value: Any) -> str:
    if value is None:
        return ""
    number = Decimal(repr(value))
    return plain(number) if number.is_finite() else str(number)


def _truth(value: Any) -> str:
    return "true" if value else "false"


def _structure(value: Any) -> str:
    if not value or (isinstance(value, dict) and any(name.startswith(_SLIDING) for name in value)):
        return ""
    return json.dumps(value, sort_keys=True, default=str)


def _amount(text: str) -> str:
    try:
        return plain(parse_amount(text))
    except ValueError:
        return text  # somebody wrote another form of a number into it: it differs


def _time_period(unit: str, period: Mapping[str, datetime], now: datetime) -> dict[str, Value]:
    start, end = period.get("Start"), period.get("End")
    begun = start is None or (unit != "CUSTOM" and start <= now)
    return {
        "Start": BEGUN if begun or start is None else _day_text(start),
        "End": NEVER if end is None or end >= _NO_END else _day_text(end),
    }


def _day_text(instant: datetime) -> str:
    instant = instant.astimezone(UTC)
    return instant.date().isoformat() if instant.time() == datetime.min.time() else instant.isoformat()


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _view(arn: str) -> str:
    return "" if arn.endswith(_PRIMARY_VIEW) else arn
