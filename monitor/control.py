"""How a command reaches a running daemon: a Unix socket, one line of JSON each way.

The socket is for root and for the user of the daemon, by its mode and by what the kernel says of the other side. A
request names the lock of the state directory that it is about, so that a daemon of another one does not obey it.

    {"lock": [device, inode], "command": "silence", "login": "alice", "arguments": {...}}
    {"said": "one sentence", "exit_code": 0}
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monitor.errors import ExitCode, UserError
from monitor.rights import user_name

log = logging.getLogger(__name__)

# (command, its arguments, who it was) -> what to say to them. Raises UserError.
Obey = Callable[[str, Mapping[str, Any], str], str]

SOCKET = "control.sock"
LOCK = "lock"
# The RuntimeDirectory of the shipped unit, which a command that is started by hand does not find in its environment.
_SYSTEM_RUNTIME = Path("/run/cloud-budget-monitor")
LARGEST = 8 * 1024
_DEADLINE_S = 5.0
# A command waits for one transaction, which may have to wait for a large evaluation.
_ANSWER_S = 20.0
_AT_ONCE = 4
_WAITING = 64
# sun_path holds 108 bytes.
_LONGEST_PATH = 100
_ELSEWHERE = {"elsewhere": True}


def ask(state_dir: Path, command: str, arguments: Mapping[str, Any]) -> str | None:
    """Let the daemon of a state directory do something; what it says. None: none answers there.

    Raises UserError: it refuses, it did not answer, or this user may not ask it.
    """
    try:
        lock = _identity(state_dir)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise _not_allowed(state_dir) from error
    request = {"lock": lock, "command": command, "login": os.environ.get("SUDO_USER", ""), "arguments": arguments}
    line = json.dumps(request).encode() + b"\n"
    if len(line) > LARGEST:
        raise UserError("that is too long to be told to the daemon", ExitCode.USAGE)
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    for directory in (*([Path(runtime)] if runtime else []), state_dir, _SYSTEM_RUNTIME):
        try:
            answer = _exchange(directory, line)
        except PermissionError as error:
            if directory == _SYSTEM_RUNTIME:
                continue  # that of a service, which need not be ours
            raise _not_allowed(directory) from error
        if answer is not None and answer != _ELSEWHERE:
            return _understood(answer)
    return None


class Server:
    """Serves the socket in a directory, from threads of its own. Raises OSError when it cannot be made.

    `state_dir`: whose lock this process holds, which is why any socket that is there already is a dead one's.
    """

    def __init__(self, directory: Path, state_dir: Path, obey: Obey, *, deadline_s: float = _DEADLINE_S) -> None:
        self.path = directory / SOCKET
        self._lock = _identity(state_dir)
        self._obey = obey
        self._deadline_s = deadline_s
        self._free = threading.Semaphore(_AT_ONCE)
        self._stopping = threading.Event()
        self._socket = _listen(self.path)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def stop(self) -> None:
        """Take no more commands; one that is being carried out is not waited for."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self.path.unlink()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._socket.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            self._free.acquire()
            try:
                connection, _ = self._socket.accept()
            except OSError:
                self._free.release()
                self._stopping.wait(1.0)  # out of files, say
                continue
            try:
                threading.Thread(target=self._serve, args=(connection,), name="control", daemon=True).start()
            except RuntimeError:  # no thread could be started
                connection.close()
                self._free.release()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # who has gone needs no answer
                until = time.monotonic() + self._deadline_s
                answer = self._answer(connection, until)
                connection.settimeout(self._deadline_s)
                connection.sendall(json.dumps(answer).encode() + b"\n")
        finally:
            self._free.release()

    def _answer(self, connection: socket.socket, until: float) -> dict[str, Any]:
        try:
            # Read first: who is hung up on while still speaking does not hear why.
            line = _line(connection, until)
            uid = _peer(connection)
            request = _request(line)
            if request["lock"] != self._lock:
                return _ELSEWHERE
            by = _who(uid, request["login"])
            said = self._obey(request["command"], request["arguments"], by)
        except UserError as error:
            return {"said": str(error), "exit_code": int(error.exit_code)}
        return {"said": said, "exit_code": 0}


def person() -> str:
    """Who runs this process, as the daemon would see them."""
    return _who(os.geteuid(), os.environ.get("SUDO_USER", ""))


def _listen(path: Path) -> socket.socket:
    """Take the place of whatever is there, except a directory; a symlink is replaced and never followed."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    for left in path.parent.glob(f".{SOCKET}.*"):  # by a kill between the next lines
        left.unlink(missing_ok=True)
    temporary = path.with_name(f".{SOCKET}.{secrets.token_hex(4)}")
    try:
        with _address(temporary) as address:
            listening.bind(address)
        # Before it listens nobody can connect, whatever the umask is.
        temporary.chmod(0o600)
        listening.listen(_WAITING)
        temporary.rename(path)
    except OSError:
        listening.close()
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return listening


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """The path as an address; by way of its open directory where it is longer than an address may be."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _exchange(directory: Path, line: bytes) -> dict[str, Any] | None:
    path = directory / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            with _address(path) as address:
                connection.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None  # no socket, or nobody behind it
        except (TimeoutError, BlockingIOError) as error:
            raise _no_answer(path) from error
        except PermissionError:
            raise
        except OSError:
            return None  # something else has its name
        try:
            connection.sendall(line)
            answer = json.loads(_line(connection, time.monotonic() + _ANSWER_S))
        except (OSError, ValueError, UserError) as error:
            raise _no_answer(path) from error
    return answer if isinstance(answer, dict) else None


def _understood(answer: dict[str, Any]) -> str:
    said, code = str(answer.get("said")), answer.get("exit_code")
    if code != 0:
        raise UserError(said, ExitCode(code) if code in list(ExitCode) else ExitCode.TEMPORARY)
    return said


def _identity(state_dir: Path) -> list[int]:
    status = (state_dir / LOCK).stat()
    return [status.st_dev, status.st_ino]


def _peer(connection: socket.socket) -> int:
    """Who is at the other end, as the kernel says."""
    form = "3i"
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    uid: int = struct.unpack(form, credentials)[1]
    if uid not in (0, os.geteuid()):
        log.warning("A stranger was refused at the control socket. uid=%d", uid)
        raise UserError("only root and the user of the daemon may do that", ExitCode.NO_PERMISSION)
    return uid


def _line(connection: socket.socket, until: float) -> bytes:
    data = b""
    while b"\n" not in data:
        connection.settimeout(max(0.001, until - time.monotonic()))
        received = connection.recv(LARGEST)
        data += received
        if not received or len(data) > LARGEST or time.monotonic() > until:
            raise UserError("expected one line of at most 8 KiB within 5 s", ExitCode.USAGE)
    return data.partition(b"\n")[0]


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError("expected a line of JSON", ExitCode.USAGE) from error
    types = {"lock": list, "command": str, "login": str, "arguments": dict}
    if not isinstance(request, dict) or any(not isinstance(request.get(name), kind) for name, kind in types.items()):
        raise UserError(f"expected a request with {', '.join(types)}", ExitCode.USAGE)
    return request


def _who(uid: int, login: str) -> str:
    """`root`, or `alice (root)` of somebody who became root by sudo."""
    name = user_name(uid)
    login = "".join(character for character in login[:32] if character.isalnum() or character in "._-@")
    return f"{login} ({name})" if login and login != name else name


def _not_allowed(directory: Path) -> UserError:
    return UserError(
        f"{directory} is not for this user: run it as root (sudo) or as the user of the daemon", ExitCode.NO_PERMISSION
    )


def _no_answer(path: Path) -> UserError:
    return UserError(
        f"the daemon did not answer at {path}; see with `monitor status` whether it was done, and try again",
        ExitCode.TEMPORARY,
    )
