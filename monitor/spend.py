"""`monitor spend`: the ledger grouped as asked, for people and for scripts."""

from __future__ import annotations

import json
import sqlite3
import textwrap
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from alarms.model import Period
from alarms.money import EXACT, for_people, plain, total
from alarms.words import day_text, instant_text
from monitor.clock import to_text
from monitor.errors import ExitCode, UserError
from monitor.model import CREDIT, UNATTRIBUTED, Series
from monitor.status.words import one_line
from monitor.store import charges, facts, known_series

UNTAGGED = "(untagged)"
_WIDTH = 80
GROUPINGS = ("source", "account", "service", "region", "run", "day")
# By what key of its [[sources]] table a source tells things apart, and the types that have it; a test holds both.
_TAGGING = ("aws_cost_explorer", "azure_cost", "gcp_billing_export")
TELLING = {
    "run": ("run_tag", _TAGGING),
    "tag": ("tags", _TAGGING[1:]),
    "account": ("by", ("aws_cloudwatch", *_TAGGING)),
    "service": ("by", ("aws_cloudwatch", *_TAGGING)),
    "region": ("by", _TAGGING[1:]),
}


@dataclass(frozen=True, slots=True)
class DayTotal:
    """What the ledger has booked of a series on a UTC day; `until` is how far the data of it reaches."""

    series: Series
    day: date
    billed: Decimal
    until: datetime


@dataclass(slots=True)
class Row:
    """One line of the answer. `lower_bound`: a source of it could not be read whole.

    `billed` is without `credits` (and refunds), which are below zero. `instead`: what else shows the same bill and
    counts in its place; then it is in no total. `credits_count`: its credits are in the total, of several views those
    of the one that tells most. `silent`: sources in it that never told what is grouped by.
    """

    key: str
    currency: str
    billed: Decimal
    billed_until: datetime
    lower_bound: bool
    credits: Decimal = Decimal(0)
    instead: str = ""
    credits_count: bool = True
    silent: set[str] = field(default_factory=set)


def read(connection: sqlite3.Connection, by: str, period: Period) -> list[Row]:
    """The rows of a ledger; days count that start in the period. Raises UserError and StoreError."""
    clocks = facts.read_clocks(connection)
    reached = {clock.name: clock.data_as_of for clock in clocks.values() if clock.data_as_of is not None}
    totals = [
        # A charge of a whole day ends with the day, which may lie ahead: its data does not reach so far.
        DayTotal(series, day, billed, min(end, reached.get(series.source, end)))
        for series, day, billed, end in charges.day_totals(connection, period.start, period.end)
    ]
    partial = frozenset(clock.name for clock in clocks.values() if clock.missing)
    return group(totals, by, partial, facts.read_bills(connection), known_series.numbered(connection).values())


def group(
    totals: Sequence[DayTotal],
    by: str,
    partial: frozenset[str],
    bills: Mapping[str, str] | None = None,
    known: Iterable[Series] = (),
) -> list[Row]:
    """Sum day totals by key and currency, largest first (days in order). `partial`: sources with parts missing.

    `bills`: which bill each source reads. Of several that read one, only the one that shows most counts; by source
    each has its row. `known`: every series of the ledger. Raises UserError for a grouping that does not exist.
    """
    if by not in GROUPINGS and not (by.startswith("tag:") and by != "tag:"):
        raise UserError(f"--by {by}: expected one of {', '.join(GROUPINGS)} or tag:KEY", ExitCode.USAGE)
    silent = _silent(known, by)
    instead, credited = _instead(totals, bills or {})
    rows: dict[tuple[str, str], Row] = {}
    for item in totals:
        view = (item.series.source, item.series.currency)
        other, credit = instead.get(view, ""), item.series.charge_category == CREDIT
        counts = view in credited if credit else not other
        if not counts and by != "source":
            continue
        key = (_key(item, by, silent), item.series.currency)
        row = rows.get(key)
        if row is None:
            row = rows[key] = Row(*key, Decimal(0), item.until, lower_bound=False, instead=other)
        if credit:
            row.credits = EXACT.add(row.credits, item.billed)
            row.credits_count = counts
        else:
            row.billed = EXACT.add(row.billed, item.billed)
        row.silent |= {item.series.source} & silent
        row.billed_until = max(row.billed_until, item.until)
        row.lower_bound = row.lower_bound or item.series.source in partial
    # What remains of a total may cancel out over the days: then there is nothing unattributed.
    rows = {key: row for key, row in rows.items() if row.billed or row.credits or row.key != UNATTRIBUTED}
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
                **_amounts(row.billed, row.credits),
                "billed_until": to_text(row.billed_until),
                "lower_bound": row.lower_bound,
                **({"counted_instead": row.instead} if row.instead else {}),
            }
            for row in rows
        ],
        "totals": [{"currency": currency, **_amounts(*sums)} for currency, sums in _sums(rows).items()],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def as_table(rows: list[Row], by: str, period: Period, now: datetime) -> str:
    """A table of at most 80 columns; credits have columns where there are any."""
    head = f"Billed from {day_text(period.start)} until {instant_text(period.end, UTC)}, by {by}"
    if not rows:
        return f"{head}\n\nNothing is booked in that time. `monitor status` says how fresh each source is."
    credited = any(row.credits for row in rows)
    width = min(20 if credited else 40, max(len(by), *(len(row.key) for row in rows)))
    more = f"  {'CREDITS':>13}  {'NET':>15}" if credited else ""
    billed_width = 16 if credited else 20
    lines = [head, "", f"{by.upper():<{width}}  {'BILLED':>{billed_width}}{more}  {'AGE':>6}"]
    for row in rows:
        key = one_line(row.key)  # a service, an account or a tag: somebody else chose it
        key = key if len(key) <= width else key[: width - 1] + "…"
        mark = " +" if row.lower_bound else ""
        amounts = _columns((row.billed, row.credits), row.currency, billed_width, credited=credited)
        lines.append(f"{key:<{width}}  {amounts}  {_age(now, row.billed_until):>6}{mark}".rstrip())
    lines.append("-" * len(lines[2]))
    for currency, sums in _sums(rows).items():
        lines.append(f"{'total':<{width}}  {_columns(sums, currency, billed_width, credited=credited)}")
    return "\n".join([*lines, *_notes(rows, by)])


def _notes(rows: Collection[Row], by: str) -> Iterator[str]:
    if any(row.lower_bound for row in rows):
        yield "+ at least so much: parts could not be read."
    for row in rows:
        if row.instead:
            said = f"{row.key} shows the same bill as {row.instead}, which counts: they are never added."
            yield from textwrap.wrap(one_line(said), _WIDTH)
    for source in sorted(set[str]().union(*(row.silent for row in rows))):
        key, types = TELLING[by.partition(":")[0]]
        told = f"No charge of {source} ever told its {by}: `{key}` in a [[sources]] table asks for it, where its type"
        said = f"{told} is {', '.join(types[:-1])} or {types[-1]}."
        yield from textwrap.wrap(one_line(said), _WIDTH, break_on_hyphens=False)


def _instead(
    totals: Iterable[DayTotal], bills: Mapping[str, str]
) -> tuple[dict[tuple[str, str], str], set[tuple[str, str]]]:
    """(source, currency) of each that does not count -> the source that shows more of the same bill.

    And of which the credits count: of several views of a bill, of the one that shows most (`monitor.readings.figures`).
    """
    shown: dict[tuple[str, str], dict[str, tuple[list[Decimal], list[Decimal]]]] = defaultdict(dict)
    for item in totals:
        series = item.series
        views = shown[bills.get(series.source, series.source), series.currency]
        billed, credited = views.setdefault(series.source, ([], []))
        (credited if series.charge_category == CREDIT else billed).append(item.billed)
    instead, counting = {}, set()
    for (_, currency), views in shown.items():
        # At a tie the first by name.
        most = max(sorted(views), key=lambda source: total(views[source][0]))
        instead.update({(source, currency): most for source in views if source != most})
        counting.add((min(sorted(views), key=lambda source: total(views[source][1])), currency))
    return instead, counting


def _silent(known: Iterable[Series], by: str) -> frozenset[str]:
    """Sources of which no charge ever told what is grouped by: nobody read it, so it is not that there is none."""
    telling: dict[str, bool] = {}
    for series in known if by != "day" else ():
        telling[series.source] = telling.get(series.source, False) or _told(series, by) not in ("", UNATTRIBUTED)
    return frozenset(source for source, tells in telling.items() if not tells)


def _key(item: DayTotal, by: str, silent: Collection[str]) -> str:
    if by == "day":
        return item.day.isoformat()
    if told := _told(item.series, by):
        return told
    if by != "run" and not by.startswith("tag:"):
        return UNATTRIBUTED
    return f"(not told by {item.series.source})" if item.series.source in silent else UNTAGGED


def _told(series: Series, by: str) -> str:
    """What a series says of itself, "" if nothing."""
    if by.startswith("tag:"):
        return dict(series.tags).get(by.removeprefix("tag:"), "")
    value: str = getattr(series, by)
    return value


def _sums(rows: Collection[Row]) -> dict[str, tuple[Decimal, Decimal]]:
    """(billed, credits) by currency, of the rows that count."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for row in rows:
        billed, credited = sums.get(row.currency, (Decimal(0), Decimal(0)))
        sums[row.currency] = (
            billed if row.instead else EXACT.add(billed, row.billed),
            EXACT.add(credited, row.credits) if row.credits_count else credited,
        )
    return sums


def _amounts(billed: Decimal, credited: Decimal) -> dict[str, str]:
    net = EXACT.add(billed, credited)
    # Nothing estimates consumption that no bill shows yet: that takes an inventory.
    return {"billed": plain(billed), "accrued": "0", "credits": plain(credited), "net": plain(net)}


def _columns(amounts: tuple[Decimal, Decimal], currency: str, width: int, *, credited: bool) -> str:
    billed, credits_ = amounts
    text = f"{for_people(billed, currency):>{width}}"
    if not credited:
        return text
    taken, net = (for_people(amount, currency).rpartition(" ")[0] for amount in (credits_, EXACT.add(billed, credits_)))
    return f"{text}  {taken:>13}  {net:>15}"


def _age(now: datetime, then: datetime) -> str:
    hours = max(0, int((now - then).total_seconds() // 3600))
    return f"{hours} h" if hours < 72 else f"{hours // 24} d"  # noqa: PLR2004 - three days, then days say more
