"""`[[budgets]]`: limits on spend, with their scope, thresholds and repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from alarms.model import Period, Severity
from alarms.money import is_currency
from alarms.settings import StrictModel, parse_duration
from monitor.config import not_yet
from monitor.config.model import BudgetConfig
from monitor.config.parts import Names, as_tuple, tables
from monitor.config.report import Report, currency_expected, one_of
from monitor.config.thresholds import parse_money, read_thresholds
from monitor.config_lines import Loc
from monitor.model import Basis, Scope
from monitor.period import Calendar, PeriodKind, Run, midnight

# Instants are kept as microseconds since then.
_FIRST_DAY = date(1970, 1, 1)
_RUN = "run"
_REPEAT = 'expected { critical = "4h", warning = "24h" }, or "never"'


def _currency(value: str) -> str:
    if not is_currency(value):
        raise ValueError(currency_expected(value))
    return value


def _one_or_more(value: Any) -> Any:
    names = (value,) if isinstance(value, str) else as_tuple(value)
    if names == ():
        raise ValueError("expected at least one name; leave the key out to count everything")
    return names


def _pairs(value: Any) -> Any:
    if not isinstance(value, dict) or not value or not all(isinstance(one, str) for one in value.values()):
        raise ValueError('expected tags and their values, such as { team = "research" }')
    return value


def _period(value: Any) -> PeriodKind | Run:
    if value == _RUN:
        return Run()
    if value not in list(PeriodKind):
        raise ValueError(one_of((*PeriodKind, _RUN), value))
    return PeriodKind(value)


def _day(value: Any) -> datetime:
    """A TOML date, or an instant at which a UTC day starts: charges are counted by UTC day."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"has no time zone; write the date alone, {value:%Y-%m-%d}, which begins in UTC")
        value = value.astimezone(UTC)
        if value.time() != time():
            raise ValueError(f"charges are counted by UTC day; write the date alone, such as {value:%Y-%m-%d}")
        value = value.date()
    if not isinstance(value, date):
        raise ValueError("expected a date without quotes, such as 2026-12-01")  # noqa: TRY004 - pydantic collects ValueError
    if value < _FIRST_DAY:
        raise ValueError(f"expected a date from {_FIRST_DAY} on")
    return midnight(value)


def _repeat(value: Any) -> Any:
    if value == "never":
        return {"critical": "never", "warning": "never"}
    if not isinstance(value, dict):
        raise ValueError(_REPEAT)  # noqa: TRY004 - pydantic collects ValueError
    return value


def _interval(value: Any) -> timedelta | None:
    if value == "never":
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "never"') from None


Currency = Annotated[str, AfterValidator(_currency)]
Interval = Annotated[timedelta | None, BeforeValidator(_interval)]
OneOrMore = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]


class ScopeTable(StrictModel):
    """The keys of `scope`."""

    source: str | None = None
    account: OneOrMore = ()
    service: OneOrMore = ()
    region: OneOrMore = ()
    run: OneOrMore = ()
    tag: Annotated[dict[str, str], BeforeValidator(_pairs)] = Field(default_factory=dict)


class RepeatTable(StrictModel):
    """The keys of `repeat`."""

    critical: Interval = timedelta(hours=4)
    warning: Interval = timedelta(hours=24)


class BudgetTable(StrictModel):
    """The keys of `[[budgets]]`."""

    name: str
    amount: Annotated[Decimal, BeforeValidator(parse_money)]
    currency: Currency
    period: Annotated[PeriodKind | Run, BeforeValidator(_period)] = PeriodKind.MONTH
    start: Annotated[datetime | None, BeforeValidator(_day)] = None
    end: Annotated[datetime | None, BeforeValidator(_day)] = None
    scope: ScopeTable = ScopeTable()
    each: Literal["account"] | None = None
    receivers: Names | None = None
    thresholds: Any = None
    repeat: Annotated[RepeatTable, BeforeValidator(_repeat)] = RepeatTable()
    basis: Literal["gross", "net"] = "gross"
    cost: Literal["billed"] = "billed"
    calendar: Literal["utc", "billing"] = "utc"
    native: bool = False
    manage: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A budget on its way to being checked: its path, the paths of its thresholds, and what could be read of it.

    A key that could not be read has its default, or an empty value; its error is reported already. `by_invoice`: its
    periods are to be those of the invoices.
    """

    loc: Loc
    config: BudgetConfig
    threshold_locs: tuple[Loc, ...]
    by_invoice: bool = False


def read_budgets(report: Report, document: Mapping[str, Any], receivers: Sequence[str]) -> list[Draft]:
    """Every `[[budgets]]` table; one without `receivers` has all of them."""
    drafts = []
    for loc, raw in tables(report, document, "budgets"):
        draft = _draft(report, raw, loc, tuple(receivers))
        if draft is not None:
            drafts.append(draft)
    return drafts


def _draft(report: Report, raw: dict[str, Any], loc: Loc, receivers: tuple[str, ...]) -> Draft | None:
    wanted = not_yet.without(report, raw, loc, keys=not_yet.BUDGET_KEYS, values=not_yet.BUDGET_VALUES)
    table = report.validate(BudgetTable, wanted, loc, {"name": "", "amount": Decimal(1), "currency": "XXX"})
    if table is None:
        return None
    stated = "" if report.has_error((*loc, "currency")) else table.currency
    thresholds = read_thresholds(report, raw, loc, stated)
    config = BudgetConfig(
        name=table.name,
        amount=table.amount,
        currency=stated,
        period=_calendar(report, raw, loc, table),
        scope=_scope(table.scope),
        each=table.each,
        receivers=receivers if table.receivers is None else table.receivers,
        thresholds=tuple(threshold for _, threshold in thresholds),
        repeat={Severity.CRITICAL: table.repeat.critical, Severity.WARNING: table.repeat.warning},
        basis=Basis(table.basis),
        native=table.native,
        manage=table.manage,
    )
    return Draft(loc, config, tuple(loc for loc, _ in thresholds), by_invoice=table.calendar == "billing")


def _calendar(report: Report, raw: Mapping[str, Any], loc: Loc, table: BudgetTable) -> Calendar:
    if "start" not in raw and "end" not in raw:
        return Run(by_charges=bool(table.scope.run)) if isinstance(table.period, Run) else table.period
    if "period" in raw:
        report.error((*loc, "period"), "a budget from start to end has no period beside them; remove one or the other")
    for key, other in (("start", "end"), ("end", "start")):
        if key not in raw:
            report.error((*loc, key), f"missing; a budget with a date for its {other} needs {key} = … too")
    if table.start is None or table.end is None:
        return table.period
    if table.start >= table.end:
        report.error((*loc, "end"), "is not after start; the end is the first day that does not count any more")
        return table.period
    return Period(table.start, table.end)


def _scope(table: ScopeTable) -> Scope:
    source = () if table.source is None else (table.source,)
    return Scope(
        source=source,
        account=table.account,
        service=table.service,
        region=table.region,
        run=table.run,
        tag=tuple(table.tag.items()),
    )
