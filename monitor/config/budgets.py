"""`[[budgets]]`: limits on spend, with their scope, thresholds and repeats."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from alarms.model import Limit, Severity, Threshold
from alarms.money import is_currency, parse_amount, plain
from alarms.settings import StrictModel, parse_duration
from monitor.config import not_yet
from monitor.config.model import BudgetConfig
from monitor.config.parts import Names, as_tuple, tables
from monitor.config.report import Report, choices
from monitor.config_lines import Loc
from monitor.model import Scope
from monitor.period import PeriodKind

_PERCENT = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)%", re.ASCII)
_AMOUNT = re.compile(r"(\S+) ([A-Z]{3})", re.ASCII)
# Ten times the budget: what is meant above that is a slip of the pen.
_HIGHEST_PERCENT = 1000
_LIMIT = 'expected a percentage of the budget such as "80%", or an amount such as "800 USD"'
_REPEAT = 'expected { critical = "4h", warning = "24h" }, or "never"'

DEFAULT_THRESHOLDS = (
    Threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING),
    Threshold("actual", Limit("100%", percent=Decimal(100)), Severity.CRITICAL),
)


def _amount(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError('expected an amount, such as amount = "1000"')  # noqa: TRY004 - pydantic collects ValueError
    if isinstance(value, int) and abs(value) >= 10**15:
        raise ValueError("is more than 15 digits long; write the amount in units of its currency")
    try:
        amount = parse_amount(str(value))
    except ValueError as error:
        raise ValueError(f"{error}; write it out, with at most 15 digits before the point and 18 after it") from None
    if amount <= 0:
        raise ValueError("expected an amount above zero")
    return amount


def _currency(value: str) -> str:
    if not is_currency(value):
        raise ValueError('expected a currency of three capital letters, such as "USD"')
    return value


def _one_or_more(value: Any) -> Any:
    names = (value,) if isinstance(value, str) else as_tuple(value)
    if names == ():
        raise ValueError("expected at least one name; leave the key out to count everything")
    return names


def _severity(value: Any) -> Severity:
    if value not in list(Severity):
        raise ValueError(f"expected {choices(Severity)}")
    return Severity(value)


def _period(value: Any) -> PeriodKind:
    if value not in list(PeriodKind):
        raise ValueError(f"expected {choices(PeriodKind)}")
    return PeriodKind(value)


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


Interval = Annotated[timedelta | None, BeforeValidator(_interval)]
OneOrMore = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]


class ScopeTable(StrictModel):
    """The keys of `scope`."""

    source: str | None = None
    account: OneOrMore = ()
    service: OneOrMore = ()


class RepeatTable(StrictModel):
    """The keys of `repeat`."""

    critical: Interval = timedelta(hours=4)
    warning: Interval = timedelta(hours=24)


class ThresholdTable(StrictModel):
    """The keys of one of `thresholds`."""

    on: Literal["actual"] = "actual"
    at: str
    severity: Annotated[Severity, BeforeValidator(_severity)]
    receivers: Names | None = None


class BudgetTable(StrictModel):
    """The keys of `[[budgets]]`."""

    name: str
    amount: Annotated[Decimal, BeforeValidator(_amount)]
    currency: Annotated[str, AfterValidator(_currency)]
    period: Annotated[PeriodKind, BeforeValidator(_period)] = PeriodKind.MONTH
    scope: ScopeTable = ScopeTable()
    each: Literal["account"] | None = None
    receivers: Names | None = None
    thresholds: Any = None
    repeat: Annotated[RepeatTable, BeforeValidator(_repeat)] = RepeatTable()
    basis: Literal["gross"] = "gross"
    cost: Literal["billed"] = "billed"
    calendar: Literal["utc"] = "utc"


@dataclass(frozen=True, slots=True)
class Draft:
    """A budget on its way to being checked: its path, the paths of its thresholds, and what could be read of it.

    A key that could not be read has its default, or an empty value; its error is reported already.
    """

    loc: Loc
    config: BudgetConfig
    threshold_locs: tuple[Loc, ...]


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
    if isinstance(scope := wanted.get("scope"), dict):
        wanted["scope"] = not_yet.without(report, scope, (*loc, "scope"), keys=not_yet.SCOPE_KEYS, values={})
    table = report.validate(BudgetTable, wanted, loc, {"name": "", "amount": Decimal(1), "currency": "XXX"})
    if table is None:
        return None
    stated = "" if report.has_error((*loc, "currency")) else table.currency
    thresholds = _thresholds(report, raw, loc, stated)
    config = BudgetConfig(
        name=table.name,
        amount=table.amount,
        currency=stated,
        period=table.period,
        scope=_scope(table.scope),
        each=table.each,
        receivers=receivers if table.receivers is None else table.receivers,
        thresholds=tuple(threshold for _, threshold in thresholds),
        repeat={Severity.CRITICAL: table.repeat.critical, Severity.WARNING: table.repeat.warning},
    )
    return Draft(loc, config, tuple(loc for loc, _ in thresholds))


def _scope(table: ScopeTable) -> Scope:
    source = () if table.source is None else (table.source,)
    return Scope(source=source, account=table.account, service=table.service)


def _thresholds(report: Report, raw: dict[str, Any], budget: Loc, currency: str) -> list[tuple[Loc, Threshold]]:
    loc = (*budget, "thresholds")
    listed = raw.get("thresholds")
    if listed is None:
        return [(loc, threshold) for threshold in DEFAULT_THRESHOLDS]
    if not isinstance(listed, list) or not listed:
        report.error(
            loc, 'expected a list such as [{ at = "80%", severity = "warning" }]; leave it out for 80% and 100%'
        )
        return []
    found = []
    for index, item in enumerate(listed):
        if not isinstance(item, dict):
            report.error((*loc, index), 'expected a table such as { on = "actual", at = "80%", severity = "warning" }')
        elif (threshold := _threshold(report, item, (*loc, index), currency)) is not None:
            found.append(((*loc, index), threshold))
    return found


def _threshold(report: Report, raw: dict[str, Any], loc: Loc, currency: str) -> Threshold | None:
    wanted = not_yet.without(report, raw, loc, keys=not_yet.THRESHOLD_KEYS, values=not_yet.THRESHOLD_VALUES)
    if wanted.keys() != raw.keys():
        return None
    stand_ins = {"at": "", "severity": Severity.WARNING}
    if "at" in wanted and not isinstance(wanted["at"], str):
        report.error((*loc, "at"), _LIMIT)
        wanted["at"] = ""
    whole = not stand_ins.keys() - wanted.keys()
    table = report.validate(ThresholdTable, wanted, loc, stand_ins)
    if table is None or not table.at:
        return None
    try:
        limit = _limit(table.at, currency)
    except ValueError as error:
        report.error((*loc, "at"), str(error))
        return None
    return Threshold(table.on, limit, table.severity, table.receivers) if whole else None


def _limit(text: str, currency: str) -> Limit:
    if percent := _PERCENT.fullmatch(text):
        return Limit(text, percent=_percentage(Decimal(percent[1])))
    parts = _AMOUNT.fullmatch(text)
    if parts is None:
        raise ValueError(_LIMIT)
    if currency and parts[2] != currency:
        raise ValueError(f'is in {parts[2]}, but the budget is in {currency}; write at = "{parts[1]} {currency}"')
    return Limit(text, amount=_amount(parts[1]))


def _percentage(percent: Decimal) -> Decimal:
    if not 0 < percent <= _HIGHEST_PERCENT:
        raise ValueError(f"expected more than 0% and at most {_HIGHEST_PERCENT}%, not {plain(percent)}%")
    return percent
