"""Whole turns on a real store, with sources that do what the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alarms.errors import AccessError, OutsideError, TemporaryError
from alarms.model import Kind, Limit, Period, Reason, Receipt, Severity, Threshold
from monitor.attempts import after_failure
from monitor.clock import to_text
from monitor.collect import Collector
from monitor.config.model import BudgetConfig, Config, MonitorSection
from monitor.cycle import Cycle, TurnReport
from monitor.errors import BadDataError
from monitor.model import ApiUse, Batch, Charge, MeterReading, Scope, Series, Window
from monitor.period import PeriodKind, month_of, months_before
from monitor.status.judge import judge
from monitor.status.nagios import nagios
from monitor.status.render import render
from monitor.store import facts, meters
from monitor.store.database import Store, open_store
from monitor.store.facts import SourceClock
from monitor.store.outbox import StoredOutbox
from tests.fakes.ledger import totals_by_series

MONTH = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
START = datetime(2026, 11, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class SourceSettings:
    name: str
    type: str = "fake"
    every: timedelta = HOUR
    currency: str = "USD"
    late_after: timedelta = 36 * HOUR
    stale_after: timedelta = 48 * HOUR


@dataclass(frozen=True)
class ReceiverSettings:
    name: str
    type: str = "fake"
    min_severity: Severity | None = None


@dataclass(eq=False)
class FakeSource:
    """A cumulative month to date that the test sets; or an error."""

    name: str
    month_to_date: str | None = None
    error: OutsideError | None = None
    missing: tuple[str, ...] = ()
    as_of: datetime | None = None
    fetches: int = 0
    type: str = "fake"
    asked: int = 0

    def windows(self, now: datetime, *_: object) -> tuple[Window, ...]:
        self.asked += 1
        return (Window(Period(MONTH.start, now)),)

    def fetch(self, window: Window) -> Batch:
        self.fetches += 1
        if self.error is not None:
            raise self.error
        series, until = Series(self.name, "USD"), self.as_of or window.period.end
        if self.month_to_date is None:
            return Batch((), {}, until if self.missing else None, missing=self.missing)
        charge = Charge(series, Period(MONTH.start, until), Decimal(self.month_to_date))
        return Batch((charge,), {series: MONTH}, until, missing=self.missing)

    def probe(self) -> str:
        return ""


def budget(name: str = "training", **more: Any) -> BudgetConfig:
    thresholds = (
        Threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING),
        Threshold("actual", Limit("100%", percent=Decimal(100)), Severity.CRITICAL),
    )
    repeat = {Severity.CRITICAL: 4 * HOUR, Severity.WARNING: 24 * HOUR}
    whole = BudgetConfig(name, Decimal(1000), "USD", PeriodKind.MONTH, Scope(), None, ("oncall",), thresholds, repeat)
    return replace(whole, **more)


@dataclass
class World:
    store: Store
    sources: list[FakeSource]
    budgets: list[BudgetConfig] = field(default_factory=lambda: [budget()])
    now: datetime = START

    def turn(self, *, after: timedelta = HOUR, everything: bool = False) -> TurnReport:
        self.now += after
        return self.cycle().turn(self.now, everything=everything)

    def cycle(self) -> Cycle:
        config = Config(
            path=Path("config.toml"),
            monitor=MonitorSection(Path("state"), timedelta(minutes=5), "UTC", ("oncall",)),
            sources=tuple(SourceSettings(source.name, source.type) for source in self.sources),
            receivers=(ReceiverSettings("oncall"),),
            budgets=tuple(self.budgets),
        )
        return Cycle(config, self.sources, self.store, StoredOutbox(self.store))

    def messages(self) -> list[tuple[Kind, str, Reason]]:
        """Everything owed since the last look, as though it were delivered."""
        outbox, found = StoredOutbox(self.store), []
        while (delivery := next(iter(outbox.owed("oncall")), None)) is not None:
            said = delivery.notification.facts
            found.append((said.kind, said.at or said.title, said.reason))
            outbox.sent(delivery, Receipt(), self.now)
        return found

    def facts(self) -> dict[str, Any]:
        with self.store.read() as connection:
            document: dict[str, Any] = json.loads(facts.read_facts(connection) or "{}")
        return document


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path / "state") as store:
        yield World(store, [FakeSource("aws")])


def test_a_failure_first_and_then_a_breach_is_still_first_sight(world: World) -> None:
    (aws,) = world.sources
    aws.error = TemporaryError("503")
    world.turn()
    aws.error, aws.month_to_date = None, "1100"
    world.turn()
    assert world.messages() == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]


def test_the_first_answer_of_one_source_is_not_the_first_sight_of_anothers_budget(world: World) -> None:
    world.sources = [FakeSource("aws", "10"), FakeSource("slow", error=TemporaryError("503"))]
    world.budgets = [budget(scope=Scope(source=("slow",)))]
    world.turn()
    world.sources = [FakeSource("aws", "10"), FakeSource("slow", "1100")]
    world.turn()
    assert world.messages() == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]


@dataclass(eq=False)
class SlowSource(FakeSource):
    """Answers when it may."""

    may: threading.Event = field(default_factory=threading.Event)

    def fetch(self, window: Window) -> Batch:
        self.may.wait(30)
        return super().fetch(window)


def test_a_budget_of_two_new_sources_is_first_seen_whole(world: World) -> None:
    slow = SlowSource("azure", "300")
    world.sources = [FakeSource("aws", "850"), slow]
    cycle = world.cycle()
    cycle._changed = slow.may.set  # the first source is in the ledger then
    cycle.turn(world.now)
    assert world.messages() == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]


def test_a_new_source_that_hangs_holds_up_the_first_look_at_a_budget_for_a_moment_only(world: World) -> None:
    slow = SlowSource("azure", "300")
    world.sources = [FakeSource("aws", "850"), slow]
    cycle = world.cycle()
    cycle._collector = Collector(patience_s=0.01)
    seen: list[tuple[Kind, str, Reason]] = []

    def note() -> None:
        seen.extend(world.messages())
        if seen:
            slow.may.set()

    cycle._changed = note
    cycle.turn(world.now)
    assert seen == [(Kind.FIRING, "80%", Reason.ALREADY_OVER), (Kind.FIRING, "100%", Reason.CROSSED)]


def test_answers_that_are_there_already_are_judged_together_and_wait_for_no_other(world: World) -> None:
    """Of twelve accounts eleven answer while the first is booked; the twelfth hangs until everybody was heard of."""
    hanging = SlowSource("hanging", "10")
    quick = [FakeSource(f"account-{number}", f"{900 + number}") for number in range(11)]
    world.sources = [*quick, hanging]
    world.budgets = [budget(one.name, scope=Scope(source=(one.name,))) for one in world.sources]
    cycle = world.cycle()
    judged: list[set[str]] = []
    evaluate = cycle._evaluator.evaluate

    def watch(tx: Any, *rest: Any, **named: Any) -> Any:
        judged.append({name for name, clock in facts.read_clocks(tx).items() if clock.last_poll})
        return evaluate(tx, *rest, **named)

    def changed() -> None:
        others_answered()
        if judged and len(judged[-1]) == len(quick):
            hanging.may.set()

    def others_answered() -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("source account-"):
                thread.join(30)

    cycle._evaluator.evaluate = watch  # type: ignore[method-assign] - to see what each evaluation knows
    cycle._changed = changed
    cycle.turn(world.now)
    assert [len(known) for known in judged][-2:] == [11, 12]
    assert len(judged) <= 5, "not once for each of twelve"
    assert len(world.messages()) == 11


def test_a_source_that_hangs_does_not_hold_up_the_next_turn_and_is_heard_later(world: World) -> None:
    slow, aws = SlowSource("azure", "300"), FakeSource("aws", "10")
    world.sources = [aws, slow]
    cycle = world.cycle()
    cycle._config = replace(cycle._config, monitor=replace(cycle._config.monitor, poll=timedelta(seconds=0.05)))
    for number in range(3):
        report = cycle.turn(world.now + number * HOUR)
        assert list(report.sources) == ["aws"]
        assert report.unread == ("azure",)
    assert (aws.fetches, aws.asked, slow.asked) == (3, 3, 1), "what is being read is not asked what to read"
    slow.may.set()
    heard = [name for number in range(3, 100) for name in cycle.turn(world.now + number * HOUR).sources]
    assert "azure" in heard


@dataclass(eq=False)
class LongPast(FakeSource):
    """Fills in the months before; what it says of `unfit` is not fit for the ledger."""

    unfit: Period | None = None
    fetched: list[Period] = field(default_factory=list)

    def windows(self, now: datetime, _: object, filled_since: datetime | None) -> tuple[Window, ...]:
        past = months_before(filled_since or MONTH.start, MONTH.start - 100 * 24 * HOUR)
        return (Window(Period(MONTH.start, now)), *map(Window, past))

    def fetch(self, window: Window) -> Batch:
        self.fetched.append(window.period)
        if window.period.start == MONTH.start:
            return super().fetch(window)
        series = Series(self.name, "USD")
        outside = Charge(series, MONTH, Decimal(1))
        charged = (outside,) if window.period == self.unfit else ()
        return Batch(charged, {series: window.period}, window.period.end)


def test_the_past_is_filled_in_without_holes(world: World) -> None:
    september = month_of(MONTH.start - 40 * 24 * HOUR)
    aws = LongPast("aws", "10", unfit=september)
    world.sources = [aws]
    report = world.turn()
    assert not report.sources["aws"].ok
    assert aws.fetched[-1] == september, "nothing older is asked for before it is there"
    aws.fetched.clear()
    world.turn(everything=True)
    assert september in aws.fetched, "it is not taken for filled"
    aws.unfit = None
    world.turn(everything=True)
    aws.fetched.clear()
    world.turn(everything=True)
    assert len(aws.fetched) == 1, "all of the past is there now"


def test_a_source_that_publishes_nothing_now_has_no_empty_past(world: World) -> None:
    aws = LongPast("aws", None)
    world.sources = [aws]
    world.turn()
    assert len(aws.fetched) == 1
    aws.month_to_date = "10"
    world.turn(everything=True)
    assert len(aws.fetched) > 2


def test_a_source_is_asked_when_its_time_has_come_and_not_before(world: World) -> None:
    (aws,) = world.sources
    aws.month_to_date = "1"
    world.turn()
    world.turn(after=timedelta(minutes=5))
    assert aws.fetches == 1
    world.turn(after=timedelta(minutes=1), everything=True)
    assert aws.fetches == 2
    world.turn(after=HOUR)
    assert aws.fetches == 3


@dataclass(eq=False)
class FillingSource(FakeSource):
    """Fills a month that is over after the running window."""

    def windows(self, now: datetime, *_: object) -> tuple[Window, ...]:
        return (Window(Period(MONTH.start, now)), Window(Period(MONTH.start - 31 * 24 * HOUR, MONTH.start)))


@pytest.mark.parametrize("kind", [FakeSource, FillingSource])
def test_every_turn_ends_once_whether_it_brought_something_or_not(world: World, kind: type[FakeSource]) -> None:
    world.sources = [kind("aws", "1")]
    for after in (HOUR, timedelta(minutes=1), HOUR):
        world.turn(after=after)
        assert world.facts()["turn_at"] == to_text(world.now)
    world.sources = []
    world.turn()
    assert world.facts()["turn_at"] == to_text(world.now)


def test_a_failing_source_is_tried_again_sooner_but_not_at_every_poll_and_not_before_it_allows(world: World) -> None:
    (aws,) = world.sources
    aws.error = TemporaryError("503")
    asked = []
    for _ in range(24):
        before = aws.fetches
        world.turn(after=timedelta(minutes=5))
        asked.append(aws.fetches > before)
    assert asked[:4] == [True, True, False, True]
    assert sum(asked) == 9, "every 5, 10 and then 15 minutes"
    aws.error = TemporaryError("429", retry_after=timedelta(minutes=40))
    world.turn(after=HOUR)
    before = aws.fetches
    for _ in range(7):
        world.turn(after=timedelta(minutes=5))
    assert aws.fetches == before
    world.turn(after=timedelta(minutes=5))
    assert aws.fetches == before + 1


def test_what_is_read_four_times_a_day_is_tried_again_within_the_hour_and_not_every_quarter_of_it() -> None:
    clock, now, waits = SourceClock("slow"), START, []
    settings = SourceSettings("slow", every=6 * HOUR)
    for _ in range(6):
        clock = after_failure(clock, BadDataError("half an answer"), settings, timedelta(minutes=5), now)
        assert clock.next_attempt_at is not None
        waits.append((clock.next_attempt_at - now) // timedelta(minutes=1))
        now = clock.next_attempt_at
    assert waits == [5, 10, 20, 40, 60, 60]


@dataclass(eq=False)
class SourceInParts(FakeSource):
    """One account with each fetch; `parts` are its costs, an error where that fails. So too a month that is over."""

    parts: tuple[str | OutsideError, ...] = ()
    past: bool = False
    noticed: Callable[[], None] = lambda: None

    def windows(self, now: datetime, *_: object) -> tuple[Window, ...]:
        running = Window(Period(MONTH.start, now))
        return (running, Window(Period(MONTH.start - 30 * 24 * HOUR, MONTH.start))) if self.past else (running,)

    def fetch(self, window: Window) -> Batch:
        self.noticed()
        number = window.part if isinstance(window.part, int) else 0
        cost = self.parts[number]
        if isinstance(cost, OutsideError):
            raise cost
        series = Series(self.name, "USD", account=str(number))
        charge = Charge(series, window.period, Decimal(cost))
        rest = replace(window, part=number + 1) if number + 1 < len(self.parts) else None
        return Batch((charge,), {series: window.period}, window.period.end, rest=rest)


def test_nothing_is_concluded_from_a_window_before_its_last_part(world: World) -> None:
    aws = SourceInParts("aws", parts=("900", "200"))
    world.sources = [aws]
    world.turn()
    assert world.messages() == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]
    seen: list[tuple[Any, ...]] = []
    aws.noticed = lambda: seen.append((world.messages(), world.facts()["turn_at"], clock_of(world).last_poll))
    first_read = world.now
    # Moved from one account to another: between the parts the sum is too low.
    aws.parts = ("0", "200", "900")
    world.turn()
    assert seen == [([], to_text(first_read), first_read)] * 3
    assert world.messages() == []
    assert clock_of(world).last_poll == world.now


@pytest.mark.parametrize("refused", [TemporaryError("503"), "NaN"])
def test_a_window_that_breaks_off_between_parts_ends_no_alarm_and_is_read_again(
    world: World, refused: str | OutsideError
) -> None:
    aws = SourceInParts("aws", parts=("900", "200"))
    world.sources = [aws]
    world.turn()
    assert world.messages() == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]
    first_read = world.now
    aws.parts = ("0", refused, "900")
    report = world.turn()
    assert not report.no_failure
    assert report.unread == ("aws",)
    assert clock_of(world).last_poll == first_read
    assert (Kind.RESOLVED, "100%") not in {message[:2] for message in world.messages()}
    aws.parts = ("0", "200", "900")
    world.turn()
    assert clock_of(world).last_poll == world.now
    assert clock_of(world).missing == ()


class PayingSource(FakeSource):
    """Pays a dollar for each read."""

    def fetch(self, window: Window) -> Batch:
        read = MeterReading(window.period.end, Decimal(self.fetches))
        batch = super().fetch(window)
        return replace(batch, meters={"read": read, **self.remembered().meters}, use=ApiUse(2, Decimal(1)))

    def remembered(self) -> Batch:
        return Batch((), {}, None, meters={"cost": MeterReading(START, Decimal(self.fetches))})


def test_what_an_answer_has_cost_is_kept_although_the_ledger_refuses_it(world: World) -> None:
    aws = PayingSource("aws", "900")
    world.sources = [aws]
    world.turn()
    aws.month_to_date, aws.as_of = "100", START - HOUR
    report = world.turn()
    assert report.sources["aws"].error == "it answered without its newest data, which it had published before"
    with world.store.read() as tx:
        kept = {key: reading.value for key, reading in meters.read(tx, "aws").items()}
        assert kept == {"read": 0, "cost": 2}, "only what it cost"
        assert facts.read_use(tx, "aws", "2026-11") == ApiUse(4, Decimal(2))
        assert sum(totals_by_series(tx, MONTH).values()) == 900


def test_a_past_month_is_filled_with_its_last_part(world: World) -> None:
    aws = SourceInParts("aws", parts=("1", "2"), past=True)
    world.sources = [aws]
    filled: list[datetime | None] = []
    aws.noticed = lambda: filled.append(clock_of(world).filled_since)
    world.turn()
    past = MONTH.start - 30 * 24 * HOUR
    assert filled == [None, None, MONTH.start, MONTH.start]
    assert clock_of(world).filled_since == past


def clock_of(world: World) -> SourceClock:
    with world.store.read() as connection:
        return facts.read_clocks(connection).get("aws") or SourceClock("aws")


def test_an_answer_with_nothing_in_it_is_no_read(world: World) -> None:
    world.turn()
    (source,) = world.facts()["sources"]
    assert (source["last_poll"], source["error"]) == (None, "it answered, but has no data for us")
    assert source["empty"]


def test_a_source_that_answers_with_nothing_is_not_said_to_be_unread(world: World) -> None:
    def said() -> tuple[str, str]:
        found = judge(world.facts(), world.now, running=True)
        (line,) = (line for line in render(found, colour=False).split("\n") if " aws  " in line)
        return next((p["text"] for p in found["problems"] if "source" in p["text"]), ""), " ".join(line.split())

    (aws,) = world.sources
    world.turn()
    world.turn()
    assert said() == (
        "source aws is late: it answers, but has no data yet, for 60 min",
        "LATE aws answered 0 s ago, no data",
    )
    for _ in range(48):
        world.turn()
    assert world.facts()["health"][0]["detail"].startswith("It answers, but has had no data for 2 d 1 h. Every figure")
    aws.error = TemporaryError("503")
    world.turn()
    assert said() == ("source aws is stale: not read for 50 h", "STALE aws never read, no data")
    aws.error, aws.month_to_date = None, "1"
    world.turn()
    assert said() == ("", "FRESH aws read 0 s ago, data 0 s old")
    aws.month_to_date = None
    for _ in range(4):
        world.turn()
    assert said() == (
        "source aws is late: it answers, but has nothing new, for 4 h",
        "LATE aws answered 0 s ago, data 4 h old",
    )


def test_a_source_that_was_never_read_says_why_and_not_that_it_is_late(world: World) -> None:
    (aws,) = world.sources
    aws.error = TemporaryError("AWS\ncould not be reached (EndpointConnectionError): " + "x" * 200)
    world.turn()
    found = judge(world.facts(), world.now, running=True)
    (row,), first = found["sources"], found["problems"][0]
    assert (row["freshness"], row["state"], found["exit_code"]) == ("NEVER", "UNKNOWN", 3)
    assert first["text"].startswith("source aws was never read: AWS could not be reached (EndpointConnectionError): xx")
    assert first["text"].endswith("xxx...")
    assert len(first["text"]) < 160
    assert nagios(found).startswith("BUDGET UNKNOWN - source aws was never read: AWS could not be reached (E")
    assert "late" not in json.dumps(found["problems"])
    for _ in range(27):
        world.turn()
    found = judge(world.facts(), world.now, running=True)
    assert (found["sources"][0]["freshness"], found["problems"][0]["text"]) == (
        "STALE",
        "source aws is stale: not read for 27 h",
    )


def test_a_misspelt_name_beside_a_known_one_is_said_and_changes_no_state(world: World) -> None:
    world.sources = [OfService("aws", month_to_date="10")]
    world.budgets = [budget(scope=Scope(service=("AmazonEC2", "AmazonEC3")))]
    world.turn()
    (row,) = world.facts()["budgets"]
    assert (row["spend"], row["unseen"]) == (
        "10",
        ['no charge of service "AmazonEC3" was ever seen; did you mean "AmazonEC2"?'],
    )
    assert judge(world.facts(), world.now, running=True)["state"] == "OK"


class OfService(FakeSource):
    """All it has is of one service."""

    def fetch(self, window: Window) -> Batch:
        batch, series = super().fetch(window), Series(self.name, "USD", service="AmazonEC2")
        return replace(
            batch, charges=tuple(replace(one, series=series) for one in batch.charges), replaces={series: MONTH}
        )


def test_being_locked_out_pages_at_once_and_says_when_it_is_over(world: World) -> None:
    (aws,) = world.sources
    aws.error = AccessError("cloudwatch:GetMetricData is not allowed")
    world.turn()
    world.turn()
    assert [kind for kind, _, _ in world.messages()] == [Kind.FIRING]
    assert world.facts()["health"][0]["subject"] == "source aws: locked out"
    aws.error = TemporaryError("503")
    world.turn()
    assert world.messages() == [], "a failure of another kind does not mean that we are let in"
    aws.error, aws.month_to_date = None, "1"
    world.turn()
    assert [(kind, reason) for kind, _, reason in world.messages()] == [(Kind.RESOLVED, Reason.FAULT_OVER)]
    assert world.facts()["health"] == []


def test_an_answer_without_the_newest_data_is_a_failure_and_lowers_nothing(world: World) -> None:
    (aws,) = world.sources
    aws.month_to_date, aws.as_of = "1100", START
    world.turn()
    world.messages()
    aws.month_to_date, aws.as_of = "900", START - HOUR
    report = world.turn()
    assert not report.no_failure
    assert world.messages() == []
    assert world.facts()["budgets"][0]["spend"] == "1100"


def test_an_attempt_in_the_future_by_a_wrong_clock_does_not_blind(world: World) -> None:
    (aws,) = world.sources
    aws.month_to_date = "1"
    world.now += timedelta(days=365 * 5)
    world.turn()
    world.now = START
    world.turn()
    assert aws.fetches == 2


def test_a_source_read_in_part_is_told_once_and_its_visible_part_still_fires(world: World) -> None:
    (aws,) = world.sources
    aws.month_to_date, aws.missing = "850", ("account 111122223333",)
    world.turn()
    assert sorted(world.messages()) == [
        (Kind.FIRING, "80%", Reason.ALREADY_OVER),
        (Kind.FIRING, "Source aws is read in part", Reason.FAULT),
    ]
    world.turn()
    assert world.messages() == []
    (budget_facts,) = world.facts()["budgets"]
    assert budget_facts["lower_bound"] is True
    aws.missing = ()
    world.turn()
    assert [(kind, reason) for kind, _, reason in world.messages()] == [(Kind.RESOLVED, Reason.FAULT_OVER)]


def test_data_that_stands_still_goes_stale_pages_and_marks_the_figures(world: World) -> None:
    (aws,) = world.sources
    aws.month_to_date, aws.as_of = "850", START
    world.turn()
    assert world.messages() == [(Kind.FIRING, "80%", Reason.ALREADY_OVER)]
    for _ in range(48):
        world.turn()
    told = world.messages()
    assert (Kind.FIRING, "Source aws is stale", Reason.FAULT) in told
    assert {kind for kind, level, _ in told if level == "80%"} == {Kind.REPEAT}
    (facts_now,) = world.facts()["budgets"]
    assert facts_now["spend"] == "850"
    assert {alarm["data"] for alarm in facts_now["alarms"]} == {"NO_DATA"}
    assert [alarm["state"] for alarm in facts_now["alarms"]] == ["FIRING", "OK"]


def test_a_budget_taken_out_of_the_config_is_taken_back(world: World) -> None:
    world.sources[0].month_to_date = "850"
    world.turn()
    world.messages()
    world.budgets = [budget("other", amount=Decimal(10**6))]
    world.turn()
    assert world.messages() == [(Kind.RESOLVED, "80%", Reason.BUDGET_REMOVED)]
    world.budgets = [budget(), budget("other", amount=Decimal(10**6))]
    world.turn()
    assert [reason for _, _, reason in world.messages()] == [Reason.CROSSED], "and a budget that comes back is watched"


def test_a_budget_whose_period_changes_starts_anew(world: World) -> None:
    world.sources[0].month_to_date = "850"
    world.turn()
    world.messages()
    world.budgets = [budget(period=PeriodKind.DAY)]
    world.turn()
    (document,) = world.facts()["budgets"]
    assert document["period"]["end"] == "2026-11-11T00:00:00Z"
    assert all("period_start" not in alarm for alarm in document["alarms"])


steps = st.one_of(
    st.integers(0, 1500).map(lambda value: FakeSource("aws", str(value))),
    st.just(FakeSource("aws", None, missing=("account 1",))),
    st.just(FakeSource("aws", error=TemporaryError("503"))),
    st.just(FakeSource("aws", error=AccessError("expired"))),
    st.just(FakeSource("aws", None)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=1, max_size=12))
def test_no_failed_empty_or_partial_answer_lowers_a_figure_or_ends_an_alarm(
    history: list[FakeSource], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_store(tmp_path_factory.mktemp("state") / "state") as store:
        world = World(store, [])
        before: dict[str, Any] | None = None
        for source in history:
            world.sources = [source]
            world.turn(everything=True)
            (now,) = world.facts()["budgets"]
            if before is not None and source.month_to_date is None:
                assert now["spend"] == before["spend"]
            if before is not None and (source.month_to_date is None or source.missing):
                fell = [
                    (was["at"], is_["at"])
                    for was, is_ in zip(before["alarms"], now["alarms"], strict=True)
                    if was["state"] == "FIRING" and is_["state"] != "FIRING"
                ]
                assert fell == []
            before = now


class Regrained(FakeSource):
    """Reads last month as a whole again, in another grain than the first time."""

    def windows(self, now: datetime, *_: object) -> tuple[Window, ...]:
        return (Window(Period(MONTH.start, now)), Window(OCTOBER))

    def fetch(self, window: Window) -> Batch:
        if window.period != OCTOBER:
            return super().fetch(window)
        series = Series(self.name, "USD", service="AmazonEC2" if self.fetches > 1 else "")
        return Batch((Charge(series, OCTOBER, Decimal(100)),), {series: OCTOBER}, OCTOBER.end)


OCTOBER = Period(datetime(2026, 10, 1, tzinfo=UTC), MONTH.start)


class Shortened(Regrained):
    """Has lost the first days of last month when it reads that again, and says so."""

    def fetch(self, window: Window) -> Batch:
        if window.period != OCTOBER:
            return super().fetch(window)
        start = OCTOBER.start + (self.fetches - 1) * timedelta(days=15)
        series, whole = Series(self.name, "USD", service=f"{start:%d}"), Period(start, OCTOBER.end)
        return Batch(
            (Charge(series, Period(start, start + HOUR), Decimal(100)),), {series: whole}, whole.end, whole=whole
        )


def test_a_past_month_that_is_whole_from_a_later_day_on_withdraws_nothing_before(world: World) -> None:
    world.sources = [Shortened("aws", "10")]
    world.turn()
    world.turn()
    with world.store.read() as connection:
        found = totals_by_series(connection, OCTOBER)
    assert {series.service: cost for series, cost in found.items()} == {"01": Decimal(100), "16": Decimal(100)}


class Paying(FakeSource):
    """Pays for what it asks in vain, and has a limit on that."""

    def remembered(self) -> Batch:
        use = ApiUse(2, Decimal("0.5"))
        return Batch((), {}, None, meters={"cost": MeterReading(START, Decimal(self.fetches))}, use=use)


def test_what_a_failed_read_has_cost_outlives_the_process(world: World) -> None:
    world.sources = [Paying("aws", error=TemporaryError("half an answer"))]
    for _ in range(2):
        world.turn(everything=True)
    with world.store.read() as connection:
        assert meters.read(connection, "aws") == {"cost": MeterReading(START, Decimal(2))}
        assert facts.read_use(connection, "aws", f"{START:%Y-%m}") == ApiUse(4, Decimal(1))


def test_a_past_month_read_again_in_another_grain_is_not_counted_twice(world: World) -> None:
    world.sources = [Regrained("aws", "10")]
    world.turn()
    world.turn()
    with world.store.read() as connection:
        totals = totals_by_series(connection, OCTOBER)
    assert totals == {Series("aws", "USD", service="AmazonEC2"): Decimal(100)}


@dataclass(eq=False)
class Metered(FakeSource):
    """Leaves a reading of its type; `given`: those that it was given."""

    given: list[set[str]] = field(default_factory=list)

    def windows(self, now: datetime, known: object = None, *_: object) -> tuple[Window, ...]:
        assert isinstance(known, dict)
        self.given.append({*known})
        return (Window(Period(MONTH.start, now), known),)

    def fetch(self, window: Window) -> Batch:
        return replace(super().fetch(window), meters={self.type: MeterReading(START, Decimal(1))})


def test_what_a_source_of_another_type_has_left_under_a_name_is_not_taken_up(world: World) -> None:
    first, second = Metered("aws", "10", type="a"), Metered("aws", "20", type="b")
    for source in (first, first, second, second, first, first):
        world.sources = [source]
        world.turn()
    assert (first.given, second.given) == ([set(), {"a"}, set(), {"a"}], [set(), {"b"}])
