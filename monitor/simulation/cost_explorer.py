"""A Cost Explorer on loopback: GetCostAndUsage over rows that are billed by hand, grouped and filtered as AWS does it.

moto has only answers that were put there beforehand. This speaks what boto3 sends, AWS JSON 1.1, and refuses what AWS
refuses: more than two groups, a start that is not before the end or lies in the future, an end beyond the month, days
of more than 13 months before the running one.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TARGET = "AWSInsightsIndexService."
_LARGEST = 1_000_000
_MOST_GROUPS = 2
_KEPT_MONTHS = 13
_DAY = timedelta(days=1)
_DIMENSIONS = {"SERVICE", "LINKED_ACCOUNT", "RECORD_TYPE", "REGION", "USAGE_TYPE"}


@dataclass(frozen=True, slots=True)
class Billed:
    """A line of the bill, booked on a UTC day."""

    day: date
    cost: Decimal
    dimensions: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer."""

    code: str
    status: int = 400
    headers: Mapping[str, str] = field(default_factory=dict)


# Changes the answer to a request, refuses it, or lets it pass (None).
Fault = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | Refusal | None]


class CostExplorer:
    """Use as a context: it is then served on a free port of 127.0.0.1.

    `today`: later days have nothing yet. `published`: the newest day that it shows anything of, None for all.
    `final`: days before this one are estimated no more. `activated`: the tags that costs can be told by. `page_size`:
    groups on a page. `operations` and `requests`: what was asked. `faults` happen to the next answers, one each,
    `every_time` to all of them.
    """

    def __init__(self, today: date, *, page_size: int = 5000) -> None:
        self.today = today
        self.published: date | None = None
        self.final = today.replace(day=1)
        self.activated: set[str] = set()
        self.page_size = page_size
        self.lines: list[Billed] = []
        self.operations: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.faults: deque[Fault] = deque()
        self.every_time: list[Fault] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """With this any AWS tool asks here for costs; it goes beside the variables of an `AwsAccount`."""
        return {"AWS_ENDPOINT_URL_COST_EXPLORER": self.url}

    def bill(
        self,
        day: date,
        cost: Decimal | str,
        *,
        service: str = "Amazon Elastic Compute Cloud - Compute",
        account: str = "123456789012",
        record_type: str = "Usage",
        tags: Mapping[str, str] | None = None,
        currency: str = "USD",
    ) -> None:
        """Book a line. What has no tag has none; `record_type` Credit and Refund are below zero."""
        dimensions = {"SERVICE": service, "LINKED_ACCOUNT": account, "RECORD_TYPE": record_type}
        self.lines.append(Billed(day, Decimal(cost), dimensions, dict(tags or {}), currency))

    def answer(self, target: str, request: dict[str, Any]) -> dict[str, Any] | Refusal:
        """What the service says to one request."""
        operation = target.removeprefix(TARGET)
        self.operations[operation] += 1
        self.requests.append(request)
        if operation != "GetCostAndUsage":
            return Refusal("UnknownOperationException")
        answer = self._cost_and_usage(request)
        for fault in [*([self.faults.popleft()] if self.faults else []), *self.every_time]:
            if isinstance(answer, Refusal):
                break
            answer = fault(request, answer) or answer
        return answer

    def _cost_and_usage(self, request: dict[str, Any]) -> dict[str, Any] | Refusal:
        start, end = (date.fromisoformat(request["TimePeriod"][key]) for key in ("Start", "End"))
        groups = request.get("GroupBy", [])
        if refusal := self._refuse(request, start, end, groups):
            return refusal
        days = [start + number * _DAY for number in range((end - start).days)]
        found = self._grouped(request.get("Filter"), groups, set(days))
        # What goes on a page: a day with some of its groups, or without any.
        units: list[tuple[date, tuple[str, ...] | None]] = []
        for day in days:
            keys: list[tuple[str, ...]] = sorted(key for at, key in found if at == day)
            units += [(day, key) for key in keys] if keys else [(day, None)]
        token = request.get("NextPageToken")
        place = 0 if token is None else _place(token, request)
        if place is None:
            return Refusal("RequestChangedException")
        page = units[place : place + self.page_size]
        answer: dict[str, Any] = {
            "GroupDefinitions": groups,
            "ResultsByTime": [self._result(day, page, found) for day in sorted({day for day, _ in page})],
            "DimensionValueAttributes": [],
        }
        if place + self.page_size < len(units):
            answer["NextPageToken"] = f"{place + self.page_size}/{_fingerprint(request)}"
        return answer

    def _refuse(
        self, request: dict[str, Any], start: date, end: date, groups: Sequence[Mapping[str, str]]
    ) -> Refusal | None:
        month = self.today.year * 12 + self.today.month - 1 - _KEPT_MONTHS
        oldest = date(month // 12, month % 12 + 1, 1)
        next_month = (self.today.replace(day=1) + 31 * _DAY).replace(day=1)
        wrong = (
            start >= end,
            start > self.today,
            start < oldest,
            end > next_month,
            request["Granularity"] != "DAILY",
            request["Metrics"] != ["UnblendedCost"],
            not 1 <= len(groups) <= _MOST_GROUPS,
            any(one["Type"] == "DIMENSION" and one["Key"] not in _DIMENSIONS for one in groups),
        )
        return Refusal("ValidationException") if any(wrong) else None

    def _grouped(
        self, expression: Mapping[str, Any] | None, groups: Sequence[Mapping[str, str]], days: set[date]
    ) -> dict[tuple[date, tuple[str, ...]], tuple[Decimal, str]]:
        newest = min(self.today, self.published or self.today)
        found: dict[tuple[date, tuple[str, ...]], tuple[Decimal, str]] = {}
        for line in self.lines:
            if line.day in days and line.day <= newest and (expression is None or self._matches(line, expression)):
                keys = (line.day, tuple(self._key(line, group) for group in groups))
                known, _ = found.get(keys, (Decimal(0), ""))
                found[keys] = (known + line.cost, line.currency)
        return found

    def _key(self, line: Billed, group: Mapping[str, str]) -> str:
        name = group["Key"]
        if group["Type"] == "TAG":
            return f"{name}${line.tags.get(name, '') if name in self.activated else ''}"
        return line.dimensions.get(name, f"No{name.title()}")

    def _matches(self, line: Billed, expression: Mapping[str, Any]) -> bool:
        ((kind, inside),) = expression.items()
        if kind == "Not":
            return not self._matches(line, inside)
        if kind in ("And", "Or"):
            return (all if kind == "And" else any)(self._matches(line, one) for one in inside)
        if kind == "Tags":
            return line.tags.get(inside["Key"], "") in inside["Values"] and inside["Key"] in self.activated
        return line.dimensions.get(inside["Key"]) in inside["Values"]

    def _result(
        self,
        day: date,
        page: Sequence[tuple[date, tuple[str, ...] | None]],
        found: Mapping[tuple[date, tuple[str, ...]], tuple[Decimal, str]],
    ) -> dict[str, Any]:
        groups = []
        for at, keys in page:
            if at == day and keys is not None:
                cost, currency = found[day, keys]
                groups.append(
                    {"Keys": list(keys), "Metrics": {"UnblendedCost": {"Amount": f"{cost}", "Unit": currency}}}
                )
        period = {"Start": day.isoformat(), "End": (day + _DAY).isoformat()}
        return {"TimePeriod": period, "Total": {}, "Groups": groups, "Estimated": day >= self.final}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _fingerprint(request: Mapping[str, Any]) -> str:
    """What must not change from page to page."""
    return json.dumps({key: value for key, value in request.items() if key != "NextPageToken"}, sort_keys=True)


def _place(token: str, request: Mapping[str, Any]) -> int | None:
    place, _, fingerprint = token.partition("/")
    return int(place) if place.isdecimal() and fingerprint == _fingerprint(request) else None


def _handler_of(owner: CostExplorer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or a body waits for the other side to acknowledge the headers

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            request = json.loads(self.rfile.read(min(length, _LARGEST)))
            answer = owner.answer(self.headers.get("X-Amz-Target") or "", request)
            status, headers, document = 200, {}, answer
            if isinstance(answer, Refusal):
                status, headers = answer.status, dict(answer.headers)
                document = {"__type": answer.code, "message": "refused"}
            body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/x-amz-json-1.1"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Stay silent: the demo prints what there is to see."""

    return Handler
