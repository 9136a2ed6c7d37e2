"""Every source at once, each in its own thread: one that hangs or fails delays nobody."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alarms.errors import OutsideError, PermanentError, UnreachableError
from monitor.model import Batch, Window
from monitor.ports import BillingSource, RememberingSource

log = logging.getLogger(__name__)

# A fetch has its own deadline of 60 s; this one is for a source that breaks its word.
SILENCE_LIMIT_S = 90.0
# So long the first look at a budget waits for all the sources that feed it; then it is judged by those that answered.
PATIENCE_S = 2.0
# So many answers that wait are judged together: a thousand budgets are not held against each of forty accounts, and yet
# the first does not wait for the last.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one source brought for one window: a batch, or the reason why not.

    `running`: it is the window that reaches up to now, not a past month filled in. `last`: nothing more this turn.
    `taken`: set when it has been dealt with; the source is not asked for more before. `refused`: set before that when
    it was not good enough for the ledger; then the source is asked for nothing more this turn. `flight`: of which call.
    `remembered`: what is kept of it although it failed: `meters` and `use` alone.
    """

    source: str
    batch: Batch | None = None
    error: OutsideError | None = None
    remembered: Batch | None = None
    window: Window | None = None
    running: bool = True
    last: bool = True
    taken: threading.Event = field(default_factory=threading.Event)
    refused: threading.Event = field(default_factory=threading.Event)
    flight: int = 0

    @property
    def halfway(self) -> bool:
        """Whether the rest of the running window is still to come."""
        return self.running and self.batch is not None and self.batch.rest is not None


@dataclass(slots=True)
class _Flight:
    """A source that is being asked. `heard_at`: monotonic time of its start or of the last thing it brought."""

    number: int
    thread: threading.Thread
    heard_at: float
    given_up: bool = False


class Collector:
    """Fetches from sources in parallel; what hangs is left behind, and heard in a later turn or given up on."""

    def __init__(self, silence_limit_s: float = SILENCE_LIMIT_S, patience_s: float = PATIENCE_S) -> None:
        self._silence_limit_s = silence_limit_s
        self._patience_s = patience_s
        self._flights: dict[str, _Flight] = {}
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._results: queue.SimpleQueue[Fetched | None] = queue.SimpleQueue()
        self._arrived: deque[Fetched] = deque()
        self._handed_out: Fetched | None = None
        self._in_a_row = 0

    @property
    def awaited(self) -> set[str]:
        """Sources that are being asked and not given up on."""
        return {name for name, flight in self._flights.items() if not flight.given_up}

    def more_is_there(self) -> bool:
        """Whether another answer has come while this one is dealt with; not more than a few times in a row."""
        self._take_what_is_there()
        self._in_a_row = self._in_a_row + 1 if len(self._arrived) > 1 and self._in_a_row < _AT_ONCE - 1 else 0
        return self._in_a_row > 0

    def stop(self) -> None:
        """End a running `collect` now, from another thread; what has not arrived is read again next time."""
        self._stopped.set()
        self._results.put(None)

    def collect(
        self, work: Mapping[BillingSource, Sequence[Window]], limit_s: float = math.inf
    ) -> Iterator[Fetched | None]:
        """Yield results as they arrive, the last one of each source marked.

        What is still awaited after `limit_s` comes with the next call; so does what an earlier call left, and such a
        source is not asked a second time meanwhile. None among the results, once: `patience_s` have passed.
        """
        over_at = time.monotonic() + limit_s
        for source, windows in work.items():
            flight = self._flights.get(source.name)
            if flight is None or (flight.given_up and not flight.thread.is_alive()):
                self._flights[source.name] = self._start(source, windows)
            elif flight.given_up:
                yield Fetched(source.name, error=UnreachableError("has not come back from an earlier call yet"))
        yield from self._gather(over_at)

    def _start(self, source: BillingSource, windows: Sequence[Window]) -> _Flight:
        number = next(self._numbers)
        thread = threading.Thread(
            target=_fetch_all,
            args=(source, windows, number, self._results),
            name=f"source {source.name}",
            daemon=True,
        )
        thread.start()
        return _Flight(number, thread, time.monotonic())

    def _gather(self, over_at: float) -> Iterator[Fetched | None]:
        impatient_at = time.monotonic() + self._patience_s
        yield from self._hand_out()
        while not self._stopped.is_set() and (awaited := self.awaited):
            name = min(awaited, key=lambda one: self._flights[one].heard_at)
            give_up_at = self._flights[name].heard_at + self._silence_limit_s
            wake_at = min(give_up_at, impatient_at, over_at)
            try:
                first = self._results.get(timeout=max(0.0, wake_at - time.monotonic()))
            except queue.Empty:
                if wake_at == over_at:
                    return
                if wake_at == impatient_at:
                    impatient_at = math.inf
                    yield None
                else:
                    self._flights[name].given_up = True
                    yield Fetched(name, error=UnreachableError(f"gave no answer within {self._silence_limit_s:.0f} s"))
                continue
            self._take(first)
            yield from self._hand_out()

    def _take_what_is_there(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._results.get_nowait())

    def _take(self, fetched: Fetched | None) -> None:
        """It has arrived, unless it was given up on."""
        if fetched is not None and self._is_awaited(fetched):
            self._arrived.append(fetched)

    def _hand_out(self) -> Iterator[Fetched]:
        """What has arrived. What a failed turn had not dealt with comes again; not a third time: it may be why."""
        while self._arrived and not self._stopped.is_set():
            fetched = self._arrived[0]
            if fetched is self._handed_out:
                self._arrived.popleft()
            self._handed_out = fetched
            yield fetched
            self._arrived = deque(one for one in self._arrived if one is not fetched)
            self._handed_out = None
            self._settle(fetched)

    def _is_awaited(self, fetched: Fetched) -> bool:
        """Whether it is not from a call that was given up on."""
        flight = self._flights.get(fetched.source)
        return flight is not None and flight.number == fetched.flight and not flight.given_up

    def _settle(self, fetched: Fetched) -> None:
        fetched.taken.set()
        if fetched.last or fetched.refused.is_set():
            del self._flights[fetched.source]
        else:
            self._flights[fetched.source].heard_at = time.monotonic()


def _fetch_all(
    source: BillingSource, windows: Sequence[Window], number: int, results: queue.SimpleQueue[Fetched | None]
) -> None:
    todo = [(window, place == 0) for place, window in enumerate(windows)]
    while todo:
        window, running = todo.pop(0)
        fetched = replace(_fetch(source, window, running=running, more=bool(todo)), flight=number)
        results.put(fetched)
        if fetched.batch is None or fetched.last:
            return
        if fetched.batch.rest is not None:
            todo.insert(0, (fetched.batch.rest, running))
        # They may be large: no two of them in memory. And an older month is not filled in before a newer one.
        if not fetched.taken.wait(SILENCE_LIMIT_S) or fetched.refused.is_set():
            return


def _fetch(source: BillingSource, window: Window, *, running: bool, more: bool) -> Fetched:
    try:
        batch = source.fetch(window)
    except OutsideError as error:
        remembered = source.remembered() if isinstance(source, RememberingSource) else None
        return Fetched(source.name, error=error, remembered=remembered, running=running)
    except Exception:  # a defect in one source must not silence the others; it is told like a failure
        log.exception("A defect in a source. source=%s", source.name)
        defect = PermanentError("failed for a reason that is a defect of this program; see the log")
        return Fetched(source.name, error=defect, running=running)
    # Where nothing is published now (a wrong region, say) an empty past would be taken for a past without spend.
    nothing_now = running and batch.data_as_of is None
    last = (not more and batch.rest is None) or nothing_now
    return Fetched(source.name, batch=batch, window=window, running=running, last=last)
