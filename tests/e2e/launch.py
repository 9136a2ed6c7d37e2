"""Starts the real daemon with one thing wrong in it that no test could do to it from outside.

`python -m tests.e2e.launch FAULT ARGUMENTS...`: the fault begins when the file that $FAULT_FILE names is there. Under
libfaketime that sets the wall clock, `slept` has the running clock (CLOCK_BOOTTIME) follow it, as a suspend does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monitor.daemon
from alarms.dispatch import Dispatcher
from monitor.arguments import run
from monitor.collect import Collector

BEGUN = "the fault has begun"
FILE = Path(os.environ["FAULT_FILE"])


def when_told(call: Callable[..., Any], fault: Callable[[], object]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **more: Any) -> Any:
        if FILE.exists():
            print(BEGUN, flush=True)
            fault()
        return call(*arguments, **more)

    return wrapped


def defect() -> None:
    raise ZeroDivisionError("a defect")


def deadlocked_turn() -> None:
    monitor.daemon._PROGRESS_LIMIT_S = 1
    Collector.collect = when_told(Collector.collect, threading.Event().wait)  # type: ignore[method-assign]


def failing_turn() -> None:
    Collector.collect = when_told(Collector.collect, defect)  # type: ignore[method-assign]


def dead_lane() -> None:
    Dispatcher._serve = when_told(Dispatcher._serve, defect)  # type: ignore[method-assign]


def slept() -> None:
    real = time.clock_gettime

    def clock_gettime(clock: int) -> float:
        ahead = int(FILE.read_text()) if clock == time.CLOCK_BOOTTIME else 0
        return real(clock) + ahead

    time.clock_gettime = clock_gettime


if __name__ == "__main__":
    {"deadlocked_turn": deadlocked_turn, "failing_turn": failing_turn, "dead_lane": dead_lane, "slept": slept}[
        sys.argv[1]
    ]()
    sys.exit(run(sys.argv[2:]))
