"""What a GCP budget counts this month, as Google publishes it to Pub/Sub many times a day: a total, before its lines.

It is another view of the bill that the export shows line by line, and is never added to it. A message is acknowledged
only when a later read finds that the ledger has it; until then it comes again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from alarms.clients.deadline import within
from alarms.clients.gcp_settings import GcpTwinSettings
from alarms.model import Period
from alarms.money import EXACT, is_currency
from alarms.settings import Duration
from monitor.billing_months import BillingMonths
from monitor.clients.budget_message import amount_of, document_of
from monitor.clients.gcp_keys import BILLING_MONTHS, BillingAccount, SubscriptionName
from monitor.clients.pubsub import Message, Subscription
from monitor.clock import from_text, to_text
from monitor.errors import PermanentError
from monitor.model import ApiUse, Batch, Charge, MeterReading, Series, Window
from monitor.period import month_of
from monitor.ports import BillingSource

DEADLINE_S = 60.0
_SECOND = timedelta(seconds=1)
# Budgets count in US Pacific time: their month starts at 07:00 or 08:00 UTC.
_ZONE, _PACIFIC = ZoneInfo(BILLING_MONTHS.zone), timedelta(hours=8)
# A month, and its last messages: what began earlier is the interval of a quarter or a year.
_LONGEST = timedelta(days=40)
_ZERO = Decimal(0)


class Settings(GcpTwinSettings):
    """`[[sources]]` with `type = "gcp_budget_messages"`."""

    # Google: "multiple times per day"; what it knows by then is hours old.
    published_every: ClassVar[timedelta] = timedelta(hours=6)

    name: Annotated[str, Field(min_length=1)]
    type: Literal["gcp_budget_messages"] = "gcp_budget_messages"
    subscription: SubscriptionName
    billing_account: BillingAccount
    budget: Annotated[str, Field(min_length=1)] | None = None
    every: Duration = timedelta(minutes=15)
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    late_after: Duration = timedelta(hours=24)
    stale_after: Duration = timedelta(hours=48)

    @property
    def bill(self) -> str:
        """Whose bill this is: two sources with the same are two views of it, never to be added up."""
        return f"gcp/{self.billing_account}"

    @property
    def asking_project(self) -> str:
        """That of the subscription."""
        return self.subscription.split("/")[1]

    @property
    def billing_months(self) -> BillingMonths:
        """The months of the invoices, for budgets that follow them."""
        return BILLING_MONTHS


def create(settings: Settings) -> BillingSource:
    """The source with these settings; nothing is connected to yet."""
    return GcpBudgetMessages(settings)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a message says: the cost of a budget from `since` on, as of `at`. `amount` None: nothing that is usable.

    `odd`: why it cannot be the one that is meant, "" if it can; `foreign`: it is another account's.
    """

    budget: str
    since: datetime
    at: datetime
    amount: Decimal | None
    odd: str = ""
    foreign: bool = False

    def is_settled(self, seen: Mapping[str, datetime]) -> bool:
        """Whether nothing is lost with it: the ledger has it, or one that is newer."""
        if self.odd:
            return bool(seen) and (self.foreign or self.at <= max(seen.values()))
        if self.amount is None:
            return any(self.at <= at for at in seen.values())
        at = seen.get(_key(_SEEN, self))
        return at is not None and self.at <= at


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is to be booked, in the order of time; and what is true of all of it."""

    told: Sequence[_Told]
    newest: datetime | None
    unusable: int
    missing: tuple[str, ...]
    use: ApiUse


class GcpBudgetMessages:
    """Reads the subscription, which is to be its own: what other budgets say is taken off it."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings

    def windows(
        self,
        now: datetime,
        meters: dict[str, MeterReading],
        filled_since: datetime | None,  # noqa: ARG002 - there is nothing further back to read
    ) -> Sequence[Window]:
        """The running month alone: of what was before the first message only its sum is told."""
        return [Window(Period(month_of(now - _PACIFIC).start, now + _SECOND), meters)]

    def fetch(self, window: Window) -> Batch:
        """Read one window. Raises OutsideError as the port says."""
        return within(DEADLINE_S, lambda: self._fetch(window), what=f"source {self.name}")

    def probe(self) -> str:
        """See that the subscription is there; no message is taken."""

        def probe() -> str:
            subscription = Subscription(self._settings.subscription, seconds=DEADLINE_S)
            try:
                subscription.look()
            finally:
                subscription.close()
            return f"the subscription {self._settings.subscription} is there"

        return within(DEADLINE_S, probe, what=f"source {self.name}")

    def _fetch(self, window: Window) -> Batch:
        if isinstance(window.part, _Rest):
            return self._book(window, window.part)
        subscription = Subscription(self._settings.subscription, seconds=DEADLINE_S)
        try:
            subscription.look()
            return self._take(subscription, window)
        finally:
            subscription.close()

    def _take(self, subscription: Subscription, window: Window) -> Batch:
        messages = subscription.pull()
        told = {message.id: self._told(message) for message in messages}
        seen = {key: reading.at for key, reading in window.meters.items() if key.startswith(_SEEN)}
        new = [one for one in told.values() if one is not None and not one.is_settled(seen)]
        ours = [one for one in new if not one.odd]
        settled = [message for message in messages if told[message.id] not in new]
        # Before anything is refused: what a budget that is gone has said last must not hold up its successor for ever.
        subscription.acknowledge(settled)
        subscription.give_back([message for message in messages if message not in settled])
        self._check_meant(new, [one for one in told.values() if one is not None and not one.odd])
        self._check_successor(ours, window.meters)
        good = _in_order(ours)
        newest = max([*seen.values(), *(one.at for one in good)], default=None)
        # A counter: what a later message says makes up for one that said nothing.
        unusable = sum(one.amount is None and (newest is None or one.at > newest) for one in ours)
        missing = (f"{unusable} unusable message{'s' * (unusable > 1)}",) if unusable else ()
        return self._book(window, _Rest(good, newest, unusable, missing, ApiUse(subscription.calls)))

    def _book(self, window: Window, rest: _Rest) -> Batch:
        """One interval at a time: what replaces the charges of one must not reach to those of another."""
        now = [one for one in rest.told if one.since == rest.told[0].since]
        later = rest.told[len(now) :]
        books = _Books(Series(self.name, self._settings.currency), window.meters)
        for one in now:
            books.take(one)
        batch = Batch(tuple(books.charges.values()), books.replaces, rest.newest, meters=books.meters, use=rest.use)
        if later:
            return replace(batch, rest=replace(window, part=replace(rest, told=later, use=ApiUse())))
        return replace(batch, rejected=rest.unusable, missing=rest.missing)

    def _told(self, message: Message) -> _Told | None:
        """What a message says; None if it is not one of our budget."""
        document = document_of(message.data)
        budget = message.attributes.get("budgetId", "")
        if not budget or "costIntervalStart" not in document:
            return None
        if self._settings.budget not in (None, budget, document.get("budgetDisplayName")):
            return None
        at = message.published_at
        try:
            since, amount = from_text(document["costIntervalStart"]), amount_of(document.get("costAmount"))
        except (AttributeError, TypeError, ValueError):
            since, amount = at, None
        foreign = message.attributes.get("billingAccountId", "") != self._settings.billing_account
        return _Told(
            budget, since, at, amount, self._odd(at - since, document.get("currencyCode"), foreign=foreign), foreign
        )

    def _odd(self, age: timedelta, currency: Any, *, foreign: bool) -> str:
        """Why a message cannot be the one that is meant; "" if it can."""
        if foreign:
            return (
                f"the messages of {self._settings.subscription} are of another billing account than "
                f"{self._settings.billing_account}: check billing_account and the topic of the budget"
            )
        if currency != self._settings.currency and isinstance(currency, str):
            named = currency if is_currency(currency) else "another currency"
            return (
                f"the budget is in {named}, but source {self.name} is set to {self._settings.currency}: "
                "change its currency"
            )
        if age > _LONGEST:
            return "the budget is not one by the month: its messages cannot be told apart by month"
        return ""

    def _check_meant(self, new: Sequence[_Told], ours: Sequence[_Told]) -> None:
        """Raise PermanentError where it is not known what counts, or nothing that has come is what is meant."""
        if new and all(one.odd for one in new):
            raise PermanentError(max(new, key=lambda one: one.at).odd)
        budgets = {one.budget for one in ours}
        if len(budgets) > 1:
            raise PermanentError(
                f"the subscription has messages of {len(budgets)} budgets: say which one counts in `budget`, by its "
                "name or its id"
            )

    def _check_successor(self, ours: Sequence[_Told], known: Mapping[str, MeterReading]) -> None:
        """Raise PermanentError where a budget not named by its id would replace one that counted more."""
        newest = max((one for one in ours if one.amount is not None), key=lambda one: one.at, default=None)
        if newest is None or newest.budget == self._settings.budget or _key(_SEEN, newest) in known:
            return
        before = [known[key] for key in known if key.startswith(_SEEN) and key.endswith(f" {to_text(newest.since)}")]
        if before and (newest.amount or _ZERO) < max(before, key=lambda reading: reading.at).value:
            raise PermanentError(
                "the subscription has messages of another budget, which counts less than the one before: say which one "
                "counts in `budget`, by its id"
            )


_BASE, _SEEN = "base", "seen"


class _Books:
    """Charges from what a counter has shown, by its interval; continued from the last reading that is in the ledger.

    `base`: the last reading before the interval's end; what came after it is one growing charge up to that end.
    """

    def __init__(self, series: Series, meters: Mapping[str, MeterReading]) -> None:
        self._series = series
        self._known = meters
        self.meters: dict[str, MeterReading] = {}
        self.charges: dict[tuple[Series, datetime], Charge] = {}
        self.replaces: dict[Series, Period] = {}

    def take(self, told: _Told) -> None:
        """The next message, in the order of time."""
        amount = told.amount or _ZERO
        end = _month_after(told.since)
        base_key, seen_key = _key(_BASE, told), _key(_SEEN, told)
        base = self.meters.get(base_key) or self._known.get(base_key) or MeterReading(told.since, _ZERO)
        until = min(told.at, end)
        if until > base.at and (amount != base.value or base.at == told.since):
            month = told.since.date().replace(day=1)
            in_month = (base.at.year, base.at.month) == (month.year, month.month)
            series = Series(
                self._series.source, self._series.currency, billing_period="" if in_month else month.isoformat()
            )
            period = Period(base.at, until)
            self.charges[series, base.at] = Charge(series, period, EXACT.subtract(amount, base.value))
            known = self.replaces.get(series, period)
            self.replaces[series] = Period(min(known.start, base.at), max(known.end, until))
        # Of what comes twice for one instant the next message tells the difference.
        if base.at < told.at < end:
            self.meters[base_key] = MeterReading(told.at, amount)
        self.meters[seen_key] = MeterReading(told.at, amount)


def _in_order(told: Sequence[_Told]) -> list[_Told]:
    """Those with an amount, in the order of time; of two of the same instant the one that says more."""
    good = sorted((one.since, one.at, one.amount, one.budget) for one in told if one.amount is not None)
    return list({(since, at): _Told(budget, since, at, amount) for since, at, amount, budget in good}.values())


def _key(what: str, told: _Told) -> str:
    return f"{what} {told.budget} {to_text(told.since)}"


def _month_after(since: datetime) -> datetime:
    """Where an interval ends: a month later by the clocks of California."""
    local = since.astimezone(_ZONE)
    return (local.replace(day=1) + timedelta(days=32)).replace(day=1).astimezone(UTC)
