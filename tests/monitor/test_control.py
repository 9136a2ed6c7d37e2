"""The control socket: what it takes, what it refuses, and that nothing keeps it from the next one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import control
from monitor.control import Server, ask
from monitor.errors import ExitCode, UserError
from monitor.store.database import Store, open_store


def obey(command: str, arguments: Mapping[str, Any], by: str) -> str:
    if command == "refuse":
        raise UserError("no such thing", ExitCode.USAGE)
    return f"{command} {dict(arguments)} by {by}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def server(store: Store) -> Iterator[Server]:
    serving = Server(store.directory, store.directory, obey, deadline_s=2.0)
    yield serving
    serving.stop()


def raw(server: Server, data: bytes, *, end: bool = True) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(server.path))
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    return answer


def test_a_command_is_carried_out_and_its_answer_comes_back(server: Server, store: Store) -> None:
    assert ask(store.directory, "silence", {"budget": "träining"}) == (
        f"silence {{'budget': 'träining'}} by {control.person()}"
    )


def test_a_refusal_keeps_its_sentence_and_its_code(server: Server, store: Store) -> None:
    with pytest.raises(UserError, match="no such thing") as caught:
        ask(store.directory, "refuse", {})
    assert caught.value.exit_code is ExitCode.USAGE


def test_without_a_daemon_there_is_no_answer(store: Store, tmp_path: Path) -> None:
    assert ask(store.directory, "silence", {}) is None
    assert ask(tmp_path / "nowhere", "silence", {}) is None
    Server(store.directory, store.directory, obey).stop()
    assert ask(store.directory, "silence", {}) is None


def test_the_daemon_of_another_state_directory_does_not_obey(
    server: Server, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both think that this is where their socket is, as two services of one user might.
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(store.directory))
    with open_store(tmp_path / "mine") as mine:
        assert ask(mine.directory, "silence", {}) is None
    assert ask(store.directory, "silence", {}) is not None


def test_sudo_says_for_whom(server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice\x1b[31m")
    name = control.person().partition("(")[2].strip(")")
    assert ask(store.directory, "ack", {}) == f"ack {{}} by alice31m ({name})"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b"[" * 8000 + b"\n",
        b"\xff\xfe\n",
        b'{"command": "silence"}\n',
        b'{"lock": [], "command": 5, "login": "", "arguments": {}}\n',
        b"x" * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_rubbish_is_answered_and_forgotten(server: Server, store: Store, data: bytes) -> None:
    answer = raw(server, data)
    assert answer == b"" or json.loads(answer)["exit_code"] == ExitCode.USAGE
    assert ask(store.directory, "silence", {}) is not None


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_line_at_all(server: Server, data: bytes) -> None:
    answer = raw(server, data.replace(b"\n", b"") + b"\n")
    assert "exit_code" in json.loads(answer)


def test_who_says_nothing_is_left_after_the_deadline(server: Server, store: Store) -> None:
    # More of them than are served at once: those that follow wait, and are served when the deadline is over.
    silent = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for one in silent:
        one.connect(str(server.path))
        one.sendall(b"{")
    assert ask(store.directory, "silence", {}) is not None
    for one in silent:
        one.settimeout(10)
        assert one.recv(1) == b"", "it has hung up"
        one.close()


def test_one_byte_at_a_time_does_not_stretch_the_deadline(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(server.path))
        over = threading.Event()

        def drip() -> None:
            while not over.wait(0.05):
                try:
                    slow.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        slow.settimeout(20)
        slow.recv(1000)  # told so, or hung up on; a deadline that moved would let this wait for ever
        over.set()
        thread.join()


def test_who_goes_away_before_the_answer_harms_nobody(store: Store) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slowly(command: str, arguments: Mapping[str, Any], by: str) -> str:
        begun.set()
        may_end.wait(20)
        return "done"

    server = Server(store.directory, store.directory, slowly)
    status = (store.directory / control.LOCK).stat()
    request = {"lock": [status.st_dev, status.st_ino], "command": "x", "login": "", "arguments": {}}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        assert begun.wait(20)
    may_end.set()
    assert ask(store.directory, "y", {}) == "done"
    server.stop()


@pytest.mark.parametrize("what", ["socket", "file", "symlink", "fifo"])
def test_what_is_in_its_place_is_replaced_and_not_followed(store: Store, tmp_path: Path, what: str) -> None:
    path, target = store.directory / control.SOCKET, tmp_path / "target"
    target.write_text("kept")
    if what == "socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    elif what == "file":
        path.write_text("old")
    elif what == "symlink":
        path.symlink_to(target)
    else:
        os.mkfifo(path)
    server = Server(store.directory, store.directory, obey)
    assert path.is_socket()
    assert path.lstat().st_mode & 0o777 == 0o600
    assert ask(store.directory, "ack", {}) is not None
    server.stop()
    assert target.read_text() == "kept"
    assert list(store.directory.glob(".control*")) == []


def test_a_directory_in_its_place_is_an_error_and_leaves_nothing_behind(store: Store) -> None:
    (store.directory / control.SOCKET / "x").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        Server(store.directory, store.directory, obey)
    assert list(store.directory.glob(".control*")) == []


def test_something_else_by_that_name_is_no_daemon(store: Store) -> None:
    (store.directory / control.SOCKET).write_text("")
    assert ask(store.directory, "ack", {}) is None


def test_a_path_longer_than_an_address_may_be(tmp_path: Path) -> None:
    with open_store(tmp_path / ("d" * 100) / ("e" * 100)) as store:
        server = Server(store.directory, store.directory, obey)
        assert ask(store.directory, "ack", {}) is not None
        server.stop()


STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b"{}\\n")
print(connection.recv(1000).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_stranger_is_refused_whatever_the_mode_of_the_socket_is(server: Server) -> None:
    server.path.chmod(0o666)
    for directory in server.path.parents:
        if not directory.stat().st_mode & 0o001:
            directory.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, server.path], capture_output=True, text=True, check=False, timeout=60
    )
    assert json.loads(done.stdout) == {
        "said": "only root and the user of the daemon may do that",
        "exit_code": ExitCode.NO_PERMISSION,
    }
