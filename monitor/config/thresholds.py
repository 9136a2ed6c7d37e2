"""`thresholds` of a budget: what is compared, the limit, and for a burn rate its windows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from alarms.model import Limit, On, Severity, Threshold
from alarms.money import parse_amount, plain
from alarms.settings import StrictModel, parse_duration
from monitor.config import not_yet
from monitor.config.parts import Names
from monitor.config.report import Report, one_of
from monitor.config_lines import Loc

_PERCENT = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)%", re.ASCII)
_AMOUNT = re.compile(r"(\S+) ([A-Z]{3})", re.ASCII)
# Ten times the budget: what is meant above that is a slip of the pen.
_HIGHEST_PERCENT = 1000
# A month's budget in three quarters of an hour.
_HIGHEST_RATE = 1000
_MOST_WINDOWS = 3
_LIMIT = 'expected a percentage of the budget such as "80%", or an amount such as "800 USD"'
_RATE = "expected a number without quotes, such as at = 2.0: how many times as fast as the budget lasts"
_WINDOWS = 'expected one to three windows, such as over = ["6h", "24h"]'

DEFAULT_THRESHOLDS = (
    Threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING),
    Threshold("actual", Limit("100%", percent=Decimal(100)), Severity.CRITICAL),
)


def parse_money(value: Any) -> Decimal:
    """An amount above zero, as a text or a TOML number. Raises ValueError."""
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


def _severity(value: Any) -> Severity:
    if value not in list(Severity):
        raise ValueError(one_of(Severity, value))
    return Severity(value)


def _windows(value: Any) -> tuple[timedelta, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_WINDOWS:
        raise ValueError(_WINDOWS)
    windows = tuple(parse_duration(item) for item in value)
    if len(set(windows)) < len(windows):
        raise ValueError("has the same window twice; keep one")
    return windows


class ThresholdTable(StrictModel):
    """The keys of one of `thresholds`."""

    on: Literal["actual", "forecast", "burn_rate", "plan", "at_completion"] = "actual"
    at: str | int | Decimal
    severity: Annotated[Severity, BeforeValidator(_severity)]
    receivers: Names | None = None
    over: Annotated[tuple[timedelta, ...], BeforeValidator(_windows)] = ()


def read_thresholds(report: Report, raw: Mapping[str, Any], budget: Loc, currency: str) -> list[tuple[Loc, Threshold]]:
    """Those of a budget in this currency ("" if that could not be read), each with its path."""
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
    wanted = not_yet.without(report, raw, loc, keys=frozenset(), values=not_yet.THRESHOLD_VALUES)
    if wanted.keys() != raw.keys():
        return None
    rated = wanted.get("on") == On.BURN_RATE
    if "at" in wanted and not _looks_right(wanted["at"], rated=rated):
        report.error((*loc, "at"), _RATE if rated else _LIMIT)
        wanted["at"] = ""
    stand_ins = {"at": "", "severity": Severity.WARNING}
    whole = not stand_ins.keys() - wanted.keys()
    table = report.validate(ThresholdTable, wanted, loc, stand_ins)
    if table is None:
        return None
    if not report.has_error((*loc, "on")):
        _check_windows(report, wanted, loc, rated=rated)
    if table.at == "":
        return None
    try:
        limit = _rate(table.at) if rated else _limit(str(table.at), currency)
    except ValueError as error:
        report.error((*loc, "at"), str(error))
        return None
    return Threshold(table.on, limit, table.severity, table.receivers, table.over) if whole else None


def _looks_right(at: Any, *, rated: bool) -> bool:
    if rated:
        return isinstance(at, int | Decimal) and not isinstance(at, bool)
    return isinstance(at, str)


def _check_windows(report: Report, raw: Mapping[str, Any], loc: Loc, *, rated: bool) -> None:
    if rated and "over" not in raw:
        report.error((*loc, "over"), 'missing; add over = ["6h", "24h"]: it fires when each of them is at the limit')
    elif not rated and "over" in raw:
        report.error((*loc, "over"), 'only on = "burn_rate" has windows; remove it')


def _rate(at: str | int | Decimal) -> Limit:
    rate = Decimal(at)
    text = f"{rate:f}"
    if not 0 < rate <= _HIGHEST_RATE:
        raise ValueError(f"expected more than 0 and at most {_HIGHEST_RATE}, not {text[:20]}")
    return Limit(text, rate=parse_amount(text))


def _limit(text: str, currency: str) -> Limit:
    if percent := _PERCENT.fullmatch(text):
        return Limit(text, percent=_percentage(Decimal(percent[1])))
    parts = _AMOUNT.fullmatch(text)
    if parts is None:
        raise ValueError(_LIMIT)
    if currency and parts[2] != currency:
        raise ValueError(f'is in {parts[2]}, but the budget is in {currency}; write at = "{parts[1]} {currency}"')
    return Limit(text, amount=parse_money(parts[1]))


def _percentage(percent: Decimal) -> Decimal:
    if not 0 < percent <= _HIGHEST_PERCENT:
        raise ValueError(f"expected more than 0% and at most {_HIGHEST_PERCENT}%, not {plain(percent)}%")
    return percent
