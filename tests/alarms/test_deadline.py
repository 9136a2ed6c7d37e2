"""A blocking call has so much time and no more."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from alarms.clients.deadline import within
from alarms.errors import PermanentError, TemporaryError


def test_result_comes_through() -> None:
    assert within(5, lambda: 42, what="answer") == 42


def test_exception_comes_through() -> None:
    def refuse() -> None:
        raise PermanentError("no")

    with pytest.raises(PermanentError, match=r"^no$"):
        within(5, refuse, what="answer")


@pytest.mark.parametrize("uncertain", [True, False])
def test_call_that_does_not_end_is_given_up(uncertain: bool) -> None:
    release = threading.Event()
    started = time.monotonic()
    with pytest.raises(TemporaryError, match=r"^the cloud gave no complete answer within 0\.1 s$") as caught:
        within(0.1, lambda: release.wait(30), what="the cloud", uncertain=uncertain)
    release.set()
    assert caught.value.uncertain is uncertain
    assert time.monotonic() - started < 5


def test_hanging_call_does_not_hold_up_the_end_of_the_process() -> None:
    program = """
import threading
from alarms.clients.deadline import within
from alarms.errors import TemporaryError
try:
    within(0.05, threading.Event().wait, what="x")
except TemporaryError:
    print("gave up")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "gave up\n"
