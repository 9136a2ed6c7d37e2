"""`monitor spend`: the ledger grouped as asked, for people and for scripts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from alarms.model import Period
from alarms.money import EXACT, for_people, plain
from monitor.clock import to_text
from monitor.errors import ExitCode, UserError
from monitor.model import UNATTRIBUTED, Series
from monitor.status.words import one_line
from monitor.store import charges, facts

UNTAGGED = "(untagged)"
GROUPINGS = ("source", "account", "service", "run", "day")


@dataclass(frozen=True, slots=True)
class DayTotal:
    """What the ledger has booked of a series on a UTC day; `until` is where its newest charge ends."""

    series: Series
    day: date
    billed: Decimal
    until: datetime


@dataclass(slots=True)
class Row:
    """One line of the answer. `lower_bound`: a source of it could not be read whole."""

    key: str
    currency: str
    billed: Decimal
    billed_until: datetime
    lower_bound: bool


def read(connection: sqlite3.Connection, by: str, period: Period) -> list[Row]:
    """The rows of a ledger; days count that start in the period. Raises UserError and StoreError."""
    totals = (DayTotal(*row) for row in charges.day_totals(connection, period.start, period.end))
    clocks = facts.read_clocks(connection)
    return group(totals, by, frozenset(clock.name for clock in clocks.values() if clock.missing))


def group(totals: Iterable[DayTotal], by: str, partial: frozenset[str]) -> list[Row]:
    """Sum day totals by key and currency, largest first (days in order). `partial`: sources with parts missing.

    Raises UserError for a grouping that does not exist.
    """
    if by not in GROUPINGS and not by.startswith("tag:"):
        raise UserError(f"--by {by}: expected one of {', '.join(GROUPINGS)} or tag:KEY", ExitCode.USAGE)
    rows: dict[tuple[str, str], Row] = {}
    for item in totals:
        key = (_key(item, by), item.series.currency)
        row = rows.get(key)
        if row is None:
            row = rows[key] = Row(*key, Decimal(0), item.until, lower_bound=False)
        row.billed = EXACT.add(row.billed, item.billed)
        row.billed_until = max(row.billed_until, item.until)
        row.lower_bound = row.lower_bound or item.series.source in partial
    # What remains of a total may cancel out over the days: then there is nothing unattributed.
    rows = {key: row for key, row in rows.items() if row.billed or row.key != UNATTRIBUTED}
    if by == "day":
        return sorted(rows.values(), key=lambda row: (row.key, row.currency))
    return sorted(rows.values(), key=lambda row: (row.currency, -row.billed, row.key))


def as_json(rows: list[Row], by: str, period: Period) -> str:
    """The document for scripts, schema 1."""
    document = {
        "schema": 1,
        "since": to_text(period.start),
        "until": to_text(period.end),
        "by": by,
        "rows": [
            {
                "key": row.key,
                "currency": row.currency,
                "billed": plain(row.billed),
                # Nothing estimates consumption that no bill shows yet: that takes an inventory.
                "accrued": "0",
                "billed_until": to_text(row.billed_until),
                "lower_bound": row.lower_bound,
            }
            for row in rows
        ],
        "totals": [
            {"currency": currency, "billed": plain(billed), "accrued": "0"} for currency, billed in _sums(rows).items()
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def as_table(rows: list[Row], by: str, period: Period, now: datetime) -> str:
    """A table of at most 80 columns."""
    head = f"Billed from {period.start:%Y-%m-%d} until {period.end:%Y-%m-%d %H:%M} UTC, by {by}"
    if not rows:
        return f"{head}\n\nNothing is booked in that time. `monitor status` says how fresh each source is."
    width = min(40, max(len(by), *(len(row.key) for row in rows)))
    lines = [head, "", f"{by.upper():<{width}}  {'BILLED':>20}  {'AGE':>6}"]
    for row in rows:
        key = one_line(row.key)  # a service, an account or a tag: somebody else chose it
        key = key if len(key) <= width else key[: width - 1] + "…"
        mark = "  at least: parts could not be read" if row.lower_bound else ""
        amount = for_people(row.billed, row.currency)
        lines.append(f"{key:<{width}}  {amount:>20}  {_age(now, row.billed_until):>6}{mark}".rstrip())
    lines.append("-" * (width + 30))
    for currency, billed in _sums(rows).items():
        lines.append(f"{'total':<{width}}  {for_people(billed, currency):>20}")
    return "\n".join(lines)


def _key(item: DayTotal, by: str) -> str:
    series = item.series
    if by == "day":
        return item.day.isoformat()
    if by.startswith("tag:"):
        tags: Mapping[str, str] = dict(series.tags)
        return tags.get(by.removeprefix("tag:"), UNTAGGED)
    if by == "run":
        return series.run or UNTAGGED
    value: str = getattr(series, by)
    return value or UNATTRIBUTED


def _sums(rows: list[Row]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for row in rows:
        sums[row.currency] = EXACT.add(sums.get(row.currency, Decimal(0)), row.billed)
    return sums


def _age(now: datetime, then: datetime) -> str:
    hours = int((now - then).total_seconds() // 3600)
    return f"{hours} h" if hours < 72 else f"{hours // 24} d"  # noqa: PLR2004 - three days, then days say more
