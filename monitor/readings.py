"""The bridge between the packages: ledger totals and freshness in, finished `alarms` readings out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from alarms.model import Budget, Period, Reading, Severity, Threshold
from alarms.money import total
from monitor.config.model import BudgetConfig
from monitor.freshness import Freshness
from monitor.model import UNATTRIBUTED, Scope, Series

# Charges of a period go on arriving after its end: a bill is 6 to 49 hours late, and a month's tail a day long.
SETTLES_AFTER = timedelta(hours=24)
# A source that never reaches the period's end must not keep it open for ever.
GIVEN_UP_AFTER = timedelta(days=7)

# (receiver, severity) -> whether it wants to be told
Hears = Callable[[str, Severity], bool]

_UNTRUSTED = frozenset({Freshness.STALE, Freshness.NO_ACCESS, Freshness.NEVER})


@dataclass(frozen=True, slots=True)
class WatchedBudget:
    """A budget after `each` has been spread out: what alarms need, what it counts, and which sources feed it."""

    budget: Budget
    config: BudgetConfig
    scope: Scope
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a reading needs to know of a source."""

    name: str
    freshness: Freshness
    data_as_of: datetime | None
    missing: tuple[str, ...] = ()


class Totals:
    """Billed cost by series over one period, indexed so that a thousand budgets do not each scan every series."""

    def __init__(self, billed: Mapping[Series, Decimal]) -> None:
        self._all = list(billed.items())
        self.sources = frozenset((series.source, series.currency) for series in billed)
        self._by_account: dict[str, list[tuple[Series, Decimal]]] = defaultdict(list)
        self._by_service: dict[str, list[tuple[Series, Decimal]]] = defaultdict(list)
        for item in self._all:
            self._by_account[item[0].account].append(item)
            self._by_service[item[0].service].append(item)

    def billed(self, watched: WatchedBudget) -> Decimal | None:
        """The exact sum of what a budget counts; None when nothing is booked there at all.

        What a source brought that is no longer configured does not count: its new name may bring the same again.
        """
        scope, sources, currency = watched.scope, frozenset(watched.sources), watched.budget.currency
        found = [
            cost
            for series, cost in self._candidates(scope)
            if series.source in sources and series.currency == currency and scope.covers(series)
        ]
        return total(found) if found else None

    def _candidates(self, scope: Scope) -> Iterable[tuple[Series, Decimal]]:
        if scope.account:
            return (item for account in scope.account for item in self._by_account.get(account, ()))
        if scope.service:
            return (item for service in scope.service for item in self._by_service.get(service, ()))
        return self._all


def spread(
    budgets: Sequence[BudgetConfig], known: Iterable[Series], currencies: Mapping[str, str], hears: Hears
) -> list[WatchedBudget]:
    """One watched budget for each budget, and for `each = "account"` one for each account seen.

    `known`: every series of the ledger. `currencies`: of each configured source, by its name. `hears`: whether a
    receiver wants to be told of a severity.
    """
    accounts = sorted({(s.source, s.account) for s in known if s.account not in ("", UNATTRIBUTED)})
    watched: list[WatchedBudget] = []
    for config in budgets:
        sources = tuple(
            name
            for name, currency in currencies.items()
            if currency == config.currency and (not config.scope.source or name in config.scope.source)
        )
        if config.each is None:
            watched.append(WatchedBudget(_budget(config, config.name, hears), config, config.scope, sources))
            continue
        names = {account for source, account in accounts if source in sources}
        wanted = names & set(config.scope.account) if config.scope.account else names
        watched += [
            WatchedBudget(
                budget=_budget(config, f"{config.name}/{account}", hears),
                config=config,
                scope=replace(config.scope, account=(account,)),
                sources=sources,
            )
            for account in sorted(wanted)
        ]
    return watched


def reading(
    watched: WatchedBudget,
    period: Period,
    totals: Totals,
    known: Iterable[Series],
    sources: Mapping[str, SourceState],
    now: datetime,
) -> Reading:
    """The spend of one budget in one period, with how complete and how old it is. Missing is None, never 0."""
    feeding = [sources[name] for name in watched.sources]
    billed = totals.billed(watched)
    if billed is None and _nothing_was_spent(watched, totals, known, feeding):
        billed = Decimal(0)
    ages = [state.data_as_of for state in feeding]
    return Reading(
        budget=watched.budget.name,
        period=period,
        currency=watched.budget.currency,
        spend=billed,
        billed=billed,
        accrued=None,  # nothing here estimates what is used but not billed yet: that takes an inventory
        as_of=min((age for age in ages if age is not None), default=None),
        lower_bound=any(state.missing or state.data_as_of is None for state in feeding),
        stale=tuple(state.name for state in feeding if state.freshness in _UNTRUSTED),
        settled=_is_settled(period, ages, now),
    )


def _budget(config: BudgetConfig, name: str, hears: Hears) -> Budget:
    def receivers(threshold: Threshold) -> tuple[str, ...]:
        named = config.receivers if threshold.receivers is None else threshold.receivers
        return tuple(receiver for receiver in named if hears(receiver, threshold.severity))

    return Budget(
        name=name,
        amount=config.amount,
        currency=config.currency,
        thresholds=tuple(replace(threshold, receivers=receivers(threshold)) for threshold in config.thresholds),
        receivers=config.receivers,
        repeat=dict(config.repeat),
    )


def _nothing_was_spent(
    watched: WatchedBudget, totals: Totals, known: Iterable[Series], feeding: Sequence[SourceState]
) -> bool:
    """An explicit zero: every source has charges in the period, is whole, and the scope names something it knows.

    A scope that matches nothing ever seen (a misspelt service, say) stays NO_DATA: it must not look like thrift.
    """
    currency = watched.budget.currency
    published = all((state.name, currency) in totals.sources and not state.missing for state in feeding)
    named = any(watched.scope.covers(series) and series.currency == currency for series in known)
    return bool(feeding) and published and named


def _is_settled(period: Period, ages: Sequence[datetime | None], now: datetime) -> bool:
    since_end = now - period.end
    all_through = all(age is not None and age >= period.end for age in ages)
    return since_end >= GIVEN_UP_AFTER or (all_through and since_end >= SETTLES_AFTER)
