"""A plan's work everywhere: how much it is, what its constraints rule out, and what speaks for and against each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.comparison import terms_of
from monitor.period import PeriodKind
from monitor.training.book import Chosen, shipped
from monitor.training.catalog import gpus, shipped_discounts
from monitor.training.compare import Comparison, compare
from monitor.training.costs import Terms
from monitor.training.demand import Demand, demand_of, work_of
from monitor.training.gate import Limit, ways_to_fit
from monitor.training.local import Rig
from monitor.training.model import Pricing, Quote, Spread
from monitor.training.plan import Phase, Plan, project
from monitor.training.spot import Interruptions

START = datetime(2026, 12, 1, tzinfo=UTC)
(DEEPSEEK,) = shipped_discounts()
ARTICLE = [one.quote for one in shipped().choose("article", START)]
RIG = Rig("rig", 4, gpus()["A100-80GB"], "USD", {"all": Decimal(64700)}, Decimal(3000), Decimal("0.15"))


def quote(gpu: str = "A100-80GB", pricing: Pricing = Pricing.ON_DEMAND, price: str = "20", count: int = 8) -> Quote:
    return Quote(f"x:{gpu}", "X", "", gpu, count, pricing, "USD", Decimal(price), "test", "a test")


def phase(name: str, hours: str = "100", *, host: Quote | Rig | None = None, after: str | None = None) -> Phase:
    host = host or quote()
    certain = Spread.certain(Decimal(hours))
    return Phase(name, name, host, 1, certain, certain.map(lambda value: value * host.gpus), certain, after=after)


def plan(*phases: Phase, deadline: datetime | None = None) -> Plan:
    return Plan("p", "USD", START, "article", phases, deadline=deadline)


def compared(one: Plan, *quotes: Quote, rigs: tuple[Rig, ...] = ()) -> Comparison:
    chosen = [Chosen(each, ()) for each in quotes]
    return compare(work_of(one), chosen, rigs, terms=Terms(START), currency="USD", demand=demand_of(one))


@given(st.lists(st.tuples(st.sampled_from(sorted(gpus())), st.decimals("0.01", "10000", places=2)), min_size=1))
def test_the_work_of_a_plan_is_all_that_its_phases_compute(some: list[tuple[str, Decimal]]) -> None:
    phases = [phase(f"p{place}", str(hours), host=quote(gpu)) for place, (gpu, hours) in enumerate(some)]
    found = work_of(plan(*phases))
    done = sum(Fraction(gpus()[gpu].bf16_tflops) * Fraction(hours) * 8 for gpu, hours in some)
    assert abs(Fraction(found.gpu_hours) * Fraction(found.gpu.bf16_tflops) - done) <= 1250 * len(some) * Fraction(
        1, 10**6
    )
    assert any(found.gpu is gpus()[gpu] for gpu, _ in some)


def test_what_a_plan_asks_for() -> None:
    later = replace(phase("b", "60", after="a"), start=None, data_local=True, needs_gpu_memory=80)
    other = replace(phase("c", "40"), start=START + timedelta(hours=200))
    found = demand_of(plan(phase("a", "100"), later, other))
    assert found == Demand(
        kept=("b",), memory=(("b", 80),), within=Decimal(240), at_a_time=8, idle=Decimal("0.17"), phases=3
    )
    assert demand_of(plan(phase("a"), phase("b", "10"))).at_a_time == 16
    assert demand_of(plan(phase("a"), deadline=START + timedelta(days=2))).within == 48
    unknown = replace(phase("a"), duration=None)
    assert demand_of(plan(unknown)).within is None


def test_data_that_must_stay_rules_out_every_offer_but_no_own_hardware() -> None:
    one = plan(replace(phase("a", host=RIG), data_local=True), phase("b", after="a"))
    found = compared(one, quote(), quote(pricing=Pricing.SPOT), rigs=(RIG,))
    for row in found.offers:
        assert row.reasons.ruled_out == row.reasons.against[:1] == ("the data of a must stay on own hardware",)
    (rig,) = found.local
    assert rig.reasons.ruled_out == ()
    assert "the data stays on own hardware" in rig.reasons.speaks_for
    assert rig.break_even == ()


@pytest.mark.parametrize(
    ("gpu", "out", "against"),
    [
        ("A100-40GB", ("40 GB per GPU, 80 are needed by a",), "40 GB per GPU, 80 are needed by a"),
        ("A100", (), "memory per GPU not stated, 80 GB are needed"),
        ("A100-80GB", (), None),
    ],
)
def test_memory(gpu: str, out: tuple[str, ...], against: str | None) -> None:
    one = plan(replace(phase("a"), needs_gpu_memory=80), phase("b"))
    rig = replace(RIG, gpu=gpus()[gpu])
    found = compared(one, quote(gpu), rigs=(rig,))
    for reasons in (found.offers[0].reasons, found.local[0].reasons):
        assert reasons.ruled_out == out
        assert [text for text in reasons.against if " GB " in text] == ([] if against is None else [against])


def test_what_is_ruled_out_comes_last_however_cheap() -> None:
    one = plan(replace(phase("a"), needs_gpu_memory=80))
    found = compared(one, quote("A100-40GB", price="1"), quote(price="30"), quote("H100", price="90"))
    assert [row.quote.gpu for row in found.offers] == ["H100", "A100-80GB", "A100-40GB"]


def test_duration_and_elasticity() -> None:
    one = plan(phase("a", "100"), phase("b", "100"), deadline=START + timedelta(hours=150))
    found = compared(one, quote(), quote("A100-80GB", Pricing.COMMIT_1Y), rigs=(RIG,))
    by_pricing = {row.quote.pricing: row.reasons for row in found.offers}
    firm, year = by_pricing[Pricing.ON_DEMAND], by_pricing[Pricing.COMMIT_1Y]
    assert "elastic: 2 at a time take 100 h, the deadline leaves 150" in firm.speaks_for
    assert "a commitment of 1 year, 8,760 h, for 200 h of work" in year.against
    rig = found.local[0].reasons
    assert "takes 400 h, the deadline leaves 150, and there is one of it" in rig.against
    assert "cannot grow: it has 4 GPUs, the plan takes up to 16 at a time" in rig.against


def test_what_waits_costs_nothing_in_a_cloud() -> None:
    one = plan(phase("a", "60"), replace(phase("b", "40"), start=START + timedelta(hours=160)))
    found = compared(one, quote(), rigs=(RIG,))
    assert "costs nothing while the plan waits, 50 % of its time" in found.offers[0].reasons.speaks_for
    assert "stands still for 50 % of the plan's time" in found.local[0].reasons.against


def test_hardware_that_is_there_is_paid_for() -> None:
    one = plan(phase("a", "500", host=RIG))
    bought, owned = RIG, replace(RIG, name="ours", owned=True)
    found = compared(one, quote(), rigs=(bought, owned))
    assert [(row.rig.name, row.to_pay, row.cost) for row in found.local] == [
        ("ours", Decimal("225.00"), Decimal("64925.00")),
        ("rig", Decimal("64925.00"), Decimal("64925.00")),
    ]
    assert "there already: 225.00 USD to run is all that is to be paid" in found.local[0].reasons.speaks_for
    assert found.local[1].reasons.against[0].startswith("64,700.00 USD to buy first; against x:A100-80GB, on demand it")
    assert "ours is there already and takes 225.00 USD to run" in found.offers[0].reasons.against


def test_hardware_speaks_for_itself_where_the_work_pays_for_it() -> None:
    cheap = replace(RIG, parts={"all": Decimal(1000)})
    (row,) = compared(plan(phase("a", "500", host=RIG)), quote(), rigs=(cheap,)).local
    assert row.reasons.speaks_for[0] == (
        "has paid for itself after 104.72 h, against x:A100-80GB, on demand; the work takes 500"
    )
    dear = quote(price="0.5")
    (row,) = compared(plan(phase("a", "500", host=RIG)), dear, rigs=(cheap,)).local
    assert "against x:A100-80GB, on demand it never pays" in row.reasons.against[0]


def test_the_terms_are_those_of_the_phases_unless_others_are_asked_for() -> None:
    taken = [Interruptions(Decimal(rate), Decimal(1), Decimal("0.1")) for rate in ("0.05", "0.2")]
    phases = [replace(phase(str(rate), host=quote()), interruptions=rate, discount=DEEPSEEK) for rate in taken]
    found = terms_of(plan(*phases), Terms(START))
    assert (found.discounts, found.interruptions, found.new_customer) == ((DEEPSEEK,), taken[1], False)
    other = replace(DEEPSEEK, code="OTHER")
    asked = terms_of(plan(*phases), Terms(START, (other,), new_customer=True, interruptions=taken[0]))
    assert (asked.discounts, asked.interruptions, asked.new_customer) == ((other,), taken[0], True)


def test_what_would_fit_obeys_the_constraints() -> None:
    def offers(one: Phase) -> set[str]:
        found = project(plan(one))
        limit = Limit("b", PeriodKind.YEAR, Decimal(5000), lambda _: Decimal(0))
        ways = ways_to_fit(found, limit, [Chosen(each, ()) for each in ARTICLE])
        return {way.quote.offer for way in ways if way.quote is not None}

    p4d = next(each for each in ARTICLE if each.offer == "aws:p4d.24xlarge")
    assert offers(phase("a", "500", host=p4d)) == {"gcp:a2-megagpu-16g"}
    assert offers(replace(phase("a", "500", host=p4d), data_local=True)) == set()
    # What does not say how much it has may have enough.
    assert offers(replace(phase("a", "500", host=p4d), needs_gpu_memory=80)) == {"ciuic:8xA100"}
