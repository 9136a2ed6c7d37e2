"""Electricity by the time of use: against a walk minute by minute, over clock changes, and in a plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.training.catalog import gpus
from monitor.training.local import Rig
from monitor.training.model import Spread
from monitor.training.plan import BY_TARIFF, P50, Phase, Plan, project
from monitor.training.tariff import DAYS, MONTHS, Rate, Tariff, mean

REST = Rate(Decimal("0.24"))
NIGHT = Rate(Decimal("0.10"), 22 * 60, 6 * 60)
WINTER = Rate(Decimal("0.40"), 17 * 60, 20 * 60, months=(10, 11, 0, 1))
START = datetime(2026, 12, 1, tzinfo=UTC)
RIG = Rig("rig", 4, gpus()["A100-80GB"], "USD", {"all": Decimal(64700)}, Decimal(3000), mean([NIGHT, REST]))
BY_NIGHT = replace(RIG, tariff=Tariff((NIGHT, REST)))

minutes = st.integers(0, 1439)
rates = st.builds(
    Rate,
    st.decimals("0.01", "2", places=4),
    minutes,
    minutes,
    st.lists(st.sampled_from(range(7)), min_size=1, unique=True).map(tuple),
    st.lists(st.sampled_from(range(12)), min_size=1, unique=True).map(tuple),
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])


def price_at(tariff: Tariff, at: datetime) -> Decimal:
    """By the words of the documentation, with nothing kept and nothing merged."""
    local = at.astimezone(ZoneInfo(tariff.timezone))
    minute = local.hour * 60 + local.minute
    for rate in tariff.rates:
        if local.month - 1 not in rate.months:
            continue
        length = (rate.end - rate.start) % 1440 or 1440
        for day in rate.days:
            if ((local.weekday() - day) * 1440 + minute - rate.start) % (7 * 1440) < length:
                return rate.per_kwh
    raise AssertionError("no rate fits")


@settings(max_examples=60)
@given(
    st.lists(rates, max_size=4),
    zones,
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),  # noqa: DTZ001 - made UTC below
    st.integers(1, 4000),
)
def test_it_is_the_sum_of_its_minutes(some: list[Rate], zone: str, begin: datetime, length: int) -> None:
    tariff = Tariff((*some, REST), zone)
    start = begin.replace(second=0, microsecond=0, tzinfo=UTC)
    cost = sum(Fraction(price_at(tariff, start + timedelta(minutes=minute))) for minute in range(length)) / 60
    found = tariff.price_hours(start, (Decimal(length) / 60).quantize(Decimal("1E-20")))
    assert abs(Fraction(found) - cost) < Fraction(1, 10**9)


@given(st.lists(rates, max_size=4), st.lists(st.integers(1, 10_000), min_size=2, max_size=6))
def test_longer_costs_more_in_whatever_order_it_is_asked(some: list[Rate], lengths: list[int]) -> None:
    tariff = Tariff((*some, REST))
    found = {length: tariff.price_hours(START, Decimal(length)) for length in lengths}
    ordered = [found[length] for length in sorted(found)]
    assert ordered == sorted(ordered)
    assert all(cost > 0 for cost in ordered)


def test_a_clock_that_is_set_forward_or_back_moves_the_night() -> None:
    """The night of 28 March 2027 has an hour less in Berlin, that of 31 October an hour more."""
    berlin = Tariff((NIGHT, REST), "Europe/Berlin")
    for evening, hours in ((datetime(2027, 3, 27, 21, tzinfo=UTC), 7), (datetime(2027, 10, 30, 20, tzinfo=UTC), 9)):
        assert berlin.price_hours(evening, Decimal(hours)) == hours * Decimal("0.10")
        assert berlin.price_hours(evening, Decimal(hours + 1)) == hours * Decimal("0.10") + Decimal("0.24")


def test_a_year_that_nobody_knows_is_the_mean() -> None:
    tariff = Tariff((WINTER, NIGHT, REST))
    year = tariff.price_hours(START, Decimal(400 * 24))
    assert tariff.price_hours(START, Decimal(401 * 24)) == year + 24 * mean(tariff.rates)
    # A whole year costs about the mean: its days of the week are not spread quite evenly over the months.
    assert abs(tariff.price_hours(START, Decimal(365 * 24)) / (365 * 24) / mean(tariff.rates) - 1) < Decimal("0.001")


def test_months_and_days_are_those_of_a_calendar() -> None:
    assert (len(DAYS), len(MONTHS), MONTHS[11]) == (7, 12, "dec")
    tariff = Tariff((WINTER, REST))
    assert (
        tariff.price_hours(datetime(2027, 2, 28, 16, tzinfo=UTC), Decimal(24)) == 3 * Decimal("0.4") + 21 * REST.per_kwh
    )
    assert tariff.price_hours(datetime(2027, 3, 1, 16, tzinfo=UTC), Decimal(24)) == 24 * REST.per_kwh


@pytest.mark.parametrize(
    ("start", "hours", "cost"),
    [
        # 3 kW: eight hours of night, and sixteen by day.
        ("2026-12-01T22:00", "8", "2.4"),
        ("2026-12-01T06:00", "8", "5.76"),
        ("2026-12-01T06:00", "24", "13.92"),
    ],
)
def test_a_phase_costs_what_its_hours_cost(start: str, hours: str, cost: str) -> None:
    spread = Spread.certain(Decimal(hours))
    one = Phase("a", "local:rig", BY_NIGHT, 1, spread, spread.map(lambda value: value * 4), spread)
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    found = project(Plan("p", "USD", begin, "article", (one,)))
    assert found.total == found.quantile(P50) == Decimal(cost)
    assert found.phases[0].rate_per_hour == Decimal(cost) / Decimal(hours)
    assert BY_TARIFF in found.phases[0].flags
    # After another phase of 16 hours it runs at other hours.
    first = replace(one, name="b", host=RIG, paid=Spread.certain(Decimal(16)), duration=Spread.certain(Decimal(16)))
    later = project(Plan("p", "USD", begin, "article", (first, replace(one, after="b")))).phases[1]
    shifted = BY_NIGHT.running(Decimal(hours), begin + timedelta(hours=16))
    assert later.cost == shifted


def test_what_costs_by_the_year_costs_as_much_at_night() -> None:
    yearly = replace(BY_NIGHT, upkeep_per_year=Decimal(8760))
    assert yearly.running(Decimal(8), START.replace(hour=22)) == Decimal("2.4") + 8
    # Without a start it is the mean: exactly the product.
    assert BY_NIGHT.running(Decimal(8)) == 8 * BY_NIGHT.running_per_hour
