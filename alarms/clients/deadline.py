"""A wall around a blocking call: whatever the other side does, the caller goes on in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from alarms.errors import UnreachableError

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], *, what: str, uncertain: bool = False) -> T:
    """The result of `call`, or its exception, if it is over within `seconds` in all; else UnreachableError.

    Timeouts of sockets count from the last byte, so a peer that sends one byte a second defeats them. `what` names the
    call in the error; `uncertain`: it may have had its effect all the same. The thread of a call that was given up is
    left to itself: it is a daemon and holds up neither the caller nor the end of the process.
    """
    attempt = _Attempt(call)
    threading.Thread(target=attempt.run, name=f"within: {what}", daemon=True).start()
    if not attempt.over.wait(seconds):
        raise UnreachableError(f"{what} gave no complete answer within {seconds:g} s", uncertain=uncertain)
    return attempt.result()


def idle(seconds: float) -> None:
    """Do nothing for so long."""
    threading.Event().wait(seconds)


class _Attempt(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self.over = threading.Event()
        self._call = call
        self._returned: list[T] = []
        self._raised: BaseException | None = None

    def run(self) -> None:
        try:
            self._returned.append(self._call())
        except BaseException as error:  # noqa: BLE001 - not handled here: it is raised again in the caller's thread
            self._raised = error
        finally:
            self.over.set()

    def result(self) -> T:
        if self._raised is not None:
            raise self._raised
        return self._returned[0]
