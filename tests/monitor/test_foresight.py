"""What plans foresee of a budget: monotone, exact in sum, by period; and what remains of one that has begun."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import OPEN_END, Foreseen, Period, Reading
from monitor.config.model import BudgetConfig, Config, MonitorSection
from monitor.foresight import Foresight, runs_of
from monitor.model import Progress, Scope
from monitor.period import Calendar, PeriodKind, Run, period_of
from monitor.training.gate import Limit, judge, ways_to_fit
from monitor.training.model import Pricing, Quote, Spread
from monitor.training.plan import P10, P50, P90, Phase, Plan, project, schedule
from monitor.training.spot import Interruptions

START = datetime(2026, 12, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RUN = Period(START, OPEN_END)
A_RUN, EVERYTHING = Run(), Scope()


def phase(name: str, hours: Spread | str, *, price: str = "10", after: str | None = None, spot: bool = False) -> Phase:
    spread = hours if isinstance(hours, Spread) else Spread.certain(Decimal(hours))
    pricing = Pricing.SPOT if spot else Pricing.ON_DEMAND
    host = Quote("x:1", "X", "", "A100-80GB", 8, pricing, "USD", Decimal(price), "test", "a test")
    taken = Interruptions(Decimal("0.05"), Decimal(1), Decimal("0.2")) if spot else None
    gpu_hours = spread.map(lambda value: value * 8)
    return Phase(name, "x:1", host, 1, spread, gpu_hours, spread, interruptions=taken, after=after)


def plan(*phases: Phase, start: datetime = START, name: str = "p") -> Plan:
    return Plan(name, "USD", start, "article", phases, budget="b")


def config(*plans: Plan, calendar: Calendar = A_RUN, scope: Scope = EVERYTHING) -> Config:
    budget = BudgetConfig("b", Decimal(2000), "USD", calendar, scope, None, (), (), {})
    monitor = MonitorSection(Path("state"), timedelta(minutes=5), "UTC", ())
    return Config(Path("config.toml"), monitor, (), (), (budget,), plans=plans)


def foreseen(
    plans: Sequence[Plan],
    spent: str | None,
    as_of: datetime | None,
    period: Period = RUN,
    *,
    told: Sequence[Progress] = (),
    scope: Scope = EVERYTHING,
    per_hour: str = "0",
) -> Foreseen | None:
    """`per_hour`: what was spent since the start by an earlier instant than `as_of`."""
    amount = None if spent is None else Decimal(spent)
    known = Reading("b", period, "USD", amount, billed=amount, as_of=as_of)
    ours = config(*plans, scope=scope)

    def until(at: datetime) -> Decimal | None:
        return amount if at == as_of else Decimal(per_hour) * ((at - START) // HOUR)

    return Foresight(ours).extend(known, ours.budgets[0], {"x": told}, until).foreseen


def test_what_is_planned_is_that_of_the_curve_where_data_ends() -> None:
    ours = [plan(phase("a", "100"), phase("b", "50", after="a"))]
    assert foreseen(ours, "0", START - HOUR) == Foreseen(Decimal(0), Decimal(0), Decimal(1500))
    assert foreseen(ours, "0", START) == Foreseen(Decimal(0), Decimal(0), Decimal(1500))
    assert foreseen(ours, "400", START + 30 * HOUR) == Foreseen(Decimal(300), Decimal(400), Decimal(1600))
    assert foreseen(ours, "1600", START + 999 * HOUR) == Foreseen(Decimal(1500), Decimal(1600), Decimal(1600))


def test_what_is_not_known_is_not_guessed() -> None:
    ours = [plan(phase("a", "100"))]
    assert foreseen(ours, "400", None) is None
    assert foreseen(ours, None, START + HOUR) == Foreseen(Decimal(10), None, None)
    assert foreseen([], "400", START + HOUR) is None


def test_two_plans_of_a_budget_add_up() -> None:
    ours = [plan(phase("a", "100")), plan(phase("a", "10"), start=START + 20 * HOUR, name="q")]
    assert foreseen(ours, "0", START + 25 * HOUR) == Foreseen(Decimal(300), Decimal(0), Decimal(800))


# Some of these plans take a while to reckon.
hours = st.decimals("0.01", "2000", places=2)
plans = st.lists(st.tuples(hours, st.booleans(), st.integers(0, 500)), min_size=1, max_size=4).map(
    lambda some: [
        plan(
            phase("a", str(one), price="32.77", spot=spot),
            phase("b", "7", after="a"),
            start=START + late * HOUR,
            name=f"p{place}",
        )
        for place, (one, spot, late) in enumerate(some)
    ]
)


@given(plans, st.lists(st.integers(-100, 5000), min_size=2, max_size=20))
def test_planned_never_falls_and_the_end_never_moves_while_all_goes_as_planned(
    ours: list[Plan], instants: list[int]
) -> None:
    found = [foreseen(ours, "0", START + after * HOUR) for after in sorted(instants)]
    amounts = [one.planned for one in found if one is not None and one.planned is not None]
    assert amounts == sorted(amounts)
    assert len(amounts) == len(instants)
    whole = {(one.planned or 0) + (one.at_completion or 0) for one in found if one is not None}
    assert whole == {sum(project(one).total for one in ours)}


@given(plans, st.sampled_from(PeriodKind))
def test_the_periods_of_a_budget_share_a_plan_without_a_rest(ours: list[Plan], kind: PeriodKind) -> None:
    end = max(project(one).end for one in ours)
    at, parts = START, Decimal(0)
    while at <= end:
        period = period_of(kind, at)
        one = foreseen(ours, "0", period.end, period)
        assert one is not None
        assert one.planned is not None
        assert one.at_completion == 0, "nothing is planned after it"
        parts, at = parts + one.planned, period.end
    assert abs(parts - sum(project(one).total for one in ours)) <= Decimal("0.001")


doubtful = st.tuples(hours, hours, hours).map(lambda three: Spread.through(*sorted(three)))


@given(st.lists(doubtful, min_size=1, max_size=3), st.integers(-10, 3000))
def test_what_remains_is_never_more_than_all_and_falls_as_time_goes_on(some: list[Spread], after: int) -> None:
    found = project(plan(*(phase(f"p{place}", one) for place, one in enumerate(some))))
    since = START + after * HOUR
    assert found.remaining(START, P90) == found.quantile(P90)
    left = [found.remaining(since, share) for share in (P10, P50, P90)]
    assert left == sorted(left)
    assert found.remaining(since + HOUR, P90) <= left[-1] <= found.quantile(P90)
    assert found.remaining(found.end, P90) == 0


def test_what_remains_of_a_certain_plan_is_exact() -> None:
    found = project(plan(phase("a", "100"), phase("b", "50", after="a", price="0.333")))
    assert found.remaining(START + 40 * HOUR, P90) == Decimal("616.65")
    assert found.remaining(START + 140 * HOUR, P90) == Decimal("3.33")


def limit(amount: str, spent: str, known_until: datetime | None, kind: PeriodKind = PeriodKind.MONTH) -> Limit:
    return Limit("b", kind, Decimal(amount), lambda _: Decimal(spent), known_until)


@pytest.mark.parametrize(
    ("spent", "known", "fits"),
    [
        ("400", START + 40 * HOUR, True),  # 600 are to come
        ("400.01", START + 40 * HOUR, False),
        ("0", START, True),
        ("0.01", START, False),
        ("0.01", None, False),  # nothing is known of what it has spent: all of it counts
        ("1000", START + 300 * HOUR, True),
    ],
)
def test_a_plan_that_has_begun_is_not_counted_twice(spent: str, known: datetime | None, *, fits: bool) -> None:
    verdict = judge(project(plan(phase("a", "100"))), limit("1000", spent, known))
    assert verdict.fits is fits
    assert verdict.since == (known if known is not None and known > START else None)


def test_the_rest_is_borne_by_the_periods_to_come() -> None:
    """90 days at 240 a day from the first of December: of January and February 59 are to come."""
    found = project(plan(phase("a", "2160")))
    known = datetime(2027, 1, 1, tzinfo=UTC)
    assert judge(found, limit("7440", "0", known)).fits
    verdict = judge(found, limit("7439", "0", known))
    assert (verdict.period.start, verdict.share) == (known, Decimal(7440))


def test_what_has_begun_is_made_shorter_and_never_moved() -> None:
    found = project(plan(phase("a", "100")))
    tight = limit("1000", "700", START + 40 * HOUR)
    assert [(way.hours, way.quote) for way in ways_to_fit(found, tight, [])] == [(Decimal(70), None)]
    assert ways_to_fit(found, limit("1", "700", START + 400 * HOUR), []) == []


def test_a_schedule_at_p90_ends_later() -> None:
    ours = plan(phase("a", Spread.through(Decimal(80), Decimal(100), Decimal(150))))
    assert schedule(ours)["a"][1] == START + 100 * HOUR
    assert schedule(ours, P90)["a"][1] == START + 150 * HOUR


def said(*reports: tuple[int, int], of: int = 100) -> list[Progress]:
    """Hours since the start, and the step."""
    return [Progress("x", START + hours * HOUR, step, of) for hours, step in reports]


X = Scope(run=("x",))
NOW = START + 40 * HOUR


@pytest.mark.parametrize(
    ("told", "at_completion", "done", "said_at"),
    [
        ((), None, None, None),
        (((40, 20),), "2000", "0.2", 40),
        (((30, 20),), "1500", "0.2", 30),  # 300 were spent when it was there
        (((30, 10), (50, 30)), "2000", "0.2", None),  # where data ends it was half way between them
        (((50, 30),), None, None, None),  # what it said is younger than all that was billed
        (((40, 4),), None, None, None),  # too early to tell
        (((40, 5),), "8000", "0.05", 40),
        (((20, 100),), "400", "1", None),  # it is through: what it has cost is what it costs
        (((10, 50), (40, 20)), "2000", "0.2", 40),  # back to an earlier checkpoint
    ],
)
def test_a_run_that_says_how_far_it_is(
    told: tuple[tuple[int, int], ...], at_completion: str | None, done: str | None, said_at: int | None
) -> None:
    found = foreseen([], "400", NOW, told=said(*told), scope=X, per_hour="10")
    expected = None if at_completion is None else Decimal(at_completion)
    share = None if done is None else Decimal(done)
    when = None if said_at is None else START + said_at * HOUR
    assert found == (Foreseen(None, Decimal(400), expected, share, when) if told else None)


def test_what_a_run_says_goes_before_its_plan_as_long_as_it_says_something() -> None:
    ours = [plan(phase("a", "100"))]
    by_plan = Foreseen(Decimal(400), Decimal(500), Decimal(1100))
    assert foreseen(ours, "500", NOW, scope=X) == by_plan
    by_run = foreseen(ours, "500", NOW, told=said((40, 25)), scope=X)
    assert by_run == Foreseen(Decimal(400), Decimal(500), Decimal(2000), Decimal("0.25"), NOW)
    later = START + 300 * HOUR
    silent = foreseen(ours, "500", later, told=said((40, 25)), scope=X, per_hour="10")
    assert silent == Foreseen(Decimal(1000), Decimal(500), Decimal(500))
    through = foreseen(ours, "500", later, told=said((40, 100)), scope=X)
    assert through == Foreseen(Decimal(1000), Decimal(500), Decimal(500), Decimal(1))


def test_what_was_spent_for_nothing_is_still_spent() -> None:
    found = foreseen([], "900", NOW, told=said((10, 50), (39, 50)), scope=X, per_hour="10")
    assert found == Foreseen(None, Decimal(900), Decimal(900), Decimal("0.5"), START + 39 * HOUR)


def test_which_runs_may_report() -> None:
    def names(*plans: Plan, calendar: Calendar = A_RUN, scope: Scope = EVERYTHING) -> tuple[str, ...]:
        ours = config(*plans, calendar=calendar, scope=scope)
        return runs_of(ours.budgets[0], ours)

    one, other = plan(phase("a", "1")), plan(phase("a", "1"), name="q")
    assert names(one) == ("p",)
    assert names(scope=X) == ("x",)
    assert names(one, scope=X) == ("x", "p")
    assert names(one, other) == names(scope=Scope(run=("x", "y"))) == names(one, calendar=PeriodKind.MONTH) == ()


def test_the_period_of_a_run() -> None:
    now, first = START + 30 * HOUR, START - timedelta(days=3)
    assert Run(START, START + 99 * HOUR).period(first, now) == Period(START, START + 99 * HOUR)
    assert Run(START, by_charges=True).period(first, now) == Period(first, OPEN_END)
    assert Run(START, by_charges=True).period(now, now) == Period(START, OPEN_END)
    assert Run(by_charges=True).period(first, now) == Period(first, OPEN_END)
    assert Run(by_charges=True).period(None, now).start == START + timedelta(days=1)
