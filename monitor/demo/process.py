"""The monitor's process: started, asked for turns, killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from monitor.clock import to_text

_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm that has changed. `messages`: how the ids of the messages about it begin."""

    subject: str
    on: str
    at: str
    severity: str
    before: str
    after: str
    reason: str
    messages: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a turn did. `notifications`: (id, receiver) of each message that it owed."""

    changes: tuple[Change, ...] = ()
    notifications: tuple[tuple[str, str], ...] = ()


class MonitorProcess:
    """A context manager: on entry `monitor.demo.daemon` is started with this config and environment."""

    def __init__(self, config: Path, environment: Mapping[str, str]) -> None:
        # In a session of its own, so that Ctrl-C reaches the demo alone, which then stops it in good order.
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "monitor.demo.daemon", str(config)],
            env=dict(environment),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the monitor's process has no pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def turn(self, now: datetime) -> Done:
        """Let it do a turn as of that instant and send what it owes. Raises RuntimeError if it has ended."""
        told = self._ask(to_text(now))
        owed = tuple((identity, receiver) for identity, receiver in told["notifications"])
        return Done(tuple(Change(**change) for change in told["changes"]), owed)

    def apply(self, now: datetime) -> str:
        """What `monitor alarms apply` would do and say at that instant. Raises RuntimeError if it has ended."""
        return str(self._ask(f"{to_text(now)} apply")["text"])

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._close()

    def stop(self) -> None:
        """Let it end; whatever it does, it is gone afterwards."""
        self._stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._close()

    def _close(self) -> None:
        self._process.wait()
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()

    def _ask(self, line: str) -> dict[str, Any]:
        self._stdin.write(line + "\n")
        self._stdin.flush()
        answer = self._stdout.readline()
        if not answer:
            raise RuntimeError(f"the monitor's process has ended with {self._process.wait()}")
        told: dict[str, Any] = json.loads(answer)
        return told
