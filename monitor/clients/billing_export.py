"""The export of Cloud Billing in BigQuery: the query that adds it up, and the lines that it gives.

Costs and credits are added up apart. Amounts are FLOAT64: each goes through its shortest text, which is what Google
wrote, into BIGNUMERIC, where sums are exact; the sum comes as text. Nothing is ever joined with `credits`: a cost would
count once for each credit of its row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from alarms.money import parse_amount
from monitor.clients.bigquery import Row
from monitor.errors import BadDataError
from monitor.period import midnight

_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
# A row is loaded after its usage. Clocks may differ, not by days.
_LOAD_MARGIN = timedelta(days=3)
# What a row of another shape ends in here; OSError: an instant beyond what the machine's clock can show.
_UNLIKE = (KeyError, OSError, OverflowError, TypeError, ValueError)
_INVOICE = re.compile(r"\d{4}(0[1-9]|1[0-2])", re.ASCII)
_COLUMNS = frozenset(
    ("invoice", "usage_start_time", "usage_end_time", "export_time", "cost", "cost_type", "credits", "currency")
)
_COLUMNS_OF = {"account": {"project"}, "service": {"service"}, "region": {"location"}, "run": {"labels", "project"}}
_GRAIN = {
    "account": "IFNULL(project.id, '')",
    "service": "IFNULL(service.description, '')",
    "region": "COALESCE(location.region, location.location, '')",
}
# FOCUS ChargeCategory of Google's cost_type; a refund is an adjustment, and so is what is rounded.
_CATEGORIES = {"regular": "Usage", "tax": "Tax"}
_OTHER = "Adjustment"
# The label of the resource, else that of its project.
_LABEL = """COALESCE(
      (SELECT MAX(label.value) FROM UNNEST(labels) AS label WHERE label.key = @{key}),
      (SELECT MAX(label.value) FROM UNNEST(project.labels) AS label WHERE label.key = @{key}),
      '')"""
# One number for all rows of a day: the sum of 40 bits of each one's digest, with room for eight million of them. One
# change in 10^12 is missed by it. Neither the date of an export nor the number of its lines would do: a line may be
# labelled anew, or taken back by another.
_DIGEST = "CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5(CONCAT(@way, '|', {texts}))), 1, 10)) AS INT64)"
_UNTIL = "CAST(used_until AS STRING)"
# What a row says of more than itself.
_OF_MORE = ("unusable", "newest_usage", "newest", "newest_elsewhere", "elsewhere", "days_shown")
_AMOUNT = "SAFE_CAST(CAST({column} AS STRING) AS BIGNUMERIC)"
# Usage of a month that had been closed long before its invoice: the invoice's first day, which is read for as long as
# that invoice may change; else the day of the usage.
_DAY_BOOKED = """IF(FORMAT_DATE('%Y%m', DATE_ADD(DATE(usage_start_time, 'UTC'), INTERVAL 1 MONTH)) < invoice.month,
      CONCAT(SUBSTR(invoice.month, 1, 4), '-', SUBSTR(invoice.month, 5, 2), '-01'),
      CAST(DATE(usage_start_time, 'UTC') AS STRING))"""
_QUERY = """WITH line AS (
  SELECT
    {day} AS day_booked,
    invoice.month AS invoice_month,
    {grain},
    cost_type AS kind,
    currency AS code,
    {cost} AS amount,
    (SELECT SUM({credit}) FROM UNNEST(credits) AS credit) AS credited,
    IFNULL((SELECT COUNTIF({credit} IS NULL) FROM UNNEST(credits) AS credit), 0) AS unusable_credits,
    usage_end_time AS used_until,
    LEAST(usage_end_time, export_time) AS known_until
  FROM `{table}`
  WHERE {loaded}usage_start_time < @until
    AND (usage_start_time >= @since OR invoice.month >= @invoice)
),
booked AS (
  SELECT
    day_booked, invoice_month, {names}, kind, code,
    CAST(ROUND(SUM(amount), 18) AS STRING) AS cost,
    CAST(ROUND(SUM(credited), 18) AS STRING) AS credit,
    UNIX_SECONDS(MAX(used_until)) AS used_until,
    SUM(COUNTIF(code = @currency AND (amount IS NULL OR unusable_credits > 0))) OVER () AS unusable,
    UNIX_SECONDS(MAX(MAX(IF(code = @currency AND kind = 'regular', known_until, NULL))) OVER ()) AS newest_usage,
    UNIX_SECONDS(MAX(MAX(IF(code = @currency, known_until, NULL))) OVER ()) AS newest,
    UNIX_SECONDS(MAX(MAX(IF(code != @currency, known_until, NULL))) OVER ()) AS newest_elsewhere,
    MAX(MAX(IF(code != @currency, code, NULL))) OVER () AS elsewhere,
    COUNT(DISTINCT IF(code = @currency AND COUNTIF(IFNULL(amount, 1) != 0) > 0, day_booked, NULL))
      OVER (PARTITION BY SUBSTR(day_booked, 1, 7)) AS days_shown
  FROM line
  WHERE day_booked BETWEEN @first_day AND @last_day
  GROUP BY day_booked, invoice_month, {names}, kind, code
),
told AS (
  SELECT
    {told},
    SUM({digest}) OVER (PARTITION BY day_booked) AS day_digest,
    ROW_NUMBER() OVER (PARTITION BY day_booked) AS place
  FROM booked
)
SELECT {told}, day_digest
FROM told
WHERE place = 1 OR STRPOS(@known, CONCAT(' ', day_booked, ':', CAST(day_digest AS STRING), ' ')) = 0
ORDER BY day_booked"""


@dataclass(frozen=True, slots=True)
class Line:
    """What is booked on a UTC day on what is told apart. `cost` None: no amount of it was usable; `credit` None: none.

    `day`: of the usage; the first of the invoice's month where the usage is older than the month before that.
    `until`: where usage ends, on that day. `invoice`: the first day of its month. `days_shown`: on how many days of the
    month there are lines that cost something, whether or not others take it back: a correction comes as a further line.
    `day_digest`: of all lines of that day.
    """

    day: date
    days_shown: int
    day_digest: int
    invoice: date
    account: str
    service: str
    region: str
    run: str
    tags: tuple[tuple[str, str], ...]
    category: str
    currency: str
    cost: Decimal | None
    credit: Decimal | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """What is true of all lines together. `newest`: the end of the newest usage that has been published, None: none.

    `unusable`: lines of the export without a usable amount. `elsewhere`: another currency that is there, or "".
    """

    newest: datetime | None
    unusable: int
    elsewhere: str
    newest_elsewhere: datetime | None


def columns_for(by: Collection[str], tags: Collection[str]) -> frozenset[str]:
    """The columns that the query names."""
    wanted = {*by, "run"} if tags else set(by)
    return _COLUMNS.union(*(_COLUMNS_OF[one] for one in wanted))


def query_of(table: str, by: Collection[str], tags: Sequence[str], *, partitioned: bool) -> str:
    """The query of the lines that are booked within a stretch of time, as `parameters_of` names it."""
    grain = {name: text for name, text in _GRAIN.items() if name in by}
    if "run" in by:
        grain["run"] = _LABEL.format(key="run")
    grain |= {name: _LABEL.format(key=name) for name in (f"tag_{place}" for place in range(len(tags)))}
    names = {name: f"by_{name}" for name in grain}
    line = ["day_booked", "invoice_month", *names.values(), "kind", "code", "cost", "credit"]
    return _QUERY.format(
        table=table,
        day=_DAY_BOOKED,
        grain=",\n    ".join(f"{text} AS {names[name]}" for name, text in grain.items()) or "'' AS by_nothing",
        names=", ".join(names.values()) or "by_nothing",
        cost=_AMOUNT.format(column="cost"),
        credit=_AMOUNT.format(column="credit.amount"),
        told=", ".join([*line, "used_until", *_OF_MORE]),
        digest=_DIGEST.format(texts=", '|', ".join(f"IFNULL({text}, '')" for text in [*line, _UNTIL])),
        loaded="_PARTITIONTIME >= @loaded AND " if partitioned else "",
    )


def parameters_of(
    period: Period,
    currency: str,
    run_tag: str | None,
    tags: Sequence[str],
    *,
    partitioned: bool,
    way: str = "",
    known: str = "",
) -> dict[str, str | datetime]:
    """The query's parameters. `run_tag` None: runs are not told apart.

    `known`: digests of days that are booked as they are, each as ` day:digest `; of such a day one row stands for all.
    `way`: a text; what is asked in another way has other digests.
    """
    parameters: dict[str, str | datetime] = {
        "since": period.start,
        "until": period.end,
        "invoice": f"{period.start:%Y%m}",
        "first_day": period.start.date().isoformat(),
        "last_day": (period.end - _MICROSECOND).date().isoformat(),
        "currency": currency,
        "way": way,
        "known": known,
    }
    if partitioned:
        # From the day of loading on, without an end: what is late is loaded late.
        parameters["loaded"] = period.start - _LOAD_MARGIN
    if run_tag is not None:
        parameters["run"] = run_tag
    return parameters | {f"tag_{place}": key for place, key in enumerate(tags)}


def line_of(row: Row, tags: Sequence[str]) -> Line:
    """A row of the answer. Raises BadDataError if it is none."""
    try:
        day = date.fromisoformat(row["day_booked"])
        invoice, cost, credit, until = row["invoice_month"], row["cost"], row["credit"], row["used_until"]
        if not _INVOICE.fullmatch(invoice):
            raise BadDataError("the export names an invoice by something that is no month")
        values = ((key, row[f"by_tag_{place}"]) for place, key in enumerate(tags))
        return Line(
            day=day,
            days_shown=int(row["days_shown"]),
            day_digest=int(row["day_digest"]),
            invoice=date(int(invoice[:4]), int(invoice[4:]), 1),
            account=str(row.get("by_account", "")),
            service=str(row.get("by_service", "")),
            region=str(row.get("by_region", "")),
            run=str(row.get("by_run", "")),
            tags=tuple(sorted((key, str(value)) for key, value in values if value)),
            category=_CATEGORIES.get(row["kind"], _OTHER),
            currency=str(row["code"]),
            cost=None if cost is None else parse_amount(cost),
            credit=None if credit is None else parse_amount(credit),
            until=_within_day(day, until),
        )
    except _UNLIKE as error:
        raise _unlike(error) from error


def overview_of(row: Row) -> Overview:
    """What any row of the answer says of all of them. Raises BadDataError if it does not."""
    try:
        newest = row["newest"] if row["newest_usage"] is None else row["newest_usage"]
        return Overview(
            newest=_instant(newest),
            unusable=int(row["unusable"]),
            elsewhere=row["elsewhere"] or "",
            newest_elsewhere=_instant(row["newest_elsewhere"]),
        )
    except _UNLIKE as error:
        raise _unlike(error) from error


def _unlike(error: Exception) -> BadDataError:
    return BadDataError(f"BigQuery answered with a row unlike those that were asked for ({type(error).__name__})")


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _within_day(day: date, seconds: int | None) -> datetime:
    """The end of usage, on that day; the day's end for what has no length, as a tax has none."""
    start, until = midnight(day), _instant(seconds)
    return until if until is not None and start < until < start + _DAY else start + _DAY
