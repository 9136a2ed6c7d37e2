"""Budgets with `calendar = "billing"`: their periods are those of the invoices of the sources that feed them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from monitor.billing_months import BillingMonths, InvoiceCalendar
from monitor.config.budgets import Draft
from monitor.config.parts import Part
from monitor.config.report import Report
from monitor.period import PeriodKind
from monitor.ports import billing_months_of

_COUNT = {PeriodKind.MONTH: 1, PeriodKind.QUARTER: 3, PeriodKind.YEAR: 12}


def by_invoice(report: Report, drafts: Sequence[Draft], sources: Sequence[Part]) -> list[Draft]:
    """The drafts with the calendars of their invoices; what has none is reported."""
    return [_settled(report, draft, sources) if draft.by_invoice else draft for draft in drafts]


def _settled(report: Report, draft: Draft, sources: Sequence[Part]) -> Draft:
    config, at = draft.config, (*draft.loc, "calendar")
    count = _COUNT.get(config.period) if isinstance(config.period, PeriodKind) else None
    if count is None:
        report.error(at, 'invoices are of a month: calendar = "billing" needs period = "month", "quarter" or "year"')
        return draft
    feeding = [
        part.settings
        for part in sources
        if part.settings is not None
        and part.settings.currency == config.currency
        and (not config.scope.source or part.name in config.scope.source)
    ]
    calendars = {billing_months_of(settings): settings.name for settings in feeding}
    if len(calendars) > 1:
        report.error(at, f"its sources are billed by different months ({_told(calendars.items())}); {_ONE}")
    if len(calendars) != 1:
        return draft
    return replace(draft, config=replace(config, period=InvoiceCalendar(next(iter(calendars)), count)))


_ONE = 'name one of them: scope = { source = "…" }, or leave calendar out to count by UTC month'


def _told(calendars: Iterable[tuple[BillingMonths, str]]) -> str:
    return ", ".join(f"{name} {months}" for months, name in calendars)
