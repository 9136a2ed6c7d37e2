"""Cost Explorer's GetCostAndUsage: unblended cost by UTC day and by at most two groups, read strictly."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from alarms.clients.aws import translated
from alarms.money import to_places
from monitor.errors import AccessError, BadDataError, PermanentError, TemporaryError

# What is asked for besides days: ("DIMENSION", "SERVICE"), ("TAG", "training-run").
Group: TypeAlias = tuple[str, str]
# (day, the value of each group) -> cost
Costs: TypeAlias = dict[tuple[date, tuple[str, ...]], Decimal]

# $0.01 per request, and each page is one, https://aws.amazon.com/aws-cost-management/aws-cost-explorer/pricing
USD_PER_REQUEST = Decimal("0.01")
_METRIC = "UnblendedCost"
# More pages than the longest honest answer: they are paid for one by one.
_MOST_PAGES = 100
_DAY = timedelta(days=1)
# Enabled a moment ago, its data takes a day to be there; asking costs money.
_NOT_YET_AGAIN = timedelta(hours=1)
# AWS writes plain decimals; a small one may have an exponent.
_AMOUNT = re.compile(r"-?\d{1,15}(\.\d{1,40})?(E-\d{1,2})?", re.ASCII | re.IGNORECASE)
_CHANGED = frozenset({"InvalidNextTokenException", "RequestChangedException"})


@dataclass(slots=True)
class Answer:
    """All pages of one question. `costs` has a zero where AWS says zero; a day without any group has none."""

    costs: Costs = field(default_factory=dict)
    days: set[date] = field(default_factory=set)


class CostReader:
    """Asks through one client in one currency, for `seconds` in all.

    `requests`: how many were made, each to be paid for. `rejected`: amounts that were none.
    """

    def __init__(self, client: Any, currency: str, *, seconds: float) -> None:
        self._client = client
        self._currency = currency
        self._give_up_at = time.monotonic() + seconds
        self.requests = 0
        self.rejected = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """That some amounts were unusable, as a missing part."""
        return (f"{self.rejected} unusable amount{'s' * (self.rejected > 1)}",) if self.rejected else ()

    def read(self, first: date, end: date, groups: Sequence[Group], only: Mapping[str, Any] | None = None) -> Answer:
        """The cost of each day in [first, end) by one or two groups. `only`: an `Expression` of Cost Explorer."""
        parameters: dict[str, Any] = {
            "TimePeriod": {"Start": first.isoformat(), "End": end.isoformat()},
            "Granularity": "DAILY",
            "Metrics": [_METRIC],
            "GroupBy": [{"Type": kind, "Key": key} for kind, key in groups],
        }
        if only is not None:
            parameters["Filter"] = dict(only)
        answer = Answer()
        for page in self._pages(parameters):
            try:
                for result in page["ResultsByTime"]:
                    self._take(result, groups, answer)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise BadDataError(
                    "Cost Explorer answered GetCostAndUsage without what every answer of it has"
                ) from error
        _check_days(answer.days, first, end)
        return answer

    def _take(self, result: dict[str, Any], groups: Sequence[Group], answer: Answer) -> None:
        """One day of one page."""
        day = date.fromisoformat(result["TimePeriod"]["Start"])
        if date.fromisoformat(result["TimePeriod"]["End"]) != day + _DAY:
            raise BadDataError("Cost Explorer answered with another stretch of time than a day")
        answer.days.add(day)
        if not isinstance(result["Estimated"], bool):
            raise TypeError
        for group in result["Groups"]:
            keys = tuple(_value(key, kind) for key, kind in zip(group["Keys"], groups, strict=True))
            cost = self._cost(group["Metrics"][_METRIC])
            # A page that is served twice is one page; two amounts for the same are a contradiction.
            if cost is not None and answer.costs.setdefault((day, keys), cost) != cost:
                raise BadDataError(f"Cost Explorer answered with two different amounts for the same of {day}")

    def _cost(self, metric: dict[str, Any]) -> Decimal | None:
        # What is null does not get through the SDK.
        amount, unit = metric.get("Amount"), metric["Unit"]
        if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
            self.rejected += 1
            return None
        cost = Decimal(amount)
        if unit != self._currency and cost:
            named = unit if isinstance(unit, str) and re.fullmatch("[A-Z]{3}", unit) else "another unit"
            raise PermanentError(
                f"Cost Explorer bills in {named}, but the source is set to {self._currency}: change its currency"
            )
        return to_places(cost)

    def _pages(self, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Every page of an answer. A server that goes round in circles is caught, and the deadline kept."""
        tokens: set[str] = set()
        while len(tokens) < _MOST_PAGES:
            if time.monotonic() > self._give_up_at:
                raise TemporaryError("Cost Explorer took too long to answer all of GetCostAndUsage")
            page = self._page(parameters)
            # botocore takes an answer that was cut off, or a proxy's page, for one without content.
            if not isinstance(page.get("ResultsByTime"), list):
                raise BadDataError("what answered GetCostAndUsage was not Cost Explorer, or its answer was cut off")
            yield page
            token = page.get("NextPageToken")
            if not token:
                return
            if token in tokens:
                break
            tokens.add(token)
            parameters = {**parameters, "NextPageToken": token}
        raise BadDataError("Cost Explorer answered GetCostAndUsage with pages without end")

    def _page(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.requests += 1
        try:
            with translated():
                page: dict[str, Any] = self._client.get_cost_and_usage(**parameters)
        except (AccessError, PermanentError) as error:
            raise _explained(error) from error
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            # What botocore falls over: JSON of another shape.
            raise BadDataError(
                "what answered GetCostAndUsage was not Cost Explorer, or its answer is damaged"
            ) from error
        # Tries inside the SDK may be paid for too.
        self.requests += page.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        return page


def _explained(error: AccessError | PermanentError) -> Exception:
    """What this service's own refusals mean, beyond what any of AWS's does."""
    response = getattr(error.__cause__, "response", {})
    code = response.get("Error", {}).get("Code", "")
    if code == "DataUnavailableException":
        said = "Cost Explorer has no data for us yet: it takes up to 24 hours from when it was enabled for the account"
        return TemporaryError(said, retry_after=_NOT_YET_AGAIN)
    if code in _CHANGED:
        return TemporaryError("Cost Explorer gave up between two pages of an answer; it is asked anew")
    if isinstance(error, AccessError) and code.startswith("AccessDenied"):
        return AccessError(
            f"{error}; Cost Explorer must be enabled, IAM access to billing be activated by the root user, and a "
            "member account be let in by its payer"
        )
    return error


def _value(key: str, group: Group) -> str:
    """What stands for a group: of a tag without its key, "" for costs without it."""
    kind, name = group
    if not isinstance(key, str):
        raise TypeError
    if kind != "TAG":
        return key
    if not key.startswith(f"{name}$"):
        raise ValueError
    return key.removeprefix(f"{name}$")


def _check_days(days: set[date], first: date, end: date) -> None:
    """Every day is there, from the first on; what is to come may be left out."""
    newest = max(days, default=first)
    whole = {first + number * _DAY for number in range((newest - first).days + 1)}
    if days != whole or newest >= end:
        raise BadDataError("Cost Explorer answered GetCostAndUsage with other days than it was asked for")
