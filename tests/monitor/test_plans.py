"""Plans: exact totals, when phases run, doubts, and whether a budget holds them."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import Period
from alarms.money import total
from monitor.period import Calendar, PeriodKind
from monitor.training.book import shipped
from monitor.training.catalog import Discount, gpus
from monitor.training.gate import Limit, judge, ways_to_fit
from monitor.training.hours import HIGHEST_MFU, LOWEST_MFU, Precision, Training, gpu_hours, measured, mfu_of
from monitor.training.model import Pricing, Quote, Spread
from monitor.training.plan import P10, P50, P90, Phase, Plan, project, schedule
from monitor.training.spot import Interruptions

START = datetime(2026, 12, 1, tzinfo=UTC)
MEASURED = Path(__file__).parents[3] / "shared" / "data" / "mfu-llmfoundry" / "mpt_throughput_mfu.csv"
# layers and width of the models of llm-foundry
SHAPES = {
    "125m": (12, 768),
    "350m": (24, 1024),
    "760m": (24, 1536),
    "1b": (24, 2048),
    "3b": (32, 2560),
    "7b": (32, 4096),
    "13b": (40, 5120),
    "30b": (48, 7168),
    "70b": (64, 8192),
}


def quote(price: str = "10", pricing: Pricing = Pricing.ON_DEMAND, gpu: str = "A100-80GB") -> Quote:
    return Quote("x:1", "X", "", gpu, 8, pricing, "USD", Decimal(price), "test", "a test")


def phase(
    name: str,
    hours: Spread | str = "100",
    *,
    host: Quote | None = None,
    after: str | None = None,
    interruptions: Interruptions | None = None,
) -> Phase:
    spread = hours if isinstance(hours, Spread) else Spread.certain(Decimal(hours))
    return Phase(
        name=name,
        on="x:1",
        host=host or quote(),
        count=1,
        paid=spread,
        gpu_hours=spread.map(lambda value: value * 8),
        duration=spread,
        after=after,
        interruptions=interruptions,
    )


def plan(*phases: Phase, start: datetime = START) -> Plan:
    return Plan("p", "USD", start, "article", phases)


def limit(amount: str, calendar: Calendar = PeriodKind.MONTH, spent: str = "0") -> Limit:
    return Limit("b", calendar, Decimal(amount), lambda _: Decimal(spent))


def test_phases_follow_each_other_and_the_curve_ends_at_the_total() -> None:
    found = project(plan(phase("c", "10", after="b"), phase("a"), phase("b", "50", after="a")))
    assert [(at - START, amount) for at, amount in found.curve] == [
        (timedelta(0), Decimal(0)),
        (timedelta(hours=100), Decimal(1000)),
        (timedelta(hours=150), Decimal(1500)),
        (timedelta(hours=160), Decimal(1600)),
    ]
    assert found.planned(START + timedelta(hours=75)) == Decimal(750)
    assert found.doubts == ()


def test_a_new_customer_is_one_for_the_first_month_of_the_plan_and_not_of_each_phase() -> None:
    code = Discount("NEW", "X", Decimal("0.1"), Decimal("0.5"), None, "a test")
    rows = [phase("a", "700"), phase("b", "100", after="a"), phase("c", "100", after="b")]
    found = project(plan(*(replace(one, discount=code, new_customer=True) for one in rows)))
    # December has 744 hours: 700 and 44 of them at half, 56 and 100 at nine tenths.
    assert [one.cost for one in found.phases] == [700 * 5, 44 * 5 + 56 * 9, 100 * 9]
    assert [one.rate_per_hour for one in found.phases] == [5, 5, 9]


def test_phases_at_the_same_time_add_up_on_the_curve() -> None:
    found = project(plan(phase("a"), phase("b", "50")))
    assert [amount for _, amount in found.curve] == [Decimal(0), Decimal(1000), Decimal(1500)]


names = st.integers(1, 8)
hours = st.decimals("0.01", "5000", places=2)
doubtful = st.tuples(hours, hours, hours).map(lambda three: Spread.through(*sorted(three)))
interrupted = st.builds(
    Interruptions,
    st.decimals("0", "0.5", places=3),
    st.sampled_from([Decimal(1), Decimal("0.5")]),
    st.just(Decimal("0.2")),
)


@given(st.lists(hours, min_size=1, max_size=8), st.decimals("0.000001", "100", places=6))
def test_a_certain_plan_has_no_spread_and_its_phases_add_up_exactly(some: Sequence[Decimal], price: Decimal) -> None:
    phases = [phase(f"p{place}", str(value), host=quote(str(price))) for place, value in enumerate(some)]
    found = project(plan(*phases))
    assert found.total == total(one.cost for one in found.phases) == sum(some) * price
    assert found.quantile(P10) == found.quantile(P50) == found.quantile(P90) == found.total
    assert found.curve[-1][1] == found.total


@given(st.lists(st.tuples(doubtful, st.none() | interrupted), min_size=1, max_size=3))
def test_quantiles_are_in_order_and_never_below_what_the_work_costs(
    some: Sequence[tuple[Spread, Interruptions | None]],
) -> None:
    phases = [
        phase(f"p{place}", value, host=quote(pricing=Pricing.SPOT), interruptions=taken)
        for place, (value, taken) in enumerate(some)
    ]
    found = project(plan(*phases))
    assert found.quantile(P10) <= found.quantile(P50) <= found.quantile(P90)
    curve = [amount for _, amount in found.curve]
    assert curve == sorted(curve)
    assert found.spread.values[0] >= 0
    for one in found.phases:
        assert one.spread.values[0] >= one.phase.paid.values[0] * 10 - Decimal("0.001")


def test_interruptions_make_a_plan_dearer_and_uncertain_but_not_its_total() -> None:
    taken = Interruptions(Decimal("0.05"), Decimal(1), Decimal("0.25"))
    found = project(plan(phase("a", "1000", host=quote(pricing=Pricing.SPOT), interruptions=taken)))
    assert found.total == Decimal(10000)
    expected = taken.factor() * 10000
    assert abs(found.quantile(P50) - expected) < Decimal("0.01")
    assert found.quantile(P10) < expected < found.quantile(P90)
    assert found.doubts == ("a (interruptions)",)


def test_the_spread_of_interruptions_is_that_of_a_simulated_machine() -> None:
    """Against dice: 1,000 hours, taken away every 10 on average, saved every hour, ten hours to start again."""
    dice = random.Random(1)  # noqa: S311 - no secret

    def once() -> float:
        clock = 0.0
        for _ in range(1000):
            needed = 1.0
            while (until := dice.expovariate(0.1)) < needed:
                clock += until
                needed = 11.0
            clock += needed
        return clock

    runs = sorted(once() for _ in range(400))
    found = Interruptions(Decimal("0.1"), Decimal(1), Decimal(10)).paid_hours(Decimal(1000))
    for share in (P10, P50, P90):
        assert abs(float(found.quantile(share)) / runs[int(share * 400)] - 1) < 0.01


def test_an_efficiency_that_is_guessed_is_low_or_high_in_all_phases_together() -> None:
    doubt = Spread.through(Decimal(80), Decimal(100), Decimal(130))
    found = project(plan(phase("a", doubt), phase("b", doubt, after="a")))
    assert (found.quantile(P10), found.quantile(P50), found.quantile(P90)) == (1600, 2000, 2600)
    assert found.doubts == ("a (MFU)", "b (MFU)")


@pytest.mark.parametrize(
    ("amount", "spent", "fits", "left"),
    [("1000", "0", True, 1000), ("999.99", "0", False, 0), ("1500", "501", False, 0)],
)
def test_the_gate_counts_what_is_booked(amount: str, spent: str, *, fits: bool, left: int) -> None:
    verdict = judge(project(plan(phase("a"))), limit(amount, spent=spent))
    assert verdict.fits is fits
    assert verdict.left == Decimal(amount) - Decimal(spent)
    assert left in (0, verdict.left)


def test_a_plan_over_two_months_is_charged_to_each() -> None:
    # 100 hours from 24 hours before the month's end: 240 in December, 760 in January.
    found = project(plan(phase("a"), start=datetime(2026, 12, 31, tzinfo=UTC)))
    assert judge(found, limit("760")).fits
    assert judge(found, limit("760")).period.start == datetime(2027, 1, 1, tzinfo=UTC)
    verdict = judge(found, limit("759"))
    assert (verdict.fits, verdict.share, verdict.period.start.month) == (False, Decimal(760), 1)
    first = judge(found, limit("239"))
    assert (first.fits, first.share, first.period.start.month) == (False, Decimal(240), 12)


def test_a_budget_with_dates_is_charged_all_of_it() -> None:
    dates = Period(datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC))
    assert judge(project(plan(phase("a"))), limit("999", dates)).share == Decimal(1000)


@given(
    st.lists(doubtful, min_size=1, max_size=3), st.sampled_from([PeriodKind.WEEK, PeriodKind.MONTH, PeriodKind.YEAR])
)
def test_a_plan_fits_what_its_p90_is_and_not_less_than_an_even_share(some: list[Spread], kind: PeriodKind) -> None:
    found = project(plan(*(phase(f"p{place}", value) for place, value in enumerate(some))))
    assert judge(found, limit(str(found.quantile(P90) + Decimal("0.001")), kind)).fits
    weeks = (found.end - START).days // 7 + 2
    assert not judge(found, limit(str(found.quantile(P90) / weeks - Decimal("0.01")), kind)).fits


def test_what_would_fit_does() -> None:
    book = shipped()
    (p4d,) = (
        one.quote
        for one in book.choose("article", START)
        if one.quote.offer == "aws:p4d.24xlarge" and one.quote.pricing is Pricing.ON_DEMAND
    )
    found = project(plan(phase("a", "500", host=p4d)))
    fewer, other, spot = ways_to_fit(found, limit("15000"), book.choose("article", START))
    assert (fewer.hours, fewer.unit) == (Decimal(457), "hours")
    assert Decimal(457) * p4d.price_per_hour <= 15000 < Decimal(458) * p4d.price_per_hour
    # Half as many hours on twice as many GPUs.
    assert other.quote is not None
    assert (other.quote.offer, other.p90) == ("gcp:a2-megagpu-16g", Decimal("35.22") * 250)
    assert spot.quote is not None
    assert spot.quote.pricing is Pricing.SPOT
    assert [way.hours for way in ways_to_fit(found, limit("1"), book.choose("article", START))] == []


def test_where_nothing_is_said_of_gpus_all_counts_at_the_start() -> None:
    one = Phase("a", "H800", quote(), 1, Spread.certain(Decimal(5)), Spread.certain(Decimal(5)), None)
    found = project(plan(one, phase("b", after="a")))
    assert schedule(found.plan)["a"] == (START, START)
    assert found.curve[0] == (START, Decimal(50))
    assert judge(found, limit("1050")).fits


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured runs are not here")
def test_measured_runs_have_the_mfu_of_their_throughput() -> None:
    by_row: dict[tuple[str, Precision, int], list[Decimal]] = {}
    rows = list(csv.DictReader(MEASURED.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 216
    for row in rows:
        layers, width = SHAPES[row["Model"]]
        precision = Precision.FP8 if "fp8" in row["Precision"] else Precision.BF16
        gpu = gpus()["A100" if "a100" in row["GPU"] else "H100"]
        number, tokens = int(row["# GPUs"]), Decimal(row["Throughput (T/s)"]) * 3600
        # What it does in an hour at its MFU takes as many GPU-hours as it has GPUs.
        training = Training(
            Decimal(row["NumParams"]),
            tokens,
            Decimal(row["MFU"]) / 100,
            layers,
            width,
            int(row["SeqLen (T)"]),
            precision,
        )
        taken, _ = gpu_hours(training, gpu, number)
        assert abs(taken.quantile(P50) / number - 1) < Decimal("0.01"), row
        size = next(up_to for up_to in (8, 64, 256, 512) if number <= up_to)
        by_row.setdefault((gpu.name, precision, size), []).append(Decimal(row["MFU"]) / 100)
    shipped_rows = {
        (gpu, row.precision, row.up_to): (row.runs, row.quantiles)
        for row in measured()
        for gpu in ("A100", "H100")
        if gpu in row.gpus
    }
    computed = {
        key: (len(values), tuple(Spread(tuple(sorted(values))).quantile(share) for share in (P10, P50, P90)))
        for key, values in by_row.items()
    }
    assert shipped_rows.keys() == computed.keys()
    for key, (runs, quantiles) in shipped_rows.items():
        assert runs == computed[key][0]
        assert all(abs(one - other) < Decimal("0.0002") for one, other in zip(quantiles, computed[key][1], strict=True))


@pytest.mark.parametrize(
    ("params", "layers", "width", "published"),
    [("6.74e9", 32, 4096, 184320), ("13.02e9", 40, 5120, 368640), ("68.98e9", 80, 8192, 1720320)],
)
def test_llama_2_took_what_is_projected(params: str, layers: int, width: int, published: int) -> None:
    training = Training(Decimal(params), Decimal("2e12"), layers=layers, width=width, context=4096)
    found, _ = gpu_hours(training, gpus()["A100-80GB"], 2000)
    assert found.quantile(P10) <= published <= found.quantile(P90)


@given(st.sampled_from(["A100", "H100", "B200", "H800"]), st.integers(1, 1_000_000))
def test_an_mfu_that_is_not_stated_is_possible_and_no_better_on_more_gpus(gpu: str, number: int) -> None:
    found, said = mfu_of(Training(Decimal(7), Decimal(1)), gpus()[gpu], number)
    assert LOWEST_MFU <= found.values[0] <= found.values[-1] <= HIGHEST_MFU
    assert any("measured" in one for one in said)
    if number > 512:
        more, _ = mfu_of(Training(Decimal(7), Decimal(1)), gpus()[gpu], number * 2)
        assert more.quantile(P10) <= found.quantile(P10)
        assert more.quantile(P90) <= found.quantile(P90)


def test_fp8_needs_a_gpu_that_has_it() -> None:
    with pytest.raises(ValueError, match="A100 has no FP8"):
        gpu_hours(Training(Decimal(7), Decimal(1), precision=Precision.FP8), gpus()["A100"], 8)
