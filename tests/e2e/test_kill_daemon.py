"""The daemon, `monitor run`, is killed at any call from its start over a breach to its stop, and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from monitor.clock import from_text
from tests.e2e.conftest import Stage
from tests.e2e.histories import Ending, Kill, Nursery, Tally, nursery, quiet, tally
from tests.e2e.sweeping import SEED, TORTURE, Score, restore
from tests.fakes import killer

BREACH = frozenset(("actual-100pct-critical/1", name) for name in ("oncall", "mail", "topic"))


def before_the_breach(stage: Stage) -> Path:
    """A state in which the warning has been told, the critical level crossed since. The daemon lives in real time."""
    text = stage.config.read_text().replace('poll = "1s"', 'poll = "1h"')
    stage.config.write_text(text.replace('every = "1s"', 'every = "1s"\nbackfill = "31d"'))
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    earlier, later = max(now - timedelta(hours=3), month), max(now - timedelta(hours=1), month)
    stage.aws.publish_charge(earlier, "850")
    stage.once(max(now - timedelta(hours=2), month + timedelta(seconds=1)))
    stage.aws.publish_charge(later, "1100")
    return shutil.copytree(stage.state, stage.directory / "before")


def serve(stage: Stage, nursery: Nursery, kill: Kill | None) -> Ending:
    """Be a daemon until everybody has heard and that is noted; then it is asked to stop. Or until it is killed."""
    began = datetime.now(UTC)
    process = nursery.start(["--config", str(stage.config), "--state-dir", str(stage.state), "run"], kill=kill)
    with ThreadPoolExecutor(1) as waiting:
        ended = waiting.submit(nursery.ended)
        try:
            _wait(stage, ended, began)
        except BaseException:
            os.kill(process, signal.SIGKILL)
            raise
        if not ended.done():
            os.kill(process, signal.SIGTERM)
        return ended.result(60)


def _wait(stage: Stage, ended: Future[Ending], began: datetime) -> None:
    end = time.monotonic() + 60
    while not ended.done() and not _told(stage.state / "status.json", began):
        assert time.monotonic() < end, "the daemon neither tells nor dies"
        with suppress(TimeoutError):
            ended.result(0.02)


def _told(status: Path, since: datetime) -> bool:
    """Whether a turn has finished since then, the critical level fires and nobody is owed a message."""
    document = json.loads(status.read_text())
    levels = {(alarm["severity"], alarm["state"]) for alarm in document["budgets"][0]["alarms"]}
    owed = any(receiver["undelivered"] for receiver in document["receivers"])
    return from_text(document["written_at"]) >= since and ("critical", "FIRING") in levels and not owed


def without_episodes(seen: Tally) -> Tally:
    """The id of an episode is made of the instant at which it began, which differs from run to run."""

    def cut(counts: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
        return Counter((name.partition("/")[2], to) for name, to in counts.elements())

    return Tally(cut(seen.arrived), cut(seen.marked))


@pytest.fixture
def preloaded(stage: Stage) -> Iterator[Nursery]:
    with nursery(stage, preload=killer.build(stage.directory)) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_a_daemon_killed_at_any_call(stage: Stage, preloaded: Nursery) -> None:
    score, step = Score("run, before each call"), 1 if TORTURE else 7
    before = before_the_breach(stage)
    for number in count(1 + SEED % step, step):
        restore(stage, before)
        ending = serve(stage, preloaded, Kill(number))
        if not ending.killed:
            break
        assert ending.fired is not None
        assert not serve(stage, preloaded, None).killed
        quiet(stage)
        score.add(BREACH, [ending.fired], without_episodes(tally(stage)), number)
    print(score)
    assert score.points > 5
