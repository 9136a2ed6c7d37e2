"""The arithmetic of comparisons, against fractions: exact products, equal compute, discounts, spot, break-even."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.comparison_text import as_text
from monitor.training.book import Chosen, shipped
from monitor.training.catalog import gpus, shipped_discounts
from monitor.training.compare import Comparison, compare
from monitor.training.costs import ExchangeRate, Terms, Work, cost_of
from monitor.training.local import Rig
from monitor.training.model import Pricing, Quote
from monitor.training.spot import Interruptions

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TERMS = Terms(NOW)
ARTICLE = {(one.quote.offer, one.quote.pricing): one.quote for one in shipped().choose("article", NOW)}
(DEEPSEEK,) = shipped_discounts()
PARTS = {
    name: Decimal(amount)
    for name, amount in {
        "gpus": "60000",
        "memory": "2000",
        "storage": "500",
        "cpu": "1000",
        "motherboard": "500",
        "case_power": "300",
        "cooling": "400",
    }.items()
}
RIG = Rig("rig", 4, gpus()["A100-80GB"], "USD", PARTS, Decimal(3000), Decimal("0.15"), lifetime_hours=Decimal(26280))
models = st.sampled_from(sorted(gpus()))
amounts = st.decimals(min_value="0.01", max_value=10**6, places=4)


def quote(gpu: str = "A100-80GB", count: int = 8, price: str | Decimal = "34.50", currency: str = "USD") -> Quote:
    return replace(
        ARTICLE[("azure:ND96amsr_A100_v4", Pricing.ON_DEMAND)],
        gpu=gpu,
        gpus=count,
        price_per_hour=Decimal(price),
        currency=currency,
    )


def compared(work: Work, *quotes: Quote, rigs: tuple[Rig, ...] = (), terms: Terms = TERMS) -> Comparison:
    return compare(work, [Chosen(one, ()) for one in quotes], rigs, terms=terms, currency="USD")


@pytest.mark.parametrize(
    ("offer", "on_demand", "spot"),
    [
        ("aws:p4d.24xlarge", "3277.00", "983.00"),
        ("gcp:a2-megagpu-16g", "3522.00", "1057.00"),
        ("azure:ND96amsr_A100_v4", "3450.00", "1035.00"),
        ("ciuic:8xA100", "2422.50", "726.75"),
    ],
)
def test_the_articles_hundred_hours(offer: str, on_demand: str, spot: str) -> None:
    terms = replace(TERMS, discounts=(DEEPSEEK,))
    found = [
        cost_of(ARTICLE[(offer, pricing)], Decimal(100), terms, "USD").cost
        for pricing in (Pricing.ON_DEMAND, Pricing.SPOT)
    ]
    assert found == [Decimal(on_demand), Decimal(spot)]


def test_the_articles_rig() -> None:
    assert RIG.hardware == 64700
    assert RIG.running_per_hour == Decimal("0.45")
    assert RIG.running(Decimal(30 * 24)) == Decimal("324.00")
    (row,) = compared(Work(RIG.gpu, Decimal(2000)), rigs=(RIG,)).local
    assert (row.hours, row.running, row.cost) == (500, Decimal("225.00"), Decimal("64925.00"))
    # 500 of 26,280 hours of 64,700, and the running.
    assert row.amortised == Decimal("1230.974125") + 225


@given(amounts, st.integers(1, 64), models, models, st.integers(1, 64))
def test_equal_compute_is_exact_or_to_a_millionth(
    hours: Decimal, wanted: int, work: str, offer: str, count: int
) -> None:
    asked = Work(gpus()[work], hours * wanted)
    found = asked.hours_on(gpus()[offer], count)
    true = Fraction(asked.gpu_hours) * Fraction(asked.gpu.bf16_tflops) / (Fraction(gpus()[offer].bf16_tflops) * count)
    assert abs(Fraction(found) - true) <= Fraction(1, 2_000_000)
    if work == offer and count == wanted:
        assert found == hours


@given(amounts, amounts, st.booleans())
def test_a_cost_is_the_exact_product(price: Decimal, hours: Decimal, discounted: bool) -> None:
    terms = replace(TERMS, discounts=(replace(DEEPSEEK, seller="Microsoft Azure"),)) if discounted else TERMS
    found = cost_of(quote(price=price), hours, terms, "USD")
    assert Fraction(found.cost) == Fraction(price) * (Fraction(85, 100) if discounted else 1) * Fraction(hours)
    assert Fraction(found.cost) == Fraction(found.rate_per_hour) * Fraction(hours)


@given(st.lists(st.tuples(amounts, models, st.integers(1, 16)), max_size=12), amounts)
def test_the_cheapest_comes_first_and_all_do_the_same_work(
    offers: list[tuple[Decimal, str, int]], gpu_hours: Decimal
) -> None:
    found = compared(
        Work(gpus()["H100"], gpu_hours + 1), *(quote(gpu, count, price) for price, gpu, count in offers), rigs=(RIG,)
    )
    costs = [row.cost.expected for row in found.offers]
    assert costs == sorted(costs)
    assert len(costs) == len(offers)
    wanted = Fraction(found.work.gpu_hours) * Fraction(found.work.gpu.bf16_tflops)
    for row in found.offers:
        peak = Fraction(gpus()[row.quote.gpu].bf16_tflops) * row.quote.gpus
        assert abs(Fraction(row.cost.hours) * peak - wanted) <= peak / 2_000_000


def test_the_first_month_of_a_new_customer_has_its_own_discount_and_no_other() -> None:
    terms = replace(TERMS, discounts=(DEEPSEEK,), new_customer=True)
    ciuic = ARTICLE[("ciuic:8xA100", Pricing.ON_DEMAND)]
    assert cost_of(ciuic, Decimal(100), terms, "USD").cost == Decimal("1425.00")
    # From 26 November to 26 December are 720 hours; what is beyond them has 15 % off.
    assert cost_of(ciuic, Decimal(800), terms, "USD").cost == 720 * Decimal("14.25") + 80 * Decimal("24.225")
    assert cost_of(ciuic, Decimal(100), terms, "USD").flags == ("with DEEPSEEK2024",)
    no_other = replace(terms, discounts=(replace(DEEPSEEK, first_month_off=None),))
    assert cost_of(ciuic, Decimal(100), no_other, "USD").cost == Decimal("2422.50")


@pytest.mark.parametrize(
    ("start", "hours"), [("2027-01-31", 28 * 24), ("2026-12-15", 31 * 24), ("2028-01-30", 30 * 24)]
)
def test_a_first_month_ends_on_the_same_day_or_the_last(start: str, hours: int) -> None:
    terms = Terms(datetime.fromisoformat(start).replace(tzinfo=UTC), (DEEPSEEK,), new_customer=True)
    ciuic = ARTICLE[("ciuic:8xA100", Pricing.ON_DEMAND)]
    assert cost_of(ciuic, Decimal(hours + 1), terms, "USD").cost == hours * Decimal("14.25") + Decimal("24.225")


def test_a_discount_is_its_sellers_alone() -> None:
    terms = replace(TERMS, discounts=(DEEPSEEK,), new_customer=True)
    assert cost_of(ARTICLE[("aws:p4d.24xlarge", Pricing.ON_DEMAND)], Decimal(100), terms, "USD").cost == 3277


def test_interruptions_are_dalys() -> None:
    # One in ten hours, saved hourly, back after six minutes: 10 e^0.01 (e^0.1 - 1) paid hours for one.
    often = Interruptions(Decimal("0.1"), Decimal(1), Decimal("0.1"))
    assert often.factor().quantize(Decimal("1E-9")) == Decimal("1.062279034")
    assert Interruptions(Decimal(0), Decimal(1), Decimal(1)).factor() == 1
    assert not Interruptions(Decimal(20), Decimal(1), Decimal(1)).ever_ends


@given(
    st.decimals(min_value=0, max_value=5, places=4),
    st.decimals(min_value="0.01", max_value=2, places=2),
    st.decimals(min_value=0, max_value=1, places=2),
)
def test_interruptions_only_ever_add_and_more_add_more(rate: Decimal, checkpoint: Decimal, restart: Decimal) -> None:
    factor = Interruptions(rate, checkpoint, restart).factor()
    assert factor >= 1
    assert Interruptions(rate + 1, checkpoint, restart).factor() > factor
    assert Interruptions(rate, checkpoint * 2, restart).factor() >= factor


def test_only_spot_is_interrupted() -> None:
    terms = replace(TERMS, interruptions=Interruptions(Decimal("0.1"), Decimal(1), Decimal("0.1")))
    spot = cost_of(ARTICLE[("aws:p4d.24xlarge", Pricing.SPOT)], Decimal(100), terms, "USD")
    assert (spot.cost, spot.expected.quantize(Decimal("0.01")), spot.flags) == (983, Decimal("1044.22"), ())
    firm = cost_of(ARTICLE[("aws:p4d.24xlarge", Pricing.ON_DEMAND)], Decimal(100), terms, "USD")
    assert firm.cost == firm.expected == 3277
    silent = cost_of(ARTICLE[("aws:p4d.24xlarge", Pricing.SPOT)], Decimal(100), TERMS, "USD")
    assert silent.flags == ("interruptions not stated",)


def test_interruptions_count_in_the_order() -> None:
    """A spot offer that is cheaper only while nobody takes it away comes after the firm one."""
    spot = replace(quote(price="34.49"), pricing=Pricing.SPOT)
    work = Work(gpus()["A100-80GB"], Decimal(8))
    assert compared(work, quote(), spot).offers[0].quote is spot
    interrupted = replace(TERMS, interruptions=Interruptions(Decimal("0.1"), Decimal(1), Decimal("0.1")))
    assert compared(work, quote(), spot, terms=interrupted).offers[1].quote is spot


def test_other_memory_is_said() -> None:
    work = Work(gpus()["A100-80GB"], Decimal(8))
    flags = {row.quote.gpu: row.flags for row in compared(work, *map(quote, ("A100", "A100-40GB", "A100-80GB"))).offers}
    assert flags == {"A100": ("memory not stated",), "A100-40GB": ("40 GB per GPU, not 80",), "A100-80GB": ()}


def test_break_even_is_against_as_much_compute_as_the_rig_does() -> None:
    p4d = ARTICLE[("aws:p4d.24xlarge", Pricing.ON_DEMAND)]
    (point,) = compared(Work(RIG.gpu, Decimal(4000)), p4d, rigs=(RIG,)).local[0].break_even
    # 64,700 / (32.77 / 2 - 0.45), rounded up; over 24; over three years.
    assert point.hours_of_use == Decimal("4060.25")
    assert point.calendar_days == Decimal("169.18")
    assert point.utilisation == Decimal("0.1545")


@given(amounts, st.integers(1, 16), st.decimals(min_value="0.05", max_value=1, places=2))
def test_at_break_even_both_have_cost_the_same(price: Decimal, count: int, utilisation: Decimal) -> None:
    rig = replace(RIG, utilisation=utilisation, upkeep_per_year=Decimal(1000), idle_watts=Decimal(300))
    (row,) = compared(Work(RIG.gpu, Decimal(4000)), quote(count=count, price=price), rigs=(rig,)).local
    (point,) = row.break_even
    cloud = Fraction(price) * 4 / count
    running = Fraction(rig.running_per_hour)
    if point.hours_of_use is None:
        assert cloud - running < Fraction(1, 100)
        return
    hours, days = Fraction(point.hours_of_use), Fraction(point.calendar_days or 0)
    assert abs(hours * cloud - (64700 + hours * running)) < (cloud + running) / 50
    assert days >= hours / 24


def test_it_never_pays_against_what_costs_no_more_to_run() -> None:
    for price, never in (("0.90", True), ("0.9000001", True), ("0.91", False)):
        (row,) = compared(Work(RIG.gpu, Decimal(8)), quote(price=price), rigs=(RIG,)).local
        assert (row.break_even[0].hours_of_use is None) is never


def test_what_is_stated_counts() -> None:
    rig = replace(
        RIG,
        pue=Decimal("1.2"),
        wall_factor=Decimal("1.25"),
        utilisation=Decimal("0.5"),
        idle_watts=Decimal(600),
        upkeep_per_year=Decimal(4380),
        cost_of_capital=Decimal("0.1"),
        resale=Decimal(4700),
    )
    # Work 3 kW x 1.5 x 0.15; idle as long as at work; 4,380 + 6,470 a year over 4,380 hours of work.
    assert rig.running_per_hour == Decimal("0.675") + Decimal("0.135") + 1 + Decimal("1.477168949772")
    assert rig.to_earn_back == 60000
    assert rig.share_of_hardware(Decimal("131.4")) == 600
    assert replace(RIG, lifetime_hours=None).share_of_hardware(Decimal(1)) is None


def test_work_that_outlasts_the_hardware_is_said() -> None:
    (row,) = compared(Work(RIG.gpu, Decimal(200_000)), rigs=(RIG,)).local
    assert row.flags == ("longer than its life",)


def test_currencies_meet_by_a_stated_rate_alone() -> None:
    work = Work(RIG.gpu, Decimal(8))
    euro = quote(price="10", currency="EUR")
    apart = compared(work, euro, quote(price="99"), rigs=(RIG,))
    assert [row.cost.currency for row in apart.offers] == ["USD", "EUR"]
    assert apart.offers[1].flags == ("in EUR: no exchange rate to USD",)
    assert "Cost is rate times hours, in USD where no note says otherwise." in as_text(apart, "current")
    assert "in EUR." in as_text(compared(work, euro), "current"), "of the rows there are"
    assert len(apart.local[0].break_even) == 1
    rates = (
        ExchangeRate("EUR", "USD", Decimal("1.01"), date(2026, 1, 1)),
        ExchangeRate("EUR", "USD", Decimal("1.08"), date(2026, 11, 1)),
        ExchangeRate("USD", "EUR", Decimal("2"), date(2026, 11, 2)),
    )
    together = compared(work, euro, quote(price="99"), rigs=(RIG,), terms=replace(TERMS, exchange=rates))
    assert [row.cost.cost for row in together.offers] == [Decimal("10.80"), 99]
    assert len(together.local[0].break_even) == 2
