"""Histories of polls, played by a real process that may be killed, and what arrives of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from moto.sqs.models import sqs_backends

from monitor.simulation.aws import ACCOUNT, REGION
from tests.e2e.conftest import Stage
from tests.fakes import killer

START = datetime(2026, 11, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Up over both levels, back below one by a credit, up again, and a repeat of the critical level after four hours.
POLLS = ["100", "810", "990", "1100", "790", "1250", "1250", "1260", "1270", "1280"]
ID = re.compile(r"[0-9a-f]{12}/[a-z0-9.-]+/\d+")
# Everything that a killed process may leave behind on a connection is over when it is in one of these states.
_LISTENING, _TIME_WAIT = "0A", "06"


@dataclass(frozen=True)
class Kill:
    """Where a process is to die: at its n-th call of these kinds, before it is made or after."""

    at: int
    after: bool = False
    kinds: tuple[str, ...] = killer.KINDS


@dataclass(frozen=True)
class Ending:
    """How a run ended. `fired`: the kind of call at which it was killed from inside; `calls`: how many there were."""

    killed: bool
    code: int
    fired: str | None = None
    calls: Counter[str] = field(default_factory=Counter)


@dataclass
class Nursery:
    """Starts commands, one at a time."""

    process: subprocess.Popen[str]
    log: Path

    def run(self, arguments: Sequence[str], *, kill: Kill | None = None, kill_after_s: float | None = None) -> Ending:
        """Run to the end; an end that is neither a kill nor 0 is a failure of the test."""
        self.start(arguments, kill=kill, kill_after_s=kill_after_s)
        return self.ended()

    def start(self, arguments: Sequence[str], *, kill: Kill | None = None, kill_after_s: float | None = None) -> int:
        """Begin; the process's number. `ended` must be called before the next one."""
        inside = None if kill is None else {"at": kill.at, "after": kill.after, "kinds": kill.kinds}
        assert self.process.stdin is not None
        order = {"arguments": list(arguments), "kill_after_s": kill_after_s, "kill": inside}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self._answer()["pid"])

    def ended(self) -> Ending:
        """Wait for the end."""
        answer = self._answer()
        assert answer["killed"] or answer["code"] == 0, (answer, self.log.read_text()[-3000:])
        kind, _, rest = answer["said"].partition(" ")
        if kind == "end":
            counts = (pair.split("=") for pair in rest.split())
            calls = Counter({name: int(count) for name, count in counts})
            return Ending(answer["killed"], answer["code"], calls=calls)
        return Ending(answer["killed"], answer["code"], fired=kind or None)

    def _answer(self) -> dict[str, object]:
        assert self.process.stdout is not None
        answer: dict[str, object] = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def nursery(stage: Stage, *, preload: Path | None = None, under: Sequence[str] = ()) -> Iterator[Nursery]:
    """Commands of this stage, with the killer inside if it is given; `under` a tracer."""
    log = stage.directory / "nursery.log"
    environment = {**stage.environment, **({"LD_PRELOAD": str(preload)} if preload else {})}
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*under, sys.executable, "-m", "tests.e2e.nursery"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        try:
            yield Nursery(process, log)
        finally:
            process.kill()


def once(stage: Stage, as_of: datetime) -> list[str]:
    """The arguments of one turn."""
    return ["--config", str(stage.config), "--state-dir", str(stage.state), "once", "--as-of", as_of.isoformat()]


@dataclass
class Tally:
    """What arrived, by (id, receiver); and how often it said that it may be a repeat."""

    arrived: Counter[tuple[str, str]] = field(default_factory=Counter)
    marked: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def repeats(self) -> dict[tuple[str, str], int]:
        """How often something arrived more than once."""
        return {key: count - 1 for key, count in self.arrived.items() if count > 1}

    @property
    def unmarked(self) -> list[tuple[str, str]]:
        """What arrived again without saying so."""
        return [key for key, count in self.repeats.items() if self.marked[key] < count]


def texts(stage: Stage) -> list[tuple[str, str]]:
    """(receiver, text) of everything that has arrived so far."""
    return [
        *(("oncall", json.dumps(message)) for message in stage.slack.messages),
        *(("mail", mail.raw.decode()) for mail in stage.mail.mails),
        *(("topic", f"{message.subject} {message.message}") for message in stage.aws.delivered(stage.topic)),
    ]


def tally(stage: Stage) -> Tally:
    """Count what has arrived."""
    found = Tally()
    for receiver, text in texts(stage):
        identity = ID.search(text)
        assert identity is not None, text
        key = (identity.group(), receiver)
        found.arrived[key] += 1
        found.marked[key] += "possible repeat" in text
    return found


def forget(stage: Stage) -> None:
    """Empty every receiver."""
    stage.slack.messages.clear()
    stage.mail.mails.clear()
    name = stage.topic.rpartition(":")[2]
    # Not purge_queue: as the real one, it can be called once a minute.
    sqs_backends[ACCOUNT][REGION].get_queue(f"{name}-inbox")._messages.clear()


def quiet(stage: Stage, limit_s: float = 20) -> None:
    """Wait until the servers have dealt with everything that a process, killed or not, has sent them."""
    ports = {stage.mail.port, _port(stage.slack.url), _port(stage.aws.url)}
    end = time.monotonic() + limit_s
    while _open_connections(ports):
        assert time.monotonic() < end, "a connection of a dead process is still open"
        threading.Event().wait(0.002)


def _port(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])


def _open_connections(ports: set[int]) -> int:
    lines = Path(f"/proc/{os.getpid()}/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(
        int(local.rpartition(":")[2], 16) in ports and state not in (_LISTENING, _TIME_WAIT)
        for _, local, _, state, *_ in fields
    )
