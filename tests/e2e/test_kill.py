"""kill -9 at random instants of a history of polls: nothing owed is lost, and at most one repeat per kill, marked."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Stage
from tests.e2e.histories import HOUR, POLLS, START, Nursery, nursery, once, tally


@pytest.fixture
def forked(stage: Stage) -> Iterator[Nursery]:
    with nursery(stage) as made:
        yield made


def clear(stage: Stage, directory: Path) -> None:
    stage.slack.messages.clear()
    stage.mail.mails.clear()
    stage.aws.reset()
    stage.topic = stage.aws.create_topic("budgets")
    stage.directory = directory
    stage.directory.mkdir()
    stage.write_config()


def history(stage: Stage, forked: Nursery, kill_after: random.Random | None, longest_s: float) -> int:
    """Play all polls; kill at random instants; the number of kills."""
    kills = 0
    for number, value in enumerate(POLLS):
        now = START + number * HOUR
        stage.aws.publish_charge(now, value)
        while True:
            kill_after_s = kill_after.uniform(0.0, longest_s) if kill_after else None
            if not forked.run(once(stage, now), kill_after_s=kill_after_s).killed:
                break
            kills += 1
    return kills


def torture(stage: Stage, forked: Nursery, *, kills: int, seed: int) -> None:
    root = stage.directory
    began = time.monotonic()
    history(stage, forked, None, 0)
    longest_s = 1.2 * (time.monotonic() - began) / len(POLLS)
    expected = tally(stage)
    assert set(expected.arrived.values()) == {1}, "a history without kills sends everything once"
    assert not +expected.marked
    chance = random.Random(seed)  # noqa: S311 - it picks instants, not secrets
    done = histories = repeats = lost = 0
    while done < kills:
        histories += 1
        clear(stage, root / f"history-{histories}")
        fired = history(stage, forked, chance, longest_s)
        done += fired
        seen = tally(stage)
        lost += len(expected.arrived.keys() - seen.arrived.keys())
        repeats += sum(seen.repeats.values())
        assert seen.arrived.keys() == expected.arrived.keys(), "lost or invented"
        assert sum(seen.repeats.values()) <= fired, "more repeats than kills"
        assert not seen.unmarked, "a repeat was not marked"
    print(f"random kills: {done} kills in {histories} histories, {lost} lost, {repeats} repeats, seed {seed}")


@pytest.mark.slow
def test_a_few_kills(stage: Stage, forked: Nursery) -> None:
    torture(stage, forked, kills=10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_hundred_kills(stage: Stage, forked: Nursery) -> None:
    torture(stage, forked, kills=300, seed=int(os.environ.get("SEED", time.time_ns())))
