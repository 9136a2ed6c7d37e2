"""A month of turns over a thousand budgets: memory and threads stay as they are, and the store grows as it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from monitor.period import month_of
from monitor.projection import HISTORY
from tests.e2e.conftest import Stage
from tests.e2e.histories import Tally, quiet, tally
from tests.fakes.cloudwatch_indexed import IndexedCloudWatch

TORTURE = os.environ.get("MONITOR_TORTURE") == "1"
# Over the end of a month, so that every alarm closes and a new month begins within it.
START = datetime(2026, 11, 10, tzinfo=UTC)
DAYS = 60 if TORTURE else 6
TURN_MINUTES = 60
ACCOUNTS, SERVICES, BUDGETS = 100, 5, 1000
KIB = 1024
# Days, from 0, until everything has been imported, cached and grown to its size: the third. The days that a forecast
# looks back on are kept in memory until all of them are there, some 0.3 MiB for each and a thousand budgets.
WARM = HISTORY + 2 if TORTURE else 2
# Between two days of one run it went up and down by up to 4 MiB: the allocator's. A leak of one object of 100 bytes for
# each budget and turn would be 2.3 MiB a day.
MAY_GROW_KIB = 8 * 1024


def cents_an_hour(account: int, service: int) -> int:
    return 1 + (account * 7 + service * 13) % 97


def publish(cloudwatch: IndexedCloudWatch) -> None:
    """A total, accounts and their services every four hours, each month from zero; parts add up to the total."""
    first = month_of(START).start
    for number in range(1, (40 + DAYS) * 6):
        at = first + number * timedelta(hours=4)
        hours = (at - month_of(at - timedelta(seconds=1)).start) // timedelta(hours=1)
        total = 0
        for account in range(ACCOUNTS):
            parts = [hours * cents_an_hour(account, service) for service in range(SERVICES)]
            for service, cents in enumerate(parts):
                cloudwatch.publish(at, Decimal(cents) / 100, account=f"{account:012}", service=f"Service{service}")
            cloudwatch.publish(at, Decimal(sum(parts)) / 100, account=f"{account:012}")
            total += sum(parts)
        cloudwatch.publish(at, Decimal(total) / 100)


def budget(number: int) -> str:
    """One in ten crosses both its levels in the course of a month, spread over its days; the others stay below."""
    account = number % ACCOUNTS
    month = 720 * sum(cents_an_hour(account, service) for service in range(SERVICES))
    share = (30 + number // 10 % 70) / 100 if number % 10 == number // ACCOUNTS % 10 else 3
    return f"""
[[budgets]]
name = "budget-{number}"
amount = "{max(1, int(month * share / 100))}"
currency = "USD"
period = "month"
scope = {{ source = "aws", account = "{account:012}" }}
repeat = {'"never"' if number % 7 else '{ critical = "24h", warning = "24h" }'}
"""


def prepare(stage: Stage) -> None:
    stage.write_config(by='by = ["account", "service"]\nbackfill = "1d"', more="".join(map(budget, range(1, BUDGETS))))
    text = stage.config.read_text()
    stage.config.write_text(text.replace('poll = "1s"', f'poll = "{TURN_MINUTES}m"').replace('"1s"', '"1h"'))


def play(stage: Stage, cloudwatch: IndexedCloudWatch) -> Iterator[dict[str, Any]]:
    """The days as the program tells them."""
    arguments = [str(stage.config), str(stage.state), START.isoformat(), str(DAYS), str(TURN_MINUTES)]
    log = stage.directory / "soak.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.soak_program", *arguments],
            env={**stage.environment, **cloudwatch.environment},
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
        assert process.wait(60) == 0, log.read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_a_month_of_a_thousand_budgets_stays_small(stage: Stage) -> None:
    with IndexedCloudWatch() as cloudwatch:
        publish(cloudwatch)
        prepare(stage)
        days = list(play(stage, cloudwatch))
    quiet(stage)
    seen = tally(stage)
    print(figures(days, seen))
    warm, rest = days[WARM], days[WARM:]
    assert seen.arrived.total() > 0
    assert not seen.repeats, "a message came twice though nothing was killed"
    assert most(days, "peak_kib") <= 150 * KIB
    assert most(days, "threads") <= 64
    assert days[-1]["rss_kib"] <= most(days[: WARM + 1], "rss_kib") + MAY_GROW_KIB, [day["rss_kib"] for day in days]
    assert most(rest, "files") == warm["files"], [day["files"] for day in days]
    assert ledger_a_day(days) <= KIB * KIB


def figures(days: list[dict[str, Any]], seen: Tally) -> str:
    work = (
        f"{len(days)} simulated days, {sum(day['turns'] for day in days)} turns, {len(days)} reloads, "
        f"{BUDGETS} budgets, {ACCOUNTS * SERVICES} series, {seen.arrived.total()} messages, "
        f"{sum(seen.repeats.values())} repeats"
    )
    memory = (
        f"RSS {days[WARM]['rss_kib'] // KIB} MiB on day {WARM + 1}, {days[-1]['rss_kib'] // KIB} MiB on the last, "
        f"{most(days, 'peak_kib') // KIB} MiB at most"
    )
    rest = f"at most {most(days, 'threads')} threads, {most(days, 'files')} open files"
    store = (
        f"ledger {days[-1]['ledger'] // KIB} KiB, {ledger_a_day(days) // KIB} KiB a day, "
        f"its log {most(days, 'wal') // KIB} KiB at most"
    )
    return "; ".join((f"soak: {work}", memory, rest, store))


def ledger_a_day(days: list[dict[str, Any]]) -> int:
    return int(days[-1]["ledger"] - days[WARM]["ledger"]) // (len(days) - 1 - WARM)


def most(days: list[dict[str, Any]], what: str) -> int:
    return max(int(day[what]) for day in days)
