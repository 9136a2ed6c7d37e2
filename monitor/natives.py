"""The twins of the config's budgets: in which accounts they should be, what is there, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import alarms.registry
from alarms.clients.deadline import within
from alarms.errors import OutsideError
from alarms.model import Period, Severity
from alarms.ports import Native
from alarms.reconcile import Change, Outcome, Standing, carry_out, compare, standings
from alarms.settings import ReceiverSettings
from alarms.twins import Address, Cannot, Owned, Twin, Wanted
from monitor.billing_months import BillingMonths, InvoiceCalendar
from monitor.config.model import Config
from monitor.model import Basis, Series
from monitor.period import Calendar, Run
from monitor.readings import WatchedBudget, spread

# How many months there are in a period of an invoice calendar.
_OF_INVOICES = {1: "month", 3: "quarter", 12: "year"}
# A call has its own time-outs; these are for an account with hundreds of twins, or one that answers a byte a second.
_PLACE_S, _LOOK_S, _CHANGE_S = 30.0, 600.0, 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """One account of a cloud, as the first of `sources` sees it, and what should be and is there.

    `budgets`: those with twins here, by name. `managed`: those of them that are mended without being asked.
    """

    cloud: str
    place: str
    sources: tuple[str, ...]
    native: Native
    budgets: tuple[str, ...]
    managed: frozenset[str]
    twins: tuple[Twin, ...]
    cannot: tuple[Cannot, ...]
    owned: Owned
    changes: tuple[Change, ...]

    @property
    def standings(self) -> list[Standing]:
        """How each budget stands here."""
        return standings(self.budgets, self.twins, self.cannot, self.changes)


@dataclass(frozen=True, slots=True)
class Unread:
    """An account that could not be looked at. `budgets`: those that should have twins in it."""

    cloud: str
    place: str
    sources: tuple[str, ...]
    budgets: tuple[str, ...]
    error: OutsideError


@dataclass(slots=True)
class Survey:
    """Everything that was looked at. `blind`: clouds of which some account could not be."""

    accounts: list[Account] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    blind: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Group:
    """Sources of one cloud with the same place; the native is that of the first."""

    cloud: str
    place: str
    sources: tuple[str, ...]
    native: Native


class Natives:
    """The twins of one config. `now`: for periods that are over, and what AWS says of dates."""

    def __init__(self, config: Config, now: Callable[[], datetime]) -> None:
        self._config = config
        self._now = now
        self._currencies = {source.name: source.currency for source in config.sources}
        self._lowest = {one.name: one.min_severity for one in config.receivers}
        self._addresses = {one.name: _address(one) for one in config.receivers}
        self._natives: dict[str, Native] = {}

    @property
    def any(self) -> bool:
        """Whether a budget has `native = true`."""
        return any(budget.native for budget in self._config.budgets)

    def wanted(self, known: Iterable[Series]) -> list[WatchedBudget]:
        """Every budget with `native = true`, spread out; `known`: every series of the ledger, for `each`."""
        native = [budget for budget in self._config.budgets if budget.native]
        watched = spread(native, known, self._currencies, self._hears)
        return [one for one in watched if not _is_over(one, self._now())]

    def survey(self, watched: Sequence[WatchedBudget], *, clouds: Collection[str] | None = None) -> Survey:
        """Look at every account that these budgets should have twins in, and at others of `clouds` (None: of all).

        What is left over of budgets that are gone is found in both; that another account cannot be read is no matter.
        """
        survey = Survey()
        needed = {name for one in watched for name in one.sources}
        for group in self._groups(needed, clouds, survey, watched):
            mine = [one for one in watched if set(one.sources) & set(group.sources)]
            try:
                survey.accounts.append(self._look(group, mine))
            except OutsideError as error:
                survey.blind.add(group.cloud)
                if mine:
                    names = tuple(one.budget.name for one in mine)
                    survey.unread.append(Unread(group.cloud, group.place, group.sources, names, error))
        return survey

    def look_again(self, account: Account, watched: Sequence[WatchedBudget]) -> Account:
        """The same account as it is now. Raises OutsideError."""
        group = _Group(account.cloud, account.place, account.sources, account.native)
        return self._look(group, [one for one in watched if set(one.sources) & set(account.sources)])

    def _groups(
        self, needed: Collection[str], clouds: Collection[str] | None, survey: Survey, watched: Sequence[WatchedBudget]
    ) -> Iterable[_Group]:
        found: dict[tuple[str, str], list[str]] = {}
        for settings in self._config.sources:
            cloud = settings.type.partition("_")[0]
            others = cloud in (alarms.registry.natives() if clouds is None else clouds)
            if cloud not in alarms.registry.natives() or not (settings.name in needed or others):
                continue
            try:
                place = within(
                    _PLACE_S, self._native(cloud, settings).place, what=f"{cloud} for source {settings.name}"
                )
            except OutsideError as error:
                survey.blind.add(cloud)
                names = tuple(one.budget.name for one in watched if settings.name in one.sources)
                if names:
                    survey.unread.append(Unread(cloud, "", (settings.name,), names, error))
                continue
            found.setdefault((cloud, place), []).append(settings.name)
        for (cloud, place), sources in found.items():
            yield _Group(cloud, place, tuple(sources), self._natives[sources[0]])

    def _native(self, cloud: str, settings: Any) -> Native:
        if settings.name not in self._natives:
            self._natives[settings.name] = alarms.registry.create_native(
                cloud, settings, prefix=self._config.monitor.native_prefix, now=self._now
            )
        return self._natives[settings.name]

    def _look(self, group: _Group, watched: Sequence[WatchedBudget]) -> Account:
        designs = [group.native.design(self._described(one, group.sources), group.place) for one in watched]
        twins = tuple(twin for design in designs for twin in design.twins)
        owned = within(_LOOK_S, group.native.owned, what=f"{group.cloud} {group.place}")
        owned = replace(owned, twins=tuple(twin for twin in owned.twins if not self._may_come_back(twin, watched)))
        return Account(
            cloud=group.cloud,
            place=group.place,
            sources=group.sources,
            native=group.native,
            budgets=tuple(one.budget.name for one in watched),
            managed=frozenset(one.budget.name for one in watched if one.config.manage),
            twins=twins,
            cannot=tuple(one for design in designs for one in design.cannot),
            owned=owned,
            changes=compare(twins, owned),
        )

    def _may_come_back(self, twin: Twin, watched: Sequence[WatchedBudget]) -> bool:
        """It is of an account that this ledger has not seen: of a new or another one, say. It is not left over."""
        base, _, account = twin.budget.rpartition("/")
        return twin.budget not in {one.budget.name for one in watched} and any(
            budget.native and budget.each and budget.name == base and account in (budget.scope.account or (account,))
            for budget in self._config.budgets
        )

    def _described(self, watched: WatchedBudget, here: Collection[str]) -> Wanted:
        budget, scope = watched.budget, watched.scope
        calendar = watched.config.period
        months = calendar.months if isinstance(calendar, InvoiceCalendar) else BillingMonths()
        named = {name for threshold in budget.thresholds for name in threshold.receivers or ()}
        return Wanted(
            budget=budget.name,
            amount=budget.amount,
            currency=budget.currency,
            period=_word(calendar),
            thresholds=budget.thresholds,
            addresses={name: self._addresses[name] for name in sorted(named)},
            accounts=scope.account,
            services=scope.service,
            regions=scope.region,
            runs=scope.run,
            tags=scope.tag,
            net=watched.config.basis is Basis.NET,
            first_day=months.first_day,
            zone=months.zone,
            elsewhere=tuple(name for name in watched.sources if name not in here),
        )

    def _hears(self, receiver: str, severity: Severity) -> bool:
        lowest = self._lowest[receiver]
        return lowest is None or severity.rank >= Severity(lowest).rank


def carry_out_within(native: Native, changes: Iterable[Change]) -> list[Outcome]:
    """Do what has to be done, each in its time; what fails keeps nothing else from being done."""
    return [outcome for change in changes for outcome in carry_out(_InTime(native), [change])]


class _InTime:
    """A native whose changes are over in time."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._native, name)
        return lambda *arguments: within(_CHANGE_S, lambda: method(*arguments), what=self._native.cloud, uncertain=True)


def _word(calendar: Calendar) -> str | Period:
    if isinstance(calendar, InvoiceCalendar):
        return _OF_INVOICES[calendar.count]
    if isinstance(calendar, Run):
        return "run"
    return calendar if isinstance(calendar, Period) else calendar.value


def _is_over(watched: WatchedBudget, now: datetime) -> bool:
    period = watched.config.period
    return isinstance(period, Period) and period.end <= now


def _address(settings: ReceiverSettings) -> Address:
    """What a cloud can be told of a receiver."""
    known: Mapping[str, Callable[[Any], tuple[str, ...]]] = {
        "sns": lambda one: (one.topic_arn,),
        "email": lambda one: tuple(one.to),
    }
    return Address(settings.name, settings.type, known.get(settings.type, lambda _: ())(settings))
