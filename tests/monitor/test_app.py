"""What is wired together: `status.json`, which turns and deliveries write at the same time."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.app import App
from monitor.clock import FixedClock
from monitor.config.model import Config, MonitorSection
from monitor.errors import StoreError
from monitor.store import facts, process
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox


def test_what_was_read_first_is_not_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = MonitorSection(tmp_path / "state", timedelta(minutes=5), "UTC", ())
    config = Config(tmp_path / "config.toml", section, sources=(), receivers=(), budgets=())
    reached, second_done = threading.Event(), threading.Event()
    publish = facts.publish

    def slow_at_first(directory: Path, document: str) -> None:
        if not reached.is_set():
            reached.set()
            second_done.wait(0.5)  # in vain, once one waits for the other
        publish(directory, document)

    with open_store(tmp_path / "state") as store:
        app = App(config, store, FixedClock(datetime(2026, 11, 10, tzinfo=UTC)))
        monkeypatch.setattr(facts, "publish", slow_at_first)
        note(store, 1)
        first = threading.Thread(target=app.write_status)
        first.start()
        assert reached.wait(10)
        note(store, 2)
        app.write_status()
        second_done.set()
        first.join(10)
    assert json.loads((tmp_path / "state" / "status.json").read_text())["number"] == 2


def note(store: Store, number: int) -> None:
    with store.transaction() as tx:
        facts.write_facts(tx, json.dumps({"number": number}))


@pytest.mark.parametrize("ends", ["as a command", "as a daemon"])
def test_the_status_tells_whether_a_daemon_wrote_it(tmp_path: Path, ends: str) -> None:
    now = datetime(2026, 11, 10, tzinfo=UTC)
    section = MonitorSection(tmp_path / "state", timedelta(minutes=5), "UTC", ())
    config = Config(tmp_path / "config.toml", section, sources=(), receivers=(), budgets=())
    store = open_store(tmp_path / "state")
    app = App(config, store, FixedClock(now))
    app.turn(now)
    assert daemon_of(tmp_path) is None
    if ends == "as a daemon":
        app.start()
        assert process.is_alive(daemon_of(tmp_path))
    app.stop(timedelta(seconds=10), wall=now)
    assert daemon_of(tmp_path) is None


def daemon_of(directory: Path) -> Any:
    return json.loads((directory / "state" / "status.json").read_text())["daemon"]


def test_a_reload_that_the_store_fails_in_goes_on_sending_by_the_new_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 11, 10, tzinfo=UTC)
    section = MonitorSection(tmp_path / "state", timedelta(minutes=5), "UTC", ())
    config = Config(tmp_path / "config.toml", section, sources=(), receivers=(), budgets=())
    other = Config(tmp_path / "other.toml", section, sources=(), receivers=(), budgets=())

    def damaged(*_: object) -> None:
        raise StoreError("a row is damaged")

    with open_store(tmp_path / "state") as store:
        app = App(config, store, FixedClock(now))
        app.start()
        monkeypatch.setattr(StoredOutbox, "retire", damaged)
        with pytest.raises(StoreError):
            app.replace(other)
        assert app.config is other
        assert "unheard" in {thread.name for thread in threading.enumerate()}, "the new dispatcher runs"
        app.stop(timedelta(seconds=10))
