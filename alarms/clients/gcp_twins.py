"""Budgets of Cloud Billing as plain fields, named as Google names them, and back. Pure: no call is made here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from alarms.money import plain
from alarms.twins import Twin, Value, slug, value_text

BUDGET = "budget"
RULE = "thresholdRule "
LABEL = "label "
# The value of a rule; there is nothing to say of one but that it is there.
SET = "yes"
LAST_PERIOD = "what the last period cost"
_LONGEST, _HASH = 60, 8
_NANOS = 9
_OWN_MARK = re.compile(rf"(.*) #([0-9a-f]{{{_HASH}}})", re.DOTALL)
# Names that Google keeps as they are, whatever it trims or counts.
_USUAL = re.compile(r"[A-Za-z0-9_.@+:/-](?:[A-Za-z0-9 _.@+:/-]*[A-Za-z0-9_.@+:/-])?", re.ASCII)
_DIGITS = 15
_UNSPECIFIED = "UNSPECIFIED"
_BASIS, _CREDITS = "CURRENT_SPEND", "INCLUDE_ALL_CREDITS"


def budget_name(prefix: str, budget: str) -> str:
    """The display name of the twin. It ends with a mark of its own: budgets have neither tags nor unique names."""
    room = _LONGEST - len(prefix) - 1 - len(" #") - _HASH
    shown = _shown(budget, room)
    return f"{prefix}/{shown} #{_mark(prefix, shown)}"


def shown_in(prefix: str, display_name: str) -> str | None:
    """The budget that such a name was made of, or how it was shortened; None: it is not a name of ours."""
    found = _OWN_MARK.fullmatch(display_name)
    if found is None or not found[1].startswith(f"{prefix}/"):
        return None
    shown = found[1].removeprefix(f"{prefix}/")
    return shown if found[2] == _mark(prefix, shown) else None


def rule(basis: str, ratio: Decimal) -> str:
    """The field of a threshold. `ratio`: 0.8 is 80 %."""
    return f"{RULE}{basis} {plain(ratio)}"


def fields_of(budget: Any) -> dict[str, Value]:
    """A budget (of the protocol itself) as it is. What Google fills in by itself is as if it had been said."""
    fields: dict[str, Value] = {"amount": _amount(budget.amount), **_filter(budget.budget_filter)}
    for one in budget.threshold_rules:
        basis = _word(one, "spend_basis") or _BASIS
        fields[rule(basis, Decimal(repr(one.threshold_percent)))] = SET
    told = budget.notifications_rule
    fields["pubsubTopic"] = told.pubsub_topic
    # Some answers have it without a topic, where it means nothing.
    fields["schemaVersion"] = told.schema_version if told.pubsub_topic else ""
    fields["monitoringNotificationChannels"] = tuple(sorted(set(told.monitoring_notification_channels)))
    fields["disableDefaultIamRecipients"] = "true" if told.disable_default_iam_recipients else "false"
    fields["enableProjectLevelRecipients"] = "true" if told.enable_project_level_recipients else "false"
    return {name: value for name, value in fields.items() if value}


def message_of(twin: Twin) -> dict[str, Any]:
    """The budget as JSON, for its `from_json`; what is not among the fields is left to Google."""
    fields = twin.fields
    amount, _, currency = value_text(fields["amount"]).partition(" ")
    whole, _, part = amount.partition(".")
    rules = [name.removeprefix(RULE).split(" ") for name in sorted(fields) if name.startswith(RULE)]
    return {
        "displayName": twin.name,
        "amount": {
            "specifiedAmount": {"currencyCode": currency, "units": whole, "nanos": int(part.ljust(_NANOS, "0") or 0)}
        },
        "budgetFilter": _filter_message(fields),
        # Texts are numbers too in the JSON of protocol buffers: no digit is lost on the way.
        "thresholdRules": [{"spendBasis": basis, "thresholdPercent": ratio} for basis, ratio in rules],
        "notificationsRule": {
            "pubsubTopic": fields.get("pubsubTopic", ""),
            "schemaVersion": fields.get("schemaVersion", ""),
            "monitoringNotificationChannels": list(fields.get("monitoringNotificationChannels", ())),
            "disableDefaultIamRecipients": fields["disableDefaultIamRecipients"] == "true",
            "enableProjectLevelRecipients": fields["enableProjectLevelRecipients"] == "true",
        },
    }


def text_of(twin: Twin) -> str:
    """The same as text."""
    return json.dumps(message_of(twin))


def _shown(budget: str, room: int) -> str:
    """What does not fit as it stands is shortened, that of one of many accounts (`training/project`) from there on."""
    if _USUAL.fullmatch(budget) and len(budget) <= room:
        return budget
    base, _, account = budget.rpartition("/")
    left = room - len(base) - 1
    if _USUAL.fullmatch(base) and left > _HASH:
        return f"{base}/{_short(account, left)}"
    return _short(budget, room)


def _short(text: str, room: int) -> str:
    # The line's end is no usual character: there is always a mark of what it was.
    return slug(f"{text}\n", room)


def _mark(prefix: str, shown: str) -> str:
    return hashlib.sha256(f"{prefix}/{shown}".encode()).hexdigest()[:_HASH]


def _amount(amount: Any) -> str:
    if amount.HasField("last_period_amount"):
        return LAST_PERIOD
    money = amount.specified_amount
    return f"{plain(Decimal(money.units) + Decimal(money.nanos).scaleb(-_NANOS))} {money.currency_code}"


def _filter(found: Any) -> dict[str, Value]:
    fields: dict[str, Value] = {
        name: tuple(sorted(set(getattr(found, attribute))))
        for name, attribute in (
            ("projects", "projects"),
            ("resourceAncestors", "resource_ancestors"),
            ("services", "services"),
            ("subaccounts", "subaccounts"),
            ("creditTypes", "credit_types"),
        )
    }
    fields["creditTypesTreatment"] = _word(found, "credit_types_treatment") or _CREDITS
    if found.HasField("custom_period"):
        period = found.custom_period
        fields["startDate"], fields["endDate"] = _day(period.start_date), _day(period.end_date)
    else:
        fields["calendarPeriod"] = _word(found, "calendar_period") or "MONTH"
    for key, values in found.labels.items():
        fields[f"{LABEL}{key}"] = tuple(sorted(str(value) for value in values))
    return fields


def _filter_message(fields: Mapping[str, Value]) -> dict[str, Any]:
    lists = ("projects", "resourceAncestors", "services", "subaccounts", "creditTypes")
    message: dict[str, Any] = {name: list(fields[name]) for name in lists if fields.get(name)}
    message["creditTypesTreatment"] = fields["creditTypesTreatment"]
    labels = {name.removeprefix(LABEL): list(value) for name, value in fields.items() if name.startswith(LABEL)}
    if labels:
        message["labels"] = labels
    if "calendarPeriod" in fields:
        return {**message, "calendarPeriod": fields["calendarPeriod"]}
    days = {"startDate": fields.get("startDate"), "endDate": fields.get("endDate")}
    return {**message, "customPeriod": {name: _day_message(value_text(day)) for name, day in days.items() if day}}


def _word(message: Any, field: str) -> str:
    """Of an enumeration; "" for none. One that is newer than our package is a number."""
    number = getattr(message, field)
    known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    name = str(number) if known is None else str(known.name)
    return "" if _UNSPECIFIED in name else name


def _day(date: Any) -> str:
    return f"{date.year:04}-{date.month:02}-{date.day:02}" if date.year else ""


def _day_message(text: str) -> dict[str, int]:
    year, month, day = map(int, text.split("-"))
    return {"year": year, "month": month, "day": day}
