"""The bridge between the packages: ledger totals and freshness in, finished `alarms` readings out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from alarms.model import Budget, Period, Reading, Severity, Threshold
from alarms.money import total
from monitor.config.model import BudgetConfig
from monitor.freshness import Freshness
from monitor.model import UNATTRIBUTED, Basis, Scope, Series

# Charges of a period go on arriving after its end: a bill is 6 to 49 hours late, and a month's tail a day long.
SETTLES_AFTER = timedelta(hours=24)
# A source that never reaches the period's end must not keep it open for ever.
GIVEN_UP_AFTER = timedelta(days=7)

# (receiver, severity) -> whether it wants to be told
Hears = Callable[[str, Severity], bool]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_UNTRUSTED = frozenset({Freshness.STALE, Freshness.NO_ACCESS, Freshness.NEVER})


@dataclass(frozen=True, slots=True)
class WatchedBudget:
    """A budget after `each` has been spread out: what alarms need, what it counts, and which sources feed it.

    `views`: those of the sources, if any, that read one bill with another: a group for each such bill.
    """

    budget: Budget
    config: BudgetConfig
    scope: Scope
    sources: tuple[str, ...]
    views: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a reading needs to know of a source. `filled_since`: how far back its charges are stored without a hole."""

    name: str
    freshness: Freshness
    data_as_of: datetime | None
    missing: tuple[str, ...] = ()
    filled_since: datetime | None = None


class Share(NamedTuple):
    """What a budget's sum is kept apart by: one of several views of a bill, credits, and on which invoice it is."""

    budget: str
    view: str = ""
    credit: bool = False
    # The billing period, for budgets that follow invoices; None: of all of them.
    invoice: str | None = None


# The name of a budget alone: of what no second view shows, without credits.
Key: TypeAlias = str | Share


@dataclass(frozen=True, slots=True)
class Totals:
    """Billed cost over some days, exactly. `budgets`: of those that count a charge there.

    `sources`: whose charges there are, each with its currency.
    """

    budgets: Mapping[Key, Decimal]
    sources: frozenset[tuple[str, str]]

    def of(self, keys: Sequence[Key]) -> Decimal | None:
        """The sum of these; None when nothing is booked there at all."""
        found = [amount for key in keys if (amount := self.budgets.get(key)) is not None]
        return total(found) if found else None


@dataclass(frozen=True, slots=True)
class Figures:
    """What was billed: `gross` without credits, `net` with them; None when nothing is booked there at all.

    `counted`: the sources that this is of; of several views of a bill the one that shows most before credits.
    `credited`: those whose credits count; of several views the one that shows most credits, for another may not tell
    them. `views`: what each view shows by the budget's basis. `charged`: every source that has charges there, with its
    currency.
    """

    gross: Decimal | None
    net: Decimal | None
    counted: tuple[str, ...]
    credited: tuple[str, ...]
    views: Mapping[str, Decimal | None]
    charged: frozenset[tuple[str, str]]


def spread(
    budgets: Sequence[BudgetConfig],
    known: Iterable[Series],
    currencies: Mapping[str, str],
    hears: Hears,
    bills: Mapping[str, str] | None = None,
) -> list[WatchedBudget]:
    """One watched budget for each budget, and for `each = "account"` one for each account seen.

    `known`: every series of the ledger. `currencies`: of each configured source, by its name. `hears`: whether a
    receiver wants to be told of a severity. `bills`: which bill each source reads; left out, each its own.
    """
    accounts = sorted({(s.source, s.account) for s in known if s.account not in ("", UNATTRIBUTED)})
    watched: list[WatchedBudget] = []
    for config in budgets:
        whole = _whole(config, currencies, hears, bills or {})
        if config.each is None:
            watched.append(whole)
            continue
        names = {account for source, account in accounts if source in whole.sources}
        wanted = names & set(config.scope.account) if config.scope.account else names
        watched += [
            replace(
                whole,
                budget=replace(whole.budget, name=f"{config.name}/{account}"),
                scope=replace(config.scope, account=(account,)),
            )
            for account in sorted(wanted)
        ]
    return watched


def groups(budgets: Sequence[BudgetConfig], currencies: Mapping[str, str], hears: Hears) -> list[WatchedBudget]:
    """Each budget with `each` as though it were one, by its own name: what is to be said while it has no member."""
    return [_whole(config, currencies, hears, {}) for config in budgets if config.each is not None]


def figures(watched: WatchedBudget, totals: Totals, sources: Mapping[str, SourceState]) -> Figures:
    """What the bills of a budget come to. Two views of one bill are never added: the higher one counts.

    So one that is late or fails lowers nothing; nor does a credit that only the later one tells, but by itself.
    """
    name = watched.budget.name
    shared = {view for group in watched.views for view in group}

    def rank(view: str) -> tuple[bool, Decimal, bool, bool, datetime]:
        amount, state = totals.budgets.get(Share(name, view)), sources[view]
        return (
            amount is not None,
            amount or Decimal(0),
            (view, watched.budget.currency) in totals.sources,
            state.freshness not in _UNTRUSTED,
            state.data_as_of or _LONG_AGO,
        )

    def credit(view: str) -> Decimal:
        return totals.budgets.get(Share(name, view, credit=True), Decimal(0))

    left_out = shared - {max(group, key=rank) for group in watched.views}
    not_told = shared - {min(group, key=credit) for group in watched.views}
    counted = tuple(source for source in watched.sources if source not in left_out)
    credited = tuple(source for source in watched.sources if source not in not_told)
    gross, net = (totals.of(keys_of(watched, counted, credited, basis)) for basis in (Basis.GROSS, Basis.NET))
    # Where there is nothing but credits, what they were taken off is known: nothing.
    gross = Decimal(0) if gross is None and net is not None else gross
    views = {view: totals.of(_keys_of_view(watched, view)) for view in shared}
    return Figures(gross, net, counted, credited, views, totals.sources)


def keys_of(watched: WatchedBudget, counted: Sequence[str], credited: Sequence[str], basis: Basis) -> list[Key]:
    """What to add up in `Totals.budgets` for a budget, when these of its sources, and the credits of those, count."""
    name = watched.budget.name
    shared = [view for group in watched.views for view in group]
    keys: list[Key] = [name, *(Share(name, view) for view in shared if view in counted)]
    if basis is Basis.NET:
        keys += [Share(name, credit=True), *(Share(name, view, credit=True) for view in shared if view in credited)]
    return keys


def _keys_of_view(watched: WatchedBudget, view: str) -> list[Key]:
    name, net = watched.budget.name, watched.config.basis is Basis.NET
    return [Share(name, view), *([Share(name, view, credit=True)] if net else [])]


def reading(
    watched: WatchedBudget,
    period: Period,
    found: Figures,
    known: Iterable[Series],
    sources: Mapping[str, SourceState],
    now: datetime,
) -> Reading:
    """The spend of one budget in one period, with how complete and how old it is. Missing is None, never 0.

    `found`: its `figures` in that period. Before the period has begun nothing is counted, and that is known.
    """
    feeding = [sources[name] for name in found.counted]
    billed = found.net if watched.config.basis is Basis.NET else found.gross
    if now < period.start or (billed is None and _nothing_was_spent(watched, found, known, feeding)):
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


def _views(sources: Sequence[str], bills: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Those that read one bill together, bill by bill."""
    by_bill: dict[str, list[str]] = defaultdict(list)
    for name in sources:
        by_bill[bills.get(name, name)].append(name)
    return tuple(tuple(group) for group in by_bill.values() if len(group) > 1)


def _whole(
    config: BudgetConfig, currencies: Mapping[str, str], hears: Hears, bills: Mapping[str, str]
) -> WatchedBudget:
    """A budget before `each` spreads it out."""
    sources = tuple(
        name
        for name, currency in currencies.items()
        if currency == config.currency and (not config.scope.source or name in config.scope.source)
    )
    return WatchedBudget(_budget(config, hears), config, config.scope, sources, _views(sources, bills))


def _budget(config: BudgetConfig, hears: Hears) -> Budget:
    def receivers(threshold: Threshold) -> tuple[str, ...]:
        named = config.receivers if threshold.receivers is None else threshold.receivers
        return tuple(receiver for receiver in named if hears(receiver, threshold.severity))

    return Budget(
        name=config.name,
        amount=config.amount,
        currency=config.currency,
        thresholds=tuple(replace(threshold, receivers=receivers(threshold)) for threshold in config.thresholds),
        receivers=config.receivers,
        repeat=dict(config.repeat),
    )


def _nothing_was_spent(
    watched: WatchedBudget, found: Figures, known: Iterable[Series], feeding: Sequence[SourceState]
) -> bool:
    """An explicit zero: every source has charges in the period, is whole, and the scope names something it knows.

    A scope that matches nothing ever seen (a misspelt service, say) stays NO_DATA: it must not look like thrift.
    """
    currency = watched.budget.currency
    published = all((state.name, currency) in found.charged and not state.missing for state in feeding)
    # Last, for it looks at every series there is.
    return (
        bool(feeding)
        and published
        and any(watched.scope.covers(series) and series.currency == currency for series in known)
    )


def _is_settled(period: Period, ages: Sequence[datetime | None], now: datetime) -> bool:
    since_end = now - period.end
    all_through = all(age is not None and age >= period.end for age in ages)
    return since_end >= GIVEN_UP_AFTER or (all_through and since_end >= SETTLES_AFTER)
