"""How days and instants are told to people: one form of each."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from alarms.words import day_text, instant_text


@pytest.mark.parametrize(
    ("day", "text"),
    [
        (date(2026, 11, 23), "23 Nov 2026"),
        (datetime(2026, 12, 1, 23, 59, tzinfo=UTC), "1 Dec 2026"),
        (date(1, 1, 1), "1 Jan 0001"),
        (date(9999, 12, 31), "31 Dec 9999"),
    ],
)
def test_a_day(day: date, text: str) -> None:
    assert day_text(day) == text


def test_an_instant_is_that_of_its_reader() -> None:
    instant = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    assert instant_text(instant, UTC) == "30 Nov 2026 23:30 UTC"
    assert instant_text(instant, ZoneInfo("Europe/Berlin")) == "1 Dec 2026 00:30 CET"
    assert instant_text(datetime(1, 1, 1, tzinfo=UTC), UTC) == "1 Jan 0001 00:00 UTC"
