"""kill -9 at any instant: nothing that was owed is lost, and at most one message a kill is repeated, marked as such."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from monitor.period import month_of
from monitor.store.database import connect, open_store
from tests.fakes import crash_program
from tests.fakes.ledger import totals_by_series

ROOT = Path(__file__).parents[2]
EXPECTED = crash_program.expected()


class Counter(BaseHTTPRequestHandler):
    """Counts what it has been given before it answers. `arrived`: path -> whether each arrival was marked a repeat."""

    arrived: dict[str, list[bool]]

    def do_POST(self) -> None:
        self.arrived[self.path].append(self.headers["Repeat"] == "1")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """The other side was killed in the middle; that is what this test is about."""


@contextmanager
def counting(arrived: dict[str, list[bool]]) -> Iterator[int]:
    server = Server(("127.0.0.1", 0), type("Handler", (Counter,), {"arrived": arrived}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextmanager
def killer() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.fakes.crash_program"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.communicate(timeout=30)


def history(process: subprocess.Popen[str], directory: Path, port: int, chance: random.Random) -> int:
    """Let it work, kill it, start it again, until it gets through; how often it was killed."""
    assert process.stdin is not None
    assert process.stdout is not None
    kills = 0
    while True:
        seconds = chance.uniform(0.003, 0.09) * (1 + kills / 10)
        process.stdin.write(f"{directory} {port} {seconds}\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        if code == 0:
            return kills
        assert code == -signal.SIGKILL
        kills += 1


def check(directory: Path, arrived: dict[str, list[bool]], kills: int) -> None:
    assert arrived.keys() == EXPECTED, "lost, or told by halves"
    for receiver in (*crash_program.RECEIVERS, crash_program.LATE):
        repeats = [marks[1:] for path, marks in arrived.items() if path.startswith(f"/{receiver}/")]
        assert sum(map(len, repeats)) <= kills, "a receiver heard something twice without a crash"
        assert all(all(marks) for marks in repeats), "a repeat that does not say so"
    with open_store(directory) as store, store.read() as connection:
        spent = totals_by_series(connection, month_of(crash_program.START))
        assert connection.execute("SELECT count(*) FROM transition").fetchone() == (crash_program.TURNS,)
    assert spent == {crash_program.SERIES: Decimal("0.1") * crash_program.TURNS}
    with closing(connect(directory / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def run(tmp_path: Path, wanted_kills: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same instants each time
    total = number = 0
    with killer() as process:
        while total < wanted_kills:
            number += 1
            directory = tmp_path / str(number)
            arrived: dict[str, list[bool]] = defaultdict(list)
            with counting(arrived) as port:
                kills = history(process, directory, port, chance)
            check(directory, arrived, kills)
            total += kills


def test_forty_kills_lose_nothing(tmp_path: Path) -> None:
    run(tmp_path, 40, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_kills_lose_nothing(tmp_path: Path) -> None:
    run(tmp_path, 1000, seed=2)
