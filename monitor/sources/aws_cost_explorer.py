"""AWS bills as Cost Explorer shows them: what each UTC day cost, by service, account and training run, credits apart.

A question has two groups at most, so service x account x run x kind of charge is put together from several: what all of
it cost by two of them is the frame, which every other answer only divides further. So the charges of a day always add
up to what that one answer says, however the answers differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from alarms.clients.aws import AwsSettings, make_client
from alarms.clients.deadline import within
from alarms.model import Period
from alarms.money import EXACT, total
from alarms.settings import Duration
from monitor.billing_months import months_later
from monitor.clients.aws import bill_of_account
from monitor.clients.cost_explorer import USD_PER_REQUEST, Answer, CostReader, Group
from monitor.clock import SystemClock
from monitor.division import TAX, USAGE, Cells, Place, Runs, category_of, divide
from monitor.errors import BadDataError, OutsideError
from monitor.model import CREDIT, UNATTRIBUTED, ApiUse, Batch, Charge, MeterReading, Series, Window
from monitor.period import day_of, midnight, month_of, months_before
from monitor.ports import BillingSource

DEADLINE_S = 60.0
_RETRIES = 2
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
# Cost Explorer keeps days for so many months before the running one; with that one they are so long at most.
_KEPT_MONTHS = 13
_KEPT = timedelta(days=428)
# So many months are filled in with one question: what it costs is pages.
_MONTHS_AT_ONCE = 3
# Credits are no part of a gross figure and come late anyhow; with each second read the usual source stays below $2.
_CREDITS_EVERY = timedelta(hours=11)
_PROBED = timedelta(days=3)

_PURCHASE = "Purchase"
_CREDITS = ["Credit", "Refund"]
# RECORD_TYPE -> FOCUS ChargeCategory; discounts and negations belong to the usage that they make cheaper.
_CATEGORIES = {
    **dict.fromkeys(_CREDITS, CREDIT),
    "Tax": TAX,
    **dict.fromkeys(("Recurring", "Upfront", "RIFee", "SavingsPlanRecurringFee", "SavingsPlanUpfrontFee"), _PURCHASE),
}
_DIMENSIONS = {"account": "LINKED_ACCOUNT", "service": "SERVICE"}
_RECORD_TYPE: Group = ("DIMENSION", "RECORD_TYPE")
_ONLY_CREDITS = {"Dimensions": {"Key": "RECORD_TYPE", "Values": _CREDITS}}
_NO_CREDITS = {"Not": _ONLY_CREDITS}


class Settings(AwsSettings):
    """`[[sources]]` with `type = "aws_cost_explorer"`."""

    # AWS: refreshed at least once every 24 hours.
    published_every: ClassVar[timedelta] = timedelta(hours=24)

    name: Annotated[str, Field(min_length=1)]
    type: Literal["aws_cost_explorer"] = "aws_cost_explorer"
    every: Duration = timedelta(hours=6)
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    by: list[Literal["service", "account"]] = Field(default=["service", "account"])
    run_tag: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    late_after: Duration = timedelta(hours=60)
    stale_after: Duration = timedelta(hours=72)
    backfill: Annotated[Duration, Field(le=_KEPT)] = _KEPT

    @property
    def bill(self) -> str:
        """Whose charges these are."""
        return bill_of_account(self)


@dataclass(frozen=True, slots=True)
class _Credits:
    """Credits that were read: when, and of the days from which on."""

    at: datetime
    first: date
    cells: Cells


def create(settings: Settings) -> BillingSource:
    """The source with these settings; nothing is connected to yet."""
    return AwsCostExplorer(settings)


class AwsCostExplorer:
    """Reads the month before and the running one anew each time: a month is corrected until its invoice."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self._by = tuple(sorted(set(settings.by)))
        self._client: Any = None
        self._credits: _Credits | None = None
        self._unreported = 0

    def windows(
        self, now: datetime, meters: dict[str, MeterReading], filled_since: datetime | None
    ) -> Sequence[Window]:
        """From the first of the last month to now; then what was never read before that, some months at once."""
        start = month_of(month_of(now).start - _SECOND).start
        known = {key: reading for key, reading in meters.items() if start <= reading.at <= now}
        kept_since = midnight(months_later(month_of(now).start.date(), -_KEPT_MONTHS))
        oldest = max(now - self._settings.backfill, kept_since)
        missing = months_before(min(filled_since or start, start), oldest)
        stretches = (missing[place : place + _MONTHS_AT_ONCE] for place in range(0, len(missing), _MONTHS_AT_ONCE))
        past = (Window(Period(months[-1].start, months[0].end)) for months in stretches)
        return [Window(Period(start, now + _SECOND), known), *past]

    def fetch(self, window: Window) -> Batch:
        """Read one window. Raises OutsideError as the port says."""
        return within(DEADLINE_S, lambda: self._fetch(window), what=f"source {self.name}")

    def probe(self) -> str:
        """Read the last three days, and what runs the tag names."""
        return within(DEADLINE_S, self._probe, what=f"source {self.name}")

    def _fetch(self, window: Window) -> Batch:
        reader = self._reader()
        try:
            batch = self._read(reader, window)
        except OutsideError:
            # What was asked in vain is paid for as well.
            self._unreported += reader.requests
            raise
        calls, self._unreported = reader.requests + self._unreported, 0
        return replace(batch, use=ApiUse(calls, calls * USD_PER_REQUEST))

    def _read(self, reader: CostReader, window: Window) -> Batch:
        # A day counts whole, and today is one; the end is exclusive, so that it is never the start.
        first = window.period.start.astimezone(UTC).date()
        end = day_of(window.period.end - _SECOND).end.date()
        cells = self._frame(reader, first, end)
        meters = self._meters(cells)
        self._check_shown(window.meters, meters)
        if all(place.category == CREDIT for place in cells):
            return Batch((), {}, None, rejected=reader.rejected, missing=reader.missing)
        if len(self._by) > 1:
            cells |= self._credits_of(reader, first, end, window.period.end)
        if self._settings.run_tag and self._by:
            divide(cells, self._runs(reader, first, end, cells))
        return self._batch(reader, cells, Period(midnight(first), midnight(end)), meters)

    def _frame(self, reader: CostReader, first: date, end: date) -> Cells:
        """All there is, by what it is told apart by: with a group to spare by kind of charge, else without credits."""
        groups = self._groups()
        if len(groups) > 1:
            return self._cells(reader.read(first, end, groups, _NO_CREDITS), ())
        tag = [("TAG", self._settings.run_tag)] if self._settings.run_tag and not groups else []
        answer = reader.read(first, end, [*groups, *tag, _RECORD_TYPE])
        return self._cells(answer, ("run", "kind") if tag else ("kind",))

    def _cells(self, answer: Answer, more: Sequence[str], category: str | None = None) -> Cells:
        cells: defaultdict[Place, Decimal] = defaultdict(Decimal)
        for (day, keys), cost in answer.costs.items():
            named = dict(zip((*self._by, *more), keys, strict=True))
            kind = named.pop("kind", None)
            told = category_of(named.get("service", "")) if kind is None else _CATEGORIES.get(kind, USAGE)
            place = Place(day, **named, category=category or told)
            cells[place] = EXACT.add(cells[place], cost)
        return dict(cells)

    def _credits_of(self, reader: CostReader, first: date, end: date, now: datetime) -> Cells:
        """Credits and refunds; those of the running window are asked for with each second read alone."""
        known = self._credits
        if known is not None and known.first <= first and timedelta(0) <= now - known.at < _CREDITS_EVERY:
            return {place: cost for place, cost in known.cells.items() if first <= place.day < end}
        cells = self._cells(reader.read(first, end, self._groups(), _ONLY_CREDITS), (), CREDIT)
        if not reader.rejected and (known is None or now >= known.at):
            self._credits = _Credits(now, first, cells)
        return cells

    def _runs(self, reader: CostReader, first: date, end: date, frame: Cells) -> Runs:
        """What each run cost on each day, by account and by service; where there is one of them, nobody is asked."""
        seen = {name: {getattr(place, name) for place in frame if place.category != CREDIT} for name in self._by}
        asked = [name for name in self._by if len(seen[name]) > 1] or list(self._by[:1])
        runs: Runs = defaultdict(dict)
        for name in asked:
            answer = reader.read(first, end, [self._tag, ("DIMENSION", _DIMENSIONS[name])], _NO_CREDITS)
            for (day, (run, value)), cost in answer.costs.items():
                if run and cost:
                    runs[day, run].setdefault(name, {})[value] = cost
        for parts in runs.values():
            whole = total(next(iter(parts.values())).values())
            for name in self._by:
                only = next(iter(seen[name])) if len(seen[name]) == 1 else UNATTRIBUTED
                parts.setdefault(name, {only: whole})
        return runs

    def _batch(self, reader: CostReader, cells: Cells, period: Period, meters: Mapping[str, MeterReading]) -> Batch:
        newest = max(place.day for place in cells if place.category != CREDIT)
        days = {place.day: day_of(midnight(place.day)) for place in cells}
        charges, replaces = [], {}
        for place, cost in cells.items():
            series = Series(
                source=self.name,
                currency=self._settings.currency,
                account=place.account,
                service=place.service,
                run=place.run,
                charge_category=place.category,
            )
            replaces[series] = period
            charges.append(Charge(series, days[place.day], cost))
        return Batch(
            tuple(charges),
            replaces,
            # There is no word of how far it goes: what comes before the newest day is told, that day maybe in part.
            midnight(newest),
            whole=None if reader.rejected else period,
            rejected=reader.rejected,
            missing=reader.missing,
            meters=meters,
        )

    def _meters(self, cells: Cells) -> dict[str, MeterReading]:
        """Of each month, on how many days something was spent."""
        days: defaultdict[str, set[date]] = defaultdict(set)
        for place, cost in cells.items():
            if cost and place.category != CREDIT:
                days[f"{self._settings.currency}/{place.day:%Y-%m}"].add(place.day)
        return {key: MeterReading(midnight(max(found)), Decimal(len(found))) for key, found in days.items()}

    def _check_shown(self, known: Mapping[str, MeterReading], shown: Mapping[str, MeterReading]) -> None:
        """Most of the days that had costs still have: another account's bill, or half of one, is no correction."""
        for key, reading in known.items():
            currency, _, month = key.partition("/")
            days = shown[key].value if key in shown else Decimal(0)
            if currency == self._settings.currency and 2 * days < reading.value:
                raise BadDataError(
                    f"Cost Explorer shows costs on {days} days of {month}, where it had shown {reading.value}: it is "
                    "not whole, or of another account. If that is meant, give the source a new name, so that it starts "
                    "anew"
                )

    def _probe(self) -> str:
        today = SystemClock().now().astimezone(UTC).date()
        reader = self._reader()
        first, end = today - _PROBED, today + _DAY
        groups: list[Group] = [("DIMENSION", key) for key in ("LINKED_ACCOUNT", "SERVICE")]
        answer = reader.read(first, end, groups)
        if not answer.costs:
            return f"no costs within the last {_PROBED.days} days"
        accounts, services = ({keys[place] for _, keys in answer.costs} for place in (0, 1))
        newest = max(day for day, _ in answer.costs)
        said = (
            f"costs in {self._settings.currency} up to {newest}, {len(services)} services, "
            f"{len(accounts)} linked accounts"
        )
        return said + self._probe_runs(reader, first, end)

    def _probe_runs(self, reader: CostReader, first: date, end: date) -> str:
        tag = self._settings.run_tag
        if tag is None:
            return ""
        runs = {keys[0] for _, keys in reader.read(first, end, [self._tag]).costs} - {""}
        if runs:
            return f", {len(runs)} runs by the tag {tag}"
        return f'; no cost bears the tag "{tag}": activate it as a cost allocation tag, it then counts from that day on'

    def _reader(self) -> CostReader:
        if self._client is None:
            self._client = make_client("ce", self._settings, retries=_RETRIES)
        return CostReader(self._client, self._settings.currency, seconds=DEADLINE_S)

    @property
    def _tag(self) -> Group:
        return ("TAG", self._settings.run_tag or "")

    def _groups(self) -> list[Group]:
        return [("DIMENSION", _DIMENSIONS[name]) for name in self._by]
