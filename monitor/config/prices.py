"""`prices.toml` beside the config: dated quotes and discounts of one's own, checked like the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from alarms.settings import StrictModel
from monitor.config.budgets import Currency
from monitor.config.hardware import day, gpu_count, gpu_name
from monitor.config.parts import tables
from monitor.config.report import Report, unknown_key
from monitor.config.thresholds import parse_money
from monitor.config_file import CONFIG_ADVICE, PRICES_TABLES, check_safety, parse, read
from monitor.config_file import PRICES_FILE as FILE
from monitor.config_lines import Loc
from monitor.errors import ConfigError, Problem
from monitor.rights import is_there
from monitor.training.book import PriceBook, oddities, shipped
from monitor.training.catalog import discounts_in, instant, quotes_in
from monitor.training.model import Pricing

_SPOT_ALONE = "on_demand is empty while spot is present; write both, for one shows whether the other can be right"


def _price(value: Any) -> Decimal:
    if value == "":
        raise ValueError("is empty; write the price of an hour of the whole host, or leave the key out")
    return parse_money(value)


def _text(value: Any) -> Any:
    if isinstance(value, str) and (not value.strip() or not value.isprintable()):
        raise ValueError("expected a text of printable characters")
    return value


def _percent(value: Any) -> Decimal:
    percent = parse_money(value)
    if percent > 100:  # noqa: PLR2004 - the whole
        raise ValueError("expected a percentage, above 0 and at most 100")
    return percent


def _time(value: Any) -> datetime:
    found = instant(value) if isinstance(value, date) else None
    if found is None:
        raise ValueError("expected a date without quotes, such as 2026-12-31")
    return found


Text = Annotated[str, BeforeValidator(_text)]
Day = Annotated[date, BeforeValidator(day)]
Time = Annotated[datetime | None, BeforeValidator(_time)]
Price = Annotated[Decimal | None, BeforeValidator(_price)]
Percent = Annotated[Decimal, BeforeValidator(_percent)]


class QuoteTable(StrictModel):
    """The keys of `[[quote]]`."""

    offer: Text
    seller: Text
    gpu: Annotated[str, BeforeValidator(gpu_name)]
    gpus: Annotated[int, BeforeValidator(gpu_count)]
    currency: Currency
    as_of: Day
    source: Text
    region: str = ""
    on_demand: Price = None
    spot: Price = None
    commit_1y: Price = None
    commit_3y: Price = None
    capacity_block: Price = None
    valid_from: Time = None
    valid_until: Time = None


class DiscountTable(StrictModel):
    """The keys of `[[discount]]`."""

    code: Text
    seller: Text
    percent_off: Percent
    first_month_percent_off: Annotated[Decimal | None, BeforeValidator(_percent)] = None
    valid_until: Time = None
    source: Text = "prices.toml"


@dataclass(frozen=True, slots=True)
class _Span:
    loc: Loc
    start: datetime
    end: datetime | None


_EPOCH = date(1970, 1, 1)
_QUOTE_STAND_INS: Mapping[str, Any] = {
    "offer": "?", "seller": "?", "gpu": "A100", "gpus": 1, "currency": "XXX", "as_of": _EPOCH, "source": "?",
}  # fmt: skip
_DISCOUNT_STAND_INS: Mapping[str, Any] = {"code": "?", "seller": "?", "percent_off": 1}


def read_prices(config: Path) -> tuple[PriceBook, Sequence[Problem]]:
    """The shipped book with what `prices.toml` beside this config adds, and its warnings. Raises ConfigError."""
    path = config.parent / FILE
    book = shipped()
    if not is_there(path, CONFIG_ADVICE):
        return book, ()
    file = read(path)
    check_safety(file)
    document = parse(file)
    report = Report(file)
    for name in document:
        if name not in PRICES_TABLES:
            report.error((name,), unknown_key(name, PRICES_TABLES))
    check_book(report, document)
    if report.problems:
        raise ConfigError(report.problems)
    document["book"] = FILE
    whole = book.with_more(quotes_in(document), discounts_in(document))
    _warn_of_oddities(report, document, whole)
    return whole, report.warnings


def check_book(report: Report, document: Mapping[str, Any], *, dated: bool = True) -> None:
    """Report what is wrong with the tables of a book. `dated` False: that of an undated page."""
    spans: dict[tuple[str, str, Pricing], list[_Span]] = {}
    for loc, raw in tables(report, document, "quote"):
        given = raw if dated else {"as_of": _EPOCH, "source": "?", **raw}
        table = report.validate(QuoteTable, given, loc, _QUOTE_STAND_INS)
        if table is not None:
            _check_prices(report, raw, loc)
        if table is None or report.has_error(loc):
            continue
        start = table.valid_from or _time(table.as_of)
        if table.valid_until is not None and table.valid_until <= start:
            report.error((*loc, "valid_until"), "is not after the day from which the quote is valid")
        for pricing in Pricing:
            if pricing.value in raw:
                key = (table.offer, table.region, pricing)
                spans.setdefault(key, []).append(_Span((*loc, pricing.value), start, table.valid_until))
    for (offer, region, pricing), found in spans.items():
        _check_spans(report, f"{offer}{f' in {region}' if region else ''} {pricing}", found)
    _check_discounts(report, document)


def _check_prices(report: Report, raw: Mapping[str, Any], loc: Loc) -> None:
    if not any(pricing.value in raw for pricing in Pricing):
        report.error(loc, 'has no price; add one, such as on_demand = "32.77"')
    elif "spot" in raw and "on_demand" not in raw:
        report.error((*loc, "spot"), _SPOT_ALONE)


def _check_spans(report: Report, what: str, spans: Sequence[_Span]) -> None:
    """A newer quote ends an open one; only what says that both hold at once is wrong."""
    ordered = sorted(spans, key=lambda span: span.start)
    for one, other in pairwise(ordered):
        line = report.line_of(one.loc)
        if one.start == other.start:
            report.error(other.loc, f"{what} is quoted twice for the same time (line {line} too); keep one")
        elif one.end is not None and one.end > other.start:
            report.error(other.loc, f"{what} overlaps the quote on line {line}, valid until {one.end:%Y-%m-%d}")


def _check_discounts(report: Report, document: Mapping[str, Any]) -> None:
    first: dict[str, Loc] = {}
    for loc, raw in tables(report, document, "discount"):
        table = report.validate(DiscountTable, raw, loc, _DISCOUNT_STAND_INS)
        if table is None or report.has_error(loc):
            continue
        if table.code in first:
            line = report.line_of((*first[table.code], "code"))
            report.error((*loc, "code"), f'"{table.code}" is already the code on line {line}; keep one')
        first.setdefault(table.code, loc)


def _warn_of_oddities(report: Report, document: Mapping[str, Any], book: PriceBook) -> None:
    odd = oddities(book.quotes)
    for index, raw in enumerate(document.get("quote", ())):
        for quote in quotes_in({"book": FILE, "quote": [raw]}):
            for flag in odd.get(quote, ()):
                report.warn(("quote", index, quote.pricing.value), f"{flag}; is that right?")
