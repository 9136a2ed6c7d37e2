"""`turn`: the CPU of one whole turn over many accounts, against boto3 that makes the same calls and nothing else.

CloudWatch is a process of its own, and so are both contenders; what is counted is the CPU (user and system, all
threads) between the start and the end of a turn, not starting Python.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Comparison, Report, Worker, environment, interleaved

TARGET = 1.5
_START = datetime(2026, 11, 1, tzinfo=UTC)
_EVERY = timedelta(hours=4)
_DAYS = 19
# Days that are taken in at once while the month is filled.
_STEP = 6
_PER_DAY = 6
_QUERIES = 500
_CONFIG = """\
[monitor]
state_dir = "state"

[[sources]]
name = "aws"
type = "aws_cloudwatch"
every = "1h"
by = ["service", "account"]
backfill = "1d"

[[budgets]]
name = "everything"
amount = "1000000000"
currency = "USD"
period = "month"
{thresholds}

[[budgets]]
name = "each"
amount = "1000000000"
currency = "USD"
period = "month"
each = "account"
{thresholds}

[[budgets]]
name = "services"
amount = "1000000000"
currency = "USD"
period = "month"
scope = {{ service = ["Service1", "Service2", "Service3"] }}
{thresholds}
"""
_THRESHOLDS = """\
thresholds = [
  { on = "actual", at = "80%", severity = "warning" },
  { on = "actual", at = "100%", severity = "critical" },
]"""


def run(*, quick: bool) -> Report:
    """One turn every four hours late in a month that is in the ledger, with one new reading of each series a turn."""
    accounts, services, days, rounds = (3, 2, 3, 2) if quick else (1000, 20, _DAYS, 5)
    points = (days + 3) * _PER_DAY
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as directory:
        cloudwatch = Worker(
            "tests.fakes.cloudwatch_indexed", str(accounts), str(services), str(points), environment=environment()
        )
        with cloudwatch:
            aws = environment(**cloudwatch.said())
            monitor = Worker(__name__, "turn", directory, environment=aws)
            reference = Worker(__name__, "reference", environment=aws)
            with monitor, reference:
                return _compare(monitor, reference, days, rounds)


def _compare(monitor: Worker, reference: Worker, days: int, rounds: int) -> Report:
    for day in range(1, days + 1, _STEP):
        monitor.ask((_START + timedelta(days=day)).isoformat())
    now = _START + timedelta(days=days)
    calls: dict[str, int] = {}
    charges = 0

    def turn() -> float:
        nonlocal now, charges
        now += _EVERY
        answer = monitor.ask(now.isoformat())
        calls["monitor"], charges = answer["calls"], answer["charges"]
        return float(answer["cpu_s"])

    def same_calls() -> float:
        # What `turn` has just read: from what was a day old the turn before.
        answer = reference.ask(json.dumps([(now - _EVERY - timedelta(days=1)).isoformat(), now.isoformat()]))
        calls["boto3"] = answer["calls"]
        return float(answer["cpu_s"])

    samples = interleaved({"turn": turn, "reference": same_calls}, rounds)
    if calls["monitor"] != calls["boto3"]:
        raise RuntimeError(f"these are not the same calls: {calls}")
    note = f"turn: {calls['boto3']} calls a turn; {charges} charges of a month whose first {days} days are stored."
    comparison = Comparison("turn", "boto3, same calls", "s CPU", samples["turn"], samples["reference"], TARGET)
    return Report([comparison], [note])


def _turns(directory: Path) -> None:
    """Be the monitor: for each instant on standard input, one turn as of then."""
    from monitor import garbage
    from monitor.app import App
    from monitor.clock import FixedClock
    from monitor.config import load
    from monitor.store import facts
    from monitor.store.database import open_store

    path = directory / "config.toml"
    path.write_text(_CONFIG.format(thresholds=_THRESHOLDS), encoding="utf-8")
    path.chmod(0o600)
    config = load(path)
    calls = 0
    garbage.look_less_often()  # as every command does that reads bills
    with open_store(directory / "state") as store:
        app = App(config, store, FixedClock(_START))
        for line in sys.stdin:
            start = time.process_time()
            report = app.turn(datetime.fromisoformat(line.strip()), everything=True)
            spent = time.process_time() - start
            seen = report.sources["aws"]
            if not seen.ok:
                raise RuntimeError(seen.error)
            with store.read() as connection:
                made = facts.read_use(connection, "aws", f"{_START:%Y-%m}").calls
            _answer({"cpu_s": spent, "calls": made - calls, "charges": seen.charges})
            calls = made


def _same_calls() -> None:
    """Be the reference: for each [start, end] on standard input, list the metrics and read them all."""
    import boto3

    client = boto3.client("cloudwatch", region_name="us-east-1")
    for line in sys.stdin:
        since, until = json.loads(line)
        start = time.process_time()
        calls = read_all(client, datetime.fromisoformat(since), datetime.fromisoformat(until) + timedelta(seconds=1))
        _answer({"cpu_s": time.process_time() - start, "calls": calls})


def read_all(client: Any, since: datetime, until: datetime) -> int:
    """List the metrics of EstimatedCharges and read them all; how many calls that took."""
    named = {"Namespace": "AWS/Billing", "MetricName": "EstimatedCharges"}
    currency = [{"Name": "Currency", "Value": "USD"}]
    calls, metrics = 0, []
    for page in client.get_paginator("list_metrics").paginate(**named, Dimensions=currency):
        calls += 1
        metrics += [metric["Dimensions"] for metric in page["Metrics"] if len(metric["Dimensions"]) > 1]
    chunks = [[currency], *(metrics[at : at + _QUERIES] for at in range(0, len(metrics), _QUERIES))]
    for chunk in chunks:
        queries = [
            {
                "Id": f"m{number}",
                "MetricStat": {"Metric": {**named, "Dimensions": dimensions}, "Period": 3600, "Stat": "Maximum"},
            }
            for number, dimensions in enumerate(chunk)
        ]
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=since, EndTime=until, ScanBy="TimestampAscending"
        )
        calls += sum(1 for _ in pages)
    return calls


def _answer(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "turn":
        _turns(Path(sys.argv[2]))
    else:
        _same_calls()
