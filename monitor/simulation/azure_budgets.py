"""Budgets of a simulated Azure: kept, refused and told of as the real one does, with what it adds on its own.

It reorders lists, fills in defaults, keeps amounts as doubles, and lists those of the scopes inside a scope as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from monitor.clock import SystemClock
from monitor.simulation.azure_usage import QueryError

PROVIDER = "/providers/microsoft.costmanagement/budgets"
GROUPS = "/providers/microsoft.insights/actiongroups/"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)
_MONTHS = {"Monthly": 1, "Quarterly": 3, "Annually": 12, "BillingMonth": 1, "BillingQuarter": 3, "BillingAnnual": 12}
_MOST_OF_A_TYPE, _MOST_CONTACTS = 5, 50
_FARTHEST = timedelta(days=366)
_OPERATORS = ("EqualTo", "GreaterThan", "GreaterThanOrEqualTo")

Answer: TypeAlias = "tuple[int, dict[str, Any] | None]"


class Budgets:
    """`now`: its clock. `unit`: what its scopes are billed in. `page_size`: of a list.

    `held`: budgets by scope and name in lower case, as they were put, with what was added; may be changed by hand.
    `sent`: what was put.
    """

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.sent: list[bytes] = []
        self.unit = "USD"
        self.page_size = 3
        self.now: Callable[[], datetime] = SystemClock().now
        self._number = 0
        self._told: set[tuple[str, ...]] = set()

    def add_group(self, path: str, *addresses: str, enabled: bool = True) -> None:
        """Put an action group there."""
        mails = [{"name": to, "emailAddress": to, "status": "Enabled"} for to in addresses]
        told = {"enabled": enabled, "emailReceivers": mails, "smsReceivers": [], "webhookReceivers": []}
        self.groups[path.lower()] = {"id": path, "properties": told}

    def group(self, path: str) -> dict[str, Any]:
        """An action group. Raises QueryError."""
        if path.lower() not in self.groups:
            raise QueryError(404, "ResourceNotFound", "The action group was not found.")
        return self.groups[path.lower()]

    def answer(self, method: str, scope: str, name: str, body: bytes) -> Answer:
        """One request about one budget. Raises QueryError."""
        key = (scope.lower(), name.lower())
        if method == "PUT":
            self.sent.append(body)
            return self._put(key, scope, name, json.loads(body))
        if method == "DELETE":
            return (200, {}) if self.held.pop(key, None) is not None else (204, None)
        if key not in self.held:
            raise QueryError(404, "NotFound", f"Budget with name {name} does not exist.")
        return 200, told(self.held[key])

    def listed(self, scope: str, start: int) -> tuple[list[dict[str, Any]], int | None]:
        """A page of the budgets of a scope and of those in it, and where the next starts."""
        wide = not scope.lower().startswith("/subscriptions/")
        inside = [
            told(budget)
            for (of, _), budget in sorted(self.held.items(), reverse=True)
            if of == scope.lower() or of.startswith(scope.lower() + "/") or (wide and of.startswith("/subscriptions/"))
        ]
        end = start + self.page_size
        return inside[start:end], end if end < len(inside) else None

    def evaluate(self, costs: Mapping[str, tuple[Any, Any]]) -> list[tuple[str, str]]:
        """Look at budgets with this actual and forecast cost, by name: who is told what, once for each limit."""
        sent = []
        for (_, name), budget in self.held.items():
            for key, one in budget["properties"]["notifications"].items():
                actual, forecast = costs.get(name, (0, 0))
                cost = actual if one["thresholdType"] == "Actual" else forecast
                over = float(cost) >= budget["properties"]["amount"] * one["threshold"] / 100
                if over and one["enabled"] and (name, key) not in self._told:
                    self._told.add((name, key))
                    sent += [(to, f"{name} {key}") for to in (*one["contactEmails"], *one["contactGroups"])]
        return sent

    def _put(self, key: tuple[str, str], scope: str, name: str, sent: dict[str, Any]) -> Answer:
        before = self.held.get(key)
        if before is not None and sent.get("eTag") not in (None, before["eTag"]):
            raise QueryError(409, "Conflict", "The eTag does not match that of the budget.")
        properties = sent["properties"]
        _check(name, scope, properties)
        self._check_dates(properties, None if before is None else before["properties"])
        self._number += 1
        kept = {
            "id": f"{scope.strip('/')}/providers/Microsoft.CostManagement/budgets/{name}",
            "name": name,
            "type": "Microsoft.CostManagement/budgets",
            "eTag": f'"1d{self._number:013x}"',
            "properties": self._completed(properties),
        }
        self.held[key] = kept
        return (200 if before else 201), told(kept)

    def _check_dates(self, sent: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
        grain = sent["timeGrain"]
        start = datetime.fromisoformat(sent["timePeriod"]["startDate"])
        if before is not None:
            if start != datetime.fromisoformat(before["timePeriod"]["startDate"]):
                raise _bad("Start date of budgets cannot be updated. Please delete and create a new budget.")
            if grain != before["timeGrain"]:
                raise _bad("Time grain of budgets cannot be updated. Please delete and create a new budget.")
            return
        if not grain.startswith("Billing") and start.day != 1:
            raise _bad("Start date must be the first of the month.")
        now = self.now()
        months = (now.year - start.year) * 12 + now.month - start.month - (now.day < start.day)
        if months >= _MONTHS[grain]:
            raise _bad("Start date must be within the current time grain.")
        if start > now + _FARTHEST:
            raise _bad("Start date may not be more than twelve months ahead.")

    def _completed(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """With what Azure fills in."""
        start = datetime.fromisoformat(sent["timePeriod"]["startDate"])
        last = start.replace(year=start.year + 10) - timedelta(days=1)
        notifications = {
            key: {"contactRoles": [], "contactGroups": [], "thresholdType": "Actual", "locale": "en-us", **one}
            for key, one in sent["notifications"].items()
        }
        return {
            "filter": {},
            **sent,
            "amount": float(sent["amount"]),
            "timePeriod": {"endDate": f"{last.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", **sent["timePeriod"]},
            "notifications": notifications,
            "currentSpend": {"amount": 0.0, "unit": self.unit},
            "forecastSpend": {"amount": 0.0, "unit": self.unit},
        }


def told(budget: Mapping[str, Any]) -> dict[str, Any]:
    """A budget as it goes over the wire: every list the other way round."""
    turned: dict[str, Any] = _turned(budget)
    return turned


def _turned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _turned(one) for key, one in reversed(value.items())}
    return [_turned(one) for one in reversed(value)] if isinstance(value, list) else value


def _check(name: str, scope: str, sent: Mapping[str, Any]) -> None:
    if not _NAME.fullmatch(name):
        raise _bad("The name of a budget has 1 to 63 letters, digits, hyphens and underscores.")
    if sent["category"] not in ("Cost", "ReservationUtilization") or sent["timeGrain"] not in _MONTHS:
        raise _bad("Invalid category or time grain.")
    if not sent["amount"] > 0:
        raise _bad("The amount must be above 0.")
    _check_filter(sent.get("filter") or {})
    kinds = [one.get("thresholdType", "Actual") for one in sent["notifications"].values()]
    if any(kinds.count(kind) > _MOST_OF_A_TYPE for kind in kinds):
        raise _bad("A budget has up to 5 notifications of a threshold type.")
    for one in sent["notifications"].values():
        _check_notification(one, by_role=scope.lower().startswith("/subscriptions/"))


def _check_notification(one: Mapping[str, Any], *, by_role: bool) -> None:
    percent = one["threshold"]
    if one["operator"] not in _OPERATORS or one.get("thresholdType", "Actual") not in ("Actual", "Forecasted"):
        raise _bad("Invalid operator or threshold type.")
    if not 0 < percent <= 1000 or round(percent, 2) != percent:  # noqa: PLR2004 - Azure's limits
        raise _bad("A threshold is between 0 and 1000, with two decimals at most.")
    mails, groups = one["contactEmails"], one.get("contactGroups") or []
    if groups and not by_role:
        raise _bad("Contact groups are supported at subscription and resource group scopes only.")
    if not mails and not groups:
        raise _bad("A notification must have at least one contact email or contact group.")
    if len(mails) > _MOST_CONTACTS or len(groups) > _MOST_CONTACTS:
        raise _bad("A notification has 50 contacts at most.")


def _check_filter(sent: Mapping[str, Any]) -> None:
    parts = sent.get("and", [sent] if sent else [])
    if "and" in sent and len(parts) < 2:  # noqa: PLR2004 - the logic of "and"
        raise _bad("An and expression must have at least 2 items.")
    for part in parts:
        ((kind, one),) = part.items()
        if kind not in ("dimensions", "tags") or one["operator"] != "In" or not one["values"]:
            raise _bad("Invalid filter.")


def _bad(message: str) -> QueryError:
    return QueryError(400, "BadRequest", message)
