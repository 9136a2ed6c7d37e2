"""The arithmetic of forecasts and burn rates: exact where it can be, and honest about what it does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import Forecast, Period
from monitor.projection import FEWEST, burn_rate, forecast, spend_within, trend

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))  # begins on a Sunday
AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=6)


def expected(days: list[int | str | Decimal], as_of: datetime, *, spend: str = "0", today: str = "0") -> Forecast:
    """Of days that end where that of `as_of` begins."""
    known = trend([Decimal(day) for day in days], (as_of - DAY).weekday())
    assert known is not None
    return forecast(known, Decimal(spend), Decimal(today), as_of, NOVEMBER)


def test_fewer_complete_days_than_a_week_are_not_enough() -> None:
    assert trend([Decimal(100)] * (FEWEST - 1), 0) is None
    assert trend([Decimal(100)] * FEWEST, 0) is not None


def test_what_is_always_the_same_is_known_exactly() -> None:
    result = expected([100] * 28, datetime(2026, 11, 11, tzinfo=UTC), spend="1000")
    assert result == Forecast(Decimal("3000.00"), Decimal("3000.00"), Decimal("3000.00"), 28)


def test_the_part_of_a_day_that_is_told_already_is_not_expected_again() -> None:
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert expected([100] * 28, noon, spend="2950", today="50").expected == 3000


def test_at_the_periods_end_and_after_it_what_was_spent_is_all() -> None:
    result = expected([100] * 28, NOVEMBER.end, spend="2987.123456")
    assert (result.low, result.expected, result.high) == (Decimal("2987.123456"),) * 3


def test_a_run_that_began_yesterday_moves_it_at_once_and_after_two_days_it_is_the_new_level() -> None:
    calm = expected([100] * 28, datetime(2026, 11, 11, tzinfo=UTC), spend="1000").expected
    first = expected([100] * 27 + [1000], datetime(2026, 11, 11, tzinfo=UTC), spend="1900")
    second = expected([100] * 26 + [1000] * 2, datetime(2026, 11, 11, tzinfo=UTC), spend="2800").expected
    assert calm == 3000
    # 20 days to come: a third of the way and more from 100 to 1000 a day after one day, all of it after two.
    assert 1900 + 20 * 400 < first.expected < 1900 + 20 * 500
    # Whether it lasts nobody knows yet: the interval holds both.
    assert first.low <= 1900 + 20 * 100
    assert first.high >= 1900 + 20 * 1000
    assert abs(second - (2800 + 20 * 1000)) < 1


def test_the_hours_of_today_count_too() -> None:
    noon = datetime(2026, 11, 11, 12, tzinfo=UTC)
    calm = expected([100] * 28, noon, spend="1050", today="50").expected
    burning = expected([100] * 28, noon, spend="1500", today="500").expected
    assert burning - Decimal(450) > calm + 1000


def test_weekends_are_cheap() -> None:
    week = [100, 100, 100, 100, 100, 10, 10]
    # Complete to Friday 27 November; Saturday, Sunday and Monday are left.
    result = expected([*week[5:], *week * 4, *week[:5]], datetime(2026, 11, 28, tzinfo=UTC), spend="1900")
    assert result.expected < 1900 + 175  # 120 come; without weekdays it would be 220 and more
    assert result.expected > 1900 + 100


def test_refunds_alone_take_the_low_end_below_what_is_spent() -> None:
    wild = [0, 300, 10, 250, 5, 280, 0, 290] * 3
    assert expected(wild, datetime(2026, 11, 25, tzinfo=UTC), spend="3000").low >= 3000
    assert expected([-100] * 10, datetime(2026, 11, 25, tzinfo=UTC), spend="3000").low < 3000


@given(st.lists(AMOUNTS, min_size=FEWEST, max_size=60), st.integers(0, 29 * 24), AMOUNTS)
def test_whatever_the_days_were_the_forecast_lies_in_its_interval(
    days: list[Decimal], hours: int, spend: Decimal
) -> None:
    as_of = NOVEMBER.start + hours * HOUR
    known = trend(days, (as_of - DAY).weekday())
    assert known is not None
    result = forecast(known, spend, Decimal(0), as_of, NOVEMBER)
    assert result.low <= result.expected <= result.high
    assert result == forecast(trend(days, known.weekday) or known, spend, Decimal(0), as_of, NOVEMBER)
    last, highest = (NOVEMBER.end - as_of) / DAY, max(days)
    # No day can be expected to cost more than twenty of the dearest seen: the lowest weekday counts for a twentieth.
    assert result.expected <= spend + Decimal(last) * highest * 20 + 1


@given(st.lists(AMOUNTS, min_size=FEWEST, max_size=50), st.integers(1, 1000))
def test_it_has_no_unit_of_its_own(days: list[Decimal], times: int) -> None:
    one, other = trend(days, 0), trend([day * times for day in days], 0)
    assert one is not None
    assert other is not None
    as_of = NOVEMBER.start + DAY
    a, b = (forecast(known, Decimal(0), Decimal(0), as_of, NOVEMBER).expected for known in (one, other))
    assert abs(a * times - b) <= max(b / 1000, Decimal(times))


CHARGES = st.lists(
    st.tuples(st.integers(0, 100), st.integers(1, 50), AMOUNTS).map(lambda t: (t[0], t[0] + t[1], t[2])), max_size=20
)


@given(CHARGES, st.integers(0, 60), st.integers(61, 200), st.integers(0, 200))
def test_windows_side_by_side_hold_what_the_whole_holds(
    charges: list[tuple[int, int, Decimal]], since: int, until: int, between: int
) -> None:
    middle = min(max(between, since), until)
    whole = spend_within(charges, since, until)
    assert spend_within(charges, since, middle) + spend_within(charges, middle, until) == whole
    assert spend_within(charges, 0, 1000) == sum(Fraction(cost) for *_, cost in charges)


def test_a_charge_counts_by_its_share_of_the_window() -> None:
    assert spend_within([(0, 3, Decimal(1))], 2, 10) == Fraction(1, 3)


@pytest.mark.parametrize(
    ("spent", "rate"), [("1000", "1"), ("2000", "2"), ("0", "0"), ("1999.9999999999", "1.999999999")]
)
def test_at_one_the_budget_lasts_exactly_and_a_limit_not_reached_does_not_look_reached(spent: str, rate: str) -> None:
    assert burn_rate(Fraction(spent), 30 * DAY, Decimal(1000), NOVEMBER) == Decimal(rate)
    assert burn_rate(Fraction(spent) / 120, 6 * HOUR, Decimal(1000), NOVEMBER) == Decimal(rate)
