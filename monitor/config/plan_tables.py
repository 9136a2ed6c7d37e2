"""The keys of `[[plans]]` and of their phases, and the values that they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from alarms.money import parse_amount
from alarms.settings import Duration, StrictModel
from monitor.config.budgets import Currency
from monitor.config.hardware import gpu_count, gpu_name
from monitor.config.report import one_of
from monitor.config.thresholds import parse_money
from monitor.period import midnight
from monitor.training.book import CURRENT
from monitor.training.catalog import ARTICLE
from monitor.training.hours import HIGHEST_MFU, LOWEST_MFU, Precision
from monitor.training.model import Pricing
from monitor.training.plan import Extent

# A century of one machine; a thousand times the largest run known; of models and their data the same.
MOST_HOURS = Decimal(1_000_000)
_MOST_GPU_HOURS = Decimal(10_000_000_000)
_MOST_PARAMS = Decimal(10) ** 15
_MOST_TOKENS = Decimal(10) ** 18
_MOST_HOSTS = 1_000_000
_MOST_SHAPE = 100_000_000
_MOST_INTERRUPTIONS = 60
_MOST_MEMORY = 10_000
_GIGABYTES = re.compile(r"(\d{1,5}) ?GB", re.ASCII)
_FINEST = Decimal("1E-6")
_YEARS = (1970, 2200)
_START = "expected an instant such as 2026-12-01T00:00:00Z, or a date, without quotes"


def _number(value: Any, example: str) -> Decimal:
    """A number, as text or as TOML's, which may have an exponent."""
    sentence = f"expected a number, such as {example}"
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(sentence)  # noqa: TRY004 - pydantic collects ValueError
    if isinstance(value, Decimal | int):
        if not Decimal(value).is_finite():
            raise ValueError(sentence)
        return Decimal(value)
    try:
        return parse_amount(value)
    except ValueError:
        raise ValueError(sentence) from None


def _work(most: Decimal, example: str) -> BeforeValidator:
    def check(value: Any) -> Decimal:
        number = _number(value, example)
        if not 0 < number <= most:
            raise ValueError(f"expected above zero and at most {most:,f}, such as {example}")
        if number < Decimal("0.01") or number != number.quantize(_FINEST):
            raise ValueError(f"expected 0.01 or more with at most six digits after the point, such as {example}")
        return number

    return BeforeValidator(check)


def _size(most: Decimal, example: str) -> BeforeValidator:
    def check(value: Any) -> Decimal:
        number = _number(value, example)
        if not 1 <= number <= most:
            raise ValueError(f"expected 1 to {most:.0E}, such as {example}")
        return number

    return BeforeValidator(check)


def _whole(most: int, example: int) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= most:
            raise ValueError(f"expected 1 to {most:,}, such as {example}")
        return value

    return BeforeValidator(check)


def _mfu(value: Any) -> Decimal:
    share = _number(value, "0.40")
    if 1 < share <= 100:  # noqa: PLR2004 - a percentage
        raise ValueError(f"is a share, not a percentage: for {share:f} % write mfu = {(share / 100).normalize():f}")
    if not LOWEST_MFU <= share <= HIGHEST_MFU:
        raise ValueError(
            f"no dense training reaches this share of the peak; measured is {LOWEST_MFU} to {HIGHEST_MFU}, such as 0.40"
        )
    return share


def _rate(value: Any) -> Decimal:
    rate = _number(value, "0.05")
    if not 0 <= rate <= _MOST_INTERRUPTIONS:
        raise ValueError(f"expected 0 to {_MOST_INTERRUPTIONS} an hour, such as 0.05")
    return rate


def _memory(value: Any) -> int:
    match = _GIGABYTES.fullmatch(value) if isinstance(value, str) else None
    number = int(match[1]) if match else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= _MOST_MEMORY:
        raise ValueError(f'expected GB for each GPU, 1 to {_MOST_MEMORY:,}, such as "80GB" or 80')
    return number


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"has no time zone; write {value.isoformat()}Z for UTC")
        found = value.astimezone(UTC)
    elif isinstance(value, date):
        found = midnight(value)
    else:
        raise ValueError(_START)  # noqa: TRY004 - pydantic collects ValueError
    if not _YEARS[0] <= found.year <= _YEARS[1]:
        raise ValueError(f"expected a year from {_YEARS[0]} to {_YEARS[1]}")
    return found


def _quotes(value: Any) -> str | date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if value in (CURRENT, ARTICLE):
        return str(value)
    raise ValueError('expected "current", "article", or a date without quotes such as 2026-11-01')


def _one_of(kind: type[Pricing | Precision | Extent]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in list(kind):
            raise ValueError(one_of(kind, value))
        return kind(value)

    return check


class PlanTable(StrictModel):
    """The keys of `[[plans]]`."""

    name: str
    start: Annotated[datetime, BeforeValidator(_instant)]
    phases: Any
    budget: str | None = None
    deadline: Annotated[datetime | None, BeforeValidator(_instant)] = None
    quotes: Annotated[str | date, BeforeValidator(_quotes)] = CURRENT


class PhaseTable(StrictModel):
    """The keys of one of `phases`."""

    name: str
    on: str | None = None
    region: str | None = None
    pricing: Annotated[Pricing, BeforeValidator(_one_of(Pricing))] = Pricing.ON_DEMAND
    count: Annotated[int | None, _whole(_MOST_HOSTS, 4)] = None
    hours: Annotated[Decimal | None, _work(MOST_HOURS, "500")] = None
    gpu_hours: Annotated[Decimal | None, _work(_MOST_GPU_HOURS, "4000")] = None
    after: str | None = None
    start: Annotated[datetime | None, BeforeValidator(_instant)] = None
    discount: str | None = None
    new_customer: bool = False
    interruptions_per_hour: Annotated[Decimal | None, BeforeValidator(_rate)] = None
    checkpoint_every: Duration = timedelta(hours=1)
    restart: Duration = timedelta(minutes=10)
    gpu: Annotated[str | None, BeforeValidator(gpu_name)] = None
    gpus: Annotated[int | None, BeforeValidator(gpu_count)] = None
    price_per_gpu_hour: Annotated[Decimal | None, BeforeValidator(parse_money)] = None
    currency: Currency | None = None
    params: Annotated[Decimal | None, _size(_MOST_PARAMS, "7e9")] = None
    tokens: Annotated[Decimal | None, _size(_MOST_TOKENS, "2e12")] = None
    mfu: Annotated[Decimal | None, BeforeValidator(_mfu)] = None
    layers: Annotated[int | None, _whole(_MOST_SHAPE, 32)] = None
    width: Annotated[int | None, _whole(_MOST_SHAPE, 4096)] = None
    context: Annotated[int | None, _whole(_MOST_SHAPE, 4096)] = None
    precision: Annotated[Precision, BeforeValidator(_one_of(Precision))] = Precision.BF16
    scope: Annotated[Extent, BeforeValidator(_one_of(Extent))] = Extent.RUN
    data_local: bool = False
    needs_gpu_memory: Annotated[int | None, BeforeValidator(_memory)] = None
