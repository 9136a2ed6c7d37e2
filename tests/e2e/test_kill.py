"""kill -9 at random instants of a history of polls: nothing owed is lost, and at most one repeat per kill, marked."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.conftest import Stage

START = datetime(2026, 11, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Up over both levels, back below one by a credit, up again, and a repeat of the critical level after four hours.
POLLS = ["100", "810", "990", "1100", "790", "1250", "1250", "1260", "1270", "1280"]
ID = re.compile(r"[0-9a-f]{12}/[a-z0-9.-]+/\d+")


@dataclass
class Nursery:
    process: subprocess.Popen[str]

    def run(self, stage: Stage, as_of: datetime, kill_after_s: float | None) -> bool:
        """Run `once`; whether it was killed before it was done."""
        arguments = [
            "--config",
            str(stage.config),
            "--state-dir",
            str(stage.state),
            "once",
            "--as-of",
            as_of.isoformat(),
        ]
        order = {"arguments": arguments, "kill_after_s": kill_after_s}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["killed"] or answer["code"] == 0, answer
        return bool(answer["killed"])


@pytest.fixture
def nursery(stage: Stage) -> Iterator[Nursery]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.nursery"],
        env=stage.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Nursery(process)
        process.kill()


@dataclass
class Tally:
    """What arrived, by (id, receiver); and how often it said that it may be a repeat."""

    arrived: Counter[tuple[str, str]] = field(default_factory=Counter)
    marked: Counter[tuple[str, str]] = field(default_factory=Counter)


def tally(stage: Stage) -> Tally:
    found = Tally()
    texts = [("oncall", json.dumps(message)) for message in stage.slack.messages]
    texts += [("mail", mail.raw.decode()) for mail in stage.mail.mails]
    texts += [("topic", f"{message.subject} {message.message}") for message in stage.aws.delivered(stage.topic)]
    for receiver, text in texts:
        identity = ID.search(text)
        assert identity is not None, text
        key = (identity.group(), receiver)
        found.arrived[key] += 1
        found.marked[key] += "possible repeat" in text
    return found


def clear(stage: Stage, number: int) -> None:
    stage.slack.messages.clear()
    stage.mail.mails.clear()
    stage.aws.reset()
    stage.topic = stage.aws.create_topic("budgets")
    stage.directory = stage.directory.parent / f"history-{number}"
    stage.directory.mkdir()
    stage.write_config()


def history(stage: Stage, nursery: Nursery, kill_after: random.Random | None, longest_s: float) -> int:
    """Play all polls; kill at random instants; the number of kills."""
    kills = 0
    for number, value in enumerate(POLLS):
        now = START + number * HOUR
        stage.aws.publish_charge(now, value)
        while nursery.run(stage, now, kill_after.uniform(0.0, longest_s) if kill_after else None):
            kills += 1
    return kills


def torture(stage: Stage, nursery: Nursery, *, kills: int, seed: int) -> None:
    began = time.monotonic()
    history(stage, nursery, None, 0)
    longest_s = 1.2 * (time.monotonic() - began) / len(POLLS)
    expected = tally(stage)
    assert set(expected.arrived.values()) == {1}, "a history without kills sends everything once"
    assert not +expected.marked
    chance = random.Random(seed)  # noqa: S311 - it picks instants, not secrets
    done = histories = repeats = lost = 0
    while done < kills:
        histories += 1
        clear(stage, histories)
        fired = history(stage, nursery, chance, longest_s)
        done += fired
        seen = tally(stage)
        again = {key: count - 1 for key, count in seen.arrived.items() if count > 1}
        lost += len(expected.arrived.keys() - seen.arrived.keys())
        repeats += sum(again.values())
        assert seen.arrived.keys() == expected.arrived.keys(), "lost or invented"
        assert sum(again.values()) <= fired, "more repeats than kills"
        assert all(seen.marked[key] >= count for key, count in again.items()), "a repeat was not marked"
    print(f"seed {seed}: {done} kills in {histories} histories, {lost} lost, {repeats} repeats")


def test_a_few_kills(stage: Stage, nursery: Nursery) -> None:
    torture(stage, nursery, kills=10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_three_hundred_kills(stage: Stage, nursery: Nursery) -> None:
    torture(stage, nursery, kills=300, seed=int(os.environ.get("SEED", time.time_ns())))
