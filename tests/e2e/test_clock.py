"""The clock of the machine is set while the daemon runs, or it sleeps for hours: the real process under libfaketime.

Only the daemon sees the wrong time; the cloud and the receivers on loopback keep the right one, as they would.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.simulation.slack import Answer
from tests.e2e.conftest import Stage
from tests.e2e.test_daemon import Daemons, Systemd, this_month, until
from tests.e2e.test_daemon import systemd as systemd  # noqa: PLC0414 - a fixture

LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib")
FAKETIME = next((p for d in LIBRARIES if (p := Path(d, "faketime/libfaketimeMT.so.1")).exists()), None)
DAY = timedelta(days=1)
TEN_YEARS = 3652 * DAY
RIGHT = timedelta(0)
TO_1970 = datetime(1970, 1, 2, tzinfo=UTC) - datetime.now(UTC)
STEPS = {"an hour back": -DAY / 24, "a day back": -DAY, "to 1970": TO_1970, "ten years on": TEN_YEARS}
PAGE = "CRITICAL: The clock of the monitor's machine is wrong"
OVER = "RESOLVED: clock is no longer wrong"

pytestmark = pytest.mark.skipif(FAKETIME is None, reason="needs the Debian package libfaketime")


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
    clock.off(RIGHT)
    stage.environment |= {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_TIMESTAMP_FILE": str(clock.file),
        "FAULT_FILE": str(clock.file),
    }
    return clock


def said(stage: Stage) -> list[str]:
    """Every message to Slack, in short."""
    return [message["text"] for message in stage.slack.messages]


def status(stage: Stage) -> dict[str, Any]:
    """What the daemon wrote down last."""
    document: dict[str, Any] = json.loads((stage.state / "status.json").read_text())
    return document


def started(stage: Stage, daemon: Daemons) -> subprocess.Popen[str]:
    process = stage.start()
    daemon.append(process)
    until(lambda: (stage.state / "status.json").exists() and status(stage)["turn_at"] is not None, "a turn")
    return process


def stopped(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def more_turns(stage: Stage) -> None:
    for _ in range(2):
        last = status(stage)["turn_at"]
        until(lambda last=last: status(stage)["turn_at"] != last, "another turn")


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_of_the_clock_is_told_once_and_hides_nothing(
    stage: Stage, daemon: Daemons, wall: WallClock, step: timedelta
) -> None:
    this_month("500", stage)
    process = started(stage, daemon)
    period = status(stage)["budgets"][0]["period"]
    wall.off(step)
    until(lambda: said(stage), "the page about the clock")
    more_turns(stage)
    assert said(stage) == [PAGE]
    this_month("850", stage)
    until(lambda: len(said(stage)) > 1, "the breach")
    more_turns(stage)
    assert said(stage)[1:] == ["WARNING training: 850.00 of 1,000.00 USD spent, over 80%"]
    assert status(stage)["budgets"][0]["period"] == period
    wall.off(RIGHT)
    until(lambda: len(said(stage)) > 2, "the all-clear")
    this_month("1050", stage)
    until(lambda: len(said(stage)) > 3, "the second breach")
    more_turns(stage)
    assert said(stage)[2:] == [OVER, "CRITICAL training: 1,050.00 of 1,000.00 USD spent, over 100%"]
    assert status(stage)["budgets"][0]["period"] == period
    assert abs(datetime.fromisoformat(status(stage)["turn_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    stopped(process)


def test_a_step_to_the_right_time_is_believed_when_two_hosts_confirm_it(
    stage: Stage, daemon: Daemons, wall: WallClock
) -> None:
    """A machine that starts with a wrong clock, which NTP puts right a little later."""
    wall.off(-DAY / 2)
    this_month("500", stage)
    process = started(stage, daemon)
    assert said(stage) == []
    wall.off(RIGHT)
    # CloudWatch says what time it is with every answer, Slack with that to the page.
    until(lambda: len(said(stage)) > 1, "the all-clear")
    assert said(stage) == [PAGE, OVER]
    more_turns(stage)
    assert abs(datetime.fromisoformat(status(stage)["turn_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    stopped(process)


def test_a_receiver_that_the_wrong_clock_locked_out_is_tried_when_it_is_right(
    stage: Stage, daemon: Daemons, wall: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a wrong clock certificates are not valid: every message is refused for good, and tried again a day later."""

    def dead() -> bool:
        return [row["state"] for row in status(stage)["receivers"] if row["name"] == "oncall"] == ["DEAD"]

    this_month("500", stage)
    process = started(stage, daemon)
    with monkeypatch.context() as refusing:
        refusing.setattr(stage.slack, "answer", lambda body: Answer(403, b"no"))
        wall.off(-DAY)
        until(dead, "the dead receiver")
    wall.off(RIGHT)
    until(lambda: not dead(), "the receiver that is back")
    until(lambda: any("clock" in text for text in said(stage)), "what it had missed")
    stopped(process)


@pytest.mark.slow
def test_a_start_in_1970_goes_on_from_the_last_turn(stage: Stage, daemon: Daemons, wall: WallClock) -> None:
    this_month("500", stage)
    stopped(started(stage, daemon))
    period = status(stage)["budgets"][0]["period"]
    wall.off(TO_1970)
    last = status(stage)["turn_at"]
    process = started(stage, daemon)
    until(lambda: status(stage)["turn_at"] > last, "a turn after the last one")
    this_month("850", stage)
    until(lambda: len(said(stage)) > 1, "the breach")
    assert said(stage)[0] == PAGE
    assert status(stage)["budgets"][0]["period"] == period
    wall.off(RIGHT)
    until(lambda: len(said(stage)) > 2, "the all-clear")
    assert said(stage)[2:] == [OVER]
    stopped(process)


@pytest.mark.slow
def test_a_restart_has_the_clock_believed(stage: Stage, daemon: Daemons, wall: WallClock) -> None:
    """Of a daemon that hears nobody outside; after a kill it goes on as it was."""
    stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = "http://127.0.0.1:9"
    process = started(stage, daemon)
    wall.off(-DAY)
    until(lambda: said(stage), "the page about the clock")
    until(lambda: all(row["undelivered"] == 0 for row in status(stage)["receivers"]), "that it is noted as sent")
    process.kill()
    process.wait(30)
    last = status(stage)["turn_at"]
    process = started(stage, daemon)
    until(lambda: status(stage)["turn_at"] > last, "a turn after the last one")
    stopped(process)
    assert said(stage) == [PAGE]
    process = started(stage, daemon)
    until(lambda: len(said(stage)) > 1, "the all-clear")
    assert said(stage) == [PAGE, OVER]
    more_turns(stage)
    off = datetime.fromisoformat(status(stage)["turn_at"]) - datetime.now(UTC)
    assert abs(off + DAY) < timedelta(minutes=1)
    stopped(process)


@pytest.mark.slow
def test_what_a_daemon_from_the_future_left_behind_makes_nothing_wait(
    stage: Stage, daemon: Daemons, wall: WallClock
) -> None:
    """It was started with a clock ten years ahead, which nobody could know."""
    wall.off(TEN_YEARS)
    this_month("500", stage)
    stopped(started(stage, daemon))
    wall.off(RIGHT)
    before = len(said(stage))
    process = started(stage, daemon)
    until(lambda: OVER in said(stage), "the all-clear")
    assert said(stage)[before] == PAGE
    this_month("850", stage)
    until(lambda: any("850.00" in text for text in said(stage)), "the breach")
    year = status(stage)["budgets"][0]["period"]["start"][:4]
    assert year == f"{datetime.now(UTC):%Y}"
    stopped(process)


def test_after_a_suspend_of_eight_hours_one_turn_makes_up_for_all(
    stage: Stage, daemon: Daemons, wall: WallClock, systemd: Systemd
) -> None:
    def turns() -> int:
        return sum(line.startswith("STATUS=last turn") for line in systemd.said)

    stage.config.write_text(stage.config.read_text().replace('"1s"', '"1h"'))
    this_month("500", stage)
    command = [sys.executable, "-m", "tests.e2e.launch", "slept", "--config", str(stage.config), "run"]
    process = subprocess.Popen(
        command, env=stage.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    daemon.append(process)
    until(lambda: turns() == 1, "the first turn")
    this_month("850", stage)
    wall.off(timedelta(hours=8))
    until(lambda: turns() > 1, "the turn that makes up for what was missed")
    until(lambda: said(stage), "the breach")
    process.send_signal(signal.SIGHUP)
    until(lambda: turns() > 2, "the turn after a reload")
    assert turns() == 3
    assert said(stage) == ["WARNING training: 850.00 of 1,000.00 USD spent, over 80%"]
    stopped(process)


def test_once_after_one_from_the_future_is_a_turn_of_now(stage: Stage, wall: WallClock) -> None:
    """As a daemon that is started then: it doubts the clock, hears what time it is, and goes on by that."""
    this_month("1050", stage)
    assert stage.run("once").returncode == 0
    wall.off(32 * DAY)
    assert stage.run("once").returncode == 0
    wall.off(RIGHT)
    before = len(said(stage))
    assert any(text.startswith("RESOLVED training") for text in said(stage)), said(stage)
    done = stage.run("once", "--json")
    assert done.returncode == 0, done.stderr
    after = said(stage)[before:]
    assert after[0] == PAGE
    assert {OVER, "CRITICAL training: 1,050.00 of 1,000.00 USD spent, over 100%"} < set(after)
    turn = datetime.fromisoformat(json.loads(done.stdout)["turn"])
    assert abs(turn - datetime.now(UTC)) < timedelta(minutes=1)
    assert stage.run("once").returncode == 0
    assert len(said(stage)) == before + len(after)


def test_once_by_a_clock_that_stands_before_the_last_turn_goes_on_without_it(stage: Stage, wall: WallClock) -> None:
    this_month("500", stage)
    assert stage.run("once").returncode == 0
    wall.off(-DAY)
    # Nobody else to ask: the cloud does not answer.
    stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = "http://127.0.0.1:9"
    for _ in range(2):
        done = stage.run("once", "--json")
        assert done.returncode == 75, done.stderr
        turn = datetime.fromisoformat(json.loads(done.stdout)["turn"])
        assert abs(turn - datetime.now(UTC)) < timedelta(minutes=1)
    assert said(stage) == [PAGE]
    wall.off(RIGHT)
    del stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"]
    assert stage.run("once").returncode == 0
    assert said(stage) == [PAGE, OVER]


def test_an_instant_of_ones_own_that_lies_ahead_is_warned_of(stage: Stage) -> None:
    this_month("500", stage)
    ahead = (datetime.now(UTC) + DAY).isoformat()
    assert "lies in the future: receivers are told now" in stage.run("once", "--as-of", ahead).stderr
    done = stage.run("once", "--as-of", datetime.now(UTC).isoformat())
    assert done.returncode == 65
    assert "lies before the last turn" in done.stderr
    assert "lies in the future" not in done.stderr
