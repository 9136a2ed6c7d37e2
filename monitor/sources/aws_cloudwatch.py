"""AWS bills as CloudWatch shows them: EstimatedCharges, the month to date, published several times a day."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from alarms.clients.aws import AwsSettings, make_client
from alarms.clients.deadline import within
from alarms.model import Period
from alarms.settings import Duration
from alarms.words import instant_text
from monitor import doubts
from monitor.attribution import TOTAL, Counter, Group, Plan, Rest, Tree, bases_of, groups, total_base
from monitor.clients.aws import BillingMetrics, bill_of_account
from monitor.clock import SystemClock
from monitor.errors import AccessError, BadDataError, PermanentError
from monitor.meter import TAIL, Point
from monitor.model import UNATTRIBUTED, Batch, MeterReading, Series, Window
from monitor.period import month_of, months_before
from monitor.ports import BillingSource

DEADLINE_S = 60.0
_RETRIES = 2
# AWS may still correct or add a reading that is younger than this.
_SETTLED = timedelta(hours=24)
# So far back before a month's start the last reading of the month before is looked for: older data is stale.
_LOOK_BACK = timedelta(days=3)
# CloudWatch keeps hourly readings for 455 days.
_KEPT = timedelta(days=455)
_SECOND = timedelta(seconds=1)
# More readings at once take too much memory and time; the services of some accounts, a third of it, do not.
_MOST_READINGS = 300_000
_PUBLISHED_EVERY = timedelta(hours=4)
_DIMENSIONS = {"account": "LinkedAccount", "service": "ServiceName"}
_ZERO = Decimal(0)


class Settings(AwsSettings):
    """`[[sources]]` with `type = "aws_cloudwatch"`."""

    # AWS: "several times a day"; seen every 4 to 6 hours.
    published_every: ClassVar[timedelta] = timedelta(hours=6)

    name: Annotated[str, Field(min_length=1)]
    type: Literal["aws_cloudwatch"] = "aws_cloudwatch"
    every: Duration = timedelta(hours=1)
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    by: list[Literal["service", "account"]] = Field(default_factory=list)
    late_after: Duration = timedelta(hours=36)
    stale_after: Duration = timedelta(hours=48)
    backfill: Annotated[Duration, Field(le=_KEPT)] = _KEPT

    @property
    def bill(self) -> str:
        """Whose charges these are."""
        return bill_of_account(self)


def create(settings: Settings) -> BillingSource:
    """The source with these settings; nothing is connected to yet."""
    return AwsCloudWatch(settings)


class AwsCloudWatch:
    """Reads the total, and by `by` its parts, as charges that always add up to the total.

    What is more than `most` readings is read from the month's start and in parts: the total and its accounts first,
    then the services of some of these accounts at a time, against the same readings of the total.
    """

    def __init__(self, settings: Settings, most: int = _MOST_READINGS) -> None:
        self.name = settings.name
        self._settings = settings
        self._most = most
        self._client: Any = None

    def windows(
        self, now: datetime, meters: dict[str, MeterReading], filled_since: datetime | None
    ) -> Sequence[Window]:
        """The running window, continued from the last settled readings, then the months that were never read.

        In its first four days, while a month is read from its start, the one before is read again, for its tail.
        """
        month = month_of(now).start
        total = meters.get(self._key(TOTAL))
        if total is not None and now - _KEPT < total.at <= now:
            running = Window(Period(total.at, now + _SECOND), meters)
        else:
            running = Window(Period(month, now + _SECOND))
        start, oldest = running.period.start, now - self._settings.backfill
        missing = months_before(min(filled_since or start, start), oldest)
        if start == month and now - month < TAIL + _LOOK_BACK:
            missing = list(dict.fromkeys([*months_before(month, oldest)[:1], *missing]))
        return [running, *map(Window, missing)]

    def fetch(self, window: Window) -> Batch:
        """Read one window. Raises OutsideError as the port says."""
        return within(DEADLINE_S, lambda: self._fetch(window), what=f"source {self.name}")

    def probe(self) -> str:
        """Read the total of the last three days, and what parts there are."""
        return within(DEADLINE_S, self._probe, what=f"source {self.name}")

    def _fetch(self, window: Window) -> Batch:
        reader = self._reader()
        if isinstance(window.part, Rest):
            return self._go_on(reader, window, window.part)
        end = window.period.end
        closed = _is_closed(window)
        metered = self._metered(window.meters)
        base = total_base(metered, end)
        month = month_of(base.at if base else window.period.start).start
        # Beyond the tail, so that a parent's newest reading does not cut off those of its parts.
        until = end + (TAIL + _SETTLED if closed else _SECOND)
        total = self._read(reader, {TOTAL: base.at if base else month - _LOOK_BACK}, until)[TOTAL]
        first = base.at + _SECOND if base else month
        if not any(first <= instant <= end for instant, _ in total):
            if not total and not closed:
                self._check_currency(reader)
            # Missing is missing: what is stored stays.
            newest = total[-1][0] if total else None
            return Batch((), {}, newest, rejected=reader.rejected, missing=reader.missing, use=reader.use)
        if base is not None and doubts.was_corrected(base, total):
            base, total = None, self._read(reader, {TOTAL: month - _LOOK_BACK}, until)[TOTAL]
        plan = self._plan(reader, metered, base, month=month, until=until)
        tree = self._read_parts(reader, plan, total)
        return self._begin(reader, window, plan) if tree is None else self._batch(reader, window, plan, tree)

    def _plan(
        self,
        reader: BillingMetrics,
        metered: Mapping[Counter, MeterReading],
        base: MeterReading | None,
        *,
        month: datetime,
        until: datetime,
    ) -> Plan:
        """Everything that is published or was in this month; and what was booked that the tree no longer has."""
        by = self._settings.by
        recent = {counter for counter, reading in metered.items() if reading.at >= month}
        listed = reader.listed(None if len(by) > 1 else _DIMENSIONS[by[0]]) if by else set()
        tree_groups = groups(recent | listed, by)
        gone = recent - {part for group in tree_groups for part in group.parts} - {TOTAL}
        # Another `by` than before: the whole month is booked anew.
        bases = {} if gone else bases_of(tree_groups, metered, base, month)
        return Plan(month, until, tree_groups, bases, metered.keys(), recent - gone, gone)

    def _read_parts(self, reader: BillingMetrics, plan: Plan, total: list[Point]) -> Tree | None:
        """Everything at once; None if that is too much."""
        start = plan.month - _LOOK_BACK
        if plan.gone:
            total = self._read(reader, {TOTAL: start}, plan.until)[TOTAL]
        parts = {part for group in plan.groups for part in group.parts}
        if self._is_too_much(plan, len(parts) * len(total)):
            return None
        since = {part: plan.bases[part].at if part in plan.bases else start for part in parts}
        points = {TOTAL: total} | self._read(reader, since, plan.until)
        doubts.check_shown(plan, points, reader.failed)
        tree = Tree(plan.groups, points, bases=plan.bases, month=plan.month)
        while again := tree.to_read_again():
            if self._is_too_much(plan, len(again) * ((plan.until - start) // _PUBLISHED_EVERY)):
                return None
            tree.read_again(self._read(reader, dict.fromkeys(again, start), plan.until))
        return tree

    def _is_too_much(self, plan: Plan, readings: int) -> bool:
        """Whether it has to come in parts; a tree without services below accounts is never so large."""
        return len(plan.groups) > 1 and readings > self._most

    def _begin(self, reader: BillingMetrics, window: Window, plan: Plan) -> Batch:
        """The total and its accounts, read from the month's start: what of the total is nobody's."""
        plan = replace(plan, bases={})
        root, *accounts = plan.groups
        points = self._read(reader, dict.fromkeys((TOTAL, *root.parts), plan.month - _LOOK_BACK), plan.until)
        doubts.check_shown(plan, points, reader.failed)
        whole = [Group(account.parent, (), account.rest) for account in accounts]
        tree = Tree([root, *whole], points, bases={}, month=plan.month)
        batch = self._batch(reader, window, plan, tree, only={TOTAL})
        return _continued(batch, window, Rest(replace(plan, gone=()), accounts, points, batch.meters, batch.missing))

    def _go_on(self, reader: BillingMetrics, window: Window, rest: Rest) -> Batch:
        """The services of as many accounts as are not too much at once, below what was read of the accounts before."""
        now, later = rest.split(self._most // 3)
        accounts = {group.parent for group in now}
        services = {service for group in now for service in group.parts}
        points = {counter: rest.points[counter] for counter in (TOTAL, *accounts)}
        points |= self._read(reader, dict.fromkeys(services, rest.plan.month - _LOOK_BACK), rest.plan.until)
        doubts.check_shown(rest.plan, points, reader.failed)
        root = replace(rest.plan.groups[0], parts=tuple(accounts))
        tree = Tree([root, *now], points, bases={}, month=rest.plan.month)
        batch = self._batch(reader, window, rest.plan, tree, only=accounts)
        meters, missing = {**rest.meters, **batch.meters}, (*rest.missing, *batch.missing)
        if not later:
            return replace(batch, meters=meters, missing=missing)
        left = {counter: found for counter, found in rest.points.items() if counter not in accounts}
        return _continued(batch, window, Rest(rest.plan, later, left, meters, missing))

    def _batch(
        self,
        reader: BillingMetrics,
        window: Window,
        plan: Plan,
        tree: Tree,
        only: Collection[Counter] | None = None,
    ) -> Batch:
        """What was read of a window; `only`: of the groups of these parents."""
        doubts.check_read(reader.failed, plan.metered)
        currency, end = self._settings.currency, window.period.end
        charges, replaces = tree.charges(self.name, currency, end, only)
        for counter in {*plan.gone, *((account, UNATTRIBUTED) for account, _ in plan.gone)}:
            replaces.setdefault(Series(self.name, currency, *counter), Period(plan.month, end))
        return Batch(
            tuple(charges),
            replaces,
            tree.newest,
            rejected=reader.rejected,
            missing=(*sorted(map(doubts.named, reader.failed)), *reader.missing),
            meters={} if _is_closed(window) else self._next_meters(tree, plan.gone, plan.month),
            use=reader.use,
        )

    def _read(
        self, reader: BillingMetrics, since: Mapping[Counter, datetime], until: datetime
    ) -> dict[Counter, list[Point]]:
        """The readings of what could be read to the end; raises if that is not so of the total."""
        points = reader.read(since, until)
        self._check_total(reader)
        return {counter: [] if counter in reader.failed else found for counter, found in points.items()}

    def _probe(self) -> str:
        now = SystemClock().now()
        reader = self._reader()
        total = reader.read({TOTAL: now - _LOOK_BACK}, now + _SECOND)[TOTAL]
        self._check_total(reader)
        if not total:
            self._check_currency(reader)
            return f"nothing published in {self._settings.currency} within the last {_LOOK_BACK.days} days"
        listed = reader.listed(None)
        accounts, services = ({counter[place] for counter in listed} - {""} for place in (0, 1))
        return (
            f"EstimatedCharges in {self._settings.currency} up to {instant_text(total[-1][0], UTC)}, "
            f"{len(services)} services, {len(accounts)} linked accounts"
        )

    def _reader(self) -> BillingMetrics:
        if self._client is None:
            self._client = make_client("cloudwatch", self._settings, retries=_RETRIES, validation=False)
        return BillingMetrics(self._client, self._settings.currency, seconds=DEADLINE_S)

    def _check_total(self, reader: BillingMetrics) -> None:
        status = reader.failed.get(TOTAL)
        if status == doubts.FORBIDDEN:
            raise AccessError("CloudWatch refuses the total of EstimatedCharges: allow cloudwatch:GetMetricData")
        if status is not None:
            raise BadDataError(f"CloudWatch could not give all readings of the total of EstimatedCharges ({status})")

    def _check_currency(self, reader: BillingMetrics) -> None:
        currencies = reader.currencies()
        if currencies and self._settings.currency not in currencies:
            raise PermanentError(
                f"EstimatedCharges is published in {', '.join(sorted(currencies))}, but source {self.name} is set to "
                f"{self._settings.currency}: change its currency"
            )

    def _next_meters(self, tree: Tree, gone: Collection[Counter], month: datetime) -> dict[str, MeterReading]:
        """What to continue from next time."""
        # Those of a month that is over do not count as known any more.
        readings = tree.settled(_SETTLED) | dict.fromkeys(gone, MeterReading(month - _SECOND, _ZERO))
        return {self._key(counter): reading for counter, reading in readings.items()}

    def _key(self, counter: Counter) -> str:
        """The name of a counter in the store."""
        return "/".join((self._settings.currency, *counter))

    def _metered(self, meters: Mapping[str, MeterReading]) -> dict[Counter, MeterReading]:
        found: dict[Counter, MeterReading] = {}
        for key, reading in meters.items():
            currency, account, service = key.split("/", 2)
            if currency == self._settings.currency:
                found[account, service] = reading
        return found


def _is_closed(window: Window) -> bool:
    """Whether it is a month that is over."""
    return window.period.end == month_of(window.period.end).start


def _continued(batch: Batch, window: Window, rest: Rest) -> Batch:
    """A part; what it says of more than its charges comes with the last."""
    return replace(batch, meters={}, missing=(), rest=replace(window, part=rest))
