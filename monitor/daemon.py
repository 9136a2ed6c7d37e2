"""The daemon: a turn on a schedule, signals, and systemd's watchdog fed from finished turns."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from datetime import timedelta

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from monitor import signals, systemd
from monitor.app import App
from monitor.clock import Clock
from monitor.config import Config
from monitor.errors import ConfigError, ExitCode, OutsideError, StoreError

log = logging.getLogger(__name__)

# How often the daemon looks at itself when systemd does not say: a third of what systemd waits, else this.
_LOOK_S = 15.0
# A turn is slow, not hung, as long as something arrives: a source is given up on after 90 s of silence.
_PROGRESS_LIMIT_S = 150.0
# How often it is looked at whether a daily backup is due; the first time a while after the start.
_BACKUP_LOOK_S = 600.0
# systemd waits 30 s after SIGTERM before it kills (TimeoutStopSec); a send may take up to its own deadline.
_STOP_S = 20.0


class Daemon:
    """Runs until SIGTERM or SIGINT; SIGHUP reloads the config."""

    def __init__(self, app: App, load: Callable[[], Config], clock: Clock) -> None:
        self._app = app
        self._load = load
        self._clock = clock
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            # A late run is better than a lost one, and one run makes up for all that were missed (a suspended
            # laptop): APScheduler would drop a run that is more than a second late.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def run(self) -> int:
        """Block until told to stop; the exit code."""
        signals.hold()
        self._app.start()
        self._scheduler.add_listener(self._on_turn_error, EVENT_JOB_ERROR)
        self._schedule_turns()
        look = min(_LOOK_S, (systemd.watchdog_seconds() or _LOOK_S * 3) / 3)
        self._scheduler.add_job(self._look, "interval", seconds=look, id="look")
        self._scheduler.add_job(self._app.back_up, "interval", seconds=_BACKUP_LOOK_S, id="backup")
        self._scheduler.start()
        systemd.notify(READY="1", STATUS="first turn under way")
        log.info("Watching. sources=%d budgets=%d", len(self._app.config.sources), len(self._app.config.budgets))
        while signals.wait() == signal.SIGHUP:
            self._reload_config()
        return self._stop()

    def _schedule_turns(self) -> None:
        self._scheduler.add_job(
            self._turn,
            "interval",
            seconds=self._app.config.monitor.poll.total_seconds(),
            id="turn",
            replace_existing=True,
            next_run_time=self._clock.now(),
        )

    def _turn(self) -> None:
        report = self._app.turn(self._clock.now())
        systemd.notify(STATUS=report.summary)
        self._app.heartbeat(report)

    def _on_turn_error(self, event: JobExecutionEvent) -> None:
        # Not fed any more, the watchdog restarts us; without systemd the next turn tries again.
        log.error("A job failed. job=%s error=%s", event.job_id, type(event.exception).__name__)

    def _look(self) -> None:
        """Feed the watchdog if turns do finish. It runs on the scheduler's own threads, so it proves these too."""
        silent_for = self._clock.monotonic() - self._app.last_progress
        resting = self._app.resting
        limit = _PROGRESS_LIMIT_S + (self._app.config.monitor.poll.total_seconds() if resting else 0)
        if silent_for < limit:
            systemd.notify(WATCHDOG="1")
        else:
            log.critical("No turn makes progress. seconds=%d", silent_for)

    def _reload_config(self) -> None:
        systemd.notify(RELOADING="1")
        try:
            self._app.replace(self._load())
        except (ConfigError, OutsideError, StoreError) as error:
            log.critical("The new config is broken, the old one stays. error=%s", error)
            self._app.note_broken_config(str(error))
        else:
            log.info("The config was reloaded.")
            self._app.note_broken_config(None)
        self._schedule_turns()
        systemd.notify(READY="1")

    def _stop(self) -> int:
        log.info("Stopping.")
        systemd.notify(STOPPING="1")
        self._scheduler.pause()
        self._app.stop(timedelta(seconds=_STOP_S))
        self._scheduler.shutdown(wait=False)
        return ExitCode.OK
