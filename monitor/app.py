"""The composition root: here, and only here, a config becomes sources, receivers, a cycle and a dispatcher."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from alarms.dispatch import Dispatcher
from alarms.faults import Fault
from alarms.model import Severity
from alarms.ports import Notifier
from monitor import control, heartbeat, orders
from monitor.appointments import Appointments
from monitor.clock import Clock
from monitor.config.model import Config
from monitor.cycle import Cycle, TurnReport
from monitor.disk import Disk
from monitor.errors import StoreError
from monitor.facts_document import published, receiver_facts
from monitor.native_watch import NativeWatch
from monitor.ports import BillingSource
from monitor.receiver_faults import dead_receivers
from monitor.store import endings, facts, future, process, receivers
from monitor.store.database import Store
from monitor.store.outbox import Standing, StoredOutbox
from monitor.wiring import outside

log = logging.getLogger(__name__)

# A turn over a thousand accounts makes millions of objects and hardly a cycle among them; at Python's own 700 the
# collector looks through all of them so often that it takes a fifth of the turn.
_COLLECT_EVERY = 10_000


class App:
    """Everything that runs, wired together. `last_progress` is the clock's monotonic time of the last sign of life."""

    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        gc.set_threshold(_COLLECT_EVERY)
        self.config = config
        self.last_progress = clock.monotonic()
        self.resting = True
        self._store = store
        self._clock = clock
        self._outbox = StoredOutbox(store)
        self._broken_config: str | None = None
        self._process: dict[str, Any] | None = None  # ours, while we are a daemon
        self._disk = Disk(store)
        self._one_at_a_time = threading.Lock()
        self._publishing = threading.Lock()
        self._stopped = False
        self._control: control.Server | None = None
        # What is wrong with the monitor beside what it sees itself, as of the last turn.
        self._noted: tuple[Fault, ...] = ()
        self._wire_with(config, *outside(config, clock))
        self._settle()

    def turn(
        self, now: datetime, faults: Sequence[Fault] = (), *, everything: bool = False, read: bool = True
    ) -> TurnReport:
        """Do one turn, leave `status.json` behind; nothing once it is stopping. Raises StoreError.

        `faults`: what else is wrong with the monitor. `everything`, `read`: as for the cycle.
        """
        with self._one_at_a_time:
            if self._stopped:
                return TurnReport(now)
            self.resting = False
            self._noted = tuple(faults)
            try:
                report = self._disk.bear(now, partial(self._turn, now, everything=everything, read=read))
            finally:
                self.resting = True
            self.write_status()
        return report

    def tell(self, now: datetime, faults: Sequence[Fault]) -> None:
        """Tell people of faults at once: the turn that should may be what fails. Raises StoreError."""
        self._noted = (*self._noted, *faults)
        self._cycle.tell(now, faults)

    def back_up(self) -> None:
        """Make a backup of the store if the last one is a day old; what keeps from it is told with the next turn."""
        self._disk.back_up(self._clock.now())

    def look_at_natives(self, *, now: bool = False) -> bool:
        """Look at the twins inside the clouds if that is due, or now; whether there may be something new to tell."""
        return self._natives.look(now=now)

    def look_at_natives_aside(self) -> None:
        """Look at them if that is due, in a thread that nobody waits for."""
        self._natives.look_aside()

    def keep_appointments(self) -> None:
        """What has its own time and need not wait for the next turn; while one runs it does that itself."""
        if not self._one_at_a_time.acquire(blocking=False):
            return
        try:
            now = self._clock.now()
            if self._stopped or self._appointments.keep(now, self._all_faults(now)) is None:
                return
            self._dispatcher.wake()
            self.write_status()
        finally:
            self._one_at_a_time.release()

    def obey(self, command: str, arguments: Mapping[str, Any], by: str) -> str:
        """Do what a person wants; what to say to them. Waits for no turn. Raises UserError."""
        said = orders.obey(self._store, self.config, orders.Order(command, arguments, by, self._clock.now()))
        level = logging.DEBUG if command == "progress" else logging.INFO  # a run may report every minute
        log.log(level, "Told by a person. command=%s by=%s answer=%s", command, by, said)
        self.write_status()
        return said

    def _turn(self, now: datetime, *, everything: bool, read: bool) -> TurnReport:
        report = self._cycle.turn(now, partial(self._all_faults, now), everything=everything, read=read)
        digests = self._appointments.keep(now, self._all_faults(now)) or []
        report.notifications += [(digest.id, digest.receiver) for digest in digests]
        self._dispatcher.wake()
        return report

    def _all_faults(self, now: datetime) -> list[Fault]:
        return [*self._noted, *self._faults(), *self._disk.faults(now)]

    def write_status(self) -> None:
        """Leave the facts as `status.json` beside the store and, under systemd, where everybody may read it."""
        with self._publishing:  # a turn and a delivery at once: what was read first must not be written last
            with self._store.read() as connection:
                text = facts.read_facts(connection)
            if text is None:
                return
            owed = {receiver.name: receiver for receiver in self._outbox.receivers()}
            # Messages go out between turns.
            newer = [receiver_facts(r.name, owed.get(r.name)) for r in self.config.receivers]
            text = published(text, daemon=self._process, receivers=newer)
            runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
            for directory in (self._store.directory, *([Path(runtime)] if runtime else [])):
                self._disk.publish(directory, text)

    def start(self) -> tuple[datetime, ...]:
        """Owe what an earlier process left in doubt, and begin to send; when daemons before ended uncleanly."""
        now, self._process = self._clock.now(), process.this_process()
        self._store.persist(self._outbox.recover)
        unclean: tuple[datetime, ...] = ()
        try:
            with self._store.transaction() as tx:
                unclean = endings.begun(tx, now)
                future.forget(tx, self._outbox, now)
        except StoreError as error:  # a full disk is no reason not to watch
            log.error("That it starts could not be noted. error=%s", error)  # noqa: TRY400  # one sentence for people, no traceback
        self._cycle.log_failing()
        self._dispatcher.start()
        self.write_status()
        return unclean

    def go_on(self) -> None:
        """Begin a turn without a daemon: as `start`, but nothing is owed to it and nobody stays. Raises StoreError."""
        now = self._clock.now()

        def work() -> None:
            with self._store.transaction() as tx:
                endings.went_on(tx, now)
                future.forget(tx, self._outbox, now)

        self._store.persist(work)

    def time_was_set(self) -> None:
        """Another time is believed than before: nothing waits for what was planned by the old one."""
        now = self._clock.now()
        self._store.persist(partial(future.forget_in, self._store, self._outbox, now))
        # Certificates were not valid by a wrong clock, and signatures too old.
        self._outbox.revive(now)
        self._dispatcher.wake()

    @property
    def alive(self) -> bool:
        """Whether everything that sends is there."""
        return self._dispatcher.alive

    def listen(self) -> None:
        """Take commands at the control socket."""
        runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        try:
            self._control = control.Server(Path(runtime or self._store.directory), self._store.directory, self.obey)
        except OSError as error:
            # The money is watched without it; silence and ack then say that the daemon does not answer.
            log.error("No control socket: silence and ack will not work. error=%s", error)  # noqa: TRY400  # one sentence for people, no traceback

    def deliver(self, report: TurnReport, limit: timedelta) -> list[Standing]:
        """Send what is owed and wait for it; how each message of that turn stands then."""
        self._store.persist(self._outbox.recover)
        self._dispatcher.run_until_idle(limit)
        self.write_status()
        return self._outbox.standings({identity for identity, _ in report.notifications})

    def stop(self, limit: timedelta, *, wall: datetime | None = None) -> None:
        """End the running turn and sends, then close the store.

        `wall`: what the machine's clock says, for the next daemon; with it the store is marked as left in order.
        """
        self._stopped = True
        if self._control is not None:
            self._control.stop()
        self._disk.stop()
        self._cycle.stop()
        self._natives.stop()
        self._dispatcher.stop(limit)
        with self._one_at_a_time:
            if wall is not None:
                self._note_stop(wall)
            self._store.close()

    def _note_stop(self, wall: datetime) -> None:
        try:
            with self._store.transaction() as tx:
                endings.ended(tx, wall)
            self._process = None
            self.write_status()
        except StoreError as error:
            log.warning("That it stops in order could not be noted. error=%s", error)

    def replace(self, config: Config) -> None:
        """Go on with another config, at once: a turn that waits for sources ends.

        Raises ConfigError, and then nothing has changed. Raises StoreError where it is in force, but what is owed to
        receivers that are gone could not be told so: the next start or reload tries again.
        """
        made = outside(config, self._clock)
        self._cycle.stop()
        with self._one_at_a_time:
            self._dispatcher.stop(timedelta(seconds=30))
            self._natives.stop()
            self._wire_with(config, *made)
            try:
                self._outbox.recover()
                self._settle()
            finally:
                self._dispatcher.start()

    def note_broken_config(self, problem: str | None) -> None:
        """Remember why the config could not be reloaded; the next turn tells people."""
        self._broken_config = problem

    def heartbeat(self, report: TurnReport) -> None:
        """Ping the dead man's switch if every source was read and somebody hears us: silence there is the alarm."""
        address = self.config.monitor.heartbeat_url
        names = [each.name for each in self.config.receivers]
        nobody = receivers.nobody_hears(names, self._outbox.receivers(), self._clock.now())
        if address is not None and not report.unread and not nobody:
            heartbeat.ping(address)

    def _settle(self) -> None:
        """Bring what is owed in line with the receivers that there are now."""
        self._store.persist(partial(self._outbox.retire, [each.name for each in self.config.receivers]))
        self._store.persist(partial(self._outbox.revive, self._clock.now()))

    def _wire_with(self, config: Config, sources: Sequence[BillingSource], notifiers: dict[str, Notifier]) -> None:
        self.config = config
        self._dispatcher = Dispatcher(
            self._outbox,
            notifiers,
            self._clock.now,
            min_severity={r.name: Severity(r.min_severity) for r in config.receivers if r.min_severity},
            on_change=self.write_status,
        )
        self._appointments = Appointments(config, self._store, self._outbox)
        self._natives = NativeWatch(config, self._store, self._clock, changed=self.write_status)
        self._cycle = Cycle(
            config, sources, self._store, self._outbox, changed=self._dispatcher.wake, progressed=self._note_progress
        )

    def _note_progress(self) -> None:
        self.last_progress = self._clock.monotonic()

    def _faults(self) -> list[Fault]:
        faults = [*dead_receivers(self._outbox.receivers()), *self._natives.faults()]
        if self._broken_config is not None:
            title = "The new config is broken, the old one stays"
            faults.append(Fault("config", "broken", Severity.CRITICAL, title, self._broken_config))
        return faults
