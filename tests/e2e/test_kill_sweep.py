"""The real process is killed at every n-th call that writes, syncs, sends, receives, connects, creates or removes.

A sweep takes n = 1, 2, 3 ... until a run ends unharmed, poll by poll of a history, each poll from a copy of the state
before it: what a kill leaves behind is in that state alone. After a kill the program is started again until it is done.
Then everything has to be as though there had been no kill: the same messages have arrived, at most one repeat a kill
and each marked, and the store holds the same - so that the polls after it cannot differ either.

CI takes every k-th n from a random offset; MONITOR_TORTURE=1 takes all of them.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Stage
from tests.e2e.histories import HOUR, POLLS, START, Kill, Nursery, Tally, forget, nursery, once, quiet, tally
from tests.fakes import killer

TORTURE = os.environ.get("MONITOR_TORTURE") == "1"
SEED = int(os.environ.get("SEED", time.time_ns()))
# Two quiet hours of the history are left out: they do what hour 6 does.
HOURS = [0, 1, 2, 3, 4, 5, 6, 9]
# What must be as though nothing had happened. Not in it: attempts, marks, and what the other side called a message.
KEPT = {
    "alarm": '"on", at, severity, subject, period_start, status, data, since, episode, sequence, told_spend, last_told',
    "charge": "series_id, start_at, end_at, revision, billed_cost, withdrawn",
    "day_total": "day, series_id, billed_cost, until",
    "month_total": "month, series_id, billed_cost, days",
    "outbox": "id, receiver, kind, state, created_at, instead_of, payload",
    "transition": 'subject, "on", at, severity, from_status, to_status, reason, happened_at, episode',
    "turn": "at",
}


@dataclass(frozen=True)
class Poll:
    """One poll of the unharmed history: the state before it, what it sends, and what the store holds after it."""

    number: int
    now: datetime
    before: Path
    messages: frozenset[tuple[str, str]]
    after: dict[str, Counter[Any]]


@dataclass
class Score:
    """What a sweep has seen."""

    what: str
    points: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    repeats: int = 0

    def add(self, poll: Poll, kills: Sequence[str], seen: Tally) -> None:
        """Take in one point, and hold it to the promise."""
        place = (self.what, f"seed {SEED}", f"poll {poll.number}", f"point {self.points}", kills)
        self.points += 1
        self.kills.update(kills)
        self.lost += len(poll.messages - seen.arrived.keys())
        self.repeats += sum(seen.repeats.values())
        assert seen.arrived.keys() == poll.messages, (*place, "lost or invented")
        assert sum(seen.repeats.values()) <= len(kills), (*place, "more repeats than kills", seen.repeats)
        assert not seen.unmarked, (*place, "a repeat that does not say so", seen.unmarked)

    def __str__(self) -> str:
        fired = ", ".join(f"{kind} {number}" for kind, number in sorted(self.kills.items()))
        return (
            f"kill sweep, {self.what}: {self.points} kill points, {self.kills.total()} kills fired ({fired}), "
            f"{self.lost} lost, {self.repeats} repeats, all marked, seed {SEED}"
        )


@pytest.fixture
def killing(stage: Stage, tmp_path: Path) -> Iterator[Nursery]:
    """A nursery with the killer inside, and a history whose figures are all published."""
    stage.write_config(by='backfill = "31d"')
    for number, value in enumerate(POLLS):
        stage.aws.publish_charge(START + number * HOUR, value)
    with nursery(stage, preload=killer.build(tmp_path)) as made:
        yield made


def unharmed(stage: Stage, nursery: Nursery) -> Iterator[Poll]:
    """Play the history without a kill; the store stands before each poll while that is the newest."""
    for number, hour in enumerate(HOURS):
        now, before = START + hour * HOUR, stage.directory / f"before-{number}"
        if stage.state.exists():
            shutil.copytree(stage.state, before)
        forget(stage)
        nursery.run(once(stage, now))
        quiet(stage)
        seen = tally(stage)
        assert set(seen.arrived.values()) <= {1}, "without a kill everything arrives once"
        assert not +seen.marked
        yield Poll(number, now, before, frozenset(seen.arrived), kept(stage))


def kept(stage: Stage) -> dict[str, Counter[Any]]:
    """What the store holds; proves on the way that it is sound."""
    with closing(sqlite3.connect(f"file:{stage.state / 'ledger.db'}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {
            table: Counter(connection.execute(f"SELECT {columns} FROM {table}"))  # noqa: S608 - our own words
            for table, columns in KEPT.items()
        }


def survive(stage: Stage, nursery: Nursery, poll: Poll, kills: Iterable[Kill]) -> list[str]:
    """Play one poll, killed as told in turn, then until it ends unharmed; the calls at which it was killed."""
    shutil.rmtree(stage.state, ignore_errors=True)
    if poll.before.exists():
        shutil.copytree(poll.before, stage.state)
    forget(stage)
    fired: list[str] = []
    for kill in kills:
        ending = nursery.run(once(stage, poll.now), kill=kill)
        if not ending.killed:
            return fired
        assert ending.fired is not None, "it died, but not by our hand"
        fired.append(ending.fired)
    assert not nursery.run(once(stage, poll.now)).killed
    quiet(stage)
    return fired


def sweep(stage: Stage, nursery: Nursery, score: Score, polls: Sequence[Poll], **how: Any) -> None:
    """Every k-th n of every poll, until one ends unharmed."""
    step = 1 if TORTURE else how.pop("step")
    offset = SEED % step
    for poll in polls:
        for number in count(1 + offset, step):
            fired = survive(stage, nursery, poll, [Kill(number, **how)])
            if not fired:
                break
            score.add(poll, fired, tally(stage))
            assert kept(stage) == poll.after, (score.what, SEED, poll.number, number, fired)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_before_every_call(stage: Stage, killing: Nursery) -> None:
    score = Score("once, before each call")
    sweep(stage, killing, score, list(unharmed(stage, killing)), step=5)
    print(score)
    assert score.points > 200


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_after_every_send(stage: Stage, killing: Nursery) -> None:
    score = Score("once, after each send")
    sweep(stage, killing, score, list(unharmed(stage, killing)), step=1, after=True, kinds=("send",))
    print(score)
    assert score.repeats > 0, "accepted but not marked was never hit"
