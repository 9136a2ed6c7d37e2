"""The power fails at any instant: no acknowledged commit is lost, and what is left is a whole store."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alarms.errors import TemporaryError
from alarms.model import Receipt
from monitor.store import connection as connections
from monitor.store import facts
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from monitor.store.verification import verify
from tests.fakes import crash_program, power_cut
from tests.fakes.power_cut import Connector, Operation, Recorder
from tests.torture.suite import chance, say, share

TURNS = 6
# Checkpoints within a short history; the daemon's own threshold would bring one in a thousand pages.
SOON = ("PRAGMA wal_autocheckpoint = 20",)
STATES, SAMPLED = 3_000, 250
TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"


def history(directory: Path, ack: Callable[[Store], None]) -> None:
    """What a daemon does: turns, messages that go out, fail and go out again; each step acknowledged."""
    with open_store(directory) as store:
        ack(store)
        outbox = StoredOutbox(store)
        for number in range(TURNS):
            crash_program.turn(store, outbox, number)
            ack(store)
            now = crash_program.START + number * crash_program.HOUR
            with store.transaction() as tx:
                facts.write_facts(tx, '{"spend": "' + "9" * 3_000 * number + '"}')
            ack(store)
            for receiver in crash_program.RECEIVERS:
                while due := [one for one in outbox.owed(receiver) if one.next_attempt_at <= now]:
                    delivery = outbox.begin(due[0], now)
                    assert delivery is not None
                    ack(store)
                    if number % 3 == 1 and delivery.attempts < 2:
                        error = str(TemporaryError("no answer"))
                        outbox.later(delivery, now + timedelta(minutes=1), error, uncertain=True)
                        ack(store)
                        now += timedelta(minutes=1)
                    else:
                        outbox.sent(delivery, Receipt(), now)
                        ack(store)


def content(connection: Any) -> str:
    """A hash of everything that is stored."""
    tables = [name for (name,) in connection.execute(TABLES)]
    # Names come from the schema.
    rows = [(name, sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"')))) for name in tables]  # noqa: S608
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def record(directory: Path, monkeypatch: pytest.MonkeyPatch, *also: str) -> tuple[Recorder, list[str]]:
    """Play the history on the recording disk; what happened on it, and the content after each acknowledgement."""
    recorder, contents = Recorder(), []

    def ack(store: Store) -> None:
        recorder.operations.append(Operation("ack", data=b"%d" % len(contents)))
        asked = len(recorder.statements)
        with store.read() as connection:
            contents.append(content(connection))
        del recorder.statements[asked:]

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", Connector(recorder, also))
        history(directory, ack)
    return recorder, contents


def cut(recorder: Recorder, contents: list[str], tmp_path: Path, number: int) -> dict[str, int]:
    """Cut the power so often, at instants spread over all of the history; what was found, counted."""
    dice = chance()
    found = {"states": 0, "lost": 0, "corrupt": 0}
    step = len(recorder.operations) / number
    for index in range(number):
        upto = recorder.operations[: min(len(recorder.operations), int(index * step) + 1)]
        directory = tmp_path / f"cut-{index}"
        directory.mkdir(mode=0o700)
        for name, image in power_cut.left_of(upto, dice).items():
            (directory / name).write_bytes(image)
        found["states"] += 1
        try:
            with open_store(directory) as store, store.read() as connection:
                verify(connection)
                left = content(connection)
        except Exception:  # noqa: BLE001 - whatever it is, the store could not be used
            found["corrupt"] += 1
            continue
        if left not in contents:
            found["corrupt"] += 1
        elif len(contents) - 1 - contents[::-1].index(left) < power_cut.acknowledged(upto):
            found["lost"] += 1
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_power_cut_loses_what_was_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, contents = record(tmp_path / "history", monkeypatch, *SOON)
    found = cut(recorder, contents, tmp_path, share(STATES, SAMPLED))
    say(
        f"power cut: {found['states']:,} states of {len(recorder.operations)} operations for {len(contents)} commits, "
        f"{found['lost']} lost acknowledged commits, {found['corrupt']} corrupt",
    )
    assert found == {"states": share(STATES, SAMPLED), "lost": 0, "corrupt": 0}


@pytest.mark.parametrize("weaker", ["NORMAL", "OFF"])
def test_with_weaker_settings_the_simulation_does_find_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weaker: str
) -> None:
    settings = [pragma.replace("FULL", weaker) for pragma in connections._PRAGMAS]
    with monkeypatch.context() as patch:
        patch.setattr(connections, "_PRAGMAS", settings)
        recorder, contents = record(tmp_path / "history", monkeypatch, *SOON)
    found = cut(recorder, contents, tmp_path, 60)
    assert found["lost"] + found["corrupt"] > 10


def test_the_recording_disk_gets_the_statements_that_the_daemon_gives_sqlite3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, contents = record(tmp_path / "recorded", monkeypatch)
    asked: list[tuple[str, Any]] = []
    real: list[str] = []

    class Listening(sqlite3.Connection):
        def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
            asked.append((sql, tuple(values)))
            return super().execute(sql, values)

        def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
            values = [tuple(row) for row in rows]
            asked.append((sql, values))
            return super().executemany(sql, values)

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return plain(*arguments, **options, factory=Listening)

    def ack(store: Store) -> None:
        before = len(asked)
        with store.read() as connection:
            real.append(content(connection))
        del asked[before:]

    plain = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        history(tmp_path / "plain", ack)
    assert asked == recorder.statements
    assert real == contents
    assert ("PRAGMA synchronous = FULL", ()) in asked
    assert sum(one.kind == "sync" for one in recorder.operations) > len(contents) - 1
