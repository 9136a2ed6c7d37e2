"""One cloud with many accounts, in a process of its own, that takes 100 ms for each request.

`python -m benchmarks.cloud_servers CLOUD ACCOUNTS DIRECTORY` prints {"environment", "source"}: variables of its
clients, and the table of the source that reads it. For each instant on standard input it bills what each account used
until then, and prints {"calls"}: how many requests came since the last time.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from monitor.simulation.azure import AzureCloud, Reply
from monitor.simulation.bigquery import BigQueryService
from monitor.simulation.billing_export import ExportLine
from monitor.simulation.gcp import GoogleCloud
from tests.fakes.cloudwatch_indexed import IndexedCloudWatch

T = TypeVar("T")

LATENCY_S = 0.1
START = datetime(2026, 10, 1, tzinfo=UTC)
_MONTH = datetime(2026, 11, 1, tzinfo=UTC)
_EVERY = timedelta(hours=4)
_DAY = timedelta(days=1)
TABLE = "bill-proj.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"
# So many lines of the export stand for one here where bytes are billed: ten SKUs by the hour.
_LINES_PER_DAY = 240
SCOPES = {
    True: "/subscriptions/00000000-0000-0000-0000-000000000000",
    False: "/providers/Microsoft.Management/managementGroups/training",
}


def _slowly(answer: Callable[[], T]) -> T:
    """100 ms in all, its own work included."""
    start = time.perf_counter()
    try:
        return answer()
    finally:
        threading.Event().wait(max(0.0, LATENCY_S - (time.perf_counter() - start)))


class _SlowCloudWatch(IndexedCloudWatch):
    calls = 0

    def answer(self, operation: str, request: dict[str, Any]) -> Any:
        self.calls += 1
        return _slowly(lambda: super(_SlowCloudWatch, self).answer(operation, request))


class _SlowGoogle(GoogleCloud):
    def answer(self, method: str, target: str, authorization: str, body: bytes) -> Any:
        return _slowly(lambda: super(_SlowGoogle, self).answer(method, target, authorization, body))


class _SlowAzure(AzureCloud):
    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return _slowly(lambda: super(_SlowAzure, self).reply(method, target, headers, body))


def _aws(accounts: int) -> None:
    with _SlowCloudWatch() as cloud:
        _say({"environment": cloud.environment, "source": 'type = "aws_cloudwatch"\nby = ["account"]'})
        at = _MONTH
        for until in _instants():
            while at + _EVERY <= until:
                at += _EVERY
                hours = (at - _MONTH) // timedelta(hours=1)
                for number in range(accounts):
                    cloud.publish(at, Decimal(hours), account=f"{number:012}")
                cloud.publish(at, Decimal(hours * accounts))
            _say({"calls": cloud.calls})
            cloud.calls = 0


def _gcp(accounts: int, directory: Path) -> None:
    with _SlowGoogle() as cloud:
        bigquery = BigQueryService(cloud)
        bigquery.weight = _LINES_PER_DAY
        bigquery.create_table(TABLE)
        _say(
            {
                "environment": cloud.environment(directory),
                "source": f'type = "gcp_billing_export"\ntable = "{TABLE}"\nby = ["account"]',
            }
        )
        at = START
        for until in _instants():
            lines = []
            while at < until:
                end = min(at + _DAY, until)
                lines.append(ExportLine(at, "24", end=end, project="p0", exported_at=end, loaded=until))
                at = end
            if lines:
                _load(bigquery, lines, accounts)
            _say({"calls": len(cloud.calls)})
            cloud.calls.clear()


def _load(bigquery: BigQueryService, lines: list[ExportLine], accounts: int) -> None:
    """These lines of the first account, and the same of every other: row by row that would take minutes."""
    bigquery.load(TABLE, lines)
    new = ", ".join(f"'{line.start:%F %T}'" for line in lines)
    other = "{{'id': 'p' || n, 'number': '1', 'name': 'p' || n, 'labels': []}}"
    bigquery.execute(
        TABLE,
        f"INSERT INTO {{table}} SELECT t.* REPLACE ({other} AS project) FROM {{table}} t, range(1, {accounts}) r(n) "  # noqa: S608 - numbers and instants of ours
        f"WHERE t.project.id = 'p0' AND t.usage_start_time IN ({new})",
    )


def _azure(accounts: int, directory: Path) -> None:
    with _SlowAzure(directory) as cloud:
        scope = SCOPES[accounts == 1]
        by = 'by = ["account"]'
        source = f'type = "azure_cost"\nscope = "{scope}"\nendpoint_url = "{cloud.url}"\n{by}'
        _say({"environment": cloud.environment, "source": source})
        at = START
        for until in _instants():
            while at < until:
                end = min(at + _DAY, until)
                for number in range(accounts):
                    subscription = f"00000000-0000-0000-0000-{number:012}"
                    cloud.bill(at.date(), "Virtual Machines", "24", subscription=subscription)
                at = end
            _say({"calls": len(cloud.asked)})
            cloud.asked.clear()


def _instants() -> Any:
    return (datetime.fromisoformat(line.strip()) for line in sys.stdin)


def _say(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    # Headers and body are written one after the other, and must not wait for each other.
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    _number, _directory = int(sys.argv[2]), Path(sys.argv[3])
    {
        "aws": lambda: _aws(_number),
        "gcp": lambda: _gcp(_number, _directory),
        "azure": lambda: _azure(_number, _directory),
    }[sys.argv[1]]()
