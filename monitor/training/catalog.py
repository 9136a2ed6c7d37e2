"""The data that ships with the program: models of GPU, and books of dated quotes with their discounts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from alarms.money import parse_amount
from monitor.training.model import Gpu, Pricing, Quote

ARTICLE = "article"
BOOKS = (ARTICLE, "current")


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
    for row in tomllib.loads(book_text("gpus"))["gpu"]:
        fp8 = row.get("fp8_tflops")
        gpu = Gpu(
            name=row["name"],
            memory_gb=row.get("memory_gb"),
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
    return tuple(quote for book in BOOKS for quote in quotes_in(tomllib.loads(book_text(book))))


@cache
def shipped_discounts() -> tuple[Discount, ...]:
    """Every discount code."""
    return tuple(code for book in BOOKS for code in discounts_in(tomllib.loads(book_text(book))))


def book_text(name: str) -> str:
    """The TOML of a file that ships."""
    # Not by importlib.resources, whose own imports take a tenth of the time of `monitor compare`.
    return (Path(__file__).parent / "books" / f"{name}.toml").read_text(encoding="utf-8")


def quotes_in(book: Mapping[str, Any]) -> Iterator[Quote]:
    """Each price of a book that was checked: a table may hold several, one per pricing."""
    for row in book.get("quote", ()):
        as_of: date | None = row.get("as_of", book.get("as_of"))
        for pricing in Pricing:
            if pricing.value not in row:
                continue
            yield Quote(
                offer=row["offer"],
                seller=row["seller"],
                region=row.get("region", ""),
                gpu=gpus()[row["gpu"]].name,
                gpus=row["gpus"],
                pricing=pricing,
                currency=row["currency"],
                price_per_hour=parse_amount(str(row[pricing.value])),
                book=book["book"],
                source=row.get("source", book.get("source", "")),
                as_of=as_of,
                valid_from=instant(row.get("valid_from", as_of)),
                valid_until=instant(row.get("valid_until")),
            )


def discounts_in(book: Mapping[str, Any]) -> Iterator[Discount]:
    """Each discount code of a book that was checked."""
    for row in book.get("discount", ()):
        first = row.get("first_month_percent_off")
        yield Discount(
            code=row["code"],
            seller=row["seller"],
            off=parse_amount(str(row["percent_off"])).scaleb(-2),
            first_month_off=None if first is None else parse_amount(str(first)).scaleb(-2),
            valid_until=instant(row.get("valid_until")),
            source=row.get("source", book.get("source", "")),
        )


def instant(value: date | datetime | None) -> datetime | None:
    """A TOML date as the start of that day in UTC; an instant as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return None if value is None else datetime.combine(value, time(), UTC)
