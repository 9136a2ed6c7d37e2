"""Readings of a cumulative counter become charges, by the contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import Period
from monitor.meter import Increment, Point, increments, residual
from monitor.model import MeterReading
from monitor.period import month_of


def at(text: str) -> datetime:
    """`05-31T20` of 2020."""
    return datetime.fromisoformat(f"2020-{text}:00").replace(tzinfo=UTC)


def points(*texts: str) -> list[Point]:
    """`05-31T20 90.5` each."""
    return [(at(instant), Decimal(value)) for instant, value in (text.split() for text in texts)]


def shown(found: list[Increment]) -> list[str]:
    return [f"{p.start:%m-%dT%H} {p.end:%m-%dT%H} {value}" for p, value in found]


def test_published_series_gives_exactly_three_charges() -> None:
    readings = points("06-01T00 0.0", "06-02T00 22.65", "06-03T00 34.74", "06-04T00 46.91")
    assert shown(increments(readings)) == [
        "06-01T00 06-02T00 22.65",
        "06-02T00 06-03T00 12.09",
        "06-03T00 06-04T00 12.17",
    ]


def test_first_reading_of_a_month_counts_from_its_start() -> None:
    assert shown(increments(points("06-10T08 100"))) == ["06-01T00 06-10T08 100"]


def test_reading_at_or_before_the_base_is_settled() -> None:
    base = MeterReading(at("06-10T08"), Decimal(100))
    assert shown(increments(points("06-10T04 7", "06-10T08 999", "06-10T12 103"), base)) == ["06-10T08 06-10T12 3"]


def test_lower_value_is_a_credit_where_it_was_seen() -> None:
    readings = points("06-02T00 50", "06-03T00 30", "06-04T00 31")
    assert shown(increments(readings)) == ["06-01T00 06-02T00 50", "06-02T00 06-03T00 -20", "06-03T00 06-04T00 1"]


def test_unchanged_value_is_an_explicit_zero() -> None:
    readings = points("06-02T00 50", "06-03T00 50")
    assert shown(increments(readings)) == ["06-01T00 06-02T00 50", "06-02T00 06-03T00 0"]


def test_month_to_date_below_zero_is_kept() -> None:
    assert shown(increments(points("06-02T00 -12.5"))) == ["06-01T00 06-02T00 -12.5"]


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        # No tail: the counter started again at once.
        (["05-31T20 90", "06-01T04 2"], ["05-01T00 05-31T20 90", "06-01T00 06-01T04 2"]),
        # A tail of one growing charge up to the month's end, then the drop.
        (
            ["05-31T20 90", "06-01T04 93", "06-01T08 95", "06-01T12 2", "06-01T16 3"],
            ["05-01T00 05-31T20 90", "05-31T20 06-01T00 5", "06-01T00 06-01T12 2", "06-01T12 06-01T16 1"],
        ),
        # Not dropped yet: all of it is the old month's.
        (["05-31T20 90", "06-01T04 93"], ["05-01T00 05-31T20 90", "05-31T20 06-01T00 3"]),
        # Equal to the old month's last belongs to it too.
        (["05-31T20 90", "06-01T04 90"], ["05-01T00 05-31T20 90", "05-31T20 06-01T00 0"]),
        # A reading at the very start of the month.
        (
            ["05-31T20 90", "06-01T00 93", "06-01T04 2"],
            ["05-01T00 05-31T20 90", "05-31T20 06-01T00 3", "06-01T00 06-01T04 2"],
        ),
        # After the drop values may rise above the old month's last: they are the new month's.
        (
            ["05-31T20 90", "06-01T04 2", "06-01T08 120"],
            ["05-01T00 05-31T20 90", "06-01T00 06-01T04 2", "06-01T04 06-01T08 118"],
        ),
        # Any drop ends the tail, even one that stays above the old month's last.
        (
            ["05-31T20 90", "06-01T04 95", "06-01T08 92"],
            ["05-01T00 05-31T20 90", "05-31T20 06-01T00 5", "06-01T00 06-01T08 92"],
        ),
        # After 24 h it is the new month's, whatever it is.
        (
            ["05-31T20 90", "06-01T20 95", "06-02T00 96"],
            ["05-01T00 05-31T20 90", "05-31T20 06-01T00 5", "06-01T00 06-02T00 96"],
        ),
        (["05-31T20 90", "06-02T00 96"], ["05-01T00 05-31T20 90", "06-01T00 06-02T00 96"]),
        # A whole month without a reading: nothing belongs to it.
        (["04-30T20 90", "06-01T04 95"], ["04-01T00 04-30T20 90", "06-01T00 06-01T04 95"]),
    ],
)
def test_the_first_of_the_month(readings: list[str], expected: list[str]) -> None:
    assert shown(increments(points(*readings))) == expected


def test_tail_is_the_same_from_a_base_in_the_old_month() -> None:
    readings = points("05-31T12 80", "05-31T20 90", "06-01T04 93", "06-01T08 1")
    base = MeterReading(at("05-31T12"), Decimal(80))
    assert increments(readings, base) == increments(readings)[1:]


def test_money_stamped_at_the_very_start_of_a_month_is_never_lost() -> None:
    assert shown(increments(points("06-01T00 7"))) == ["06-01T00 06-01T01 7"]
    assert shown(increments(points("06-01T00 7", "06-01T04 9"))) == ["06-01T00 06-01T04 9"]
    assert shown(increments(points("06-01T00 7", "07-02T00 1"))) == ["06-01T00 06-01T01 7", "07-01T00 07-02T00 1"]
    assert shown(increments(points("06-01T00 7", "07-01T02 8"))) == ["06-01T00 06-01T01 7", "06-01T01 07-01T00 1"]


def test_of_two_readings_at_one_instant_the_larger_counts() -> None:
    assert shown(increments(points("06-02T00 5", "06-02T00 8", "06-02T00 6"))) == ["06-01T00 06-02T00 8"]


amounts = st.decimals(min_value=-1000, max_value=100_000, places=6)
# Within one month, off its first day, so that no value belongs to the month before.
instants = st.integers(min_value=24 * 60, max_value=30 * 24 * 60).map(lambda m: at("05-01T00") + timedelta(minutes=m))
anywhere = st.integers(min_value=0, max_value=120 * 24).map(lambda h: at("03-01T00") + timedelta(hours=h))


@given(st.dictionaries(instants, amounts, min_size=1, max_size=30))
def test_charges_of_a_month_add_up_to_its_last_value(readings: dict[datetime, Decimal]) -> None:
    found = increments(readings.items())
    assert sum(value for _, value in found) == readings[max(readings)]


@given(st.dictionaries(anywhere, amounts, max_size=40), st.randoms())
def test_order_of_the_readings_does_not_matter(readings: dict[datetime, Decimal], random: object) -> None:
    shuffled = list(readings.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a random.Random
    assert increments(shuffled) == increments(readings.items())


@given(st.dictionaries(anywhere, amounts, max_size=40))
def test_intervals_are_real_ordered_and_apart_and_lie_in_one_month(readings: dict[datetime, Decimal]) -> None:
    periods = [period for period, _ in increments(readings.items())]
    assert all(one.end <= other.start for one, other in pairwise(periods))
    assert all(period.start < period.end <= month_of(period.start).end for period in periods)


@given(st.dictionaries(anywhere, amounts, min_size=1, max_size=40), st.data())
def test_continuing_from_a_settled_reading_changes_nothing(
    readings: dict[datetime, Decimal], data: st.DataObject
) -> None:
    settled = [instant for instant in readings if instant.day != 1]
    if not settled:
        return
    base = data.draw(st.sampled_from(settled))
    continued = increments(readings.items(), MeterReading(base, readings[base]))
    assert continued == [each for each in increments(readings.items()) if each[0].start >= base]


@given(st.lists(st.dictionaries(anywhere, amounts, max_size=20), min_size=1, max_size=4))
def test_parts_and_remainder_add_up_to_the_total_in_every_month(counters: list[dict[datetime, Decimal]]) -> None:
    whole, *parts = (increments(readings.items()) for readings in counters)
    known = Period(at("03-01T00"), at("08-01T00"))
    rest = residual(whole, parts, known)

    def by_month(found: list[Increment]) -> dict[datetime, Decimal]:
        sums: dict[datetime, Decimal] = {}
        for period, value in found:
            month = month_of(period.start).start
            sums[month] = sums.get(month, Decimal(0)) + value
        return {month: value for month, value in sums.items() if value}

    assert by_month([*rest, *(each for part in parts for each in part)]) == by_month(whole)
    assert all(value for _, value in rest)


def test_remainder_counts_a_part_where_it_starts() -> None:
    whole = increments(points("06-02T00 10", "06-03T00 25"))
    part = increments(points("06-01T12 4", "06-02T12 5"))
    assert shown(residual(whole, [part], Period(at("06-01T00"), at("06-03T00")))) == [
        "06-01T00 06-02T00 5",
        "06-02T00 06-03T00 15",
    ]


def test_part_that_starts_before_the_total_is_refused() -> None:
    with pytest.raises(ValueError, match="before the total"):
        residual([], [increments(points("06-02T00 10"))], Period(at("06-02T00"), at("06-03T00")))
