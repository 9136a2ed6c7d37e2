"""The store's file: who may open it, how safely it is written, and what happens when it cannot be."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from monitor.errors import AlreadyRunningError, ExitCode, StoreError, StoreTooNewError
from monitor.store import lock, opening, schema
from monitor.store.database import StoreFullError, connect, open_store
from monitor.store.rows import CorruptStoreError

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from monitor.store.database import open_store
with open_store(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_second_process_is_turned_away_within_a_second(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        begun = time.monotonic()
        with pytest.raises(AlreadyRunningError, match="another monitor holds") as caught:
            open_store(tmp_path)
        assert f"(process {process.pid})" in str(caught.value)
        assert time.monotonic() - begun < 1
        assert caught.value.exit_code == ExitCode.TEMPORARY
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        open_store(tmp_path).close()
    finally:
        process.kill()
        process.communicate()


def test_one_store_a_directory_even_within_a_process(tmp_path: Path) -> None:
    with open_store(tmp_path), pytest.raises(AlreadyRunningError):
        open_store(tmp_path)
    open_store(tmp_path).close()


def test_every_connection_syncs_fully_and_checks_what_it_reads(tmp_path: Path) -> None:
    with (
        open_store(tmp_path) as store,
        store.read() as connection,
        contextlib.closing(connect(tmp_path / "ledger.db")) as other,
    ):
        for one in (connection, other):
            assert one.execute("PRAGMA synchronous").fetchone() == (2,)
            assert one.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert one.execute("PRAGMA foreign_keys").fetchone() == (1,)
            assert one.execute("PRAGMA trusted_schema").fetchone() == (0,)
            assert one.execute("PRAGMA cell_size_check").fetchone() == (1,)
            assert one.execute("PRAGMA busy_timeout").fetchone() == (5000,)


def test_a_connection_that_is_opened_anew_is_set_up_again(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store._discard()
        with store.read() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_every_table_is_strict(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, store.read() as connection:
        loose = connection.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict").fetchall()
    assert [name for (name,) in loose if not name.startswith("sqlite_")] == []


@pytest.mark.parametrize("umask", [0, 0o077])
def test_nobody_else_may_read_the_store_but_all_may_pass_to_the_status(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        directory = tmp_path / "state"
        with open_store(directory) as store:
            with store.transaction() as tx:
                tx.execute("INSERT INTO turn VALUES (1, 0, 0)")
            modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in directory.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.lstat().st_mode) == 0o711
    assert set(modes.values()) == {0o600}
    assert {"ledger.db", "ledger.db-wal", "lock"} <= modes.keys()


def test_a_store_left_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    (tmp_path / "ledger.db").chmod(0o644)
    open_store(tmp_path).close()
    assert stat.S_IMODE((tmp_path / "ledger.db").stat().st_mode) == 0o600


def test_a_state_directory_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to("elsewhere")
    with pytest.raises(StoreError, match="symlink") as caught:
        open_store(tmp_path / "state")
    assert caught.value.exit_code == ExitCode.CONFIG
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_symlink_of_systemd_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_SYSTEMD_STATE", tmp_path)
    (tmp_path / "private" / "monitor").mkdir(parents=True)
    (tmp_path / "monitor").symlink_to("private/monitor")
    (tmp_path / "other").symlink_to("private/monitor")
    open_store(tmp_path / "monitor").close()
    assert (tmp_path / "private" / "monitor" / "ledger.db").exists()
    with pytest.raises(StoreError, match="symlink"):
        open_store(tmp_path / "other")


@pytest.mark.parametrize("name", ["lock", "ledger.db"])
@pytest.mark.parametrize("kind", ["fifo", "symlink", "directory"])
def test_only_regular_files_are_used(tmp_path: Path, name: str, kind: str) -> None:
    target = tmp_path / "victim"
    target.write_text("precious")
    state = tmp_path / "state"
    state.mkdir()
    match kind:
        case "fifo":
            os.mkfifo(state / name)
        case "symlink":
            (state / name).symlink_to(target)
        case _:
            (state / name).mkdir()
    with pytest.raises(StoreError) as caught:
        open_store(state)
    assert caught.value.exit_code == ExitCode.CONFIG
    assert target.read_text() == "precious"


def test_a_store_of_a_newer_version_is_left_untouched(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    path = tmp_path / "ledger.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError, match="newer version") as caught:
        open_store(tmp_path)
    assert caught.value.exit_code == ExitCode.CONFIG
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_newer_version_is_seen_in_the_write_ahead_log_too(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    path = tmp_path / "ledger.db"
    with contextlib.closing(connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        before = path.read_bytes()
        with pytest.raises(StoreTooNewError):
            open_store(tmp_path)
        assert path.read_bytes() == before


def test_a_first_start_that_was_killed_halfway_is_begun_again(tmp_path: Path) -> None:
    begin = "CREATE TABLE series (x); PRAGMA cache_size = 1; INSERT INTO series VALUES (zeroblob(99999));"
    code = f"""
import os, signal, sqlite3
connection = sqlite3.connect({str(tmp_path / "ledger.db")!r}, isolation_level=None)
connection.executescript({"BEGIN;" + begin!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (tmp_path / "ledger.db-journal").exists()
    assert (tmp_path / "ledger.db").stat().st_size > 0
    with open_store(tmp_path) as store, store.read() as connection:
        assert connection.execute("SELECT count(*) FROM series").fetchone() == (0,)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="another program"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    "content", [b"\0" * 8192, b"not a database at all, but long enough" * 40, b"SQLite format 3\0"]
)
def test_garbage_is_reported_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.db").write_bytes(content)
    with pytest.raises(CorruptStoreError, match="damaged") as caught:
        open_store(tmp_path)
    assert "\n" not in str(caught.value)
    os.close(lock.acquire(tmp_path))


def test_what_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with pytest.raises(ZeroDivisionError), store.transaction() as tx:
            assert tx.execute("INSERT INTO turn VALUES (1, 0, 0)").rowcount / 0
        with store.read() as connection:
            assert connection.execute("SELECT count(*) FROM turn").fetchone() == (0,)


def test_a_transaction_within_one_is_part_of_it(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        outer = contextlib.ExitStack()
        outer.enter_context(store.transaction())
        with store.transaction() as inner:
            inner.execute("INSERT INTO turn VALUES (1, 0, 0)")
        with store.read() as connection:
            assert connection.execute("SELECT count(*) FROM turn").fetchone() == (1,)
        with pytest.raises(KeyError), outer:
            raise KeyError
        with store.read() as connection:
            assert connection.execute("SELECT count(*) FROM turn").fetchone() == (0,)


def test_another_thread_waits_for_the_end_of_a_transaction(tmp_path: Path) -> None:
    seen: list[int] = []
    with open_store(tmp_path) as store:
        inside = threading.Event()

        def look() -> None:
            inside.wait(10)
            with store.read() as connection:
                seen.extend(connection.execute("SELECT count(*) FROM turn").fetchone())

        looker = threading.Thread(target=look)
        looker.start()
        with store.transaction() as tx:
            inside.set()
            tx.execute("INSERT INTO turn VALUES (1, 0, 0)")
        looker.join(10)
    assert seen == [1]


def test_a_full_disk_costs_the_transaction_and_nothing_else(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with store.transaction() as tx:
            tx.execute("INSERT INTO turn VALUES (1, 0, 0)")
        with store.read() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")  # the same error as a full disk, without root
        with pytest.raises(StoreFullError, match="full") as caught, store.transaction() as tx:
            tx.execute("INSERT INTO facts VALUES (1, ?, 0)", ("x" * 100_000,))
        assert caught.value.exit_code == ExitCode.TEMPORARY
        with store.read() as connection:
            assert connection.execute("SELECT count(*) FROM turn").fetchone() == (1,)
            connection.execute("PRAGMA max_page_count = 1000000")
        with store.transaction() as tx:
            tx.execute("INSERT INTO facts VALUES (1, ?, 0)", ("x" * 100_000,))


FAIL_TO_WRITE = """
import resource, sys
from pathlib import Path
from monitor.errors import StoreError
from monitor.store.database import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_store(Path(sys.argv[1])) as store:
    with store.transaction() as tx:
        tx.execute("INSERT INTO turn VALUES (1, 0, 0)")
    try:
        with store.transaction() as tx:
            tx.execute("INSERT INTO facts VALUES (1, ?, 0)", ("x" * 1_000_000,))
    except StoreError as error:
        print(error)
    print(store._connection is None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with store.transaction() as tx:
        tx.execute("INSERT INTO facts VALUES (1, ?, 0)", ("x" * 1_000_000,))
    with store.read() as connection:
        for table in ("turn", "facts"):
            print(connection.execute("SELECT count(*) FROM " + table).fetchone())
"""


def test_after_a_failed_write_the_file_is_opened_anew(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FAIL_TO_WRITE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    error, reopened, *rows = run.stdout.splitlines()
    assert "cannot be used: disk I/O error" in error
    assert reopened == "True"
    assert rows == ["(1,)", "(1,)"]


def test_a_mistake_in_a_statement_is_not_taken_for_a_damaged_store(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, pytest.raises(sqlite3.ProgrammingError), store.read() as connection:
        connection.execute("SELECT ?", ())


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"), store.transaction():
        pass


@pytest.mark.parametrize("table", ["charge", "transition"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET checksum = 0"])
def test_history_cannot_be_rewritten(tmp_path: Path, table: str, statement: str) -> None:
    with open_store(tmp_path) as store:
        with store.transaction() as tx:
            tx.execute("INSERT INTO series VALUES (1, '', '', '', '', '', '', '', '', '', 0)")
            tx.execute("INSERT INTO charge VALUES (1, 0, 1, 0, '1', 0, 0, 0)")
            tx.execute("INSERT INTO transition VALUES (1, '', 0, '', '', '', '', '', '', 0, '', 0)")
        with pytest.raises(StoreError, match="append-only"), store.transaction() as tx:
            tx.execute(statement.format(table))
