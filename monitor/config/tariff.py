"""`tariff` of a `[[local]]`: what a kWh costs at which hours and days."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from alarms.settings import StrictModel
from monitor.config.report import Report, choices
from monitor.config.thresholds import parse_money
from monitor.config_lines import Loc
from monitor.training.tariff import DAYS, MINUTES_A_DAY, MONTHS, Rate, mean

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_EXAMPLE = 'expected a list such as [{ per_kwh = "0.10", from = "22:00", to = "06:00" }, { per_kwh = "0.25" }]'
_MOST_RATES = 50


def _minute(value: Any) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a time of day from "00:00" to "23:59"')
    return int(match[1]) * 60 + int(match[2])


def _days(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(day in DAYS for day in value):
        raise ValueError(f'expected a list of {choices(DAYS)}, such as ["sat", "sun"]')
    return tuple(sorted({DAYS.index(day) for day in value}))


def _months(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(month in MONTHS for month in value):
        raise ValueError(f'expected a list of {choices(MONTHS)}, such as ["dec", "jan"]')
    return tuple(sorted({MONTHS.index(month) for month in value}))


class TariffTable(StrictModel):
    """The keys of one of `tariff`."""

    per_kwh: Annotated[Decimal, BeforeValidator(parse_money)]
    start: Annotated[int, BeforeValidator(_minute)] = Field(0, alias="from")
    end: Annotated[int, BeforeValidator(_minute)] = Field(MINUTES_A_DAY, alias="to")
    days: Annotated[tuple[int, ...], BeforeValidator(_days)] = tuple(range(len(DAYS)))
    months: Annotated[tuple[int, ...], BeforeValidator(_months)] = tuple(range(len(MONTHS)))


def read_tariff(report: Report, raw: Any, loc: Loc) -> tuple[tuple[Rate, ...], Decimal] | None:
    """The rates, and the mean price of a kWh; None, with the reason reported, if they cannot be read."""
    if not isinstance(raw, list) or not raw or not all(isinstance(item, dict) for item in raw):
        report.error(loc, _EXAMPLE)
        return None
    if len(raw) > _MOST_RATES:
        report.error(loc, f"has {len(raw)} rates; {_MOST_RATES} at most")
        return None
    read = [_rate(report, item, (*loc, index)) for index, item in enumerate(raw)]
    if report.has_error(loc):
        return None
    rates = tuple(rate for rate in read if rate is not None)
    try:
        return rates, mean(rates)
    except ValueError as error:
        report.error(loc, str(error))
        return None


def _rate(report: Report, raw: Mapping[str, Any], loc: Loc) -> Rate | None:
    table = report.validate(TariffTable, raw, loc, {"per_kwh": 1})
    if table is None or report.has_error(loc):
        return None
    for key, other in (("from", "to"), ("to", "from")):
        if key in raw and other not in raw:
            report.error((*loc, other), f"missing; a rate with `{key}` needs {other} = … too")
    if "to" in raw and table.start == table.end:
        report.error((*loc, "to"), "is the same as `from`; leave both out for the whole day")
    return Rate(table.per_kwh, table.start, table.end, table.days, table.months)
