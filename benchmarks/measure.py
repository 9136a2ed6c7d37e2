"""How things are compared: in turns (A B A B), after a warm-up, as medians with their spread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Samples of ours and of its reference, pair by pair from the same minutes. `target`: the ratio to stay below."""

    what: str
    reference: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    target: float | None = None

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return median(self.ours) / median(self.theirs)

    @property
    def row(self) -> str:
        """One line of the table."""
        ratios = [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        target = "" if self.target is None else f"{self.target:g}"
        cells = (
            self.what,
            f"{_spread(self.ours)} {self.unit}",
            self.reference,
            f"{_spread(self.theirs)} {self.unit}",
            f"**{self.ratio:.2f}** ({min(ratios):.2f}-{max(ratios):.2f})",
            target,
            str(len(self.ours)),
        )
        return f"| {' | '.join(cells)} |"


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found; `notes` say what was compared, and what could not be; `tables` of another form."""

    comparisons: Sequence[Comparison]
    notes: Sequence[str] = ()
    tables: Sequence[str] = ()


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each contender measured once a round, `rounds` times; one more round before them does not count."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, measure in contenders.items():
            value = measure()
            if number:
                samples[name].append(value)
    return samples


def wall_ms(
    command: Sequence[str], environment: Mapping[str, str], codes: Sequence[int] = (0,), cwd: Path | None = None
) -> float:
    """How long a command takes from start to end; it must end with one of these codes."""
    start = time.perf_counter()
    done = subprocess.run(
        command, env=environment, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    elapsed = time.perf_counter() - start
    if done.returncode not in codes:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return elapsed * 1000


def environment(**more: str) -> dict[str, str]:
    """That of this process, without what names an AWS account or a config, or keeps Python from storing bytecode."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MONITOR_", "PYTHON"))}
    return {**clean, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", **more}


class Worker:
    """A process of its own that answers each line with a line of JSON: `python -m MODULE ARGUMENTS...`."""

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a worker needs pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def ask(self, line: str) -> Any:
        """Send a line and wait for the answer."""
        self._stdin.write(line + "\n")
        self._stdin.flush()
        return self.said()

    def said(self) -> Any:
        """Wait for what it says."""
        answer = self._stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} has ended; why is above")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


def _spread(samples: Sequence[float]) -> str:
    digits = 1 if median(samples) >= 10 else 2
    return f"{median(samples):.{digits}f} ({min(samples):.{digits}f}-{max(samples):.{digits}f})"
