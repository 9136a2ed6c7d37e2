"""One function per command: options in, exit code out. Heavy imports are inside, so that each pays only for its own."""

from __future__ import annotations

import argparse
import logging
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.clock import FixedClock, SystemClock, to_text
from monitor.errors import ExitCode, StoreError, UserError
from monitor.output import remark, warn
from monitor.output import say as _say

if TYPE_CHECKING:
    from alarms.model import Notification
    from monitor.config import Config
    from monitor.store.database import Store
    from monitor.trusted_clock import TrustedClock

_FORESTALLED = (
    "--as-of {} lies in the future: receivers are told now of what ends until then, and a later turn without --as-of "
    "may take the machine's clock for wrong (warning)"
)


def demo(options: argparse.Namespace) -> int:
    """Show the whole main job on simulated clouds."""
    from monitor.demo import show, write_config

    if options.write_config is not None:
        return write_config(options.write_config)
    return show(fast=options.fast)


def run(options: argparse.Namespace) -> int:
    """Be the daemon."""
    from monitor import logs, signals
    from monitor.store.mending import open_mended

    signals.hold()
    config = _config(options)
    warn(one for one in config.warnings if one not in config.remarks)
    redactor = logs.set_up(logging.INFO, config)

    def load_again() -> Config:
        again = _config(options)
        redactor.add(*logs.secrets_in(again))
        return again

    with open_mended(_state_dir(options), SystemClock().now()) as store:
        # After the lock is held: a second daemon must learn at once that it is one too many.
        from monitor import garbage
        from monitor.app import App
        from monitor.daemon import Daemon

        garbage.look_less_often()
        clock = _trusted_clock(store)
        return Daemon(App(config, store, clock), load_again, clock).run()


def once(options: argparse.Namespace) -> int:
    """Do one turn and say what it did."""
    from monitor import logs
    from monitor import once as report_of
    from monitor.store.mending import open_mended

    config = _config(options)
    logs.set_up(logging.ERROR, config)
    present = SystemClock().now()
    if options.as_of and options.as_of > present and config.receivers:
        remark(_FORESTALLED.format(to_text(options.as_of)))
    with open_mended(_state_dir(options), options.as_of or present) as store:
        from monitor import garbage, one_turn
        from monitor.app import App

        garbage.look_less_often()
        if options.as_of:
            _refuse_the_past(store, options.as_of)
        clock = FixedClock(options.as_of) if options.as_of else _trusted_clock(store)
        report, delivered = one_turn.do(App(config, store, clock), clock)
        unstored = store.trouble if store.in_memory else None
    _say(report_of.as_json(report, delivered) if options.json else report_of.as_text(report, delivered))
    if unstored is not None:
        remark(f"nothing of this was stored, and it will be told again: {unstored[1]}")
    return ExitCode.OK if report.no_failure and unstored is None else ExitCode.TEMPORARY


def _trusted_clock(store: Store) -> TrustedClock:
    from monitor.store import endings, facts
    from monitor.trusted_clock import TrustedClock

    with store.read() as connection:
        # Whoever stops and starts a daemon that doubts the clock has looked at it.
        return TrustedClock(endings.last_stop(connection) or facts.last_turn(connection))


def _refuse_the_past(store: Store, now: datetime) -> None:
    from monitor.store import facts

    with store.read() as connection:
        last = facts.last_turn(connection)
    if last is not None and now < last:
        raise UserError(
            f"--as-of {to_text(now)} lies before the last turn, {to_text(last)}: the past cannot be judged again; "
            "use a later time or another --state-dir"
        )


def check_config(options: argparse.Namespace) -> int:
    """Name every problem of the config at once."""
    from io import StringIO

    from monitor.check_config import run as check
    from monitor.output import width

    out = StringIO()
    code = check(_config_path(options), live=options.live, as_json=options.json, out=out, width=width())
    _say(out.getvalue().rstrip("\n"))
    return code


def spend(options: argparse.Namespace) -> int:
    """Group the ledger."""
    from alarms.model import Period
    from monitor import spend as ledger
    from monitor.period import midnight, month_of
    from monitor.store.database import open_reading

    now = SystemClock().now()
    until = options.until or now
    # Of which month there is something before `until`.
    since = midnight((options.since or month_of(until - timedelta.resolution).start).date())
    if since >= until and options.until is None:
        raise UserError(f"--since {to_text(since)} lies in the future", ExitCode.USAGE)
    if since >= until:
        raise UserError(f"--since {to_text(since)} is not before --until {to_text(until)}", ExitCode.USAGE)
    period = Period(since, until)
    with open_reading(_state_dir(options)) as connection:
        rows = ledger.read(connection, options.by, period)
    _say(ledger.as_json(rows, options.by, period) if options.json else ledger.as_table(rows, options.by, period, now))
    return ExitCode.OK


def notify(options: argparse.Namespace) -> int:
    """Send one test message and wait for the answer."""
    from dataclasses import replace

    from monitor import logs
    from monitor.wiring import build_notifiers

    config = _config(options)
    logs.set_up(logging.ERROR, config)
    name: str = options.receiver
    names = [receiver.name for receiver in config.receivers]
    if name not in names:
        raise UserError(f"the config has no receiver {name!r}; there are: {', '.join(names) or 'none'}", ExitCode.USAGE)
    chosen = tuple(receiver for receiver in config.receivers if receiver.name == name)
    clock = SystemClock()
    notifier = build_notifiers(replace(config, receivers=chosen), clock)[name]
    receipt = notifier.send(_test_message(name, clock))
    _say(f"accepted by {name}" + (f"; refused for {', '.join(receipt.refused)}" if receipt.refused else ""))
    return ExitCode.UNAVAILABLE if receipt.refused else ExitCode.OK


def tell(options: argparse.Namespace) -> int:
    """Silence, ack, unsilence, progress: by the daemon if one runs, else by ourselves."""
    from monitor import control

    if options.command == "progress":
        at = None if options.at is None else to_text(options.at)
        arguments: dict[str, Any] = {"run": options.run, "step": options.step, "of": options.of, "at": at}
    else:
        arguments = {"budget": options.budget}
    if options.command == "silence":
        arguments |= {"for_s": options.duration // timedelta(seconds=1), "why": options.why}
    state_dir = _state_dir(options)
    said = control.ask(state_dir, options.command, arguments)
    if said is None:
        said = _do_without_daemon(options, state_dir, arguments)
    _say(said)
    return ExitCode.OK


def _do_without_daemon(options: argparse.Namespace, state_dir: Path, arguments: dict[str, Any]) -> str:
    from monitor import control, orders

    with orders.open_existing(state_dir) as store:
        config = _config(options)
        order = orders.Order(options.command, arguments, control.person(), SystemClock().now(), daemon=False)
        said = orders.obey(store, config, order)
        try:
            orders.show(store)
        except StoreError as error:  # it is done and stored; the next turn writes that file again
            remark(str(error))
    return said


def _test_message(receiver: str, clock: SystemClock) -> Notification:
    from alarms.model import Facts, Kind, Notification, Reason, Severity

    now = clock.now()
    facts = Facts(
        kind=Kind.TEST,
        severity=Severity.WARNING,
        reason=Reason.TEST,
        title=f"Test message for receiver {receiver}",
        detail="Sent by hand with `monitor notify`. Nothing is wrong.",
    )
    return Notification(f"test-{int(now.timestamp())}/test/1", receiver, now, facts)


def _config_path(options: argparse.Namespace) -> Path:
    from monitor.config_file import find_config

    return find_config(_text(options, "config"), os.environ)


def _state_dir(options: argparse.Namespace) -> Path:
    from monitor.config_file import state_dir

    return state_dir(_config_path(options), _text(options, "state_dir"), os.environ)


def _config(options: argparse.Namespace) -> Config:
    from monitor.config import load

    config = load(_config_path(options))
    warn(config.remarks)
    return config


def _text(options: argparse.Namespace, name: str) -> str | None:
    value = getattr(options, name, None)
    return None if value is None else str(value)
