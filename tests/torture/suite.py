"""What the suites of torture share: how much of them runs, the seed that repeats a run, and the line of figures."""

from __future__ import annotations

import os
import random
import time

FULL = os.environ.get("MONITOR_TORTURE") == "1"
# The one that CI or a person gives repeats a run.
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))


def share(whole: int, sampled: int) -> int:
    """All of it when MONITOR_TORTURE=1 is set, a sample otherwise."""
    return whole if FULL else sampled


def chance() -> random.Random:
    """Random numbers, the same again with the same SEED."""
    return random.Random(SEED)  # noqa: S311 - they pick bits and instants, not secrets


def say(line: str) -> None:
    """One line of figures: shown at the end of a run that passes, whichever process ran the test."""
    print(f"{line} (seed {SEED})")
