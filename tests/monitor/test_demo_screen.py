"""80 columns, colour for eyes alone, and something to read on a terminal without Unicode."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.demo.inboxes import Arrived
from monitor.demo.screen import Screen

AT = datetime(2024, 9, 15, 12, 15, tzinfo=UTC)


class Stream(io.TextIOWrapper):
    """A stream that may be a terminal."""

    def __init__(self, *, terminal: bool = False, encoding: str = "utf-8") -> None:
        self._bytes = io.BytesIO()
        self._terminal = terminal
        super().__init__(self._bytes, encoding=encoding)

    def isatty(self) -> bool:
        return self._terminal

    @property
    def text(self) -> str:
        return self._bytes.getvalue().decode(self.encoding)


def line(stream: Stream, spend: Decimal | None = Decimal("16028.16")) -> str:
    screen = Screen(stream, pauses=False)
    budget = {"spend": None if spend is None else str(spend), "amount": "20000", "currency": "USD"}
    screen.moment(AT, budget, state="CRITICAL", source="aws STALE")
    return stream.text.removesuffix("\n")


@pytest.mark.parametrize(
    ("spend", "bar", "rest"),
    [
        ("0", "················┊···│····", "       0.00   0%"),
        ("125", "▏···············┊···│····", "     125.00   0%"),
        ("10000", "██████████······┊···│····", "  10,000.00  50%"),
        ("19999.99", "███████████████████▉│····", "  19,999.99  99%"),
        ("24241.32", "████████████████████████▏", "  24,241.32 121%"),
        ("99999", "█████████████████████████", "  99,999.00 499%"),
        ("-5", "················┊···│····", "      -5.00  -1%"),
    ],
)
def test_the_bar_grows_by_eighths_and_keeps_its_marks(spend: str, bar: str, rest: str) -> None:
    assert line(Stream(), Decimal(spend)).startswith(f"Sun 15 Sep 12:15 {bar}{rest}")


def test_an_unknown_spend_is_not_a_zero() -> None:
    assert "not known    - CRITICAL aws STALE" in line(Stream(), None)


@given(st.decimals("0", "999999", places=2))
def test_every_line_fits(spend: Decimal) -> None:
    assert len(line(Stream(), spend)) <= 80


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    painted = line(Stream(terminal=True))
    assert "\x1b[31mCRITICAL\x1b[0m" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == line(Stream())
    monkeypatch.setenv(variable, value)
    assert "\x1b" not in line(Stream(terminal=True))


def test_without_unicode_it_is_plain_but_whole() -> None:
    assert (
        line(Stream(encoding="ascii"))
        == "Sun 15 Sep 12:15 ################:...|....  16,028.16  80% CRITICAL aws STALE"
    )


def test_a_long_message_is_cut_as_a_phone_does() -> None:
    stream = Stream()
    Screen(stream, pauses=False).card([Arrived("1", "Slack", "word " * 80, ("Spent: 1", "Data: " + "old " * 80))])
    lines = stream.text.splitlines()
    assert len(lines) == 5
    assert max(len(text) for text in lines) <= 80
    assert [text.endswith(" …") for text in lines] == [False, True, False, False, True]
