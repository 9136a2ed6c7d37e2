"""The real daemon on a disk that is full, takes no writes, fails, or is damaged under it: alarms still go out."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.store import backup
from monitor.store.database import open_store
from tests.e2e.conftest import Stage
from tests.e2e.test_daemon import Daemons, this_month, until

pytestmark = pytest.mark.slow
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
needs_strace = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("strace") is None, reason="needs strace and the right to attach it"
)
EVERYTHING_S = 60


def texts(stage: Stage) -> list[str]:
    return [str(message["text"]) for message in stage.slack.messages]


def heard(stage: Stage, *words: str) -> bool:
    return any(all(word in text for word in words) for text in texts(stage))


def heard_after(stage: Stage, number: int, *words: str) -> bool:
    return any(all(word in text for word in words) for text in texts(stage)[number:])


def first_turn(stage: Stage, daemon: Daemons) -> subprocess.Popen[str]:
    process = stage.start()
    daemon.append(process)
    until((stage.state / "status.json").exists, "a finished turn", EVERYTHING_S)
    return process


def status(stage: Stage) -> dict[str, Any]:
    done = stage.run("status", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return document


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def stored_alarms(stage: Stage) -> list[str]:
    """What is on the disk of the alarms, once nobody has it."""
    with contextlib.closing(sqlite3.connect(stage.state / "ledger.db")) as connection:
        query = "SELECT at, status FROM alarm WHERE subject = 'training' ORDER BY at DESC"
        return [f"{at} {state}" for at, state in connection.execute(query)]


def nothing_is_told_twice(stage: Stage, daemon: Daemons, *, kills: int = 0) -> None:
    """A new daemon on what is stored has nothing to say, but for one marked repeat if the one before was killed."""
    before = texts(stage)
    seen = {turn_at(stage)}
    process = stage.start()
    daemon.append(process)
    until(lambda: len(seen | {turn_at(stage)}) > 1 and (seen.add(turn_at(stage)) or len(seen) > 2), "two turns", 60)
    stop(process)
    again = texts(stage)[len(before) :]
    assert len(again) <= kills
    assert all("possible repeat" in text for text in again)


def turn_at(stage: Stage) -> str:
    return str(json.loads((stage.state / "status.json").read_text())["turn_at"])


@pytest.fixture
def small_disk(stage: Stage) -> Iterator[Path]:
    stage.state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "none", str(stage.state)], check=True)
    yield stage.state
    subprocess.run(["umount", "-l", str(stage.state)], check=True)


def fill(directory: Path, name: str) -> None:
    """Leave not one page."""
    with (directory / name).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@needs_root
def test_a_full_disk_and_then_one_without_even_the_reserve(stage: Stage, daemon: Daemons, small_disk: Path) -> None:
    this_month("100", stage)
    process = first_turn(stage, daemon)
    until((small_disk / "ballast").exists, "the reserve")
    fill(small_disk, "filler")
    this_month("850", stage)
    until(lambda: heard(stage, "disk", "full"), "the page about the disk", EVERYTHING_S)
    until(lambda: heard(stage, "training"), "the breach", EVERYTHING_S)
    assert status(stage)["exit_code"] == 2
    fill(small_disk, "more")
    number = len(texts(stage))
    this_month("1100", stage)
    until(lambda: heard_after(stage, number, "training"), "the second breach", EVERYTHING_S)
    assert status(stage)["exit_code"] == 2
    assert process.poll() is None
    for name in ("filler", "more"):
        (small_disk / name).unlink()
    until(lambda: heard(stage, "no longer full"), "the all-clear", EVERYTHING_S)
    until((small_disk / "ballast").exists, "a new reserve")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert stored_alarms(stage) == ["80% FIRING", "100% FIRING"]
    assert sum("training" in text for text in texts(stage)) == 2
    nothing_is_told_twice(stage, daemon, kills=1)


def test_a_limit_on_writing_that_comes_and_goes(stage: Stage, daemon: Daemons) -> None:
    this_month("100", stage)
    process = first_turn(stage, daemon)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    this_month("850", stage)
    until(lambda: heard(stage, "training"), "the breach", EVERYTHING_S)
    until(lambda: heard(stage, "disk", "fails"), "the page about the disk", EVERYTHING_S)
    assert status(stage)["exit_code"] in (0, 3), "as it was stored, until that is too old to go by"
    number = len(texts(stage))
    this_month("1100", stage)
    until(lambda: heard_after(stage, number, "training"), "the second breach", EVERYTHING_S)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: status(stage)["exit_code"] == 2, "the alarms in the store", EVERYTHING_S)
    stop(process)
    assert stored_alarms(stage) == ["80% FIRING", "100% FIRING"]
    # The disk is quiet for a moment only when the new daemon starts: its trouble is over for that one.
    assert sum("training" in text for text in texts(stage)) == 2


@needs_root
def test_a_start_on_a_disk_that_takes_no_writes(stage: Stage, daemon: Daemons) -> None:
    this_month("100", stage)
    assert stage.run("once").returncode == 0
    subprocess.run(["mount", "--bind", str(stage.state), str(stage.state)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(stage.state)], check=True)
        this_month("850", stage)
        process = stage.start()
        daemon.append(process)
        until(lambda: heard(stage, "training"), "the breach", EVERYTHING_S)
        until(lambda: heard(stage, "The disk of the monitor"), "the page about the disk", EVERYTHING_S)
        answer = status(stage)
        assert answer["budgets"][0]["spend"] == "100", "the stored facts, as of the last turn that was stored"
        assert answer["exit_code"] in (0, 3), "until that is too old to go by"
        assert stage.run("run").returncode == 75, "there is a lock all the same"
        subprocess.run(["mount", "-o", "remount,rw,bind", str(stage.state)], check=True)
        until(lambda: status(stage)["budgets"][0]["spend"] == "850", "the store", EVERYTHING_S)
        stop(process)
        assert stored_alarms(stage) == ["80% FIRING", "100% OK"]
        assert sum("training" in text for text in texts(stage)) == 1
    finally:
        subprocess.run(["umount", "-l", str(stage.state)], check=True)


@needs_strace
@pytest.mark.parametrize("when", ["1", "1+"])
def test_a_failing_sync(stage: Stage, daemon: Daemons, when: str) -> None:
    this_month("100", stage)
    process = first_turn(stage, daemon)
    inject = f"inject=fdatasync:error=EIO:when={when}"
    with subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject, "-p", str(process.pid)]) as strace:
        until(lambda: heard(stage, "The disk of the monitor fails"), "the page about the disk", EVERYTHING_S)
        this_month("850", stage)
        until(lambda: heard(stage, "training"), "the breach", EVERYTHING_S)
        strace.send_signal(signal.SIGINT)
    until(lambda: status(stage)["budgets"][0]["spend"] == "850", "the store", EVERYTHING_S)
    stop(process)
    assert stored_alarms(stage) == ["80% FIRING", "100% OK"]
    assert sum("training" in text for text in texts(stage)) == 1


def test_damage_under_a_running_daemon(stage: Stage, daemon: Daemons) -> None:
    this_month("850", stage)
    assert stage.run("once").returncode == 0
    assert len(list((stage.state / backup.DIRECTORY).iterdir())) == 1
    process = first_turn(stage, daemon)
    number = len(texts(stage))
    with contextlib.closing(sqlite3.connect(stage.state / "ledger.db", timeout=30)) as connection, connection:
        connection.execute("UPDATE day_total SET billed_cost = '1'")
        connection.execute("UPDATE month_total SET billed_cost = '1'")
    this_month("1100", stage)
    until(lambda: heard_after(stage, number, "restored from the backup"), "the page about the store", EVERYTHING_S)
    until(lambda: heard_after(stage, number, "training"), "the breach", EVERYTHING_S)
    until(lambda: heard_after(stage, number, "no longer damaged"), "the all-clear", EVERYTHING_S)
    assert status(stage)["budgets"][0]["spend"] == "1100"
    assert process.poll() is None
    stop(process)
    assert len(list(stage.state.glob("ledger.db.corrupt-*"))) == 1
    nothing_is_told_twice(stage, daemon)


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal"])
def test_a_damaged_file_at_the_start(stage: Stage, daemon: Daemons, name: str) -> None:
    this_month("850", stage)
    assert stage.run("once").returncode == 0
    (stage.state / name).write_bytes(os.urandom(50_000))
    number = len(texts(stage))
    this_month("1100", stage)
    process = stage.start()
    daemon.append(process)
    until(lambda: heard_after(stage, number, "training"), "the breach", 30)
    until(lambda: status(stage)["budgets"][0]["spend"] == "1100", "the store", EVERYTHING_S)
    assert status(stage)["exit_code"] == 2
    stop(process)
    assert heard_after(stage, number, "restored from the backup") == (name == "ledger.db")
    assert len(texts(stage)) - number <= 3


def test_the_stop_leaves_one_whole_file(stage: Stage, daemon: Daemons) -> None:
    this_month("850", stage)
    process = first_turn(stage, daemon)
    assert (stage.state / "ledger.db-wal").stat().st_size > 0
    stop(process)
    assert not (stage.state / "ledger.db-wal").exists()
    with open_store(stage.state) as store, store.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.timeout(300)
def test_of_twenty_daemons_started_at_once_one_stays_and_tells_once(stage: Stage, daemon: Daemons) -> None:
    this_month("850", stage)
    daemon += [stage.start() for _ in range(20)]
    until(lambda: sum(one.poll() is not None for one in daemon) == 19, "nineteen to go", 120)
    until(lambda: heard(stage, "training"), "the breach", EVERYTHING_S)
    (left,) = [one for one in daemon if one.poll() is None]
    assert [one.returncode for one in daemon if one is not left] == [75] * 19
    until(lambda: len(stage.aws.delivered(stage.topic)) > 0, "the topic", EVERYTHING_S)
    stop(left)
    assert (len(texts(stage)), len(stage.mail.mails), len(stage.aws.delivered(stage.topic))) == (1, 1, 1)
