"""The daemon: a turn on a schedule, signals, and systemd's watchdog fed from finished turns."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from alarms.faults import Fault
from alarms.model import Severity
from monitor import signals, systemd
from monitor.app import App
from monitor.clock_faults import clock_faults
from monitor.config import Config
from monitor.errors import ExitCode, OutsideError, StoreError, UserError
from monitor.schedule import Schedule
from monitor.trusted_clock import TrustedClock

log = logging.getLogger(__name__)

# How often the daemon looks at itself when systemd does not say: a third of what systemd waits, else this.
_LOOK_S = 15.0
# A silence ends and a digest comes within this much of its time, however rare turns are.
_APPOINTMENTS_S = 10.0
# A turn is slow, not hung, as long as something arrives: a source is given up on after 90 s of silence.
_PROGRESS_LIMIT_S = 150.0
# How often it is looked at whether the twins inside the clouds are to be looked at.
_NATIVES_S = 30.0
# How often it is looked at whether a daily backup is due; the first time a while after the start.
_BACKUP_LOOK_S = 600.0
# systemd waits 30 s after SIGTERM before it kills (TimeoutStopSec); a send may take up to its own deadline.
_STOP_S = 20.0
# One kill is bad luck; so many within so long are a fault that a person should see.
_UNCLEAN_ENDS, _UNCLEAN_WITHIN = 2, timedelta(hours=1)


class Daemon:
    """Runs until SIGTERM or SIGINT; SIGHUP reloads the config."""

    def __init__(self, app: App, load: Callable[[], Config], clock: TrustedClock) -> None:
        self._app = app
        self._load = load
        self._clock = clock
        self._schedule = Schedule(clock, self._on_failed_job)
        self._unclean: tuple[datetime, ...] = ()
        self._broken = False
        self._changes = clock.changes

    def run(self) -> int:
        """Block until told to stop; the exit code."""
        signals.hold()
        self._unclean = self._app.start()
        self._tell(_unclean_ends(self._unclean, self._clock.now()))
        self._schedule_turns()
        look = min(_LOOK_S, (systemd.watchdog_seconds() or _LOOK_S * 3) / 3)
        self._schedule.every(look, self._look, "look")
        self._schedule.every(_BACKUP_LOOK_S, self._app.back_up, "backup")
        self._schedule.every(_APPOINTMENTS_S, self._app.keep_appointments, "appointments")
        self._schedule.every(_NATIVES_S, self._app.look_at_natives_aside, "natives", at_once=True)
        self._schedule.start()
        self._app.listen()
        systemd.notify(READY="1", STATUS="first turn under way")
        log.info("Watching. sources=%d budgets=%d", len(self._app.config.sources), len(self._app.config.budgets))
        while signals.wait() == signal.SIGHUP:
            self._reload_config()
        return self._stop()

    def _schedule_turns(self) -> None:
        self._schedule.every(self._app.config.monitor.poll.total_seconds(), self._turn, "turn", at_once=True)

    def _turn(self) -> None:
        now, belief = self._clock.look()
        changes = self._clock.changes
        if changes != self._changes:
            self._app.time_was_set()
            self._changes = changes
        faults = [*clock_faults(belief, now), *_unclean_ends(self._unclean, now)]
        report = self._app.turn(now, faults)
        self._broken = False
        systemd.notify(STATUS=report.summary)
        self._app.heartbeat(report)

    def _on_failed_job(self, job: str, error: BaseException) -> None:
        # Not fed any more, the watchdog restarts us; without systemd the next turn tries again.
        log.error("A job failed. job=%s error=%s", job, type(error).__name__)
        if not isinstance(error, StoreError):  # whose troubles may pass; a defect of ours is worth a new process
            self._broken = True
            self._tell([_defect(error)])

    def _tell(self, faults: Sequence[Fault]) -> None:
        if not faults:
            return
        try:
            self._app.tell(self._clock.now(), faults)
        except StoreError as error:
            log.error("People could not be told. error=%s", error)  # noqa: TRY400  # one sentence for people, no traceback

    def _look(self) -> None:
        """Feed the watchdog if turns do finish. It runs on the scheduler's own threads, so it proves these too."""
        silent_for = self._clock.monotonic() - self._app.last_progress
        resting = self._app.resting
        limit = _PROGRESS_LIMIT_S + (self._app.config.monitor.poll.total_seconds() if resting else 0)
        if silent_for >= limit:
            log.critical("No turn makes progress. seconds=%d", silent_for)
        elif self._broken:
            log.critical("The last turn failed from a defect.")
        elif not (self._app.alive and self._schedule.alive):
            log.critical("A thread has died from a defect.")
        else:
            systemd.notify(WATCHDOG="1")

    def _reload_config(self) -> None:
        systemd.notify(RELOADING="1")
        try:
            self._app.replace(self._load())
        except StoreError as error:
            log.error("The config was reloaded; what is owed by the old one could not be seen to. error=%s", error)  # noqa: TRY400  # one sentence for people, no traceback
            self._app.note_broken_config(None)
        except (UserError, OutsideError) as error:
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
        self._schedule.pause()
        self._app.stop(timedelta(seconds=_STOP_S), wall=self._clock.wall())
        self._schedule.stop()
        return ExitCode.OK


def _unclean_ends(ends: tuple[datetime, ...], now: datetime) -> list[Fault]:
    recent = [end for end in ends if now - end < _UNCLEAN_WITHIN]
    if len(recent) < _UNCLEAN_ENDS:
        return []
    detail = (
        f"It was killed or hung {len(recent)} times within an hour, and was started again. Nothing that was owed is "
        "lost. See why: `journalctl -u cloud-budget-monitor`."
    )
    return [Fault("monitor", "ending uncleanly", Severity.WARNING, "The monitor keeps ending uncleanly", detail)]


def _defect(error: BaseException) -> Fault:
    detail = (
        f"A turn failed from a defect of this program ({type(error).__name__}), so that no budget may be judged. It is "
        "tried again with the next turn. See the log: `journalctl -u cloud-budget-monitor`."
    )
    return Fault("monitor", "failing from a defect", Severity.CRITICAL, "The monitor fails from a defect", detail)
