"""One source that hangs, fails or breaks delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alarms.errors import AccessError, TemporaryError
from alarms.model import Period
from monitor.collect import Collector, Fetched
from monitor.model import Batch, Window
from monitor.ports import BillingSource

WINDOW = Window(Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)))
BATCH = Batch(charges=(), replaces={}, data_as_of=datetime(2026, 11, 1, tzinfo=UTC))


class Source:
    """Does what its test says when fetched."""

    def __init__(self, name: str, fetch: Callable[[], Batch]) -> None:
        self.name = name
        self.calls = 0
        self._fetch = fetch

    def windows(self, *_: object) -> tuple[Window, ...]:
        return (WINDOW,)

    def fetch(self, window: Window) -> Batch:
        self.calls += 1
        return self._fetch()

    def probe(self) -> str:
        return "seen"


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """What a hanging source waits for; released when the test is over."""
    release = threading.Event()
    yield release
    release.set()


def failing(error: Exception) -> Callable[[], Batch]:
    def fetch() -> Batch:
        raise error

    return fetch


def collect(collector: Collector, *sources: Source, windows: int = 1) -> list[Fetched]:
    return list(collector.collect(dict.fromkeys(sources, (WINDOW,) * windows)))


def test_every_source_is_heard_whatever_happens_to_the_others() -> None:
    refused = AccessError("no permission to call cloudwatch:GetMetricData")
    results = collect(
        Collector(),
        Source("fine", lambda: BATCH),
        Source("refused", failing(refused)),
        Source("broken", failing(ZeroDivisionError())),
    )
    by_name = {fetched.source: fetched for fetched in results}
    assert by_name["fine"].batch is BATCH
    assert by_name["refused"].error is refused
    assert "defect" in str(by_name["broken"].error)


def test_a_hanging_source_does_not_hold_up_the_others(hang: threading.Event) -> None:
    def wait() -> Batch:
        hang.wait()
        return BATCH

    limit_s = 3.0
    collector = Collector(silence_limit_s=limit_s, patience_s=60)
    stream = collector.collect(
        {Source(f"hung {n}", wait): (WINDOW,) for n in range(39)} | {Source("fine", lambda: BATCH): (WINDOW,)}
    )
    began = time.monotonic()
    assert next(stream).source == "fine"
    assert time.monotonic() - began < limit_s
    given_up = list(stream)
    assert len(given_up) == 39
    assert all("no answer within" in str(fetched.error) for fetched in given_up)


def test_a_source_that_still_hangs_is_not_called_a_second_time(hang: threading.Event) -> None:
    def wait() -> Batch:
        hang.wait()
        return BATCH

    collector, source = Collector(silence_limit_s=0.05), Source("hung", wait)
    collect(collector, source)
    second = collect(collector, source)
    assert source.calls == 1
    assert isinstance(second[0].error, TemporaryError)
    hang.set()
    for thread in threading.enumerate():
        if thread.name == "source hung":
            thread.join(5)
    assert collect(collector, source)[0].batch is BATCH


def test_what_is_not_there_in_time_comes_with_the_next_call_and_is_not_asked_for_twice(hang: threading.Event) -> None:
    def wait() -> Batch:
        hang.wait()
        return BATCH

    collector, slow, fine = Collector(), Source("slow", wait), Source("fine", lambda: BATCH)
    work: dict[BillingSource, tuple[Window, ...]] = {slow: (WINDOW,), fine: (WINDOW,)}
    first = [fetched.source for fetched in collector.collect(work, limit_s=0.2) if fetched]
    assert first == ["fine"]
    assert collector.awaited == {"slow"}
    second = [fetched.source for fetched in collector.collect(work, limit_s=0.2) if fetched]
    assert second == ["fine"]
    hang.set()
    (late,) = (fetched for fetched in collector.collect({}) if fetched)
    assert (late.source, late.batch) == ("slow", BATCH)
    assert slow.calls == 1
    assert collector.awaited == set()


def test_what_is_there_already_is_said_to_follow_but_no_more_than_a_few_at_once() -> None:
    sources = [Source(f"s{number}", lambda: BATCH) for number in range(20)]
    followed, collector = [], Collector()
    for _ in collector.collect(dict.fromkeys(sources, (WINDOW,))):
        for thread in threading.enumerate():
            if thread.name.startswith("source s"):
                thread.join(30)
        followed.append(collector.more_is_there())
    assert len(followed) == 20
    assert not followed[-1]
    longest = max(map(len, "".join("f" if one else "." for one in followed).split(".")))
    assert longest == 7, followed


def test_what_a_failed_turn_had_not_dealt_with_comes_with_the_next_call_but_no_third_time() -> None:
    sources = [Source(f"s{number}", lambda: BATCH) for number in range(5)]
    collector = Collector(silence_limit_s=1)
    answers = collector.collect(dict.fromkeys(sources, (WINDOW,)))
    bad = next(answers)
    assert bad is not None
    answers.close()  # the turn ends by an error
    for thread in threading.enumerate():
        if thread.name.startswith("source s"):
            thread.join(30)
    answers = collector.collect({})
    again = next(answers)
    assert again is not None
    assert (again.source, again.batch) == (bad.source, BATCH)
    answers.close()
    rest = list(collector.collect({}))
    assert sorted(one.source for one in rest[:-1] if one) == sorted({one.name for one in sources} - {bad.source})
    assert rest[-1] is not None
    assert (rest[-1].source, rest[-1].batch) == (bad.source, None)
    assert [source.calls for source in sources] == [1] * 5


def test_past_months_come_after_the_running_window_and_stop_at_the_first_failure() -> None:
    results = collect(Collector(), Source("fine", lambda: BATCH), windows=3)
    assert [(fetched.running, fetched.last) for fetched in results] == [(True, False), (False, False), (False, True)]
    source = Source("broken", failing(TemporaryError("503")))
    assert len(collect(Collector(), source, windows=3)) == 1
    assert source.calls == 1


def test_where_nothing_is_published_now_the_past_is_not_asked_for() -> None:
    source = Source("wrong region", lambda: replace(BATCH, data_as_of=None))
    (only,) = collect(Collector(), source, windows=3)
    assert only.last
    assert source.calls == 1


def test_nothing_more_is_asked_of_a_source_once_something_was_refused() -> None:
    source = Source("aws", lambda: BATCH)
    seen = []
    for fetched in Collector().collect({source: (WINDOW,) * 4}):
        seen.append(fetched.running)
        if len(seen) == 2:
            fetched.refused.set()
    assert seen == [True, False]
    assert source.calls == 2


def test_the_rest_of_a_window_is_asked_for_when_the_part_before_was_dealt_with() -> None:
    batches = [replace(BATCH, rest=WINDOW), replace(BATCH, rest=WINDOW), BATCH, BATCH]
    source = Source("aws", lambda: batches[source.calls - 1])
    arriving = Collector().collect({source: (WINDOW, WINDOW)})
    seen = [(source.calls, fetched.running, fetched.halfway, fetched.last) for fetched in arriving]
    assert seen == [(1, True, True, False), (2, True, True, False), (3, True, False, False), (4, False, False, True)]


def test_stopping_ends_a_running_collect_at_once(hang: threading.Event) -> None:
    begun = threading.Event()

    def wait() -> Batch:
        begun.set()
        hang.wait()
        return BATCH

    collector = Collector(silence_limit_s=60)
    results: list[Fetched] = []
    thread = threading.Thread(target=lambda: results.extend(collect(collector, Source("hung", wait))))
    thread.start()
    assert begun.wait(5)
    collector.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert results == []
