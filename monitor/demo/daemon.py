"""The monitor of the demo, in a process of its own: the same as `monitor run`, but for its clock, which is handed in.

`python -m monitor.demo.daemon CONFIG` does a turn as of each instant on standard input, or with `apply` behind it what
`monitor alarms apply` does, and answers with what came of it, as a line of JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from alarms.model import Transition
from monitor.app import App
from monitor.clock import FixedClock, from_text
from monitor.config import Config, load
from monitor.cycle import TurnReport
from monitor.native_text import apply_text
from monitor.natives import Natives, Survey, carry_out_within
from monitor.store.database import open_store

APPLY = "apply"
_DELIVERY_LIMIT = timedelta(seconds=30)
_STOP_LIMIT = timedelta(seconds=5)


def main(path: Path) -> None:
    """Serve until standard input ends. The store is opened, and locked, with the first line."""
    config = load(path)
    first = sys.stdin.readline()
    if not first:
        return
    clock = FixedClock(from_text(first.split()[0]))
    with open_store(config.monitor.state_dir) as store:
        app = App(config, store, clock)
        for line in chain((first,), iter(sys.stdin.readline, "")):
            instant, *words = line.split()
            clock.instant = from_text(instant)
            sys.stdout.write(json.dumps(_apply(config, clock) if words == [APPLY] else _turn(app, clock)) + "\n")
            sys.stdout.flush()
        app.stop(_STOP_LIMIT)


def _apply(config: Config, clock: FixedClock) -> dict[str, Any]:
    """The command itself would ask the machine what day it is."""
    natives = Natives(config, clock.now)
    watched = natives.wanted(())
    before = natives.survey(watched)
    outcomes, after = [], Survey(unread=before.unread)
    for account in before.accounts:
        outcomes += carry_out_within(account.native, account.changes)
        after.accounts.append(natives.look_again(account, watched))
    return {"text": apply_text(after, outcomes)}


def _turn(app: App, clock: FixedClock) -> dict[str, Any]:
    report = app.turn(clock.instant)
    if report.notifications:
        app.deliver(report, _DELIVERY_LIMIT)
    app.look_at_natives()
    return _told(report)


def _told(report: TurnReport) -> dict[str, Any]:
    return {
        "changes": [_change(change) for change in report.transitions],
        "notifications": report.notifications,
    }


def _change(change: Transition) -> dict[str, str]:
    return {
        "subject": change.key.subject,
        "on": change.key.on,
        "at": change.key.at,
        "severity": change.key.severity,
        "before": change.from_status,
        "after": change.to_status,
        "reason": change.reason,
        "messages": f"{change.episode}/{change.key.level}/",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
