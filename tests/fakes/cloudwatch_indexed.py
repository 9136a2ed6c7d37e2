"""A small CloudWatch that serves EstimatedCharges from an index, fast enough for 20,000 metrics.

It speaks what botocore sends to CloudWatch today: AWS JSON 1.0. Pages as AWS does: 500 metrics a ListMetrics page, and
`max_points` readings a GetMetricData page, with status PartialData for what goes on in the next.

`python -m tests.fakes.cloudwatch_indexed ACCOUNTS SERVICES POINTS` serves so many from a process of its own until its
standard input ends, and prints the environment of its clients: benchmarks measure the client alone.
"""

from __future__ import annotations

import json
import sys
import threading
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Dimensions = tuple[tuple[str, str], ...]
TARGET = "GraniteServiceVersion20100801."


@dataclass(frozen=True)
class Refusal:
    """An error answer."""

    status: int
    code: str
    headers: dict[str, str] = field(default_factory=dict)


# Changes the answer to (operation, request), refuses it, or lets it pass (None).
Fault = Callable[[str, dict[str, Any], dict[str, Any]], dict[str, Any] | Refusal | None]


class IndexedCloudWatch:
    """Readings by exact set of dimensions. `answer` is the whole service; entered, it is served on loopback too."""

    def __init__(self, *, max_points: int = 100_800, page_size: int = 500) -> None:
        self.max_points = max_points
        self.page_size = page_size
        self.requests: Counter[str] = Counter()
        self.metrics_requested = 0
        self.faults: deque[Fault] = deque()
        self.every_time: list[Fault] = []
        self._points: dict[Dimensions, list[tuple[int, float]]] = {}

    def publish(
        self,
        at: datetime,
        value: Decimal | str | float,
        *,
        service: str | None = None,
        account: str | None = None,
        currency: str = "USD",
    ) -> None:
        named = {"Currency": currency, "LinkedAccount": account, "ServiceName": service}
        key = tuple(sorted((name, text) for name, text in named.items() if text))
        insort(self._points.setdefault(key, []), (int(at.timestamp()), float(value)))

    def become_another_account(self) -> None:
        """Forget what was published."""
        self._points.clear()

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any] | Refusal:
        self.requests[operation] += 1
        answer = self._list_metrics(request) if operation == "ListMetrics" else self._get_metric_data(request)
        for fault in [*([self.faults.popleft()] if self.faults else []), *self.every_time]:
            changed = fault(operation, request, answer)
            if isinstance(changed, Refusal):
                return changed
            answer = changed or answer
        return answer

    def _list_metrics(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [(f["Name"], f.get("Value")) for f in request.get("Dimensions", [])]
        keys = [
            key
            for key in self._points
            if all(any(n == name and value in (None, v) for n, v in key) for name, value in wanted)
        ]
        first = int(request.get("NextToken", 0))
        page = keys[first : first + self.page_size]
        answer: dict[str, Any] = {
            "Metrics": [
                {
                    "Namespace": "AWS/Billing",
                    "MetricName": "EstimatedCharges",
                    "Dimensions": [{"Name": n, "Value": v} for n, v in reversed(key)],
                }
                for key in page
            ]
        }
        if first + self.page_size < len(keys):
            answer["NextToken"] = str(first + self.page_size)
        return answer

    def _get_metric_data(self, request: dict[str, Any]) -> dict[str, Any]:
        queries = request["MetricDataQueries"]
        assert len(queries) <= 500
        self.metrics_requested += len(queries)
        start, end = _seconds(request["StartTime"]) // 3600 * 3600, _seconds(request["EndTime"])
        first, room, seen = int(request.get("NextToken", 0)), self.max_points, 0
        results = []
        for query in queries:
            stat = query["MetricStat"]
            assert (stat["Stat"], stat["Period"]) == ("Maximum", 3600)
            points = self._hours(stat["Metric"]["Dimensions"], start, end)
            page = points[max(0, first - seen) : max(0, first + room - seen)]
            more = seen + len(points) > first + room
            seen += len(points)
            results.append(
                {
                    "Id": query["Id"],
                    "Label": "EstimatedCharges",
                    "Timestamps": [at for at, _ in page],
                    "Values": [value for _, value in page],
                    "StatusCode": "PartialData" if more else "Complete",
                }
            )
        answer: dict[str, Any] = {"MetricDataResults": results, "Messages": []}
        if seen > first + room:
            answer["NextToken"] = str(first + room)
        return answer

    def _hours(self, dimensions: list[dict[str, str]], start: int, end: int) -> list[tuple[int, float]]:
        stored = self._points.get(tuple(sorted((d["Name"], d["Value"]) for d in dimensions)), [])
        largest: dict[int, float] = {}
        for at, value in stored[
            bisect_left(stored, (start, float("-inf"))) : bisect_left(stored, (end, float("-inf")))
        ]:
            hour = at // 3600 * 3600
            largest[hour] = max(value, largest.get(hour, value))
        return list(largest.items())

    def __enter__(self) -> Self:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                target = self.headers.get("X-Amz-Target", "")
                assert target.startswith(TARGET), "CloudWatch is expected to be asked in AWS JSON 1.0"
                answer = service.answer(target.removeprefix(TARGET), request)
                if isinstance(answer, Refusal):
                    body = {"__type": f"com.amazonaws.cloudwatch#{answer.code}", "message": "canary in the message"}
                    self._send(answer.status, body, answer.headers)
                else:
                    self._send(200, answer, {})

            def _send(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/x-amz-json-1.0"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which boto3 talks to this server and to nothing else."""
        return {
            "AWS_ENDPOINT_URL_CLOUDWATCH": self.url,
            "AWS_ACCESS_KEY_ID": "simulated",
            "AWS_SECRET_ACCESS_KEY": "canary-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


def populate(service: IndexedCloudWatch, *, accounts: int, services: int, points: int, start: datetime) -> None:
    """Publish a total, accounts and their services every four hours from `start` on; parts add up to the total."""
    for number in range(points):
        at = start + timedelta(hours=4 * (number + 1))
        for account in range(accounts):
            for index in range(services):
                cents = (number + 1) * (1 + (account * 7 + index * 13) % 997)
                service.publish(at, Decimal(cents) / 100, account=f"{account:012}", service=f"Service{index}")
            of_account = sum((number + 1) * (1 + (account * 7 + index * 13) % 997) for index in range(services))
            service.publish(at, Decimal(of_account) / 100, account=f"{account:012}")
        total = sum(
            (number + 1) * (1 + (account * 7 + index * 13) % 997)
            for account in range(accounts)
            for index in range(services)
        )
        service.publish(at, Decimal(total + 5) / 100)


def _seconds(value: float | str) -> int:
    """Timestamps come as numbers in JSON; in the in-process use of a test they are instants."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    return int(value)


if __name__ == "__main__":
    with IndexedCloudWatch() as cloudwatch:
        amounts = [int(text) for text in sys.argv[1:4]]
        populate(
            cloudwatch,
            accounts=amounts[0],
            services=amounts[1],
            points=amounts[2],
            start=datetime(2026, 11, 1, tzinfo=UTC),
        )
        print(json.dumps(cloudwatch.environment), flush=True)
        sys.stdin.read()
