"""What the monitor is told, running or not: silence, ack, unsilence, how native alarms stand; progress of runs.

Each is one transaction: what is asked for, the messages that are held back by it, and what `status` shows.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

from alarms.evaluate import height_of
from alarms.model import Alarm, AlarmStatus
from alarms.silence import LONGEST, Silence, SilenceKind, Silences, base_of
from alarms.words import clean, instant_text
from monitor import native_orders
from monitor.clock import from_text
from monitor.config.model import Config
from monitor.config.report import unknown_name
from monitor.errors import AlreadyRunningError, ExitCode, StoreError, UserError
from monitor.facts_document import native_facts, published, silence_facts
from monitor.foresight import runs_of
from monitor.model import Progress
from monitor.rights import is_read_only, myself
from monitor.store import alarm_states, facts, lock, natives, progress, silences
from monitor.store.database import LEDGER, Store, open_store
from monitor.store.outbox import StoredOutbox
from monitor.store.quieting import hold_back
from monitor.store.reading import check_stored

_LONGEST_WHY = 200
# Another state directory would be no help: it is this one whose daemon is to be told.
_AS_WHOM = "run it as root (sudo) or as the user of the daemon"
_SHOWN = 5
_MOST_STEPS = 10**15
_CLOCKS_DIFFER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Order:
    """One command of a person; `arguments` come over a socket and may be anything. `daemon`: whether one obeys it."""

    command: str
    arguments: Mapping[str, Any]
    by: str
    now: datetime
    daemon: bool = True


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where an order is carried out: inside the open transaction."""

    tx: sqlite3.Connection
    config: Config
    order: Order
    stored: tuple[Silence, ...]

    def when(self, instant: datetime) -> str:
        return instant_text(instant, ZoneInfo(self.config.monitor.timezone))


def open_existing(directory: Path) -> Store:
    """The store of a state directory where no daemon runs; makes none. Raises UserError, StoreError."""
    path = directory / LEDGER
    check_stored(directory)
    if not os.access(path, os.W_OK):
        if is_read_only(path):
            raise StoreError(f"{path} is on a read-only file system; make that writable first", ExitCode.TEMPORARY)
        raise StoreError(f"{path} may not be written by {myself()}; {_AS_WHOM}")
    try:
        return open_store(directory)
    except AlreadyRunningError as error:
        raise AlreadyRunningError(
            f"a monitor holds {directory}{lock.holder(directory)} but does not answer: it is starting or stopping, or "
            "a `monitor once`; try again in a moment"
        ) from error


def show(store: Store) -> None:
    """Leave `status.json` as a command that is no daemon knows it. Raises StoreError."""
    with store.read() as connection:
        document = facts.read_facts(connection)
    if document is not None:
        facts.publish(store.directory, published(document))


def obey(store: Store, config: Config, order: Order) -> str:
    """Carry it out; what to say to whoever asked. Raises UserError, and then nothing has changed."""
    handle = _HANDLERS.get(order.command)
    if handle is None:
        raise UserError(f"the running daemon does not know the command {order.command[:32]!r}", ExitCode.USAGE)

    def work() -> str:
        with store.transaction() as tx:
            said = handle(_Desk(tx, config, order, tuple(silences.load(tx))))
            present = Silences(silences.load(tx), order.now)
            hold_back(tx, StoredOutbox(store), present)
            _renew_facts(tx, present, config)
        return said

    said = store.persist(work)
    return f"{said} (the disk takes no writes now: only until the monitor is restarted)" if store.in_memory else said


def _silence(desk: _Desk) -> str:
    order = desk.order
    name = _budget(desk, _configured(desk))
    until = order.now + _duration(order.arguments.get("for_s"))
    why = order.arguments.get("why", "")
    if not isinstance(why, str):
        raise UserError("expected --why with a text", ExitCode.USAGE)
    silences.put(desk.tx, Silence(name, SilenceKind.SILENCE, order.now, until, order.by, clean(why, _LONGEST_WHY)))
    before = [
        one for one in desk.stored if (one.budget, one.kind) == (name, SilenceKind.SILENCE) and one.lasts(order.now)
    ]
    instead = "".join(f" (before: {desk.when(one.until)})" for one in before if one.until is not None)
    return f"{_all_of(desk, name)} is silenced until {desk.when(until)}{instead}; status still tells"


def _ack(desk: _Desk) -> str:
    name = _budget(desk, _configured(desk))
    highest: dict[tuple[str, datetime | None], Alarm] = {}
    for alarm in sorted(_firing(desk, name), key=_heights(desk.config)):
        highest[alarm.key.subject, alarm.key.period_start] = alarm
    if not highest:
        return f"{name} has no alarm that fires, so there is nothing to acknowledge"
    told = []
    for alarm in highest.values():
        key = alarm.key
        silences.put(
            desk.tx,
            Silence(key.subject, SilenceKind.ACK, desk.order.now, None, desk.order.by, episode=alarm.episode),
        )
        told.append(f"{key.subject}, {key.on} {key.at} ({key.severity})")
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"acknowledged: {'; '.join(told[:_SHOWN])}{more}. Not repeated until the level changes; status still tells"


def _unsilence(desk: _Desk) -> str:
    now = desk.order.now
    lasting = [one for one in desk.stored if one.lasts(now)]
    name = _budget(desk, _configured(desk) | {one.budget for one in lasting})
    mine = [one for one in lasting if name in (one.budget, base_of(one.budget))]
    silenced = [one for one in mine if one.kind is SilenceKind.SILENCE]
    if any(one.covers(name) and one not in mine for one in lasting):
        base = base_of(name)
        raise UserError(
            f"{name} is silenced together with all of {base}; end that: monitor unsilence {base}", ExitCode.USAGE
        )
    if not mine:
        return f"{name} was not silenced"
    for one in silenced:
        # The next evaluation tells what fires and forgets it.
        silences.put(desk.tx, replace(one, until=now))
    acks = [one for one in mine if one.kind is SilenceKind.ACK]
    silences.keep(desk.tx, [one for one in silences.load(desk.tx) if one not in acks])
    if not silenced:
        return f"{name} is no longer acknowledged; its repeats go on"
    too = " nor acknowledged" if acks else ""
    when = "now" if desk.order.daemon else "with the next turn"
    return f"{name} is no longer silenced{too}; if it is over a limit, that is told {when}"


def _progress(desk: _Desk) -> str:
    order, config = desk.order, desk.config
    known = {name for budget in config.budgets for name in runs_of(budget, config)}
    run, step, steps = (order.arguments.get(key) for key in ("run", "step", "of"))
    if not isinstance(run, str) or run not in known:
        raise UserError(unknown_name("run", clean(str(run), 64), sorted(known)), ExitCode.USAGE)
    if not _is_whole(step) or not _is_whole(steps) or not 0 <= step <= steps or not steps:
        raise UserError("expected --step N --of M, whole numbers, with N from 0 to M", ExitCode.USAGE)
    try:
        at = from_text(order.arguments["at"]) if order.arguments.get("at") is not None else order.now
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError("expected --at with a time such as 2026-11-23T18:00:00Z", ExitCode.USAGE) from error
    if at > order.now + _CLOCKS_DIFFER:
        raise UserError("--at lies in the future; leave it out for now", ExitCode.USAGE)
    progress.put(desk.tx, Progress(run, at, step, steps, order.by))
    begins = [plan.start for plan in config.plans if plan.name == run and plan.start > at]
    early = "".join(f"; its plan begins only on {desk.when(start)}: is that run meant?" for start in begins)
    return f"{run}: step {step:,} of {steps:,}{early}"


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value < _MOST_STEPS


def _native(desk: _Desk) -> str:
    return native_orders.take_in(desk.tx, desk.config, desk.order.arguments, desk.order.now)


_HANDLERS: dict[str, Callable[[_Desk], str]] = {
    "silence": _silence,
    "ack": _ack,
    "unsilence": _unsilence,
    "progress": _progress,
    native_orders.COMMAND: _native,
}


def _budget(desk: _Desk, known: Iterable[str]) -> str:
    name = desk.order.arguments.get("budget")
    if not isinstance(name, str) or name not in known:
        raise UserError(unknown_name("budget", clean(str(name), 64), sorted(known)), ExitCode.USAGE)
    return name


def _configured(desk: _Desk) -> set[str]:
    """Every budget of the config, and those made by `each` when last evaluated."""
    names = {budget.name for budget in desk.config.budgets}
    document = facts.read_facts(desk.tx)
    shown = [] if document is None else json.loads(document)["budgets"]
    return names | {row["name"] for row in shown if base_of(row["name"]) in names}


def _duration(seconds: Any) -> timedelta:
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not whole or not 0 < seconds <= LONGEST // timedelta(seconds=1):
        raise UserError(
            f"expected --for with at most {LONGEST.days}d: for longer, change the budget in the config", ExitCode.USAGE
        )
    return timedelta(seconds=seconds)


def _firing(desk: _Desk, name: str) -> list[Alarm]:
    return [
        alarm
        for alarm in alarm_states.load_open(desk.tx).values()
        if alarm.status is AlarmStatus.FIRING
        and alarm.key.period_start is not None
        and name in (alarm.key.subject, base_of(alarm.key.subject))
    ]


def _heights(config: Config) -> Callable[[Alarm], Any]:
    """What orders the alarms of a budget, as an evaluation does; one that is no longer configured comes lowest."""
    known = {
        (budget.name, threshold.on, threshold.at.text, threshold.severity): height_of(
            threshold, threshold.at.of(budget.amount)
        )
        for budget in config.budgets
        for threshold in budget.thresholds
    }

    def height(alarm: Alarm) -> Any:
        key = alarm.key
        return known.get((base_of(key.subject), key.on, key.at, key.severity), ())

    return height


def _all_of(desk: _Desk, name: str) -> str:
    spread = any(budget.name == name and budget.each is not None for budget in desk.config.budgets)
    return f"every budget {name}/…" if spread else name


def _renew_facts(tx: sqlite3.Connection, present: Silences, config: Config) -> None:
    document = facts.read_facts(tx)
    if document is not None:
        told = {
            "silences": [silence_facts(one) for one in present.lasting],
            "native": [native_facts(row, config.monitor.drill_every) for row in natives.read(tx)],
        }
        renewed = {**json.loads(document), **told}
        facts.write_facts(tx, json.dumps(renewed, ensure_ascii=False))
