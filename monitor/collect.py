"""Every source at once, each in its own thread: one that hangs or fails delays nobody."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alarms.errors import OutsideError, PermanentError, TemporaryError
from monitor.model import Batch, Window
from monitor.ports import BillingSource

log = logging.getLogger(__name__)

# A fetch has its own deadline of 60 s; this one is for a source that breaks its word.
SILENCE_LIMIT_S = 90.0
# So long the first look at a budget waits for all the sources that feed it; then it is judged by those that answered.
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one source brought for one window: a batch, or the reason why not.

    `running`: it is the window that reaches up to now, not a past month filled in. `last`: nothing more this turn.
    `taken`: set when it has been dealt with; the source is not asked for more before. `refused`: set before that when
    it was not good enough for the ledger; then the source is asked for nothing more this turn.
    """

    source: str
    batch: Batch | None = None
    error: OutsideError | None = None
    window: Window | None = None
    running: bool = True
    last: bool = True
    taken: threading.Event = field(default_factory=threading.Event)
    refused: threading.Event = field(default_factory=threading.Event)

    @property
    def halfway(self) -> bool:
        """Whether the rest of the running window is still to come."""
        return self.running and self.batch is not None and self.batch.rest is not None


class Collector:
    """Fetches from sources in parallel; remembers which are still hanging from an earlier turn."""

    def __init__(self, silence_limit_s: float = SILENCE_LIMIT_S, patience_s: float = PATIENCE_S) -> None:
        self._silence_limit_s = silence_limit_s
        self._patience_s = patience_s
        self._hanging: dict[str, threading.Thread] = {}
        self._stopped = threading.Event()
        self._results: queue.SimpleQueue[Fetched | None] = queue.SimpleQueue()

    def stop(self) -> None:
        """End a running `collect` now, from another thread; what has not arrived is read again next time."""
        self._stopped.set()
        self._results.put(None)

    def collect(self, work: Mapping[BillingSource, Sequence[Window]]) -> Iterator[Fetched | None]:
        """Yield results as they arrive, at least one for each source, the last one of each marked.

        None among them, once: `patience_s` have passed, and some are still awaited.
        """
        results = self._results = queue.SimpleQueue()  # a new one: what a hanging call brings late is not for this turn
        silent_since: dict[str, float] = {}
        for source, windows in work.items():
            earlier = self._hanging.get(source.name)
            if earlier is not None and earlier.is_alive():
                yield Fetched(source.name, error=TemporaryError("has not come back from an earlier call yet"))
                continue
            thread = threading.Thread(
                target=_fetch_all, args=(source, windows, results), name=f"source {source.name}", daemon=True
            )
            self._hanging[source.name] = thread
            silent_since[source.name] = time.monotonic()
            thread.start()
        yield from self._gather(results, silent_since)

    def _gather(
        self, results: queue.SimpleQueue[Fetched | None], silent_since: dict[str, float]
    ) -> Iterator[Fetched | None]:
        impatient_at = time.monotonic() + self._patience_s
        while silent_since and not self._stopped.is_set():
            name, since = min(silent_since.items(), key=lambda item: item[1])
            give_up_at = since + self._silence_limit_s
            try:
                fetched = results.get(timeout=max(0.0, min(give_up_at, impatient_at) - time.monotonic()))
            except queue.Empty:
                if impatient_at < give_up_at:
                    impatient_at = math.inf
                    yield None
                    continue
                del silent_since[name]
                yield Fetched(name, error=TemporaryError(f"gave no answer within {self._silence_limit_s:.0f} s"))
                continue
            if fetched is None or fetched.source not in silent_since:
                continue  # stopped, or it was given up on in this turn
            yield fetched
            fetched.taken.set()
            if fetched.last or fetched.refused.is_set():
                del silent_since[fetched.source]
            else:
                silent_since[fetched.source] = time.monotonic()


def _fetch_all(source: BillingSource, windows: Sequence[Window], results: queue.SimpleQueue[Fetched | None]) -> None:
    todo = [(window, number == 0) for number, window in enumerate(windows)]
    while todo:
        window, running = todo.pop(0)
        fetched = _fetch(source, window, running=running, more=bool(todo))
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
        return Fetched(source.name, error=error, running=running)
    except Exception:  # a defect in one source must not silence the others; it is told like a failure
        log.exception("A defect in a source. source=%s", source.name)
        defect = PermanentError("failed for a reason that is a defect of this program; see the log")
        return Fetched(source.name, error=defect, running=running)
    # Where nothing is published now (a wrong region, say) an empty past would be taken for a past without spend.
    nothing_now = running and batch.data_as_of is None
    last = (not more and batch.rest is None) or nothing_now
    return Fetched(source.name, batch=batch, window=window, running=running, last=last)
