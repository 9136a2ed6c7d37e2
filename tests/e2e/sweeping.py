"""What the kill sweeps share: a history without kills to compare with, one poll with them, and the score."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

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
    """One poll of the unharmed history: the state before it, what it sends, and what the store holds after it.

    `calls`: about how many there are to die at.
    """

    number: int
    now: datetime
    before: Path
    calls: int
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

    def add(self, expected: Collection[tuple[str, str]], kills: Sequence[str], seen: Tally, place: object) -> None:
        """Take in one point, and hold it to the promise."""
        where = (self.what, f"seed {SEED}", place, kills)
        self.points += 1
        self.kills.update(kills)
        self.lost += len(set(expected) - seen.arrived.keys())
        self.repeats += sum(seen.repeats.values())
        assert seen.arrived.keys() == set(expected), (*where, "lost or invented")
        assert sum(seen.repeats.values()) <= len(kills), (*where, "more repeats than kills", seen.repeats)
        assert not seen.unmarked, (*where, "a repeat that does not say so", seen.unmarked)

    def __str__(self) -> str:
        fired = ", ".join(f"{kind} {number}" for kind, number in sorted(self.kills.items()))
        return (
            f"kill sweep, {self.what}: {self.points} kill points, {self.kills.total()} kills fired ({fired}), "
            f"{self.lost} lost, {self.repeats} repeats, all marked, seed {SEED}"
        )


@contextmanager
def killing(stage: Stage) -> Iterator[Nursery]:
    """A nursery with the killer inside, and a history whose figures are all published."""
    stage.write_config(by='backfill = "31d"')
    for number, value in enumerate(POLLS):
        stage.aws.publish_charge(START + number * HOUR, value)
    with nursery(stage, preload=killer.build(stage.directory)) as made:
        yield made


def unharmed(stage: Stage, nursery: Nursery) -> Iterator[Poll]:
    """Play the history without a kill; the store stands before each poll while that is the newest."""
    for number, hour in enumerate(HOURS):
        now, before = START + hour * HOUR, stage.directory / f"before-{number}"
        if stage.state.exists():
            shutil.copytree(stage.state, before)
        forget(stage)
        calls = nursery.run(once(stage, now), kill=Kill(0)).calls.total()
        quiet(stage)
        seen = tally(stage)
        assert set(seen.arrived.values()) <= {1}, "without a kill everything arrives once"
        assert not +seen.marked
        yield Poll(number, now, before, calls, frozenset(seen.arrived), kept(stage))


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
    restore(stage, poll.before)
    fired: list[str] = []
    for kill in kills:
        ending = nursery.run(once(stage, poll.now), kill=kill)
        if not ending.killed:
            break
        assert ending.fired is not None, "it died, but not by our hand"
        fired.append(ending.fired)
    else:
        assert not nursery.run(once(stage, poll.now)).killed
    quiet(stage)
    return fired


def restore(stage: Stage, before: Path) -> None:
    """The state as it was, and receivers that have heard nothing."""
    shutil.rmtree(stage.state, ignore_errors=True)
    if before.exists():
        shutil.copytree(before, stage.state)
    forget(stage)
