"""Whole turns of budgets that watch a run: what counts, what was planned, what is told, on a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alarms.model import Kind, Limit, Reason, Severity, Threshold
from monitor import orders
from monitor.config.model import BudgetConfig
from monitor.config.runs import settled
from monitor.cycle import Cycle
from monitor.errors import ExitCode, UserError
from monitor.model import Batch, Charge, Progress, Scope, Window
from monitor.period import Calendar, PeriodKind, Run
from monitor.status.judge import judge
from monitor.status.render import render
from monitor.store import facts, progress
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from monitor.training.model import Pricing, Quote, Spread
from monitor.training.plan import Phase, Plan
from tests.monitor.test_cycle_periods import DAY, HOUR, STEP, WARNING, Bill, SourceSettings, World, day, threshold

START = day("2026-12-01")
A_RUN, EVERYTHING = Run(), Scope()
AHEAD = threshold("plan", Limit("120%", percent=Decimal(120)), Severity.WARNING)
END = threshold("at_completion", Limit("100%", percent=Decimal(100)), Severity.CRITICAL)


def plan(hours: str = "240", *, start: str = "2026-12-01", price: str = "10", after: str | None = None) -> Plan:
    """Ten days at 240 a day."""
    spread = Spread.certain(Decimal(hours))
    host = Quote("x:1", "X", "", "A100-80GB", 8, Pricing.ON_DEMAND, "USD", Decimal(price), "test", "a test")
    phases = [Phase("a", "x:1", host, 1, spread, spread, spread)]
    if after is not None:
        phases.append(Phase("b", "x:1", host, 1, spread, spread, spread, start=day(after)))
    return Plan("p", "USD", day(start), "article", tuple(phases), budget="training")


class Watch(World):
    """A budget of 3000 whose plan is 2400."""

    def __init__(
        self,
        store: Store,
        source: Any,
        *thresholds: Threshold,
        plans: tuple[Plan, ...] = (plan(),),
        calendar: Calendar = A_RUN,
        scope: Scope = EVERYTHING,
    ) -> None:
        super().__init__(store, source, calendar, *thresholds, amount="3000")
        self.scope = scope
        self.plan(*plans, calendar=calendar)

    def plan(self, *plans: Plan, calendar: Calendar = A_RUN) -> None:
        """A config with these plans is loaded."""
        (budget,) = self.config.budgets
        budget = settled(replace(budget, period=calendar, scope=self.scope), plans)
        self.config = replace(self.config, plans=plans, budgets=(budget,))
        self.cycle = self.fresh()

    def status(self, now: Any) -> str:
        with self.store.read() as connection:
            document = json.loads(facts.read_facts(connection) or "{}")
        return render(judge(document, now, running=True), colour=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "state") as store:
        yield store


BUDGET = BudgetConfig("training", Decimal(3000), "USD", Run(), Scope(), None, ("oncall",), (WARNING,), {})


def figures(budget: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    return budget["spend"], budget["planned"], budget["at_completion"]


def test_planned_stands_beside_what_was_spent_where_data_ends(store: Store) -> None:
    world = Watch(store, Bill(lambda _: 11))
    # At noon, data ends at six: 30 hours of the plan.
    budget = world.turn(day("2026-12-02") + 12 * HOUR)
    assert figures(budget) == ("330", "300", "2430")
    assert budget["period"] == {"start": "2026-12-01T00:00:00Z", "end": "2026-12-21T00:00:00Z"}
    assert (budget["forecast"], budget["burn_rates"]) == (None, {})
    assert "planned by then 300.00, at completion 2,430.00" in world.status(day("2026-12-02") + 12 * HOUR)


def test_before_its_plan_a_run_counts_nothing_and_nothing_fires(store: Store) -> None:
    world = Watch(store, Bill(lambda _: 100), WARNING, AHEAD, END)
    budget = world.turn(day("2026-11-30") + 23 * HOUR)
    assert figures(budget) == ("0", "0", "2400")
    assert (budget["alarms"], world.messages()) == ([], [])
    assert "begins on 1 Dec 2026" in world.status(day("2026-11-30") + 23 * HOUR)


def test_progress_of_a_plan_that_has_not_begun_is_taken_and_doubted(store: Store) -> None:
    world = Watch(store, Bill(lambda _: 11))
    world.turn(day("2026-11-30") + 23 * HOUR)
    (name,) = (plan.name for plan in world.config.plans)
    said = report(world, day("2026-11-30") + 23 * HOUR, run=name, step=100, of=1000)
    assert said == f"{name}: step 100 of 1,000; its plan begins only on 1 Dec 2026 00:00 UTC: is that run meant?"
    assert report(world, day("2026-12-02"), run=name, step=100, of=1000) == f"{name}: step 100 of 1,000"


def test_spend_that_runs_ahead_of_the_plan_is_told_once_and_ends_once(store: Store) -> None:
    """Twice as fast for a day, then not at all: clearly below after 480 / 240 / 1.14 = 1.75 days, and a day of calm."""
    world = Watch(store, Bill(lambda at: 20 if at < START + DAY else 0), AHEAD)
    told: list[tuple[Any, Any]] = []
    now = START + STEP
    while now < START + 6 * DAY:
        world.turn(now)
        told += [(now, kind) for kind, _, _ in world.messages()]
        now += HOUR
    assert [kind for _, kind in told] == [Kind.FIRING, Kind.RESOLVED]
    assert told[0][0] <= START + 3 * STEP
    assert START + 3 * DAY <= told[1][0] <= START + 3 * DAY + 2 * STEP


def test_as_planned_nothing_fires_however_late_the_bill_is(store: Store) -> None:
    world = Watch(store, Bill(lambda _: 10), AHEAD, END)
    for hours in range(6, 24 * 12, 7):
        budget = world.turn(START + hours * HOUR)
        assert budget["planned"] == budget["spend"] or budget["spend"] is None or hours > 240
    assert world.messages() == []


def test_the_estimate_at_completion_is_over_long_before_the_spend(store: Store) -> None:
    world = Watch(store, Bill(lambda _: 20), WARNING, END)
    fired = {}
    for days in range(1, 10):
        world.turn(START + days * DAY + STEP)
        fired |= {at: days for _, at, _ in world.messages()}
    # 600 over the plan after two and a half days; 2400 spent after five.
    assert fired == {"100%": 3, "80%": 5}


def test_a_run_that_takes_longer_is_still_watched_and_then_closed_for_good(store: Store) -> None:
    world = Watch(store, Bill(lambda at: 10 if at < day("2026-12-15") else 0))
    world.turn(day("2026-12-10"))
    assert world.messages() == []
    world.turn(day("2026-12-12"))
    assert world.messages() == [(Kind.FIRING, "80%", Reason.CROSSED)]
    assert world.turn(day("2026-12-16"))["spend"] == "3360"
    world.turn(day("2026-12-21") + HOUR)
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.PERIOD_ENDED)]
    budget = world.turn(day("2027-02-01"))
    assert figures(budget) == ("3360", "2400", "3360")
    assert [alarm["state"] for alarm in budget["alarms"]] == ["OK"]
    assert world.messages() == []


def test_late_charges_of_a_run_still_fire(store: Store) -> None:
    world = Watch(store, Bill(lambda at: 500 if at >= day("2026-12-20") + 18 * HOUR else 0))
    world.turn(day("2026-12-20") + 23 * HOUR)
    assert world.messages() == []
    world.turn(day("2026-12-21") + 7 * HOUR)
    assert world.messages() == [(Kind.FIRING, "80%", Reason.LATE_CHARGES)]


@pytest.mark.parametrize("start", ["2026-11-28", "2026-12-02"])
def test_a_plan_that_is_moved_neither_ends_an_alarm_nor_makes_another(store: Store, start: str) -> None:
    world = Watch(store, Bill(lambda _: 40, since=day("2026-12-02")))
    world.turn(day("2026-12-06"))
    assert world.messages() == [(Kind.FIRING, "80%", Reason.ALREADY_OVER)]
    world.plan(plan(start=start))
    budget = world.turn(day("2026-12-06") + HOUR)
    assert world.messages() == []
    (alarm,) = budget["alarms"]
    assert (alarm["state"], alarm.get("period_start")) == ("FIRING", None)
    assert budget["period"]["start"] == f"{start}T00:00:00Z"


def test_a_plan_that_is_put_off_ends_what_fires(store: Store) -> None:
    world = Watch(store, Bill(lambda _: 40))
    world.turn(day("2026-12-06"))
    world.messages()
    world.plan(plan(start="2026-12-20"))
    world.turn(day("2026-12-06") + HOUR)
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.PERIOD_ENDED)]
    world.turn(day("2026-12-23") + 7 * HOUR)
    assert world.messages() == [(Kind.FIRING, "80%", Reason.CROSSED)], "the next run is a new one"


def test_a_budget_that_becomes_one_for_a_run_and_back_keeps_no_alarm_of_the_other_kind(store: Store) -> None:
    world = Watch(store, Bill(lambda _: 40), calendar=PeriodKind.MONTH)
    world.turn(day("2026-12-06"))
    world.messages()
    world.plan(plan(start="2026-12-05"))
    world.turn(day("2026-12-06") + HOUR)
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.BUDGET_REMOVED)]
    world.turn(day("2026-12-09"))
    assert world.messages() == [(Kind.FIRING, "80%", Reason.CROSSED)]
    world.plan(plan(start="2026-12-05"), calendar=PeriodKind.DAY)
    world.turn(day("2026-12-09") + HOUR)
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.BUDGET_REMOVED)]


def test_a_month_has_its_part_of_the_plan(store: Store) -> None:
    """480 hours from 25 November: six days in November, fourteen in December."""
    watch = {"plans": (plan("480", start="2026-11-25"),), "calendar": PeriodKind.MONTH}
    world = Watch(store, Bill(lambda at: 10 if at >= day("2026-11-25") else 0), AHEAD, END, **watch)
    assert figures(world.turn(day("2026-11-28") + STEP)) == ("720", "720", "1440")
    assert figures(world.turn(day("2026-12-03") + STEP)) == ("480", "480", "3360")
    assert world.messages() == [(Kind.FIRING, "100%", Reason.CROSSED)]
    assert figures(world.turn(day("2027-01-03") + STEP)) == ("480", "0", "480")
    assert "planned" not in world.status(day("2027-01-03") + STEP)
    world.turn(day("2027-01-05"))
    assert [alarm["data"] for alarm in world.budget()["alarms"]] == ["OK", "OK"]


class Tagged(Bill):
    """Half of it belongs to run "x"; what it costs from `since` on is charged to nobody before `begins`."""

    begins = day("2026-12-03")

    def fetch(self, window: Window) -> Batch:
        whole = super().fetch(window)
        (series,) = whole.replaces
        mine = replace(series, run="x")
        charges = [
            Charge(mine if one.period.start >= self.begins else series, one.period, one.billed_cost)
            for one in whole.charges
        ]
        return replace(whole, charges=tuple(charges), replaces={series: window.period, mine: window.period})


def test_a_run_scope_counts_from_its_first_charge_on_without_an_end(store: Store) -> None:
    world = Watch(store, Tagged(lambda _: 1), plans=(), scope=Scope(run=("x",)), calendar=Run(by_charges=True))
    before = world.turn(day("2026-12-02"))
    assert (before["spend"], before["alarms"][0]["data"]) == (None, "NO_DATA"), "a run that nobody knows is not thrift"
    budget = world.turn(day("2026-12-04") + STEP)
    assert (budget["spend"], budget["period"]) == ("24", {"start": "2026-12-03T00:00:00Z", "end": None})
    assert figures(budget)[1:] == (None, None)
    assert "day 2" in world.status(day("2026-12-04") + STEP)
    assert world.turn(day("2027-06-04") + STEP)["spend"] == str(24 * 183)
    assert world.messages() == [(Kind.FIRING, "80%", Reason.CROSSED)]
    # What was booked to the run before is found: it is the same run.
    world.source.begins = day("2026-12-01")
    assert world.turn(day("2027-06-05") + STEP)["period"]["start"] == "2026-12-01T00:00:00Z"
    assert world.messages() == []


def test_a_run_scope_with_a_plan_counts_what_came_before_it_too(store: Store) -> None:
    scope, calendar = Scope(run=("x",)), Run(by_charges=True)
    world = Watch(store, Tagged(lambda _: 10), AHEAD, plans=(plan(start="2026-12-05"),), scope=scope, calendar=calendar)
    assert figures(world.turn(day("2026-12-02") + STEP)) == ("0", "0", "2400")
    budget = world.turn(day("2026-12-04") + STEP)
    assert figures(budget) == ("240", "0", "2640")
    assert budget["period"] == {"start": "2026-12-03T00:00:00Z", "end": None}
    assert world.messages() == []
    world.turn(day("2026-12-05") + 2 * STEP)
    assert world.messages() == [(Kind.FIRING, "120%", Reason.CROSSED)]


def test_a_slow_source_does_not_make_a_fast_one_look_ahead(store: Store) -> None:
    """Both bill 5 an hour; one of them tells a day later. Compared is where the slower one ends."""
    slow = Bill(lambda _: 5, name="slow")
    slow_windows = slow.windows
    slow.windows = lambda now, *rest: slow_windows(now - DAY, *rest)  # type: ignore[method-assign]
    world = Watch(store, Bill(lambda _: 5), AHEAD)
    world.config = replace(world.config, sources=(SourceSettings(), SourceSettings("slow")))

    world.cycle = Cycle(world.config, [world.source, slow], store, StoredOutbox(store))
    budget = world.turn(START + 2 * DAY + STEP)
    assert figures(budget) == ("360", "240", "2400")
    assert world.messages() == []


def report(world: Watch, now: datetime, **arguments: Any) -> str:
    return orders.obey(world.store, world.config, orders.Order("progress", arguments, "root", now))


def test_a_run_that_reports_is_estimated_by_what_it_has_done(store: Store) -> None:
    """10 an hour, and after 40 hours a tenth is done: 4000 in the end, of 3000."""
    calendar = Run(by_charges=True)
    world = Watch(store, Tagged(lambda _: 10), END, plans=(), scope=Scope(run=("x",)), calendar=calendar)
    world.source.begins = START
    budget = world.turn(START + 30 * HOUR)
    assert (figures(budget), budget["alarms"][0]["data"]) == (("240", None, None), "NO_DATA")
    said = report(world, START + 40 * HOUR, run="x", step=100, of=1000, at="2026-12-02T16:00:00Z")
    assert said == "x: step 100 of 1,000"
    assert figures(world.turn(START + 41 * HOUR))[2] is None, "the bill has not come that far"
    budget = world.turn(START + 54 * HOUR)
    assert figures(budget) == ("480", None, "4000")
    assert budget["progress"] == {"run": "x", "at": "2026-12-02T16:00:00Z", "step": 100, "of": 1000}
    assert world.messages() == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]
    shown = world.status(START + 54 * HOUR)
    assert "at completion 4,000.00" in shown
    assert "run x: step 100 of 1,000 (10.0%), 14 h ago" in shown
    # From there on it is twice as fast: at 100 hours 40 % are done.
    report(world, START + 100 * HOUR, run="x", step=400, of=1000)
    assert figures(world.turn(START + 108 * HOUR))[2] == "2500"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"run": "y", "step": 1, "of": 2}, 'no run is named "y"; the runs here are p, x'),
        ({"run": 5, "step": 1, "of": 2}, 'no run is named "5"; the runs here are p, x'),
        *(
            ({"run": "x", "step": step, "of": of}, "expected --step N --of M, whole numbers, with N from 0 to M")
            for step, of in ((3, 2), (-1, 2), (0, 0), ("1", 2), (True, 2), (1, 10**15), (1, None), (0.5, 1))
        ),
        ({"run": "x", "step": 1, "of": 2, "at": "soon"}, "expected --at with a time such as 2026-11-23T18:00:00Z"),
        ({"run": "x", "step": 1, "of": 2, "at": 5}, "expected --at with a time such as 2026-11-23T18:00:00Z"),
        ({"run": "x", "step": 1, "of": 2, "at": "2030-01-01"}, "--at lies in the future; leave it out for now"),
    ],
)
def test_a_report_that_cannot_be_is_refused(store: Store, arguments: dict[str, Any], sentence: str) -> None:
    world = Watch(store, Bill(lambda _: 1), scope=Scope(run=("x",)), calendar=Run(by_charges=True))
    with pytest.raises(UserError) as caught:
        report(world, START, **arguments)
    assert (str(caught.value), caught.value.exit_code) == (sentence, ExitCode.USAGE)
    with store.read() as connection:
        assert progress.load(connection) == {}


def test_a_chatty_run_fills_no_disk(store: Store) -> None:
    with store.transaction() as tx:
        for minute in range(600):
            progress.put(tx, Progress("x", START + minute * HOUR / 60, minute, 600))
        progress.put(tx, Progress("x", START + 2 * HOUR, 7, 600))
        kept = progress.load(tx)["x"]
    assert len(kept) <= 70
    assert (kept[-1].step, kept[0].step) == (599, 0)
    assert [one.step for one in kept if one.at == START + 2 * HOUR] == [7]
    assert max(after.at - before.at for before, after in pairwise(kept)) <= HOUR / 3


def test_what_a_run_said_weeks_ago_is_forgotten_unless_it_said_nothing_since(store: Store) -> None:
    with store.transaction() as tx:
        for days in (0, 3, 17):
            progress.put(tx, Progress("x", START + days * DAY, days, 600))
        progress.put(tx, Progress("y", START, 600, 600))
        progress.put(tx, Progress("x", START + 30 * DAY, 30, 600))
        known = {run: [one.step for one in reports] for run, reports in progress.load(tx).items()}
    assert known == {"x": [17, 30], "y": [600]}


def test_what_is_remembered_between_turns_is_what_a_new_process_finds(store: Store) -> None:
    world = Watch(store, Tagged(lambda at: at.day), AHEAD, END, scope=Scope(run=("x",)), calendar=Run(by_charges=True))
    now = day("2026-12-01") + HOUR
    while now < day("2026-12-12"):
        world.source.later = Decimal(7 * (now.day % 3))
        remembered = world.turn(now)
        world.fresh().turn(now, everything=True)
        assert world.budget() == remembered
        now += 11 * HOUR


def test_the_end_of_a_run_is_as_long_again_and_a_week_at_least() -> None:
    def ends(*plans: Plan, by_charges: bool = False) -> Any:
        found = settled(replace(BUDGET, period=Run(by_charges=by_charges)), plans).period
        assert isinstance(found, Run)
        return found.start, found.end

    assert ends(plan("24", start="2026-12-01")) == (START, day("2026-12-09"))
    assert ends(plan("240.5")) == (START, day("2026-12-22"))
    assert ends(plan("24"), plan("24", start="2026-11-01", after="2026-12-24")) == (
        day("2026-11-01"),
        day("2027-02-17"),
    )
    assert ends(plan(), by_charges=True) == (START, None)
    unknown = plan()
    unknown = replace(unknown, phases=(replace(unknown.phases[0], duration=None),))
    assert ends(unknown) == (START, None)
