"""Which budgets count which series, and what each budget's charges come to. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from alarms.money import EXACT
from monitor.billing_months import InvoiceCalendar
from monitor.model import CREDIT, Basis, Series
from monitor.readings import Figures, Key, Share, Totals, WatchedBudget


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
        self._budgets_of: dict[int, list[Key]] = defaultdict(list)
        for budget in watched:
            shared = frozenset(name for views in budget.views for name in views)
            for number in self._series_of[budget.budget.name]:
                key = _key(budget.budget.name, series[number], shared)
                self._budgets_of[number].append(key)
                if isinstance(budget.config.period, InvoiceCalendar):
                    self._budgets_of[number].append(_on_invoice(key, series[number].billing_period))

    def series_of(self, watched: WatchedBudget, found: Figures) -> Sequence[int]:
        """The numbers of the series that a budget counts, of the sources that count by its figures."""
        credited = found.credited if watched.config.basis is Basis.NET else ()
        ours = ((number, self._series[number]) for number in self._series_of[watched.budget.name])
        return [n for n, one in ours if one.source in (credited if one.charge_category == CREDIT else found.counted)]

    def totals(self, rows: Iterable[tuple[int, Decimal]]) -> Totals:
        """Sum (number of a series, cost) by budget. Raises KeyError for a series that is not known."""
        sums: dict[Key, Decimal] = {}
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


def without_invoice(share: Share) -> Key:
    """The key of the same, whatever the invoice."""
    return Share(share.budget, share.view, share.credit) if share.view or share.credit else share.budget


def _on_invoice(key: Key, invoice: str) -> Share:
    share = key if isinstance(key, Share) else Share(key)
    return share._replace(invoice=invoice)


def _key(budget: str, series: Series, shared: frozenset[str]) -> Key:
    view = series.source if series.source in shared else ""
    credit = series.charge_category == CREDIT
    return Share(budget, view, credit) if view or credit else budget
