"""The clock of the machine is set while the daemon runs, or it sleeps for hours: the real process under libfaketime.

Only the daemon sees the wrong time; the cloud and the receivers on loopback keep the right one, as they would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Stage
from tests.e2e.test_daemon import Daemons, this_month, until

LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib")
FAKETIME = next((p for d in LIBRARIES if (p := Path(d, "faketime/libfaketimeMT.so.1")).exists()), None)
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
STEPS = {
    "an hour back": -HOUR,
    "a day back": timedelta(days=-1),
    "to 1970": datetime(1970, 1, 2, tzinfo=UTC) - NOW,
    "ten years on": timedelta(days=3652),
}

needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="needs the Debian package libfaketime")


@dataclass
class WallClock:
    """What the daemon takes for the machine's clock."""

    file: Path

    def off(self, step: timedelta) -> None:
        """Set it so far from the right time, in one instant."""
        new = self.file.with_name("step.new")
        new.write_text(f"{step.total_seconds():+.0f}\n")
        new.replace(self.file)


@pytest.fixture
def wall(stage: Stage) -> WallClock:
    clock = WallClock(stage.directory / "step")
    clock.off(timedelta(0))
    stage.environment |= {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_TIMESTAMP_FILE": str(clock.file),
    }
    return clock


def said(stage: Stage) -> list[str]:
    """Every message to Slack, in short."""
    return [message["text"] for message in stage.slack.messages]


def status(stage: Stage) -> dict[str, Any]:
    """What the daemon wrote down last."""
    document: dict[str, Any] = json.loads((stage.state / "status.json").read_text())
    return document


def turns_done(stage: Stage) -> bool:
    return (stage.state / "status.json").exists() and status(stage)["turn_at"] is not None


def three_more_turns(stage: Stage) -> None:
    for _ in range(3):
        last = status(stage)["turn_at"]
        until(lambda last=last: status(stage)["turn_at"] != last, "another turn")


@needs_faketime
@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_of_the_clock(stage: Stage, daemon: Daemons, wall: WallClock, step: timedelta) -> None:
    this_month("500", stage)
    process = stage.start()
    daemon.append(process)
    until(lambda: turns_done(stage), "a turn")
    period = status(stage)["budgets"][0]["period"]
    wall.off(step)
    until(lambda: said(stage), "the page about the clock")
    three_more_turns(stage)
    print(said(stage))
    this_month("850", stage)
    until(lambda: len(said(stage)) > 1, "the breach")
    three_more_turns(stage)
    print(said(stage), stage.slack.messages)
    wall.off(timedelta(0))
    until(lambda: len(said(stage)) > 2, "the all-clear")
    this_month("1050", stage)
    until(lambda: len(said(stage)) > 3, "the second breach")
    three_more_turns(stage)
    print(said(stage))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert 0
