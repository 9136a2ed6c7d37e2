"""Budgets of Azure Cost Management as plain fields, named as Azure names them, and back. Pure: no call is made here.

Amounts and limits are read from the text of an answer and written as text: no float comes near. Azure itself keeps
them as doubles, which hold 15 digits exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alarms.money import plain
from alarms.twins import Value, value_text

BUDGET = "budget"
NOTIFICATION = "notification "
FILTER = "filter "
TAG_FILTER = "filter tag "
# What a recurring budget says of its beginning and end: it has begun, and Azure ends it after the usual ten years.
BEGUN, OPEN = "in the past", "open"
# It cannot be changed of a budget that is there: "Please delete and create a new budget."
MADE_ANEW = frozenset(("category", "timeGrain", "startDate"))
# The months of each kind of period, and what the same is called by invoices.
GRAINS = {"Monthly": 1, "Quarterly": 3, "Annually": 12}
BILLING_GRAINS = {"BillingMonth": 1, "BillingQuarter": 3, "BillingAnnual": 12}
DIMENSIONS = ("SubscriptionId", "ServiceName", "ResourceLocation")
OPERATOR = "GreaterThanOrEqualTo"
_BY_CASE = {name.lower(): name for name in DIMENSIONS}
# Of ids and places in any case.
_CASELESS = ("SubscriptionId", "ResourceLocation")
_ACTUAL, _COST = "Actual", "Cost"
_YEARS = 10
# A budget that ends sooner has to be made anew, and one that ends by less than this too early has the usual end.
_RENEWED_BEFORE, _ABOUT = timedelta(days=31), timedelta(days=2)
_USUAL_LOCALE = "en-us"
_EMAIL, _GROUP, _ROLE = "email ", "group ", "role "
_DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Moment:
    """By which day budgets are read and written. `first_day`: of the month, of those by invoices."""

    now: datetime
    first_day: int = 1

    def period_start(self, grain: str) -> datetime:
        """When the running period of a budget began."""
        months = GRAINS.get(grain) or BILLING_GRAINS.get(grain) or 1
        day = self.first_day if grain in BILLING_GRAINS else 1
        number = self.now.year * 12 + self.now.month - 1 - (self.now.day < day)
        number -= number % months
        return datetime(number // 12, number % 12 + 1, day, tzinfo=UTC)

    def start_text(self, start: datetime, grain: str) -> str:
        """`BEGUN` if its periods are those that such a budget has if it is made today."""
        begun = Moment(start, self.first_day).period_start(grain) == start <= self.now
        return BEGUN if begun else _instant_text(start)

    def end_text(self, start: datetime, end: datetime | None) -> str:
        """`OPEN` for the end that Azure gives a budget without one, as long as it is not near."""
        usual = usual_end(start)
        last = usual if end is None else end
        return OPEN if last >= usual - _ABOUT and self.lasts(start) else f"{last.astimezone(UTC):%Y-%m-%d}"

    def lasts(self, start: datetime) -> bool:
        """Whether a budget with this start has some of its ten years left."""
        return usual_end(start) > self.now + _RENEWED_BEFORE


def usual_end(start: datetime) -> datetime:
    """Ten years on."""
    return start.replace(year=start.year + _YEARS)


def start_of(raw: Mapping[str, Any]) -> datetime:
    """When a budget as Azure tells of it starts."""
    return instant(raw["properties"]["timePeriod"]["startDate"])


def fields_of(raw: Mapping[str, Any], moment: Moment, currency: str) -> dict[str, Value]:
    """A budget as Azure tells of it. `currency`: the one it should be billed in.

    Raises AttributeError, KeyError, TypeError or ValueError for what is none.
    """
    told = raw["properties"]
    grain, period = str(told["timeGrain"]), told["timePeriod"]
    start, end = instant(period["startDate"]), period.get("endDate")
    fields: dict[str, Value] = {
        "category": str(told["category"]),
        "amount": _number(told.get("amount")),
        "timeGrain": grain,
        "startDate": moment.start_text(start, grain),
        "endDate": moment.end_text(start, None if end is None else instant(end)),
        **_filters(told.get("filter") or {}),
    }
    for key, one in (told.get("notifications") or {}).items():
        name = f"{NOTIFICATION}{one.get('thresholdType') or _ACTUAL} {one['operator']} {_number(one['threshold'])}%"
        fields[f"{name} ({key})" if name in fields else name] = _heard_by(one)
    unit = (told.get("currentSpend") or {}).get("unit") or currency
    return fields | ({"currency": unit} if unit != currency else {})


def notification_field(kind: str, percent: Decimal) -> str:
    """The field of one of ours; `kind`: Actual or Forecasted."""
    return f"{NOTIFICATION}{kind} {OPERATOR} {plain(percent)}%"


def people(mails: Iterable[str], groups: Iterable[str]) -> tuple[str, ...]:
    """The value of a notification's field. Azure takes no notice of case."""
    found = {f"{_EMAIL}{mail.lower()}" for mail in mails} | {f"{_GROUP}{group.lower()}" for group in groups}
    return tuple(sorted(found))


def notifications_in(fields: Mapping[str, Value]) -> dict[str, tuple[str, ...]]:
    """Of each notification whom it calls, and what else is special about it."""
    found = ((name, value) for name, value in fields.items() if _is_one(name, value))
    return {name.removeprefix(NOTIFICATION): tuple(value) for name, value in found}


def is_silent(heard: Iterable[str]) -> bool:
    """Whether a notification with this value calls nobody."""
    found = set(heard)
    return _DISABLED in found or not any(one.startswith((_EMAIL, _GROUP, _ROLE)) for one in found)


def accounts_in(told: Mapping[str, Any]) -> tuple[str, ...]:
    """The subscriptions that a filter names."""
    return tuple(_filters(told).get(f"{FILTER}{DIMENSIONS[0]}", ()))


def groups_in(fields: Mapping[str, Value]) -> tuple[str, ...]:
    """Every action group that a budget calls."""
    return _called(fields, _GROUP)


def mails_in(fields: Mapping[str, Value]) -> tuple[str, ...]:
    """Every address that a budget writes to."""
    return _called(fields, _EMAIL)


def argument(fields: Mapping[str, Value], start: datetime, etag: str = "") -> bytes:
    """The body of a PUT, every number of it exact. `etag`: of what it takes the place of."""
    end = value_text(fields["endDate"])
    until = usual_end(start) if end == OPEN else instant(end)
    properties: dict[str, Any] = {
        "category": fields["category"],
        "amount": Decimal(value_text(fields["amount"])),
        "timeGrain": fields["timeGrain"],
        "timePeriod": {"startDate": _wire(start), "endDate": _wire(until)},
        "notifications": dict(_notification(name, value) for name, value in fields.items() if _is_one(name, value)),
    }
    compared = [_comparison(name, value) for name, value in fields.items() if name.startswith(FILTER) and value]
    if compared:
        properties["filter"] = compared[0] if len(compared) == 1 else {"and": compared}
    return _json({"properties": properties} | ({"eTag": etag} if etag else {})).encode()


def _called(fields: Mapping[str, Value], kind: str) -> tuple[str, ...]:
    found = {
        one.removeprefix(kind)
        for name, value in fields.items()
        if _is_one(name, value)
        for one in value
        if one.startswith(kind)
    }
    return tuple(sorted(found))


def _is_one(name: str, value: Value) -> bool:
    return name.startswith(NOTIFICATION) and bool(value)


def _filters(told: Mapping[str, Any]) -> dict[str, Value]:
    """`filter ServiceName`, `filter tag team`: all of them have to hold. What has another form is shown as it came."""
    parts: Sequence[Any] = told["and"] if list(told) == ["and"] else [told] if told else []
    fields: dict[str, Value] = {}
    for part in parts:
        ((kind, one),) = part.items() if len(part) == 1 else (("", part),)
        usual = kind in ("dimensions", "tags") and one.get("operator") == "In" and len(one) == len(_PARTS)
        name = _filter_name(kind, str(one["name"])) if usual else FILTER.strip()
        values = _values(name, one["values"]) if usual else json.dumps(part, sort_keys=True, default=str)
        while name in fields:
            name += " too"
        fields[name] = values
    return fields


_PARTS = ("name", "operator", "values")


def _filter_name(kind: str, name: str) -> str:
    return f"{TAG_FILTER}{name}" if kind == "tags" else f"{FILTER}{_BY_CASE.get(name.lower(), name)}"


def filter_values(dimension: str, values: Iterable[str]) -> tuple[str, ...]:
    """The value of the field of a filter."""
    return _values(f"{FILTER}{dimension}", values)


def _values(name: str, values: Iterable[str]) -> tuple[str, ...]:
    caseless = name.removeprefix(FILTER) in _CASELESS
    return tuple(sorted({value.lower() if caseless else value for value in values}))


def _comparison(name: str, value: Value) -> dict[str, Any]:
    kind, start = ("tags", TAG_FILTER) if name.startswith(TAG_FILTER) else ("dimensions", FILTER)
    return {kind: {"name": name.removeprefix(start), "operator": "In", "values": list(value)}}


def _heard_by(one: Mapping[str, Any]) -> tuple[str, ...]:
    found = set(people(one.get("contactEmails") or (), one.get("contactGroups") or ()))
    found |= {f"{_ROLE}{role}" for role in one.get("contactRoles") or ()}
    found |= {_DISABLED} if one["enabled"] is not True else set()
    locale = str(one.get("locale") or _USUAL_LOCALE)
    found |= {f"locale {locale}"} if locale.lower() != _USUAL_LOCALE else set()
    found |= {f"frequency {one['frequency']}"} if one.get("frequency") else set()
    return tuple(sorted(found))


def _notification(name: str, value: Value) -> tuple[str, dict[str, Any]]:
    kind, operator, percent = name.removeprefix(NOTIFICATION).removesuffix("%").split(" ")
    body = {
        "enabled": True,
        "operator": operator,
        "threshold": Decimal(percent),
        "thresholdType": kind,
        "contactEmails": [one.removeprefix(_EMAIL) for one in value if one.startswith(_EMAIL)],
        "contactGroups": [one.removeprefix(_GROUP) for one in value if one.startswith(_GROUP)],
    }
    return f"{kind}_{operator}_{percent.replace('.', '_')}_Percent", body


def _number(value: Any) -> str:
    if type(value) is int:
        value = Decimal(value)
    return plain(value) if isinstance(value, Decimal) else "" if value is None else json.dumps(value)


def instant(text: str) -> datetime:
    """An instant as Azure writes it, or a day."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _instant_text(instant: datetime) -> str:
    instant = instant.astimezone(UTC)
    return f"{instant:%Y-%m-%d}" if instant.time() == datetime.min.time() else instant.isoformat()


def _wire(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _json(value: Any) -> str:
    """JSON in which a Decimal is a number with exactly its digits."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_json(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return plain(value) if isinstance(value, Decimal) else json.dumps(value)
