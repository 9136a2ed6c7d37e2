"""`[[local]]` and `[[exchange]]`: hardware of one's own, and the only way two currencies meet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from alarms.money import parse_amount
from alarms.settings import StrictModel
from monitor.config.budgets import Currency
from monitor.config.checks import check_names
from monitor.config.parts import known_timezone, tables
from monitor.config.report import Report, unknown_name
from monitor.config.tariff import read_tariff
from monitor.config.thresholds import parse_money
from monitor.config_lines import Loc
from monitor.training.catalog import gpus
from monitor.training.costs import ExchangeRate
from monitor.training.local import HOURS_PER_YEAR, Rig
from monitor.training.tariff import Tariff

# What is simply not counted when it is not stated, and said to be so.
_OPTIONAL = (
    "lifetime",
    "utilisation",
    "pue",
    "wall_factor",
    "idle_watts",
    "upkeep_per_year",
    "resale",
    "cost_of_capital",
)
_LIFETIME = re.compile(r"(\d{1,5})(h|d|w|y)", re.ASCII)
_HOURS = {"h": Decimal(1), "d": Decimal(24), "w": Decimal(168), "y": HOURS_PER_YEAR}
_LONGEST_YEARS = 50
_MOST_GPUS = 1_000_000
_LOSSES = "expected 1 or more: energy drawn for one unit that the machine uses, such as 1.2"


def gpu_name(value: Any) -> Any:
    """A model of GPU that is known, in its own spelling or another of its names."""
    if isinstance(value, str) and value not in gpus():
        raise ValueError(unknown_name("GPU", value, gpus()))
    return value


def gpu_count(value: Any) -> Any:
    """How many GPUs: at least one."""
    if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= _MOST_GPUS:
        raise ValueError(f"a host without its GPUs is no offer; expected 1 to {_MOST_GPUS}, such as 8")
    return value


def day(value: Any) -> date:
    """A TOML date. Raises ValueError."""
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("expected a date without quotes, such as 2026-11-01")  # noqa: TRY004 - pydantic collects ValueError
    return value


def amount_or_nothing(value: Any) -> Decimal:
    """An amount of zero or more. Raises ValueError."""
    if value in ("0", 0) and not isinstance(value, bool):
        return Decimal(0)
    return parse_money(value)


def _between(low: str, high: str, message: str, *, above_low: bool = False) -> BeforeValidator:
    def check(value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError
        try:
            number = parse_amount(str(value))
        except ValueError:
            raise ValueError(message) from None
        if not Decimal(low) <= number <= Decimal(high) or (above_low and number == Decimal(low)):
            raise ValueError(message)
        return number

    return BeforeValidator(check)


def _lifetime(value: Any) -> Decimal:
    match = _LIFETIME.fullmatch(value) if isinstance(value, str) else None
    hours = Decimal(0) if match is None else Decimal(match[1]) * _HOURS[match[2]]
    if not 0 < hours <= HOURS_PER_YEAR * _LONGEST_YEARS:
        raise ValueError(f'expected a time such as "3y" (years of 365 days) or "900d", {_LONGEST_YEARS} years at most')
    return hours


def _parts(value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise ValueError('expected what was paid for each part, such as { gpus = "60000", memory = "2000" }')
    return value


Money = Annotated[Decimal, BeforeValidator(parse_money)]
MoneyOrNone = Annotated[Decimal, BeforeValidator(amount_or_nothing)]
_Watts = Annotated[Decimal, _between("0", "100000000", "expected watts, such as 3000", above_low=True)]
_Losses = Annotated[Decimal, _between("1", "10", _LOSSES)]


class LocalTable(StrictModel):
    """The keys of `[[local]]`."""

    name: str
    owned: bool = False
    gpus: Annotated[int, BeforeValidator(gpu_count)]
    gpu: Annotated[str, BeforeValidator(gpu_name)]
    parts: Annotated[dict[str, Money], BeforeValidator(_parts)]
    power_watts: _Watts
    currency: Currency
    electricity_per_kwh: Annotated[Decimal | None, BeforeValidator(amount_or_nothing)] = None
    tariff: Any = None
    timezone: Annotated[str, AfterValidator(known_timezone)] = "UTC"
    lifetime: Annotated[Decimal | None, BeforeValidator(_lifetime)] = None
    utilisation: Annotated[
        Decimal, _between("0", "1", "expected a share of its life above 0 and at most 1, such as 0.7", above_low=True)
    ] = Decimal(1)
    pue: _Losses = Decimal(1)
    wall_factor: _Losses = Decimal(1)
    idle_watts: _Watts = Decimal(0)
    upkeep_per_year: MoneyOrNone = Decimal(0)
    resale: MoneyOrNone = Decimal(0)
    cost_of_capital: Annotated[Decimal, _between("0", "1", "expected a year's interest as a share, such as 0.08")] = (
        Decimal(0)
    )


class ExchangeTable(StrictModel):
    """The keys of `[[exchange]]`."""

    source: Currency = Field(alias="from")
    target: Currency = Field(alias="to")
    rate: Money
    as_of: Annotated[date, BeforeValidator(day)]


_LOCAL_STAND_INS: Mapping[str, Any] = {
    "name": "",
    "gpus": 1,
    "gpu": "A100",
    "parts": {"all": "1"},
    "power_watts": 1,
    "currency": "XXX",
}
_EXCHANGE_STAND_INS: Mapping[str, Any] = {"from": "XXX", "to": "XXY", "rate": 1, "as_of": date(1970, 1, 1)}


def read_local(report: Report, document: Mapping[str, Any]) -> tuple[Rig, ...]:
    """Every `[[local]]` table."""
    rigs, named = [], []
    for loc, raw in tables(report, document, "local"):
        table = report.validate(LocalTable, raw, loc, _LOCAL_STAND_INS)
        named.append((loc, raw["name"] if isinstance(raw.get("name"), str) else ""))
        if table is not None:
            tariff, per_kwh = _electricity(report, table, raw, loc)
            rig = _rig(table, raw, per_kwh, tariff)
            _check_rig(report, rig, raw, loc)
            rigs.append(rig)
    check_names(report, named)
    return tuple(rigs)


def read_exchange(report: Report, document: Mapping[str, Any]) -> tuple[ExchangeRate, ...]:
    """Every `[[exchange]]` table."""
    rates: list[ExchangeRate] = []
    first: dict[tuple[str, str, date], Loc] = {}
    for loc, raw in tables(report, document, "exchange"):
        table = report.validate(ExchangeTable, raw, loc, _EXCHANGE_STAND_INS)
        if table is None or report.has_error(loc):
            continue
        key = (table.source, table.target, table.as_of)
        if table.source == table.target:
            report.error((*loc, "to"), f'is "{table.target}" like `from`; a currency needs no rate to itself')
        elif key in first:
            line = report.line_of(first[key])
            report.error(loc, f"gives the rate from {key[0]} to {key[1]} of {key[2]} again (line {line}); keep one")
        first.setdefault(key, loc)
        rates.append(ExchangeRate(table.source, table.target, table.rate, table.as_of))
    return tuple(rates)


def _electricity(report: Report, table: LocalTable, raw: Mapping[str, Any], loc: Loc) -> tuple[Tariff | None, Decimal]:
    """By time of use if it is, and the price of a kWh, on average."""
    if "tariff" in raw:
        if "electricity_per_kwh" in raw:
            report.error((*loc, "tariff"), "has electricity_per_kwh beside it; remove one or the other")
        rates, per_kwh = read_tariff(report, raw["tariff"], (*loc, "tariff")) or ((), Decimal(0))
        return Tariff(rates, table.timezone), per_kwh
    if "electricity_per_kwh" not in raw:
        report.error((*loc, "electricity_per_kwh"), "missing; add electricity_per_kwh = … or tariff = … here")
    if "timezone" in raw:
        report.error((*loc, "timezone"), "is that of a tariff, and there is none; remove it")
    return None, table.electricity_per_kwh or Decimal(0)


def _rig(table: LocalTable, raw: Mapping[str, Any], per_kwh: Decimal, tariff: Tariff | None) -> Rig:
    return Rig(
        name=table.name,
        gpus=table.gpus,
        gpu=gpus()[table.gpu],
        currency=table.currency,
        parts=table.parts,
        power_watts=table.power_watts,
        electricity_per_kwh=per_kwh,
        lifetime_hours=table.lifetime,
        pue=table.pue,
        wall_factor=table.wall_factor,
        idle_watts=table.idle_watts,
        utilisation=table.utilisation,
        upkeep_per_year=table.upkeep_per_year,
        resale=table.resale,
        cost_of_capital=table.cost_of_capital,
        owned=table.owned,
        tariff=tariff,
        not_counted=tuple(key for key in _OPTIONAL if key not in raw),
    )


def _check_rig(report: Report, rig: Rig, raw: Mapping[str, Any], loc: Loc) -> None:
    if report.has_error(loc):
        return
    if rig.resale > rig.hardware:
        report.error((*loc, "resale"), f"is more than its parts cost together, {rig.hardware:f}")
    if rig.idle_watts and "utilisation" not in raw:
        report.warn((*loc, "idle_watts"), "counts only together with utilisation, which is missing: it is never idle")
    if rig.idle_watts > rig.power_watts:
        report.error((*loc, "idle_watts"), "is more than power_watts; the two are the wrong way round")
