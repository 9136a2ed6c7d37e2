"""Jobs by the running clock, on the real APScheduler."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from monitor.schedule import Every, Schedule
from monitor.trusted_clock import TrustedClock

HOUR = timedelta(hours=1)


@pytest.fixture
def schedule() -> Iterator[Schedule]:
    made = Schedule(TrustedClock(None), lambda job, error: None)
    yield made
    made.stop()


def plan(schedule: Schedule) -> datetime:
    at = schedule._scheduler.get_job("turn").next_run_time
    assert isinstance(at, datetime)
    return at


def test_a_job_runs_at_once_if_told_and_what_fails_is_handed_on() -> None:
    failed: list[tuple[str, BaseException]] = []
    over = threading.Event()
    error = ValueError("no")

    def job() -> None:
        raise error

    def hand_on(name: str, raised: BaseException) -> None:
        failed.append((name, raised))
        over.set()

    schedule = Schedule(TrustedClock(None), hand_on)
    schedule.every(3600, job, "turn", at_once=True)
    schedule.start()
    assert over.wait(20)
    assert failed == [("turn", error)]
    schedule.stop()


@pytest.mark.parametrize("step", [-HOUR, 24 * HOUR, -20000 * 24 * HOUR, 3652 * 24 * HOUR])
def test_a_plan_that_a_step_has_moved_is_put_back(schedule: Schedule, step: timedelta) -> None:
    schedule.every(3600, lambda: None, "turn")
    schedule.start()
    planned = plan(schedule)
    schedule.adjust()
    assert plan(schedule) == planned, "nothing to put back"
    # To the clock, a plan is off by what it was itself set by.
    schedule._scheduler.pause()
    schedule._scheduler.modify_job("turn", next_run_time=planned - step)
    schedule.adjust()
    assert abs(plan(schedule) - planned) < timedelta(seconds=10)


def test_a_job_that_was_slept_through_is_run_though_apscheduler_sleeps_on(schedule: Schedule) -> None:
    ran = threading.Event()
    schedule.every(3600, ran.set, "turn")
    schedule.start()
    # What a suspend does: an hour has passed for both clocks, but not for a thread that waits.
    with schedule._scheduler._jobstores_lock:  # one that looked in between would see a step
        schedule._triggers["turn"].due -= 3605
        job = schedule._scheduler.get_job("turn")
        job._modify(next_run_time=datetime.now(UTC) - timedelta(seconds=5))
        schedule._scheduler._jobstores["default"].update_job(job)
    assert ran.wait(20)


def test_ten_years_are_one_run() -> None:
    """APScheduler's own interval counts every run that was missed, in memory: 21 million of them."""
    running = [100.0]
    trigger = Every(15, lambda: running[0])
    scheduler = BackgroundScheduler(timezone="UTC")
    now = datetime.now(UTC)
    scheduler.add_job(lambda: None, trigger, id="look", next_run_time=now)
    scheduler.start(paused=True)
    later = now + timedelta(days=3652)
    assert scheduler.get_job("look")._get_run_times(later) == [now]
    assert trigger.get_next_fire_time(now, later) == later + timedelta(seconds=15)
    assert trigger.due == 115
    scheduler.shutdown()
