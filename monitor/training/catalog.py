"""The data that ships with the program: models of GPU, and books of dated quotes with their discounts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from alarms.money import parse_amount
from monitor.training.model import Gpu, Pricing, Quote

_BOOKS = ("article", "current")


@dataclass(frozen=True, slots=True)
class Discount:
    """A code that a seller takes. `first_month_off`: for new customers in the first month, in place of `off`.

    Both are shares of the price (0.15); `valid_until` None: no end is known.
    """

    code: str
    seller: str
    off: Decimal
    first_month_off: Decimal | None
    valid_until: datetime | None
    source: str


@cache
def gpus() -> Mapping[str, Gpu]:
    """Every model of GPU by its name and its other names."""
    found: dict[str, Gpu] = {}
    for row in _data("gpus")["gpu"]:
        fp8 = row.get("fp8_tflops")
        gpu = Gpu(
            name=row["name"],
            memory_gb=row["memory_gb"],
            bf16_tflops=Decimal(row["bf16_tflops"]),
            fp8_tflops=None if fp8 is None else Decimal(fp8),
            tdp_watts=row["tdp_watts"],
            source=row["source"],
        )
        found |= dict.fromkeys((gpu.name, *row.get("aliases", ())), gpu)
    return found


@cache
def shipped_quotes() -> tuple[Quote, ...]:
    """The quotes of every book."""
    return tuple(quote for book in _BOOKS for quote in _quotes(_data(book)))


@cache
def shipped_discounts() -> Mapping[str, Discount]:
    """Every discount code."""
    return {discount.code: discount for book in _BOOKS for discount in _discounts(_data(book))}


def _data(name: str) -> dict[str, Any]:
    return tomllib.loads(files("monitor.training").joinpath("books", f"{name}.toml").read_text(encoding="utf-8"))


def _quotes(book: dict[str, Any]) -> Iterator[Quote]:
    for row in book["quote"]:
        for pricing in Pricing:
            if pricing.value not in row:
                continue
            as_of: date | None = row.get("as_of", book.get("as_of"))
            yield Quote(
                offer=row["offer"],
                seller=row["seller"],
                region=row.get("region", ""),
                gpu=row["gpu"],
                gpus=row["gpus"],
                pricing=pricing,
                currency=row["currency"],
                price_per_hour=parse_amount(row[pricing.value]),
                book=book["book"],
                source=row.get("source", book.get("source", "")),
                as_of=as_of,
                valid_from=None if as_of is None else datetime.combine(as_of, time(), UTC),
                valid_until=row.get("valid_until"),
            )


def _discounts(book: dict[str, Any]) -> Iterator[Discount]:
    for row in book.get("discount", ()):
        first = row.get("first_month_percent_off")
        yield Discount(
            code=row["code"],
            seller=row["seller"],
            off=Decimal(row["percent_off"]).scaleb(-2),
            first_month_off=None if first is None else Decimal(first).scaleb(-2),
            valid_until=row.get("valid_until"),
            source=book.get("source", ""),
        )
