"""For every test."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _interrupts_arrive() -> None:
    """A shell's background jobs ignore SIGINT, and so would everything that they start: Ctrl-C tests would hang."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
