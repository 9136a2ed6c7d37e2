"""Tables and remarks for people, at most 80 columns wide: what `compare`, `plan` and `prices` share."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from string import ascii_lowercase

from alarms.money import for_people
from alarms.words import day_text
from monitor.status.words import one_line
from monitor.training.model import Quote

WIDTH = 80
WHOLE_ADDRESSES = "Addresses are shortened here; --json has them whole."
_ELLIPSIS = "…"
# With a date before it and a letter for a note it fits a line.
_SOURCE = 60


class Notes:
    """Letters for what is to be said of a row, and what each means."""

    def __init__(self) -> None:
        self._notes: dict[str, str] = {}

    def mark(self, flags: Iterable[str]) -> str:
        """The letters of these, in order."""
        return " ".join(self._notes.setdefault(flag, _letter(len(self._notes))) for flag in flags)

    def lines(self) -> list[str]:
        """What each letter means, in their order."""
        return [line for flag, letter in self._notes.items() for line in wrapped(f"{letter}  {flag}", "   ")]


def source_of(quote: Quote) -> str:
    """Where a price can be read, and of when: an address as its host and its last part."""
    as_of = "" if quote.as_of is None else f"{day_text(quote.as_of)}: "
    return f"{as_of}{short_source(quote.source)}"


def quotes_text(which: str | date) -> str:
    """Which quotes count: `current`, `article`, or those of a day."""
    return day_text(which) if isinstance(which, date) else which


def short_source(source: str) -> str:
    """An address as `host/…/file`, anything else as it is, both as short as a line."""
    text = one_line(source)
    if text.startswith(("https://", "http://")):
        host, *parts = [part for part in text.partition("://")[2].split("/") if part] or [text]
        text = "/".join([host, *([_ELLIPSIS] if len(parts) > 1 else ()), *parts[-1:]])
    return shortened(text, _SOURCE)


def is_shortened(quote: Quote) -> bool:
    """Whether its source is not shown whole."""
    return short_source(quote.source) != one_line(quote.source)


def with_notes(row: str, marks: str) -> list[str]:
    """A row with the letters of its notes at its right end, or below it where they do not fit."""
    whole = f"{row}  {marks}".rstrip()
    return [whole] if len(whole) <= WIDTH else [row, f"{marks:>{WIDTH}}"]


def amount(value: Decimal, currency: str) -> str:
    """As for people, but for the currency, which the head of the table says."""
    return for_people(value, currency).removesuffix(f" {currency}")


def money(value: Decimal, currency: str, width: int) -> str:
    """An amount at the right of a column."""
    return fitted(amount(value, currency), value, width)


def fitted(text: str, value: Decimal, width: int) -> str:
    """The text at the right of a column, or the value in millions where that is too wide."""
    return f"{text if len(text) <= width else f'{value.scaleb(-6):,.1f}M':>{width}}"


def cut(text: str, width: int) -> str:
    """The text at the left of a column."""
    return f"{shortened(text, width):<{width}}"


def shortened(text: str, width: int) -> str:
    """The beginning of the text, with an ellipsis where something is left out."""
    text = one_line(text)
    return text if len(text) <= width else f"{text[: width - 1]}{_ELLIPSIS}"


def wrapped(text: str, indent: str = "", *, first: str = "") -> list[str]:
    """Lines of whole words; only a word longer than a line is broken."""
    return textwrap.wrap(one_line(text), WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)


def _letter(place: int) -> str:
    return ascii_lowercase[place] if place < len(ascii_lowercase) else f"n{place}"
