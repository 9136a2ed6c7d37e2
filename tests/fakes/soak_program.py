"""Plays days of turns at simulated times in one process, and says after each day how much of everything it holds.

    python -m tests.fakes.soak_program CONFIG STATE START DAYS TURN_MINUTES

Wired as the daemon is, with its threads running throughout; only the clock is another, and the wait between two turns
is left out. Once a day the config is loaded anew, as after a SIGHUP. A JSON line for each day.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from monitor import garbage
from monitor.app import App
from monitor.clock import FixedClock, from_text
from monitor.config import load
from monitor.store.mending import open_mended

_DELIVERED_WITHIN_S = 120.0


def main(config_path: Path, state: Path, start: datetime, days: int, turn: timedelta) -> None:
    garbage.look_less_often()
    clock = FixedClock(start)
    with open_mended(state, start) as store:
        app = App(load(config_path), store, clock)
        app.start()
        for day in range(1, days + 1):
            done = play(app, clock, start + day * timedelta(days=1), turn)
            app.replace(load(config_path))
            print(json.dumps({"day": day, **done, **held(state)}), flush=True)
        app.stop(timedelta(seconds=20))


def play(app: App, clock: FixedClock, until_then: datetime, turn: timedelta) -> dict[str, float]:
    """Turns until then, each with its messages."""
    began = time.process_time()
    turns = threads = 0
    while clock.instant < until_then:
        report = app.turn(clock.instant)
        assert report.no_failure, report.sources
        threads = max(threads, until(lambda: all_delivered(app), "everything is delivered"))
        clock.instant += turn
        turns += 1
    return {"turns": turns, "threads": threads, "cpu_s": time.process_time() - began}


def all_delivered(app: App) -> bool:
    return not any(app._outbox.owed(receiver.name) for receiver in app.config.receivers)


def until(happened: Callable[[], bool], what: str) -> int:
    """Wait for an event; the most threads that there were meanwhile."""
    end = time.monotonic() + _DELIVERED_WITHIN_S
    threads = threading.active_count()
    while not happened():
        assert time.monotonic() < end, f"not in time: {what}"
        threading.Event().wait(0.005)
        threads = max(threads, threading.active_count())
    return threads


def held(state: Path) -> dict[str, int]:
    """Resident memory now and at its highest in KiB, open files, and the bytes of the store with its log."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "rss_kib": int(status["VmRSS"].split()[0]),
        "peak_kib": int(status["VmHWM"].split()[0]),
        "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "ledger": (state / "ledger.db").stat().st_size,
        "wal": (state / "ledger.db-wal").stat().st_size,
    }


if __name__ == "__main__":
    given = sys.argv[1:]
    minutes = timedelta(minutes=int(given[4]))
    main(Path(given[0]), Path(given[1]), from_text(given[2]), int(given[3]), minutes)
