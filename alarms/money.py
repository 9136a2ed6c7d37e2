"""Exact amounts: strict reading, canonical text, and the text that people see. No float comes near.

Both packages use it; it knows nothing of either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
)

# 38 digits: what BigQuery and DuckDB sum in. What would need more raises; nothing is rounded in silence.
EXACT = Context(prec=38, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero, FloatOperation])
# For what people see, never for what is stored or compared.
DISPLAY = Context(prec=38, rounding=ROUND_HALF_EVEN)
_AMOUNT = re.compile(r"-?\d{1,15}(\.\d{1,18})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
# ISO 4217 minor units that are not 2.
_NO_DECIMALS = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND")
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_CFA_AND_ISLANDS = ("VUV", "XAF", "XOF", "XPF")
_MINOR_UNITS = {**dict.fromkeys(_NO_DECIMALS + _CFA_AND_ISLANDS, 0), **dict.fromkeys(_THREE_DECIMALS, 3)}
_MOST_DIGITS = 12
_LONGEST_SHOWN = 32
_MOST_PLACES = 18
_SMALLEST = Decimal(1).scaleb(-_MOST_PLACES)


def parse_amount(text: str) -> Decimal:
    """The exact amount of a plain decimal text (`-12.50`).

    Raises ValueError for everything that `Decimal` would take but money is not: NaN, Infinity, 1E+400, 1_000,
    full-width digits, more than 15 digits before or 18 after the point.
    """
    if not is_amount(text):
        # Whatever stands there may be meant for nobody's eyes.
        shown = text if len(text) <= _LONGEST_SHOWN else text[:8] + "..."
        raise ValueError(f"{shown!r} is not a plain decimal amount such as 12.50")
    return Decimal(text)


def is_amount(text: str) -> bool:
    """Whether `parse_amount` takes the text."""
    return bool(_AMOUNT.fullmatch(text))


def is_currency(text: str) -> bool:
    """Whether the text has the form of an ISO 4217 code."""
    return bool(_CURRENCY.fullmatch(text))


def plain(amount: Decimal) -> str:
    """Canonical text: no exponent, no trailing zeros after the point, never `-0`. `0.10` -> `0.1`, `1E+2` -> `100`."""
    text = f"{amount:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def with_cents(amount: Decimal) -> str:
    """Exact, with two digits after the point or as many as there are: `16385.00`."""
    whole, _, digits = plain(amount).partition(".")
    return f"{whole}.{digits:0<2}"


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum, in 38 digits."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def to_places(amount: Decimal) -> Decimal:
    """The amount in at most 18 places, as many as are stored; a cloud's float may have more."""
    exponent = amount.as_tuple().exponent
    too_many = isinstance(exponent, int) and exponent < -_MOST_PLACES
    return amount.quantize(_SMALLEST, context=DISPLAY) if too_many else amount


def for_people(amount: Decimal, currency: str, *, beside: Decimal | None = None) -> str:
    """`1,234.50 USD`: rounded to the currency's minor unit, for display only.

    With `beside`, more digits are shown when the two amounts differ but would look the same.
    """
    digits = _MINOR_UNITS.get(currency, 2)
    if beside is not None and beside != amount:
        while digits < _MOST_DIGITS and _rounded(amount, digits) == _rounded(beside, digits):
            digits += 1
    return f"{_rounded(amount, digits):,f} {currency}"


def _rounded(amount: Decimal, digits: int) -> Decimal:
    rounded = amount.quantize(Decimal(1).scaleb(-digits), context=DISPLAY)
    return abs(rounded) if rounded == 0 else rounded
