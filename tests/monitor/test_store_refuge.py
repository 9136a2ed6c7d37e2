"""A disk that refuses: turns go on in memory, people are told, and all of it is stored when the disk takes it again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alarms.model import Kind, Reason
from monitor.clock import to_text
from monitor.disk import Disk
from monitor.errors import StoreError
from monitor.store import ballast, database, facts, refuge
from monitor.store.ballast import Ballast
from monitor.store.connection import connect
from monitor.store.database import Store, Trouble, open_store
from monitor.store.mending import open_mended
from tests.monitor.test_cycle import HOUR, START, FakeSource, World, budget

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


def write(store: Store, number: int) -> None:
    def attempt() -> None:
        with store.transaction() as tx:
            facts.write_turn(tx, NOW + timedelta(hours=number))

    store.persist(attempt)


def written(path: Path) -> int | None:
    """What is on the disk, as another process would find it."""
    with contextlib.closing(sqlite3.connect(path / "ledger.db")) as connection:
        last = facts.last_turn(connection)
    return None if last is None else (last - NOW) // timedelta(hours=1)


def refuse(store: Store) -> None:
    with store.read() as connection:
        connection.execute("PRAGMA query_only = ON")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        write(opened, 1)
        opened.tend()
        yield opened


def test_what_the_disk_refuses_is_done_in_memory_and_stored_later(store: Store) -> None:
    refuse(store)
    write(store, 2)
    assert store.in_memory
    assert store.trouble is not None
    assert store.trouble[0] is Trouble.READ_ONLY
    with store.read() as connection:
        assert facts.last_turn(connection) == NOW + timedelta(hours=2)
    assert written(store.directory) == 1
    store.tend()
    assert not store.in_memory
    assert store.trouble is None
    assert written(store.directory) == 2
    write(store, 3)
    assert written(store.directory) == 3


def test_the_end_of_the_program_stores_what_it_can(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        write(store, 1)
        refuse(store)
        write(store, 2)
        assert store.in_memory
    assert written(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.db", "lock"]


def test_what_is_stored_meanwhile_is_not_begun_halfway(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going back fails: nothing changes, neither in memory nor in the file."""
    refuse(store)
    write(store, 2)
    with monkeypatch.context() as patch:

        def fail(*_: object) -> sqlite3.Connection:
            raise sqlite3.OperationalError("no")

        patch.setattr(refuge, "write_back", fail)
        store.tend()
    assert store.in_memory
    assert store.trouble is not None
    assert written(store.directory) == 1
    store.tend()
    assert written(store.directory) == 2


def test_going_back_is_not_tried_where_there_is_no_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(store)
    write(store, 2)
    with monkeypatch.context() as patch:
        patch.setattr(refuge, "_MARGIN", 1 << 60)
        store.tend()
    assert store.in_memory
    assert written(store.directory) == 1


def full(store: Store) -> None:
    """The same error as on a full disk, without root."""
    with store.read() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")


def fill(store: Store) -> None:
    with store.transaction() as tx:
        tx.execute("INSERT OR REPLACE INTO facts VALUES (1, ?, 0)", ("x" * 100_000,))


def test_the_ballast_goes_first_and_comes_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store.directory / "ballast"
    assert kept.stat().st_size == ballast.SIZE
    assert kept.stat().st_mode & 0o777 == 0o600
    full(store)
    with pytest.raises(StoreError) as caught:
        fill(store)
    assert caught.value.again
    assert not kept.exists()
    assert not store.in_memory
    store.persist(lambda: fill(store))
    assert store.in_memory, "here the ballast has freed nothing"
    with monkeypatch.context() as patch:
        patch.setattr(Ballast, "is_kept", lambda _: False)
        store.tend()
        assert store.trouble is not None
        assert store.trouble[0] is Trouble.FULL
    assert not store.in_memory
    store.tend()
    assert store.trouble is None
    assert kept.exists()


def test_a_disk_without_room_for_the_ballast_is_as_good_as_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.directory / "ballast").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(ballast, "SIZE", 1 << 60)
        store.tend()
    assert store.trouble is not None
    assert store.trouble[0] is Trouble.FULL
    assert not (store.directory / "ballast").exists()


@pytest.mark.parametrize("kind", ["symlink", "fifo", "short"])
def test_whatever_stands_in_the_place_of_the_ballast_is_removed(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    match kind:
        case "symlink":
            (tmp_path / "ballast").symlink_to(victim)
        case "fifo":
            os.mkfifo(tmp_path / "ballast")
        case _:
            (tmp_path / "ballast").write_text("x")
    assert Ballast(tmp_path).is_kept()
    assert victim.read_text() == "precious"
    assert (tmp_path / "ballast").lstat().st_size == ballast.SIZE


def test_a_store_that_cannot_even_be_read_is_replaced_by_an_empty_one_and_comes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(store)
    with monkeypatch.context() as patch:
        patch.setattr(refuge, "_WAYS_TO_READ", ())
        patch.setattr(refuge, "copy_through", lambda _: None)
        write(store, 5)
    with store.read() as connection:
        assert facts.last_turn(connection) == NOW + timedelta(hours=5)
    store.tend()
    assert not store.in_memory
    assert written(store.directory) == 1, "what is on the disk knows more"


@pytest.mark.parametrize("way", refuge._WAYS_TO_READ, ids=lambda way: way.__name__)
@pytest.mark.parametrize("log", [True, False])
def test_every_way_to_read_a_file_reads_all_of_it_or_nothing(
    tmp_path: Path, way: Callable[..., sqlite3.Connection | None], log: bool
) -> None:
    with open_store(tmp_path / "live") as store:
        write(store, 1)
        if not log:
            store.close()
        (tmp_path / "dead").mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(tmp_path / "live" / name, tmp_path / "dead")
    with contextlib.ExitStack() as opened:
        memory = refuge.copy_through(way(tmp_path / "dead" / "ledger.db", opened))
        assert (memory is None) == (log and way is refuge._without_a_log)
        if memory is not None:
            assert facts.last_turn(memory) == NOW + timedelta(hours=1)
            memory.close()


FAIL_FOR_GOOD = """
import resource, sys
from pathlib import Path
from tests.monitor.test_store_refuge import write, written
from monitor.store.database import open_store
with open_store(Path(sys.argv[1])) as store:
    write(store, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    write(store, 2)
    assert store.in_memory and store._continues
    write(store, 3)
    store.tend()
    assert store.in_memory
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert written(Path(sys.argv[1])) == 3
"""


def test_where_nothing_can_be_written_at_all_what_was_stored_is_gone_on_with(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", FAIL_FOR_GOOD, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_memory_takes_the_place_of_a_first_store_that_could_not_be_made(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            (tmp_path / name).unlink()
        store._connection = None
        (tmp_path / "ledger.db").touch(0o600)
        error = StoreError("no")
        error.__cause__ = failed = sqlite3.OperationalError("disk I/O error")
        failed.sqlite_errorcode = sqlite3.SQLITE_IOERR
        assert store.take_refuge(error)
        write(store, 2)
        store.tend()
        assert not store.in_memory
    assert written(tmp_path) == 2


def test_a_file_that_was_damaged_while_the_store_was_in_memory_is_set_aside(store: Store) -> None:
    refuse(store)
    write(store, 2)
    (store.directory / "ledger.db").write_bytes(b"garbage, and enough of it to be no database" * 100)
    disk = Disk(store)
    disk.bear(NOW, lambda: None)
    assert not store.in_memory
    assert written(store.directory) == 2
    assert len(list(store.directory.glob("*.corrupt-*"))) == 1


@dataclass
class Bearing:
    """A world whose turns go on when the disk refuses."""

    world: World
    disk: Disk

    def turn(self) -> list[tuple[Kind, str, Reason]]:
        self.world.now += HOUR
        now = self.world.now
        self.disk.bear(now, lambda: self.world.cycle().turn(now, lambda: self.disk.faults(now)))
        return self.world.messages()


@pytest.fixture
def bearing(tmp_path: Path) -> Iterator[Bearing]:
    with open_mended(tmp_path / "state", START) as store:
        world = World(store, [FakeSource("aws", "10")])
        yield Bearing(world, Disk(store))


DISK_PAGES = {
    "read-only": "The disk of the monitor takes no writes",
    "full": "The disk of the monitor is full",
}


@pytest.mark.parametrize(("how", "word"), [(refuse, "read-only"), (full, "full")])
def test_the_turn_that_finds_the_disk_refusing_still_tells_of_the_breach_and_of_the_disk(
    bearing: Bearing, how: Callable[[Store], None], word: str
) -> None:
    bearing.world.budgets = [budget(f"training {number}") for number in range(20)]
    assert bearing.turn() == []
    store = bearing.world.store
    with store.read():
        (store.directory / "ballast").unlink()
    how(store)
    bearing.world.sources[0].month_to_date = "1100"
    told = bearing.turn()
    assert set(told) == {(Kind.FIRING, "80%", Reason.CROSSED), (Kind.FIRING, "100%", Reason.CROSSED)} | {
        (Kind.FIRING, DISK_PAGES[word], Reason.FAULT)
    }
    assert store.in_memory
    told = bearing.turn()
    assert not store.in_memory
    assert all(kind is Kind.RESOLVED for kind, _, _ in told), "nothing is told twice"
    for _ in range(2):
        assert all(kind is Kind.RESOLVED for kind, _, _ in bearing.turn())
    document = bearing.world.facts()
    assert [alarm["state"] for alarm in document["budgets"][0]["alarms"]] == ["FIRING", "FIRING"]
    assert document["health"] == []


def test_a_disk_that_fails_now_and_then_pages_once(bearing: Bearing) -> None:
    bearing.turn()
    store, told = bearing.world.store, []
    for _ in range(4):
        store.trouble = (Trouble.FAILING, "disk I/O error")
        bearing.world.now += timedelta(minutes=10) - HOUR
        now = bearing.world.now + HOUR
        found = bearing.disk.faults(now)
        told += [fault.what for fault in found]
        store.trouble = None
        told += [fault.what for fault in bearing.disk.faults(now)]
    assert told == ["failing"] * 8
    assert bearing.disk.faults(bearing.world.now + 3 * HOUR) == []


def test_what_was_told_while_nothing_could_be_read_is_told_once_more_at_most(
    bearing: Bearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    bearing.turn()
    store = bearing.world.store
    refuse(store)
    bearing.world.sources[0].month_to_date = "1100"
    with monkeypatch.context() as patch:
        patch.setattr(refuge, "_WAYS_TO_READ", ())
        patch.setattr(refuge, "copy_through", lambda _: None)
        assert (Kind.FIRING, "100%", Reason.ALREADY_OVER) in bearing.turn()
    told = bearing.turn()
    assert not store.in_memory
    assert (Kind.FIRING, "100%", Reason.ALREADY_OVER) in told
    with store.read() as connection:
        marks = connection.execute("SELECT possible_repeat FROM outbox WHERE id LIKE '%actual%'").fetchall()
    assert set(marks) == {(1,)}
    assert {kind for kind, _, _ in bearing.turn() + bearing.turn()} == {Kind.RESOLVED}


def test_damage_that_shows_during_a_turn_is_mended_in_it(bearing: Bearing) -> None:
    bearing.world.sources[0].month_to_date = "850"
    assert bearing.turn() == [(Kind.FIRING, "80%", Reason.ALREADY_OVER)]
    bearing.disk.back_up(bearing.world.now)
    store = bearing.world.store
    with store.transaction() as tx:
        tx.execute("UPDATE month_total SET billed_cost = '1'")
    bearing.world.sources[0].month_to_date = "1100"
    told = bearing.turn()
    page = f"The store was damaged; restored from the backup of {to_text(START + HOUR)}"
    assert sorted(told) == [(Kind.FIRING, "100%", Reason.ALREADY_OVER), (Kind.FIRING, page, Reason.FAULT)]
    assert bearing.world.facts()["budgets"][0]["spend"] == "1100"
    assert bearing.turn() == [(Kind.RESOLVED, "store is no longer damaged", Reason.FAULT_OVER)]
    assert bearing.turn() == []


def test_damage_that_no_turn_sees_is_found_by_the_daily_backup(bearing: Bearing) -> None:
    bearing.turn()
    bearing.disk.back_up(bearing.world.now)
    store = bearing.world.store
    with store.transaction() as tx:
        tx.execute("INSERT INTO api_use VALUES ('old', '2020-01', 1, '0', 0)")
    bearing.turn()
    assert store.damage is None
    bearing.world.now += 24 * HOUR
    bearing.disk.back_up(bearing.world.now)
    assert store.damage is not None
    assert [reason for _, _, reason in bearing.turn()] == [Reason.FAULT]
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM api_use WHERE source = 'old'").fetchone() == (0,)


def test_what_was_told_after_the_backup_is_told_once_more_as_a_possible_repeat(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with open_mended(state, START) as store:
        bearing = Bearing(World(store, [FakeSource("aws", "10")]), Disk(store))
        bearing.turn()
        bearing.disk.back_up(bearing.world.now)
        bearing.world.sources[0].month_to_date = "1100"
        assert len(bearing.turn()) == 2
        world = bearing.world
    (state / "ledger.db").write_bytes(b"no database")
    with open_mended(state, world.now) as store:
        bearing = Bearing(World(store, world.sources, now=world.now), Disk(store))
        bearing.world.now += HOUR
        report = bearing.world.cycle().turn(bearing.world.now)
        with store.read() as connection:
            marks = connection.execute("SELECT possible_repeat FROM outbox WHERE kind = 'FIRING'").fetchall()
        told = bearing.world.messages()
        assert len(report.notifications) == len(told) == 2
        assert {what for _, what, reason in told if reason is Reason.ALREADY_OVER} == {"100%"}
        assert sum(mark for (mark,) in marks) == 1
        assert [kind for kind, _, _ in bearing.turn()] == [Kind.RESOLVED]
        assert bearing.turn() == []


def test_an_alarm_that_fires_in_the_backup_and_is_over_now_is_resolved(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with open_mended(state, START) as store:
        bearing = Bearing(World(store, [FakeSource("aws", "850")]), Disk(store))
        bearing.turn()
        bearing.disk.back_up(bearing.world.now)
        world = bearing.world
    (state / "ledger.db").unlink()
    world.sources[0].month_to_date = "700"
    with open_mended(state, world.now) as store:
        bearing = Bearing(World(store, world.sources, now=world.now), Disk(store))
        told = bearing.turn()
    assert (Kind.RESOLVED, "80%", Reason.RESTATED_BELOW) in told


def test_an_answer_to_a_question_from_before_the_store_was_mended_is_not_booked(bearing: Bearing) -> None:
    """Only what came after the last settled reading was asked for; what came before it is missing in the backup."""
    bearing.turn()
    world = bearing.world
    real = world.sources[0].windows
    world.sources[0].windows = lambda now, *rest: tuple(  # type: ignore[method-assign]
        type(window)(window.period, {"USD//": None}) for window in real(now, *rest)
    )
    world.now += HOUR
    report = world.cycle().turn(world.now)
    assert report.sources["aws"].error is not None
    assert "since the store was mended" in report.sources["aws"].error


def test_status_json_says_what_is_in_memory(bearing: Bearing) -> None:
    bearing.turn()
    refuse(bearing.world.store)
    bearing.world.sources[0].month_to_date = "1100"
    bearing.turn()
    with bearing.world.store.read() as connection:
        bearing.disk.publish(bearing.world.store.directory, facts.read_facts(connection) or "")
    document = json.loads((bearing.world.store.directory / "status.json").read_text())
    assert document["health"][0]["subject"] == "disk: read-only"
    bearing.disk.publish(Path("/nonexistent"), "x")


def test_the_settings_of_the_memory_are_those_of_a_store(store: Store) -> None:
    refuse(store)
    write(store, 2)
    with store.read() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("memory",)
    assert database.connect is connect
