"""Azure bills as Cost Management shows them: actual cost by day, read again until a period is closed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from alarms.clients.azure import ScopedSettings, make_client
from alarms.clients.deadline import within
from alarms.model import Period
from alarms.settings import Duration
from monitor.billing_months import BillingMonths, InvoiceCalendar
from monitor.clients.azure_cost import CostQueries, Kept, Unfinished
from monitor.clients.azure_query import Query
from monitor.clock import SystemClock
from monitor.costly_days import judge
from monitor.errors import AccessError, BadDataError, PermanentError, TemporaryError
from monitor.model import Batch, Charge, MeterReading, Series, Window
from monitor.period import midnight
from monitor.ports import BillingSource
from monitor.scope_costs import CHARGE_TYPE, Detail, Found, ScopeReader
from monitor.views import by_series

By: TypeAlias = Literal["account", "service", "region"]

DEADLINE_S = 60.0
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
# What Cost Management keeps for queries: 13 months.
_KEPT = timedelta(days=395)
# So long what a read that was not finished has brought is as good as new, from the last new answer on: Azure publishes
# every four hours.
_GOOD_FOR_S = 7200.0


class Settings(ScopedSettings):
    """`[[sources]]` with `type = "azure_cost"`."""

    # Azure: usage shows within 8 to 24 hours; and costs are by day.
    published_every: ClassVar[timedelta] = timedelta(hours=24)

    name: Annotated[str, Field(min_length=1)]
    type: Literal["azure_cost"] = "azure_cost"
    every: Duration = timedelta(hours=4)
    by: list[By] = Field(default=["account", "service"])
    tags: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(default_factory=list)
    late_after: Duration = timedelta(hours=48)
    stale_after: Duration = timedelta(hours=72)
    backfill: Annotated[Duration, Field(le=_KEPT)] = timedelta(days=90)

    @property
    def billing_months(self) -> BillingMonths:
        """The months of its invoices."""
        return BillingMonths(self.billing_period_starts)

    @property
    def bill(self) -> str:
        """Whose bill it is: the same for every source that reads it."""
        return f"azure/{self.place}"


def create(settings: Settings) -> BillingSource:
    """The source with these settings; nothing is connected to yet."""
    return AzureCost(settings)


class AzureCost:
    """Reads every scope by day: the running and the previous billing period each time, older ones once."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self._client: Any = None
        self._running, self._past = Unfinished(), Unfinished()
        self._goes_on = False
        self._was_read = False
        self._seen: dict[str, MeterReading] = {}
        self._last: Period | None = None

    def windows(
        self,
        now: datetime,
        meters: dict[str, MeterReading],
        filled_since: datetime | None,
    ) -> Sequence[Window]:
        """The running and the previous period (Azure rates them anew until days after the end), then older ones."""
        previous = self._period_of(self._period_of(now).start - _SECOND)
        shown = {key: reading for key, reading in meters.items() if previous.start <= reading.at <= now}
        windows = [Window(Period(previous.start, now + _SECOND), shown)]
        oldest, known = now - self._settings.backfill, min(filled_since or previous.start, previous.start)
        older = self._period_of(previous.start - _SECOND)
        while older.end > oldest:
            if older.start < known:
                windows.append(Window(older))
            older = self._period_of(older.start - _SECOND)
        self._last, self._was_read = windows[-1].period, filled_since is not None
        return windows

    def fetch(self, window: Window) -> Batch:
        """Read one window. Raises OutsideError as the port says."""
        unfinished = self._unfinished(window)
        kept, known = unfinished.answers, len(unfinished.answers)
        try:
            batch = within(DEADLINE_S, lambda: self._read(self._queries(kept), window), what=f"source {self.name}")
        except AccessError:
            self._client = None  # and with it the token, which may be of the time before a right was given
            raise
        except TemporaryError as error:
            # Here, for a call that was given up never comes to say so.
            self._goes_on = not isinstance(error, BadDataError)
            if not self._goes_on:
                unfinished.answers = {}
            error.progress = self._goes_on and len(kept) > known
            raise
        finally:
            if len(kept) > known:
                unfinished.good_until = time.monotonic() + _GOOD_FOR_S
        if self._is_closed(window):
            self._past = Unfinished()
        if window.period == self._last:
            self._running = Unfinished()
        return batch

    def remembered(self) -> Batch:
        """As the port says."""
        seen, self._seen = self._seen, {}
        return Batch((), {}, None, meters=seen)

    def probe(self) -> str:
        """Read the running period of every scope, without detail."""
        return within(DEADLINE_S, self._probe, what=f"source {self.name}")

    def _unfinished(self, window: Window) -> Unfinished:
        """What need not be asked for again: answers since the last read that came to an end, or to what does not fit.

        Or the running period would use up what Azure allows each time, and the past never be filled in; and what takes
        longer than a read may last would never be read.
        """
        now = time.monotonic()
        if self._is_closed(window):
            if now > self._past.good_until:
                self._past = Unfinished()
            return self._past
        if not self._goes_on or now > self._running.good_until:
            self._running = Unfinished()
        self._goes_on = False
        return self._running

    def _read(self, queries: CostQueries, window: Window) -> Batch:
        periods = self._periods(window)
        found: list[Found] = []
        refused: dict[str, PermanentError] = {}
        for scope in self._settings.scope:
            try:
                found.append(ScopeReader(self._detail(), queries, scope).read(periods))
            except PermanentError as error:
                refused[scope.path] = error
        if not found:
            raise next(iter(refused.values()))
        if not self._is_closed(window):
            self._check_currency(found)
        denied = tuple(f"scope {path}" for path in refused)
        if self._is_closed(window):
            return self._batch(queries, found, denied)
        whole, cut_off, readings = self._judged(found, window)
        batch = self._dated(self._batch(queries, whole, (*denied, *cut_off)), whole, window.meters)
        return replace(batch, meters={**batch.meters, **readings})

    def _judged(self, found: Sequence[Found], window: Window) -> tuple[list[Found], list[str], dict[str, MeterReading]]:
        """The scopes that may be booked, what is said of the others, what to remember. Raises if nothing is left."""
        whole: list[Found] = []
        cut_off: list[str] = []
        refusals: list[str] = []
        readings: dict[str, MeterReading] = {}
        for part in found:
            key = f"{self._settings.currency}/{part.scope.normal}"
            now = window.period.end - _SECOND
            judgement = judge(part.scope.path, part.days, part.doubtful, known=window.meters, key=key, now=now)
            readings |= judgement.readings
            if judgement.refusal:
                refusals.append(judgement.refusal)
                cut_off.append(f"scope {part.scope.path} ({judgement.lacks})")
            else:
                whole.append(part)
        if refusals and not any(part.cells for part in whole):
            self._seen = readings
            raise BadDataError(refusals[0])
        return whole, cut_off, readings

    def _batch(self, queries: CostQueries, found: Sequence[Found], refused: tuple[str, ...]) -> Batch:
        charges: list[Charge] = []
        replaces: dict[Series, Period] = {}
        billed = {day for part in found for _, day in part.cells}
        periods = {day: Period(midnight(day), midnight(day + _DAY)) for day in billed}
        for part in found:
            for series, days in sorted(by_series(part.cells).items()):
                charges += (Charge(series, periods[day], cost) for day, cost in sorted(days.items()))
                if part.covered is not None:
                    replaces[series] = part.covered
        rejected = sum(part.rejected for part in found)
        unusable = (f"{rejected} unusable row{'s' * (rejected > 1)}",) if rejected else ()
        # Only where there is a cost: an answer that is empty is never taken for all there is.
        whole = [part for part in found if part.covered is not None and not part.rejected]
        single = len(self._settings.scope) == 1
        return Batch(
            tuple(charges),
            replaces,
            _goes_to(found, self._settings.late_after),
            whole=whole[0].covered if whole and single else None,
            whole_accounts={} if single else {part.scope.subscription: part.covered for part in whole if part.covered},
            rejected=rejected,
            missing=(*refused, *unusable),
            use=queries.use,
        )

    def _dated(self, batch: Batch, found: Sequence[Found], known: Mapping[str, MeterReading]) -> Batch:
        """The batch of a running window. A scope that is used again does not take back how far its data goes."""
        key = f"{self._settings.currency}/data_as_of"
        if batch.data_as_of is None:
            return batch
        upto = batch.data_as_of
        if key in known:
            upto = max(upto, known[key].at)
        elif self._was_read:
            # In another currency, or by a version that did not remember it: then it went to the newest at most.
            upto = _goes_to(found, timedelta(0)) or upto
        return replace(batch, data_as_of=upto, meters={**batch.meters, key: MeterReading(upto, Decimal(0))})

    def _check_currency(self, found: Sequence[Found]) -> None:
        others = frozenset[str]().union(*(part.others for part in found))
        if others and all(part.covered is None for part in found):
            raise PermanentError(
                f"its costs are in {', '.join(sorted(others))}, but source {self.name} is set to "
                f"{self._settings.currency}: change its currency"
            )

    def _probe(self) -> str:
        now = SystemClock().now()
        said = []
        for scope in self._settings.scope:
            first, last = self._period_of(now).start.date(), now.date()
            answer = self._queries({}).ask(Query(scope.path, first, last, (CHARGE_TYPE,)))
            days = [row.day for row in answer.rows]
            others = f", and costs in {', '.join(sorted(answer.others))}" if answer.others else ""
            upto = f"up to {max(days)}" if days else f"none since {first}"
            said.append(f"costs of {scope.path} in {self._settings.currency}: {upto}{others}")
        return "; ".join(said)

    def _detail(self) -> Detail:
        return Detail(
            source=self.name,
            currency=self._settings.currency,
            by=tuple(self._settings.by),
            run_tag=self._settings.run_tag,
            tags=tuple(self._settings.tags),
            names_periods=self._settings.billing_period_starts != 1,
        )

    def _queries(self, kept: Kept) -> CostQueries:
        if self._client is None:
            self._client = make_client(self._settings)
        return CostQueries(self._client, self._settings.currency, seconds=DEADLINE_S, kept=kept)

    def _period_of(self, instant: datetime) -> Period:
        return InvoiceCalendar(self._settings.billing_months, 1).period_of(instant)

    def _is_closed(self, window: Window) -> bool:
        """Whether it is a period that is over."""
        return self._period_of(window.period.end - _SECOND).end == window.period.end

    def _periods(self, window: Window) -> list[Period]:
        """The billing periods of a window, to its last day, oldest first: a query for each, for none may be longer."""
        end = midnight((window.period.end - _SECOND).date() + _DAY)
        periods = [self._period_of(end - _SECOND)]
        while periods[0].start > window.period.start:
            periods.insert(0, self._period_of(periods[0].start - _SECOND))
        return [*periods[:-1], Period(periods[-1].start, min(periods[-1].end, end))]


def _goes_to(found: Sequence[Found], idle_after: timedelta) -> datetime | None:
    """The last day that every scope in use has usage up to; of costs of any kind where there is no usage at all.

    A scope whose usage ends `idle_after` or more before that of another is not in use: it makes nobody's data old.
    """
    used = [part.used_until for part in found if part.used_until is not None]
    if used:
        newest = max(used)
        return midnight(min(day for day in used if day == newest or newest - day < idle_after))
    billed = [day for part in found for _, day in part.cells]
    return midnight(max(billed)) if billed else None
