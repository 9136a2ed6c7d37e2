"""The bridge between the packages: ledger totals and freshness in, finished `alarms` readings out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from alarms.model import Budget, Period, Reading, Severity, Threshold
from alarms.money import EXACT
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
    """What a reading needs to know of a source. `filled_since`: how far back its charges are stored without a hole."""

    name: str
    freshness: Freshness
    data_as_of: datetime | None
    missing: tuple[str, ...] = ()
    filled_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Billed cost over some days, exactly. `budgets`: by name, of those that count a charge there.

    `sources`: whose charges there are, each with its currency.
    """

    budgets: Mapping[str, Decimal]
    sources: frozenset[tuple[str, str]]

    def billed(self, watched: WatchedBudget) -> Decimal | None:
        """What a budget counts; None when nothing is booked there at all."""
        return self.budgets.get(watched.budget.name)


class Counted:
    """Which budgets count which series, found once so that a thousand budgets do not each scan every series.

    What a source brought that is no longer configured does not count: its new name may bring the same again.
    """

    def __init__(self, watched: Sequence[WatchedBudget], series: Mapping[int, Series]) -> None:
        self._series = series
        self._by_account: dict[str, list[int]] = defaultdict(list)
        self._by_service: dict[str, list[int]] = defaultdict(list)
        for number, one in series.items():
            self._by_account[one.account].append(number)
            self._by_service[one.service].append(number)
        self._series_of = {one.budget.name: self._covered(one) for one in watched}
        self._budgets_of: dict[int, list[str]] = defaultdict(list)
        for name, numbers in self._series_of.items():
            for number in numbers:
                self._budgets_of[number].append(name)

    def series_of(self, watched: WatchedBudget) -> Sequence[int]:
        """The numbers of the series that a budget counts."""
        return self._series_of[watched.budget.name]

    def totals(self, rows: Iterable[tuple[int, Decimal]]) -> Totals:
        """Sum (number of a series, cost) by budget. Raises KeyError for a series that is not known."""
        sums: dict[str, Decimal] = {}
        sources = set()
        nothing = Decimal(0)
        for number, cost in rows:
            series = self._series[number]
            sources.add((series.source, series.currency))
            for name in self._budgets_of.get(number, ()):
                sums[name] = EXACT.add(sums.get(name, nothing), cost)
        return Totals(sums, frozenset(sources))

    def _covered(self, watched: WatchedBudget) -> list[int]:
        scope, sources, currency = watched.scope, frozenset(watched.sources), watched.budget.currency
        if scope.account:
            numbers: Iterable[int] = (n for account in scope.account for n in self._by_account.get(account, ()))
        elif scope.service:
            numbers = (n for service in scope.service for n in self._by_service.get(service, ()))
        else:
            numbers = self._series
        known = ((number, self._series[number]) for number in numbers)
        return [n for n, s in known if s.source in sources and s.currency == currency and scope.covers(s)]


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
    """The spend of one budget in one period, with how complete and how old it is. Missing is None, never 0.

    Before the period has begun nothing is counted, and that is known.
    """
    feeding = [sources[name] for name in watched.sources]
    billed = totals.billed(watched)
    if now < period.start or (billed is None and _nothing_was_spent(watched, totals, known, feeding)):
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
