"""GCP bills as Cloud Billing exports them to BigQuery: the standard or the detailed usage cost table.

Rows are added up by UTC day of their usage and by what they belong to; credits stay apart. Each read is a query that
was estimated first and is never billed for more than it may cost; while the table has not changed there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from alarms.clients.deadline import within
from alarms.clients.gcp import Session
from alarms.clients.gcp_settings import GcpTwinSettings
from alarms.model import Period
from alarms.money import total
from alarms.settings import Duration
from alarms.words import instant_text
from monitor.billing_months import BillingMonths
from monitor.clients.bigquery import BigQuery, Row, Table
from monitor.clients.billing_export import Overview, columns_for, line_of, overview_of, parameters_of, query_of
from monitor.clients.export_answer import ExportAnswer
from monitor.clients.gcp_billing import account_text
from monitor.clients.gcp_keys import (
    BILLING_MONTHS,
    BillingAccount,
    Dollars,
    LabelKey,
    ProjectId,
    Size,
    TableName,
    billing_account_in,
)
from monitor.clients.known_days import KnownDays
from monitor.clients.query_costs import QueryCosts, billed_for, price_of, size_text
from monitor.clients.shown_days import ShownDays
from monitor.clients.table_marks import TableMarks
from monitor.clock import SystemClock
from monitor.errors import OutsideError, PermanentError
from monitor.model import ApiUse, Batch, MeterReading, Window
from monitor.period import month_of
from monitor.ports import BillingSource

DEADLINE_S = 60.0
_SECOND = timedelta(seconds=1)
# An invoice's month ends at midnight in US Pacific time, 07:00 or 08:00 UTC; Google closes it within about five working
# days.
_CLOSED_AFTER = timedelta(days=9, hours=8)
# Ours ended so long before the newest data in another currency: the bill is in that one now.
_CURRENCY_ENDED = timedelta(days=1)
# More rows at once take too much memory; they come in parts, each all of some days.
_MOST_ROWS = 100_000

Detail: TypeAlias = Literal["account", "service", "region", "run"]


class Settings(GcpTwinSettings):
    """`[[sources]]` with `type = "gcp_billing_export"`."""

    # Google: "at regular intervals", without a guarantee; services report within hours to a day.
    published_every: ClassVar[timedelta] = timedelta(hours=6)

    name: Annotated[str, Field(min_length=1)]
    type: Literal["gcp_billing_export"] = "gcp_billing_export"
    table: TableName
    project: ProjectId | None = None
    billing_account: BillingAccount | None = None
    every: Duration = timedelta(hours=1)
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    by: list[Detail] = Field(default=["account", "service", "run"])
    run_tag: LabelKey = "training-run"
    tags: list[LabelKey] = Field(default_factory=list, max_length=20)
    late_after: Duration = timedelta(hours=36)
    stale_after: Duration = timedelta(hours=48)
    backfill: Annotated[Duration, Field(le=timedelta(days=3660))] = timedelta(days=400)
    billing_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")] = "https://cloudbilling.googleapis.com"
    max_bytes_per_query: Size = 200 * 1024**3
    max_cost_per_month: Dollars = Decimal(10)

    @property
    def bill(self) -> str:
        """Whose bill this is: two sources with the same are two views of it, never to be added up."""
        return f"gcp/{self.budgets_account or self.table}"

    @property
    def budgets_account(self) -> str | None:
        """The id of the billing account, where it is known."""
        return self.billing_account or billing_account_in(self.table)

    @property
    def asking_project(self) -> str:
        """Whose queries they are."""
        return self.project or self.table.partition(".")[0]

    @property
    def billing_months(self) -> BillingMonths:
        """The months of the invoices, for budgets that follow them."""
        return BILLING_MONTHS


def create(settings: Settings) -> BillingSource:
    """The source with these settings; nothing is connected to yet."""
    return GcpBillingExport(settings)


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is left of an answer. `marks`: to be remembered with the last of it; `running`: it reaches up to now."""

    reader: BigQuery
    answer: ExportAnswer
    overview: Overview
    marks: dict[str, MeterReading]
    running: bool

    def goes_on(self) -> _Rest:
        """The same, with as much time as a read has."""
        self.reader.go_on()
        return self


class GcpBillingExport:
    """Reads the table. What is more than `most` rows comes in parts, each all of some days."""

    def __init__(self, settings: Settings, most: int = _MOST_ROWS) -> None:
        self.name = settings.name
        self._settings = settings
        self._most = most
        self._session = Session()
        self._project = settings.asking_project
        self._columns = columns_for(settings.by, settings.tags)
        self._costs = QueryCosts(settings.max_bytes_per_query, settings.max_cost_per_month)
        way = (settings.table, settings.currency, sorted(settings.by), settings.run_tag, settings.tags)
        self._marks = TableMarks(way)
        self._in_vain: list[ApiUse] = []
        self._now: datetime | None = None

    def windows(
        self, now: datetime, meters: dict[str, MeterReading], filled_since: datetime | None
    ) -> Sequence[Window]:
        """From the first day of the month before the oldest open invoice until now; then, once, what is further back.

        That is one query: rows may be loaded long after their usage, so months that are read one by one would each
        have to look through all the later ones again.
        """
        self._now = now
        self._costs.recall(meters)
        start = _running_since(now)
        running = Window(Period(start, now + _SECOND), meters)
        oldest, known = month_of(now - self._settings.backfill).start, min(filled_since or start, start)
        return [running, Window(Period(oldest, known))] if oldest < known else [running]

    def fetch(self, window: Window) -> Batch:
        """Read one window. Raises OutsideError as the port says."""
        return within(DEADLINE_S, lambda: self._fetch(window), what=f"source {self.name}")

    def remembered(self) -> Batch:
        """As the port says."""
        return Batch((), {}, None, meters=self._costs.count(Decimal(0), self._at), use=self._all_use())

    def probe(self) -> str:
        """Look at the table and estimate a read; nothing is billed."""
        return within(DEADLINE_S, self._probe, what=f"source {self.name}")

    def _fetch(self, window: Window) -> Batch:
        rest = window.part if isinstance(window.part, _Rest) else None
        reader = rest.reader if rest else self._reader()
        try:
            batch = self._next_part(window, rest.goes_on()) if rest else self._read(window, reader)
        except OutsideError:
            # What was asked in vain is paid for as well.
            self._in_vain.append(reader.use)
            raise
        return replace(batch, use=self._all_use(batch.use))

    def _read(self, window: Window, reader: BigQuery) -> Batch:
        at = self._at  # of all of this read, even if the next turn begins before its end
        table = self._described(reader)
        if (known := self._marks.unchanged(window.meters, table, at)) is not None:
            return Batch((), {}, known, use=reader.use)
        if (start := table.kept_from(window.period.start, at)) >= window.period.end:
            return Batch((), {}, None, use=reader.use)
        days = KnownDays(window.meters, window.period, at)
        rows, cost = self._rows(reader, Period(start, window.period.end), table, days, at)
        first = next(rows, None)
        if first is None:
            # Missing is missing: what is stored stays, and the table is looked through again next time.
            return Batch((), {}, None, meters=cost, use=reader.use)
        overview = overview_of(first)
        self._check_currency(overview)
        shown = ShownDays(self._settings.table, self._settings.currency, known=window.meters, start=start)
        # Of what was before the first line that is there, nothing is said: the table may have been made anew.
        since = shown.begins(line_of(first, self._settings.tags), table.made)
        if since >= window.period.end:
            # Nothing of it may be booked, so it is no news either.
            return Batch((), {}, None, meters=cost, use=reader.use)
        running = window.period.end > at
        if running and overview.newest is not None and not overview.unusable:
            cost |= self._marks.after(table, overview.newest, at)
        what = self.name, self._settings.currency, self._settings.tags
        answer = ExportAnswer(*what, first, rows, since, window.period.end, shown, days)
        return self._next_part(window, _Rest(reader, answer, overview, cost, running))

    def _rows(
        self, reader: BigQuery, period: Period, table: Table, days: KnownDays, at: datetime
    ) -> tuple[Iterator[Row], dict[str, MeterReading]]:
        """The rows of a query that may be paid for, and what is to be remembered of its cost."""
        query, parameters = self._query(period, table, days.text)
        self._costs.check(reader.estimate(query, parameters, table.location), self._settings.table, at)
        try:
            rows = reader.rows(query, parameters, table.location, self._settings.max_bytes_per_query)
        finally:
            cost = self._costs.count(reader.use.cost_usd, at)
        return rows, cost

    def _next_part(self, window: Window, rest: _Rest) -> Batch:
        part, unusable = rest.answer.next_part(self._most), rest.overview.unusable
        meters = self._marks.of_part
        if rest.running:
            meters |= rest.answer.days.meters(part.span, all_usable=not unusable, last=part.last)
        if rest.running and part.last:
            meters |= rest.answer.shown.meters
        batch = Batch(
            part.charges,
            part.replaces,
            rest.overview.newest,
            # What is only known in part must not withdraw anything.
            whole=None if unusable else part.span,
            unchanged=part.unchanged,
            rejected=unusable,
            meters=meters,
            use=rest.reader.use,
        )
        if not part.last:
            return replace(batch, rest=replace(window, part=rest))
        missing = (f"{unusable} unusable line{'s' * (unusable > 1)} of the export",) if unusable else ()
        return replace(batch, missing=missing, meters=meters | rest.marks)

    def _query(self, period: Period, table: Table, known: str = "") -> tuple[str, dict[str, str | datetime]]:
        settings, partitioned = self._settings, table.partitioned
        run_tag = settings.run_tag if "run" in settings.by else None
        query = query_of(settings.table, settings.by, settings.tags, partitioned=partitioned)
        told = {"way": self._marks.way, "known": known}
        return query, parameters_of(period, settings.currency, run_tag, settings.tags, partitioned=partitioned, **told)

    def _described(self, reader: BigQuery) -> Table:
        table = reader.describe()
        lacks = sorted(self._columns - table.columns)
        if lacks:
            raise PermanentError(
                f"the table {self._settings.table} is no Cloud Billing export: it lacks the columns {', '.join(lacks)}"
            )
        return table

    def _all_use(self, *uses: ApiUse) -> ApiUse:
        """These, and that of reads that failed."""
        all_of_it, self._in_vain = [*uses, *self._in_vain], []
        return ApiUse(sum(use.calls for use in all_of_it), total(use.cost_usd for use in all_of_it))

    def _check_currency(self, overview: Overview) -> None:
        ours, theirs = overview.newest, overview.newest_elsewhere
        if overview.elsewhere and (ours is None or (theirs is not None and theirs - ours > _CURRENCY_ENDED)):
            raise PermanentError(
                f"the export is in {overview.elsewhere}, but source {self.name} is set to {self._settings.currency}: "
                "change its currency"
            )

    @property
    def _at(self) -> datetime:
        return self._now or SystemClock().now()

    def _reader(self) -> BigQuery:
        return BigQuery(self._session, self._settings.table, self._project, seconds=DEADLINE_S)

    def _probe(self) -> str:
        now, reader = SystemClock().now(), self._reader()
        table = self._described(reader)
        query, parameters = self._query(Period(_running_since(now), now + _SECOND), table)
        billed = billed_for(reader.estimate(query, parameters, table.location))
        changed = "" if table.modified is None else f", last changed {instant_text(table.modified, UTC)}"
        return (
            f"the export of {self._settings.bill.removeprefix('gcp/')} in {table.location}{changed}; "
            f"a read costs {price_of(billed):.4f} USD ({size_text(billed)}); {self._account_text()}"
        )

    def _account_text(self) -> str:
        if (account := self._settings.budgets_account) is None:
            return "the table's name says no billing account"
        return account_text(self._session, account, self._settings.billing_endpoint, self._project)


def _running_since(now: datetime) -> datetime:
    """The first day (UTC) of the month before that of the oldest invoice which may still change."""
    return month_of(month_of(now - _CLOSED_AFTER).start - _SECOND).start
