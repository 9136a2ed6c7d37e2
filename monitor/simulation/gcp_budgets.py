"""Cloud Billing budgets on loopback, with what Google adds on its own: ids, etags, defaults, numbers, another order.

Also what is asked for names: the catalog of services, and the Resource Manager for the numbers of projects.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from monitor.simulation.gcp import Call, GoogleCloud, Json, RefusedError

ACCOUNT = "0123AB-4567CD-89EF01"
SERVICES = {
    "Compute Engine": "services/6F81-5844-456A",
    "Cloud Storage": "services/95FF-2EF5-5EA1",
    "BigQuery": "services/24E6-581D-38E5",
    "Vertex AI": "services/C7E2-9256-1C43",
}
_PARENT = r"/v1/billingAccounts/([^/]+)/budgets"
_LONGEST_NAME, _MOST_CHANNELS = 60, 5
_PERIODS = ("CALENDAR_PERIOD_UNSPECIFIED", "MONTH", "QUARTER", "YEAR")
_CREDITS = (
    *("CREDIT_TYPES_TREATMENT_UNSPECIFIED", "INCLUDE_ALL_CREDITS", "EXCLUDE_ALL_CREDITS"),
    "INCLUDE_SPECIFIED_CREDITS",
)
_BASES = ("BASIS_UNSPECIFIED", "CURRENT_SPEND", "FORECASTED_SPEND")
_PARTS = ("displayName", "budgetFilter", "amount", "thresholdRules", "notificationsRule")


class BudgetService:
    """Budgets of any billing account, part of a `GoogleCloud`.

    `projects`: numbers by id. `topics`: that are there. `currency`: of the account. `changed`: called after each
    change; what it raises is answered although the change was made. `listed`: makes of a page what is answered. `sent`:
    e-mails, to whom and of which rule. `published`: messages, by topic.
    """

    def __init__(self, cloud: GoogleCloud, *, page: int = 3) -> None:
        self.page = page
        self.currency = "USD"
        self.projects = {"train": "111111111111", "serve": "222222222222", "old": "333333333333"}
        self.topics = {"projects/bill-proj/topics/budgets"}
        self.changed: Callable[[], None] = lambda: None
        self.listed: Callable[[Json], Json] = lambda answer: answer
        self.sent: list[tuple[str, str]] = []
        self.published: list[tuple[str, Json]] = []
        self._budgets: dict[str, Json] = {}
        self._told: set[tuple[str, str, str]] = set()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._cloud = cloud
        cloud.route("GET", _PARENT, self._list)
        cloud.route("POST", _PARENT, self._create)
        cloud.route("PATCH", rf"{_PARENT}/([^/]+)", self._update)
        cloud.route("GET", rf"{_PARENT}/([^/]+)", self._get)
        cloud.route("DELETE", rf"{_PARENT}/([^/]+)", self._delete)
        cloud.route("GET", r"/v1/services", self._services)
        cloud.route("GET", r"/v3/projects/([^/]+)", self._project)

    def clear(self) -> None:
        """Empty every account."""
        with self._lock:
            self._budgets.clear()
            self._told.clear()

    @property
    def budgets(self) -> list[Json]:
        """All of them, as they are kept."""
        with self._lock:
            return [copy.deepcopy(budget) for _, budget in sorted(self._budgets.items())]

    def plant(self, budget: Json, account: str = ACCOUNT) -> str:
        """As somebody else makes one; its resource name."""
        with self._lock:
            return str(self._make(account, budget)["name"])

    def spoil(self, name: str, change: Callable[[Json], Any]) -> None:
        """Somebody else changes the budget with this display name."""
        with self._lock:
            (budget,) = (one for one in self._budgets.values() if one["displayName"] == name)
            change(budget)
            _stamp(budget)

    def evaluate(self, name: str, spent: Decimal, forecast: Decimal) -> None:
        """What Google does several times a day for the budget with this display name."""
        with self._lock:
            (budget,) = (one for one in self._budgets.values() if one["displayName"] == name)
            money = budget["amount"]["specifiedAmount"]
            limit = Decimal(money.get("units", 0)) + Decimal(money.get("nanos", 0)).scaleb(-9)
            rule = budget["notificationsRule"]
            for one in budget.get("thresholdRules", ()):
                value = forecast if one["spendBasis"] == _BASES[2] else spent
                told = (budget["name"], one["spendBasis"], str(one["thresholdPercent"]))
                if value > limit * Decimal(str(one["thresholdPercent"])) and told not in self._told:
                    self._told.add(told)
                    whom = [] if rule.get("disableDefaultIamRecipients") else ["billing admins"]
                    text = f"{one['spendBasis']} {one['thresholdPercent']}"
                    self.sent += [(to, text) for to in [*whom, *rule.get("monitoringNotificationChannels", ())]]
            if rule.get("pubsubTopic"):
                message = {"budgetDisplayName": name, "costAmount": str(spent), "budgetAmount": str(limit)}
                self.published.append((rule["pubsubTopic"], message))

    def _list(self, call: Call) -> Json:
        self._need("list")
        start = int(call.query.get("pageToken") or 0)
        most = min(self.page, int(call.query.get("pageSize") or self.page))
        with self._lock:
            of_account = [one for name, one in self._budgets.items() if name.split("/")[1] == call.groups[0]]
            # Newest first, as nobody promised otherwise.
            page = of_account[::-1][start : start + most]
            answer: Json = {"budgets": [_answered(one, call) for one in page]}
            if start + most < len(of_account):
                answer["nextPageToken"] = str(start + most)
        return self.listed(answer)

    def _create(self, call: Call) -> Json:
        self._need("create")
        self._check(call.body)
        with self._lock:
            made = self._make(call.groups[0], call.body)
        self.changed()
        return _answered(made, call)

    def _update(self, call: Call) -> Json:
        self._need("update")
        with self._lock:
            budget = self._found(call)
            if call.body.get("etag") not in (None, "", budget["etag"]):
                raise RefusedError(409, "ABORTED", "the etag is not that of the budget")
            mask = [part.split(".")[0] for part in call.query["updateMask"].split(",")]
            renewed = {key: value for key, value in budget.items() if key not in mask}
            renewed |= {key: call.body[key] for key in mask if key in call.body}
            self._check(renewed)
            old, new = budget["amount"].get("specifiedAmount"), renewed["amount"].get("specifiedAmount")
            if old and new and old["currencyCode"] != new["currencyCode"]:
                raise RefusedError(400, "INVALID_ARGUMENT", "currency_code must match that of the existing budget")
            budget.clear()
            budget |= self._filled(renewed)
        self.changed()
        return _answered(budget, call)

    def _get(self, call: Call) -> Json:
        self._need("get")
        with self._lock:
            return _answered(self._found(call), call)

    def _delete(self, call: Call) -> Json:
        self._need("delete")
        with self._lock:
            del self._budgets[self._found(call)["name"]]
        self.changed()
        return {}

    def _found(self, call: Call) -> Json:
        name = f"billingAccounts/{call.groups[0]}/budgets/{call.groups[1]}"
        if name not in self._budgets:
            raise RefusedError(404, "NOT_FOUND", "Requested entity was not found.")
        return self._budgets[name]

    def _need(self, operation: str) -> None:
        self._cloud.need(f"billing.budgets.{operation}", "The caller does not have permission")

    def _make(self, account: str, budget: Json) -> Json:
        number = next(self._numbers)
        # Ids are random there: their order says nothing of who was first.
        text = hashlib.sha256(str(number).encode()).hexdigest()
        made = self._filled({**budget, "name": f"billingAccounts/{account}/budgets/{text[:8]}-{text[8:12]}"})
        self._budgets[made["name"]] = made
        return made

    def _check(self, budget: Json) -> None:
        """Raise RefusedError for what Google refuses."""
        found, told = budget.get("budgetFilter", {}), budget.get("notificationsRule", {})
        labels = found.get("labels", {})
        money = budget.get("amount", {}).get("specifiedAmount", {})
        rules = budget.get("thresholdRules", [])
        channels = told.get("monitoringNotificationChannels", [])
        unheard = told.get("disableDefaultIamRecipients") and not channels
        forecast = any(one.get("spendBasis") in (2, _BASES[2]) for one in rules)
        wrong = {
            "display_name is too long": len(budget.get("displayName", "")) > _LONGEST_NAME,
            "amount is missing": "amount" not in budget,
            "currency": money.get("currencyCode", self.currency) != self.currency,
            "too many channels": len(channels) > _MOST_CHANNELS,
            "threshold rules need e-mail": bool(rules) and unheard,
            "no forecast in a custom period": forecast and "customPeriod" in found,
            "labels": len(labels) > 1 or any(len(one) != 1 for one in labels.values()),
            "schema_version": bool(told.get("pubsubTopic")) and told.get("schemaVersion") != "1.0",
            "project": any(self._number(one) is None for one in found.get("projects", ())),
            "service": not set(found.get("services", ())) <= set(SERVICES.values()),
            "topic": bool(told.get("pubsubTopic")) and told["pubsubTopic"] not in self.topics,
        }
        if told.get("pubsubTopic"):
            self._cloud.need("pubsub.topics.setIamPolicy", "The caller does not have permission on the topic")
        if reasons := [reason for reason, holds in wrong.items() if holds]:
            raise RefusedError(400, "INVALID_ARGUMENT", f"Request contains an invalid argument: {reasons[0]}")

    def _number(self, name: str) -> str | None:
        project = name.removeprefix("projects/")
        known = project in self.projects.values()
        return name if known else f"projects/{self.projects[project]}" if project in self.projects else None

    def _filled(self, budget: Json) -> Json:
        """As it is kept: defaults in it, ids of projects as numbers, lists in another order."""
        kept: Json = {"name": budget["name"], **{key: copy.deepcopy(budget[key]) for key in _PARTS if key in budget}}
        found = kept.setdefault("budgetFilter", {})
        found["creditTypesTreatment"] = _spelt(_CREDITS, found.get("creditTypesTreatment"), 1)
        if "customPeriod" not in found:
            found["calendarPeriod"] = _spelt(_PERIODS, found.get("calendarPeriod"), 1)
        for key, value in list(found.items()):
            if isinstance(value, list):
                found[key] = [self._number(one) if key == "projects" else one for one in sorted(value, reverse=True)]
        for one in kept.setdefault("thresholdRules", []):
            one["spendBasis"] = _spelt(_BASES, one.get("spendBasis"), 1)
        kept["thresholdRules"].sort(key=lambda one: (one["spendBasis"], -Decimal(str(one["thresholdPercent"]))))
        told = kept.setdefault("notificationsRule", {})
        told["monitoringNotificationChannels"] = sorted(told.get("monitoringNotificationChannels", ()), reverse=True)
        told.setdefault("schemaVersion", "1.0")
        kept["ownershipScope"] = "ALL_USERS"
        return _stamp(kept)

    def _services(self, call: Call) -> Json:
        start, names = int(call.query.get("pageToken") or 0), sorted(SERVICES)
        page = [{"name": SERVICES[name], "displayName": name} for name in names[start : start + self.page]]
        more = {"nextPageToken": str(start + self.page)} if start + self.page < len(names) else {}
        return {"services": page, **more}

    def _project(self, call: Call) -> Json:
        (project,) = call.groups
        refusal = f"The caller does not have permission resourcemanager.projects.get on {project}"
        self._cloud.need("resourcemanager.projects.get", refusal)
        if project not in self.projects:
            # To whom it does not exist, Google says the same as to whom may not see it.
            raise RefusedError(403, "PERMISSION_DENIED", refusal)
        return {"name": f"projects/{self.projects[project]}", "projectId": project, "state": "ACTIVE"}


def _spelt(words: tuple[str, ...], value: Any, default: int) -> str:
    """However it came: as a number, as a word, or not at all."""
    word = words[value] if isinstance(value, int) else value or words[0]
    return words[default] if word == words[0] else str(word)


def _stamp(budget: Json) -> Json:
    text = json.dumps({key: value for key, value in budget.items() if key != "etag"}, sort_keys=True)
    budget["etag"] = hashlib.sha256(f"{text} {budget.get('etag')}".encode()).hexdigest()[:16]
    return budget


def _answered(budget: Json, call: Call) -> Json:
    """As it goes out: enumerations as numbers for whom asks so."""
    answer = copy.deepcopy(budget)
    if "enum-encoding=int" in call.query.get("$alt", ""):
        found = answer["budgetFilter"]
        found["creditTypesTreatment"] = _CREDITS.index(found["creditTypesTreatment"])
        if "calendarPeriod" in found:
            found["calendarPeriod"] = _PERIODS.index(found["calendarPeriod"])
        for one in answer["thresholdRules"]:
            one["spendBasis"] = _BASES.index(one["spendBasis"])
        answer["ownershipScope"] = 1
    return answer
