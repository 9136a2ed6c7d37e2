"""`clouds`: a turn over three clouds with hundreds of accounts each, every request of which takes 100 ms.

Its wall time is held against the slowest of the three clouds read for a single account, its CPU against the three SDKs
that make the same calls and do nothing else, and what its calls cost is said in dollars. Every cloud, every reader and
the reference are processes of their own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.cloud_servers import LATENCY_S, SCOPES, START, TABLE
from benchmarks.measure import Comparison, Report, Worker, environment, interleaved
from benchmarks.turn import read_all

WALL_TARGET = 3.0
USD_TARGET = Decimal(2)
_CLOUDS = ("aws", "gcp", "azure")
_NOW = datetime(2026, 11, 20, tzinfo=UTC)
_STEP = timedelta(hours=4)
_MONTH_H = 720
_BUDGET = """
[[budgets]]
name = "{name}"
amount = "1000000000"
currency = "USD"
period = "month"
{more}
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "actual", at = "100%", severity = "critical" }},
]
"""


def run(*, quick: bool) -> Report:
    """One turn every four hours, with something new in each cloud; the month and the one before are in the ledger."""
    accounts, rounds = (3, 2) if quick else (300, 5)
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as directory, ExitStack() as opening:
        many = _Servers(_CLOUDS, accounts, Path(directory) / "many", opening)
        single = {cloud: _Servers((cloud,), 1, Path(directory) / cloud, opening) for cloud in _CLOUDS}
        turn = many.reader(opening)
        alone = {cloud: servers.reader(opening) for cloud, servers in single.items()}
        reference = Worker(__name__, "reference", environment=many.environment)
        opening.enter_context(reference)
        return _compare(many, turn, single, alone, reference, accounts=accounts, rounds=rounds)


class _Servers:
    """Some clouds with so many accounts each, and the config of a monitor that reads them."""

    def __init__(self, clouds: tuple[str, ...], accounts: int, directory: Path, opening: ExitStack) -> None:
        directory.mkdir()
        self._directory = directory
        self.workers = {
            cloud: opening.enter_context(
                Worker("benchmarks.cloud_servers", cloud, str(accounts), str(directory), environment=environment())
            )
            for cloud in clouds
        }
        said = {cloud: worker.said() for cloud, worker in self.workers.items()}
        more = {name: value for one in said.values() for name, value in one["environment"].items()}
        self.environment = environment(**more, AZURE_ENDPOINT=_endpoint(said.get("azure")))
        sources = [f'[[sources]]\nname = "{cloud}"\nbackfill = "1d"\n{one["source"]}\n' for cloud, one in said.items()]
        budgets = [_BUDGET.format(name="everything", more=""), _BUDGET.format(name="each", more='each = "account"')]
        path = directory / "config.toml"
        path.write_text("\n".join(('[monitor]\nstate_dir = "state"\n', *sources, *budgets)), encoding="utf-8")
        path.chmod(0o600)

    def bill(self, until: datetime) -> int:
        """Let every cloud bill until then; how many calls they had since the last time."""
        return sum(worker.ask(until.isoformat())["calls"] for worker in self.workers.values())

    def reader(self, opening: ExitStack) -> Worker:
        """The monitor that reads them."""
        return opening.enter_context(Worker(__name__, "turn", str(self._directory), environment=self.environment))


def _endpoint(said: Any) -> str:
    return "" if said is None else str(said["environment"]["AZURE_AUTHORITY_HOST"])


def _compare(
    many: _Servers,
    turn: Worker,
    single: dict[str, _Servers],
    alone: dict[str, Worker],
    reference: Worker,
    *,
    accounts: int,
    rounds: int,
) -> Report:
    now = _NOW
    cpu: list[float] = []
    last: dict[str, Any] = {}
    calls: dict[str, int] = {}

    def whole() -> float:
        nonlocal now
        now += _STEP
        many.bill(now)
        last.update(turn.ask(now.isoformat()))
        cpu.append(last["cpu_s"])
        return float(last["wall_s"])

    def same_calls() -> float:
        calls["monitor"] = many.bill(now)
        spent = float(reference.ask(json.dumps([(now - _STEP).isoformat(), now.isoformat()]))["cpu_s"])
        calls["reference"] = many.bill(now)
        return spent

    def one(cloud: str) -> float:
        single[cloud].bill(now)
        return float(alone[cloud].ask(now.isoformat())["wall_s"])

    contenders: dict[str, Any] = {"turn": whole, "reference": same_calls}
    contenders |= {cloud: (lambda cloud=cloud: one(cloud)) for cloud in _CLOUDS}
    samples = interleaved(contenders, rounds)
    slowest = max(_CLOUDS, key=lambda cloud: sorted(samples[cloud])[rounds // 2])
    name = f"turn, 3 clouds x {accounts} accounts"
    compared = [
        Comparison(name, f"{slowest}, 1 account", "s", samples["turn"], samples[slowest], WALL_TARGET),
        Comparison(name, "3 SDKs, same calls", "s CPU", cpu[1:], samples["reference"]),
    ]
    return Report(compared, [_note(calls, accounts), _dollars(last["usd"], last["every_h"], accounts)])


def _note(calls: dict[str, int], accounts: int) -> str:
    return (
        f"clouds: {LATENCY_S * 1000:.0f} ms a request; {accounts} linked accounts of one AWS payer, projects of one "
        "GCP export, subscriptions of one Azure management group, each with a budget of its own; `by` account; "
        f"{calls['monitor']} calls a turn by the monitor, {calls['reference']} by the reference."
    )


def _dollars(usd: dict[str, str], every_h: dict[str, float], accounts: int) -> str:
    """By what one turn has cost, as often as each source is read by default, every time with something new."""
    months = {cloud: Decimal(usd[cloud]) * int(_MONTH_H / every_h[cloud]) for cloud in _CLOUDS}
    each = ", ".join(f"{cloud} {months[cloud] / accounts:.4f}" for cloud in _CLOUDS)
    most = max(months.values()) / accounts
    verdict = "below" if most < USD_TARGET else "NOT BELOW"
    return f"clouds: API dollars per account and month by the default `every`: {each} ({verdict} {USD_TARGET})."


def _turns(directory: Path) -> None:
    """Be the monitor: for each instant on standard input, one turn as of then."""
    from monitor import garbage
    from monitor.app import App
    from monitor.clock import FixedClock
    from monitor.config import load
    from monitor.store import facts
    from monitor.store.database import open_store

    config = load(directory / "config.toml")
    every_h = {one.name: type(one).model_fields["every"].default.total_seconds() / 3600 for one in config.sources}
    before: dict[str, Decimal] = {}
    garbage.look_less_often()  # as every command does that reads bills
    with open_store(directory / "state") as store:
        app = App(config, store, FixedClock(START))
        for line in sys.stdin:
            cpu, wall = time.process_time(), time.perf_counter()
            report = app.turn(datetime.fromisoformat(line.strip()), everything=True)
            spent = time.process_time() - cpu, time.perf_counter() - wall
            failed = {name: one.error for name, one in report.sources.items() if not one.ok}
            if failed:
                raise RuntimeError(str(failed))
            with store.read() as connection:
                used = {one.name: facts.read_use(connection, one.name, "2026-11").cost_usd for one in config.sources}
            usd = {name: str(cost - before.get(name, Decimal(0))) for name, cost in used.items()}
            before = used
            _answer({"cpu_s": spent[0], "wall_s": spent[1], "usd": usd, "every_h": every_h})


def _same_calls() -> None:
    """Be the reference: for each [start, end] on standard input, the calls of a turn by the SDKs alone."""
    import boto3
    from google.cloud import bigquery

    from alarms.clients.azure import ArmSettings, make_client

    aws, gcp = boto3.client("cloudwatch", region_name="us-east-1"), bigquery.Client(project=TABLE.partition(".")[0])
    azure = make_client(ArmSettings(endpoint_url=os.environ["AZURE_ENDPOINT"]))
    known: dict[str, int] = {}
    for line in sys.stdin:
        since, until = (datetime.fromisoformat(text) for text in json.loads(line))
        start = time.process_time()
        read_all(aws, since, until + timedelta(seconds=1))
        known = _read_gcp(gcp, until, known)
        for first, last in ((date(2026, 10, 1), date(2026, 10, 31)), (date(2026, 11, 1), until.date())):
            _read_azure(azure, first, last)
        _answer({"cpu_s": time.process_time() - start})


def _read_gcp(client: Any, until: datetime, known: dict[str, int]) -> dict[str, int]:
    """Read what has changed since the last time, which had these digests of its days; those of this one."""
    from google.cloud import bigquery

    from alarms.model import Period
    from monitor.clients.billing_export import parameters_of, query_of

    client.get_table(TABLE)
    text = query_of(TABLE, ["account"], [], partitioned=True)
    told = "".join(f" {day}:{digest}" for day, digest in known.items()) + " "
    period = Period(datetime(2026, 9, 1, tzinfo=UTC), until)
    values = parameters_of(period, "USD", None, [], partitioned=True, known=told)
    given = [
        bigquery.ScalarQueryParameter(name, "STRING" if isinstance(value, str) else "TIMESTAMP", value)
        for name, value in values.items()
    ]
    client.query(text, job_config=bigquery.QueryJobConfig(query_parameters=given, dry_run=True))
    found = client.query(text, job_config=bigquery.QueryJobConfig(query_parameters=given)).result(page_size=20_000)
    rows = [dict(row.items()) for row in found]
    return {row["day_booked"]: row["day_digest"] for row in rows}


def _read_azure(client: Any, first: date, last: date) -> None:
    from monitor.clients.azure_query import Column, Query, definition

    scope = SCOPES[False]
    asked = definition(Query(scope, first, last, (Column("ChargeType"), Column("SubscriptionId"))))
    params = {"$top": "5000"}
    while True:
        page = client.query.usage(scope.strip("/"), asked, params=params)
        token = page.next_link.rpartition("skiptoken=")[2] if page is not None and page.next_link else ""
        if not token:
            return
        params["$skiptoken"] = token


def _answer(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "turn":
        _turns(Path(sys.argv[2]))
    else:
        _same_calls()
