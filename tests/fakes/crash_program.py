"""A small monitor to be killed: turns that book charges, move an alarm and owe messages, and the sending of them.

Turn n owes `e{n}/l/1`, and the next message about an alarm that goes on from turn to turn, `c/l/{n + 1}`; in the
turn FLOOD there are so many that they make a digest. LATE is down until all turns are over.

Reads "DIRECTORY PORT SECONDS" lines; each runs once in a fork that is killed after so many seconds, and answers with
its exit status. Forked, because starting Python forty times would take longer than the test.
"""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alarms.digest import digest_of
from alarms.dispatch import Dispatcher
from alarms.errors import TemporaryError
from alarms.model import (
    Alarm,
    AlarmKey,
    AlarmStatus,
    Delivery,
    DeliveryState,
    Facts,
    Kind,
    Notification,
    Period,
    Reason,
    Receipt,
    Severity,
    Transition,
)
from monitor.model import Batch, Charge, Series
from monitor.store import alarm_states, charges, facts
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox

START = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
TURNS = 6
FLOOD = 3
RECEIVERS = ("oncall", "mail")
LATE = "late"
SERIES = Series("aws", "USD")
KEY = AlarmKey("training", "actual", "80%", Severity.WARNING, START)


class Poster:
    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name

    def send(self, notification: Notification) -> Receipt:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            repeat = "1" if notification.possible_repeat else "0"
            connection.request("POST", f"/{self._name}/{notification.id}", headers={"Repeat": repeat})
            if connection.getresponse().status != http.client.OK:
                raise TemporaryError("not accepted")
        except OSError as error:
            raise TemporaryError("no answer", uncertain=True) from error
        finally:
            connection.close()
        return Receipt()


def messages(number: int, receiver: str) -> list[Notification]:
    """What turn `number` owes a receiver; LATE hears of the alarm that goes on alone."""
    now = START + number * HOUR
    last = number == TURNS - 1
    kind = Kind.RESOLVED if last else Kind.REPEAT if number else Kind.FIRING
    goes_on = Facts(kind, Severity.WARNING, Reason.CROSSED, "c", subject="c", first_detected=START)
    found = [Notification(f"c/l/{number + 1}", receiver, now, goes_on)]
    if receiver != LATE:
        said = Facts(Kind.FIRING, Severity.WARNING, Reason.CROSSED, f"turn {number}")
        names = [f"f{each}" for each in range(12)] if number == FLOOD else []
        found += [Notification(f"{name}/l/1", receiver, now, said) for name in (f"e{number}", *names)]
    return found


def expected() -> set[str]:
    """The paths of everything that is to arrive."""
    found = {f"/{LATE}/c/l/{TURNS}"}
    for name in RECEIVERS:
        for number in range(TURNS):
            owed = messages(number, name)
            if number == FLOOD:
                owed = [digest_of([Delivery(each, DeliveryState.DUE, 0, START) for each in owed]).notification]
            found |= {f"/{name}/{each.id}" for each in owed}
    return found


def turn(store: Store, outbox: StoredOutbox, number: int) -> None:
    now = START + number * HOUR
    charge = Charge(SERIES, Period(now, now + HOUR), Decimal("0.1"))
    status = AlarmStatus.FIRING if number % 2 == 0 else AlarmStatus.OK
    with store.transaction() as tx:
        charges.replace(tx, "aws", Batch((charge,), {SERIES: charge.period}, now), now)
        change = Transition(KEY, AlarmStatus.OK, status, Reason.CROSSED, now, f"e{number}")
        alarm_states.save(tx, [Alarm(KEY, status=status)], [change])
        for receiver in (*RECEIVERS, LATE):
            outbox.add(messages(number, receiver))
        facts.write_turn(tx, now)


def work(directory: Path, port: int) -> None:
    with open_store(directory) as store:
        outbox = StoredOutbox(store)
        outbox.recover()
        dispatcher = dispatcher_for(outbox, port, *RECEIVERS)
        dispatcher.run_until_idle(timedelta(seconds=20))
        with store.read() as connection:
            last = facts.last_turn(connection)
        done = -1 if last is None else (last - START) // HOUR
        for number in range(done + 1, TURNS):
            turn(store, outbox, number)
            dispatcher.run_until_idle(timedelta(seconds=20))
        dispatcher_for(outbox, port, LATE).run_until_idle(timedelta(seconds=20))


def dispatcher_for(outbox: StoredOutbox, port: int, *names: str) -> Dispatcher:
    notifiers = {name: Poster(port, name) for name in names}
    return Dispatcher(outbox, notifiers, lambda: START + TURNS * HOUR, pace_s=0)


def main() -> None:
    for line in sys.stdin:
        directory, port, seconds = line.split()
        child = os.fork()
        if child == 0:
            work(Path(directory), int(port))
            os._exit(0)
        threading.Event().wait(float(seconds))
        os.kill(child, signal.SIGKILL)  # not reaped yet: its number belongs to nobody else
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
