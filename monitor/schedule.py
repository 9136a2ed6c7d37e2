"""Jobs at an interval that no step of the wall clock stops, hurries or repeats: APScheduler, held to the running clock.

APScheduler plans in wall time: set back an hour, it does nothing for an hour; set forward ten years, it counts every
run of ten years that it has missed; and through a suspend it sleeps on. Here each job is due by the running clock, and
a pulse moves APScheduler's plan whenever the two have come apart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from monitor.trusted_clock import TrustedClock

_PULSE_S = 1.0
# As far as a plan may be off: not every correction of a few milliseconds is worth a new one.
_APART = timedelta(seconds=1)


class Every(BaseTrigger):  # type: ignore[misc]  # apscheduler publishes no types
    """One interval after the last run was begun. `due`: when that is, by the running clock."""

    def __init__(self, seconds: float, elapsed: Callable[[], float]) -> None:
        self.due = elapsed()
        self._seconds = seconds
        self._elapsed = elapsed

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Called by APScheduler with its own idea of the present."""
        self.due = self._elapsed() + self._seconds
        return now + timedelta(seconds=self._seconds)


class Schedule:
    """Runs jobs in threads of its own, each one at a time; a run that is late is made up for once."""

    def __init__(self, clock: TrustedClock, failed: Callable[[str, BaseException], None]) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._triggers: dict[str, Every] = {}
        self._pulse = threading.Thread(target=self._keep_time, name="pulse", daemon=True)
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            # A late run is better than a lost one, and one run makes up for all that were missed (a suspended
            # laptop): APScheduler would drop a run that is more than a second late.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

        def hand_on(event: JobExecutionEvent) -> None:
            failed(event.job_id, event.exception)

        self._scheduler.add_listener(hand_on, EVENT_JOB_ERROR)

    def every(self, seconds: float, job: Callable[[], None], name: str, *, at_once: bool = False) -> None:
        """Run a job at this interval; in place of one of the same name."""
        trigger = self._triggers[name] = Every(seconds, self._clock.elapsed)
        first = {"next_run_time": self._clock.wall()} if at_once else {}
        self._scheduler.add_job(job, trigger, id=name, replace_existing=True, **first)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()
        self._pulse.start()

    @property
    def alive(self) -> bool:
        """Whether time is kept; that jobs are begun shows in the jobs."""
        return self._pulse.is_alive()

    def stop(self) -> None:
        """Begin no more; what runs is not waited for."""
        self._stopping.set()
        self._scheduler.shutdown(wait=False)

    def pause(self) -> None:
        """Begin nothing from now on."""
        self._stopping.set()
        self._scheduler.pause()

    def _keep_time(self) -> None:
        while not self._stopping.wait(_PULSE_S):
            self.adjust()

    def adjust(self) -> None:
        """Bring APScheduler's plan in line with the running clock."""
        self._clock.now()  # a step is seen when it happens, not with the next turn
        for name, trigger in tuple(self._triggers.items()):
            job = self._scheduler.get_job(name)
            if job is None or job.next_run_time is None:
                continue
            due = trigger.due
            left = timedelta(seconds=due - self._clock.elapsed())
            planned = self._clock.wall() + left
            if abs(job.next_run_time - planned) > _APART and trigger.due == due:
                self._scheduler.modify_job(name, next_run_time=planned)
            elif left < -_APART:
                self._scheduler.wakeup()
