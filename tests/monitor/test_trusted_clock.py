"""The daemon's own time, held against a machine whose wall clock does what it likes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.clients.dates import Heard
from monitor.clock import SystemClock
from monitor.trusted_clock import ALONE_S, EARLIEST, TOLERANCE, TrustedClock

T = datetime(2026, 11, 23, 18, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
STEPS = (-DAY / 24, -DAY, datetime(1970, 1, 2, tzinfo=UTC) - T, 3652 * DAY)


@dataclass
class Machine(SystemClock):
    """True time passes; the wall clock is `off` from it; hosts outside say what the test has them say."""

    true: datetime = T
    off: timedelta = timedelta(0)
    hosts: dict[str, Heard] = field(default_factory=dict)
    boot: datetime = T - 3 * DAY
    corrected: list[timedelta] = field(default_factory=list)

    def now(self) -> datetime:
        return self.true + self.off

    def elapsed(self) -> float:
        return (self.true - self.boot).total_seconds()

    def pass_(self, time: timedelta) -> None:
        self.true += time

    def says(self, host: str, off: timedelta = timedelta(0)) -> None:
        start, before = self.boot + off, self.hosts.get(host)
        same = before is not None and before.start == start
        first = before.first if before is not None and same else self.elapsed()
        self.hosts[host] = Heard(start, first, self.elapsed())

    def clock(self, last: datetime | None = None) -> TrustedClock:
        return TrustedClock(last, clock=self, heard=lambda: list(self.hosts.values()), correct=self.corrected.append)


def doubted(clock: TrustedClock) -> bool:
    return clock.look()[1].doubted_at is not None


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_not_believed_and_time_goes_on(step: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.off = step
    machine.pass_(MINUTE)
    assert clock.now() == machine.true
    assert doubted(clock)
    machine.off = timedelta(0)
    machine.pass_(MINUTE)
    assert clock.now() == machine.true
    assert not doubted(clock)
    assert clock.changes == 2
    assert machine.corrected == [timedelta(0), step, step, timedelta(0), timedelta(0)]


def test_small_corrections_are_followed_however_many() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(10):
        machine.off += MINUTE
        machine.pass_(DAY)
        assert clock.now() == machine.true + machine.off
        assert not doubted(clock)
    assert clock.changes == 0


def test_a_suspend_is_time_that_passes() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_(timedelta(hours=8))  # the running clock counts it, as CLOCK_BOOTTIME does
    assert clock.now() == machine.true
    assert not doubted(clock)


def test_a_machine_that_is_suspended_between_two_clocks_is_read_again() -> None:
    machine = Machine()
    clock = machine.clock()
    elapsed, times = machine.elapsed, []

    def slow() -> float:
        times.append(1)
        if len(times) == 2:
            machine.pass_(timedelta(hours=8))
        return elapsed()

    machine.elapsed = slow  # type: ignore[method-assign]
    assert clock.now() == machine.true
    assert not doubted(clock)


@pytest.mark.parametrize("off", [-DAY / 24, -DAY, 3652 * DAY])
def test_two_hosts_that_agree_with_the_clock_are_believed(off: timedelta) -> None:
    machine = Machine(off=off)
    clock = machine.clock()  # nobody could know
    machine.off = timedelta(0)
    assert clock.now() == machine.true + off
    machine.says("a")
    assert clock.now() == machine.true + off
    machine.says("b", MINUTE)
    assert clock.now() == machine.true
    assert not doubted(clock)


def test_two_hosts_that_agree_with_the_elapsed_time_change_nothing() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.off = -DAY
    assert clock.now() == machine.true
    machine.says("a")
    machine.says("b")
    assert clock.now() == machine.true
    assert doubted(clock)


def test_two_hosts_that_disagree_say_nothing_and_three_are_a_majority() -> None:
    machine = Machine(off=-DAY)
    clock = machine.clock()
    machine.off = timedelta(0)
    clock.now()
    machine.says("a")
    machine.says("b", 5 * DAY)
    assert clock.now() == machine.true - DAY
    machine.says("c")
    assert clock.now() == machine.true


def test_what_a_host_said_before_the_doubt_does_not_count() -> None:
    """A virtual machine that was paused: its clocks stood still, and what was heard before says what it was then."""
    machine = Machine()
    machine.says("a")
    machine.says("b")
    clock = machine.clock()
    machine.pass_(MINUTE)
    machine.off = DAY
    for host in "ab":
        assert clock.now() == machine.true
        machine.says(host, DAY)
    assert clock.now() == machine.true + DAY


def test_one_host_alone_is_believed_after_a_while() -> None:
    machine = Machine(off=-DAY)
    clock = machine.clock()
    machine.says("a")
    machine.off = timedelta(0)
    clock.now()
    for seconds in (60, ALONE_S - 60):
        machine.pass_(timedelta(seconds=seconds))
        machine.says("a")
        assert doubted(clock) == (seconds == 60)
    assert clock.now() == machine.true


@pytest.mark.parametrize(
    ("last", "believed"), [(None, True), (T - 900 * DAY, True), (T + MINUTE, True), (T + DAY, False)]
)
def test_at_a_start_only_a_clock_before_the_last_turn_is_doubted(last: datetime | None, believed: bool) -> None:
    machine = Machine()
    clock = machine.clock(last)
    assert doubted(clock) is not believed
    machine.pass_(MINUTE)
    assert clock.now() == (machine.true if believed or last is None else last + MINUTE)


def test_after_a_start_in_1970_the_clock_is_believed_when_it_is_right() -> None:
    machine = Machine(off=datetime(1970, 1, 2, tzinfo=UTC) - T)
    clock = machine.clock(T - DAY)  # a day after the last turn
    assert clock.now() == machine.true - DAY
    machine.off = timedelta(0)
    assert clock.now() == machine.true
    assert not doubted(clock)


def test_a_first_start_in_1970_waits_for_a_clock_that_can_be_right() -> None:
    machine = Machine(off=datetime(1970, 1, 2, tzinfo=UTC) - T)
    clock = machine.clock()
    assert clock.now() == EARLIEST
    assert doubted(clock)
    machine.off = timedelta(0)
    assert clock.now() == machine.true
    assert not doubted(clock)


def test_hosts_tell_a_machine_in_1970_how_long_it_was_off() -> None:
    machine = Machine(off=datetime(1970, 1, 2, tzinfo=UTC) - T)
    clock = machine.clock(T - 7 * DAY)
    machine.says("a")
    machine.says("b")
    assert clock.now() == machine.true
    assert doubted(clock), "the clock is wrong all the same"
    machine.off = timedelta(0)
    assert not doubted(clock)


def test_a_store_from_the_future_is_overruled_by_hosts() -> None:
    machine = Machine()
    clock = machine.clock(T + 3652 * DAY)
    assert doubted(clock)
    machine.says("a")
    machine.says("b")
    assert clock.now() == machine.true
    assert not doubted(clock)


# Far enough from the truth, and from each other, that no sum of them looks like a small correction.
far = st.integers(2, 3652).map(lambda days: days * DAY) | st.integers(-20000, -2).map(lambda days: days * DAY)
events = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.timedeltas(timedelta(0), 30 * DAY)),
        st.tuples(st.just("set"), far | st.just(timedelta(0))),
    ),
    max_size=30,
)


@given(events)
def test_whatever_happens_to_the_clock_the_time_is_right_and_doubt_says_whether_the_clock_is(
    history: list[tuple[str, timedelta]],
) -> None:
    machine = Machine()
    clock = machine.clock()
    for what, amount in history:
        if what == "pass":
            machine.pass_(amount)
        else:
            machine.off = amount
        assert clock.now() == machine.true
        assert doubted(clock) == (machine.off != timedelta(0))


@given(st.none() | st.timedeltas(-900 * DAY, 900 * DAY), far, events)
def test_two_honest_hosts_make_it_right_from_any_state(
    last: timedelta | None, off: timedelta, history: list[tuple[str, timedelta]]
) -> None:
    machine = Machine(off=off)
    clock = machine.clock(None if last is None else T + last)
    for what, amount in history:
        if what == "pass":
            machine.pass_(amount)
        else:
            machine.off = amount
        clock.now()
    machine.off = timedelta(0)
    clock.now()
    machine.says("a")
    machine.says("b")
    assert abs(clock.now() - machine.true) <= TOLERANCE
    assert not doubted(clock)
