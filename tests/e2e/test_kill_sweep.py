"""The real process is killed at every n-th call that writes, syncs, sends, receives, connects, creates or removes.

A sweep takes n = 1, 2, 3 ... until a run ends unharmed, poll by poll of a history, each poll from a copy of the state
before it: what a kill leaves behind is in that state alone. After a kill the program is started again until it is done.
Then everything has to be as though there had been no kill: the same messages have arrived, at most one repeat a kill
and each marked, and the store holds the same - so that the polls after it cannot differ either.

CI takes every k-th n from a random offset; MONITOR_TORTURE=1 takes all of them.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from tests.e2e.conftest import Stage
from tests.e2e.histories import Kill, Nursery, tally
from tests.e2e.sweeping import SEED, TORTURE, Poll, Score, kept, killing, survive, unharmed

BOX_S = 240


@pytest.fixture
def nursery(stage: Stage) -> Iterator[Nursery]:
    with killing(stage) as made:
        yield made


def sweep(stage: Stage, nursery: Nursery, score: Score, polls: Sequence[Poll], *, step: int, **how: Any) -> None:
    """Every k-th n of every poll, until one ends unharmed. In CI within a time box, the polls in random order."""
    step, ends = (1, math.inf) if TORTURE else (step, time.monotonic() + BOX_S)
    chance = random.Random(SEED)  # noqa: S311 - it picks calls, not secrets
    for poll in chance.sample(polls, len(polls)):
        for number in count(1 + SEED % step, step):
            if time.monotonic() > ends:
                score.what += f", cut off after {BOX_S} s"
                return
            fired = survive(stage, nursery, poll, [Kill(number, **how)])
            if not fired:
                break
            score.add(poll.messages, fired, tally(stage), (poll.number, number))
            assert kept(stage) == poll.after, (score.what, SEED, poll.number, number, fired)


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_killed_before_every_call(stage: Stage, nursery: Nursery) -> None:
    score = Score("once, before each call")
    sweep(stage, nursery, score, list(unharmed(stage, nursery)), step=5)
    print(score)
    assert score.points > 50


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_killed_after_every_send(stage: Stage, nursery: Nursery) -> None:
    score = Score("once, after each send")
    sweep(stage, nursery, score, list(unharmed(stage, nursery)), step=1, after=True, kinds=("send",))
    print(score)
    assert score.repeats > 0, "accepted but not marked was never hit"


@pytest.mark.slow
@pytest.mark.timeout(14400)
def test_killed_again_while_it_recovers(stage: Stage, nursery: Nursery) -> None:
    score, chance = Score("once, two kills in a row"), random.Random(SEED)  # noqa: S311 - as above
    polls = list(unharmed(stage, nursery))
    for _ in range(1000 if TORTURE else 60):
        poll = chance.choice(polls)
        kills = [Kill(chance.randint(1, poll.calls)) for _ in range(2)]
        fired = survive(stage, nursery, poll, kills)
        score.add(poll.messages, fired, tally(stage), (poll.number, kills))
        assert kept(stage) == poll.after, (score.what, SEED, poll.number, kills, fired)
    print(score)
