"""How far a source is trusted, at every edge of its two clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.clock import to_text
from monitor.freshness import Freshness, data_age, judge, past_hard_limit, poll_age

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
SECOND = timedelta(seconds=1)
H = timedelta(hours=1)


def ago(age: timedelta | None) -> str | None:
    return None if age is None else to_text(NOW - age)


def source(
    *, first: timedelta | None = 240 * H, poll: timedelta | None = H / 60, data: timedelta | None = 3 * H, **facts: Any
) -> dict[str, Any]:
    return {
        "first_attempt": ago(first),
        "last_poll": ago(poll),
        "data_as_of": ago(data),
        "access": True,
        "missing": [],
        "late_poll_s": 3 * 3600,
        "stale_poll_s": 26 * 3600,
        "late_data_s": 36 * 3600,
        "stale_data_s": 48 * 3600,
        **facts,
    }


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, Freshness.FRESH),
        ({"first": None, "poll": None, "data": None}, Freshness.NEVER),
        ({"first": None, "poll": None, "data": None, "access": False}, Freshness.NEVER),
        ({"access": False}, Freshness.NO_ACCESS),
        ({"access": False, "poll": 99 * H, "data": 99 * H, "missing": ["account 1"]}, Freshness.NO_ACCESS),
        ({"poll": 3 * H}, Freshness.FRESH),
        ({"poll": 3 * H + SECOND}, Freshness.LATE),
        ({"poll": 26 * H}, Freshness.LATE),
        ({"poll": 26 * H + SECOND}, Freshness.STALE),
        ({"data": 36 * H}, Freshness.FRESH),
        ({"data": 36 * H + SECOND}, Freshness.LATE),
        ({"data": 48 * H}, Freshness.LATE),
        ({"data": 48 * H + SECOND}, Freshness.STALE),
        ({"missing": ["account 1"]}, Freshness.PARTIAL),
        ({"missing": ["account 1"], "data": 40 * H}, Freshness.PARTIAL),
        ({"missing": ["account 1"], "data": 49 * H}, Freshness.STALE),
        ({"first": SECOND, "data": None}, Freshness.LATE),
        ({"first": 48 * H, "data": None}, Freshness.LATE),
        ({"first": 48 * H + SECOND, "data": None}, Freshness.STALE),
        ({"first": SECOND, "poll": None, "data": None}, Freshness.LATE),
        ({"first": 26 * H + SECOND, "poll": None, "data": None}, Freshness.STALE),
        ({"data": -H}, Freshness.FRESH),
    ],
)
def test_judge(facts: dict[str, Any], expected: Freshness) -> None:
    assert judge(source(**facts), NOW) is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, False),
        ({"poll": 52 * H}, False),
        ({"poll": 52 * H + SECOND}, True),
        ({"data": 96 * H}, False),
        ({"data": 96 * H + SECOND}, True),
        ({"first": 96 * H + SECOND, "data": None}, True),
        ({"first": 53 * H, "poll": None, "data": None, "access": False}, True),
        ({"first": None, "poll": None, "data": None}, False),
    ],
)
def test_the_hard_limit_is_twice_the_stale_one(facts: dict[str, Any], expected: bool) -> None:
    assert past_hard_limit(source(**facts), NOW) is expected


def test_a_source_only_gets_staler_while_nothing_comes() -> None:
    facts = source(poll=timedelta(0), data=timedelta(0))
    order = [Freshness.FRESH, Freshness.LATE, Freshness.STALE]
    seen = [order.index(judge(facts, NOW + hours * H)) for hours in range(60)]
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}


def test_ages_fall_back_on_the_first_attempt() -> None:
    facts = source(first=5 * H, poll=None, data=None)
    assert (poll_age(facts, NOW), data_age(facts, NOW)) == (5 * H, 5 * H)


@pytest.mark.parametrize("missing", ["access", "stale_data_s", "last_poll"])
def test_facts_that_lack_something_are_refused(missing: str) -> None:
    facts = source()
    del facts[missing]
    with pytest.raises(KeyError):
        judge(facts, NOW)
