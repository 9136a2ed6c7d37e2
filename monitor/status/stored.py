"""Reads what the daemon stored, without disturbing it: the store if it can be read, else status.json beside it."""
# pathlib alone would add a sixth to the time that `monitor status` takes.
# ruff: noqa: PTH113, PTH120, PTH116, PTH118, PTH123

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta

from monitor.clock import to_text
from monitor.status.place import SYSTEM_STATUS, Place, what_is_wrong
from monitor.status.words import Problem, State
from monitor.store.checksum import checksum
from monitor.store.ofd import is_held
from monitor.store.process import is_alive

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Any

STORE = "ledger.db"
STATUS_FILE = "status.json"
LOCK = "lock"
# A monitoring system gives a check ten seconds; a writer holds this store for milliseconds.
BUSY_S = 2
# In which the facts document says when it was written: after its schema and version.
_HEAD = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWED = """SELECT receiver, COUNT(*), MIN(coalesce(owed_since, created_at)) FROM outbox
    WHERE state IN ('DUE', 'SENDING') GROUP BY receiver"""
_RECEIVERS = "SELECT name, state, since, error, last_delivery, checksum FROM receiver ORDER BY name"
# The store is whole, but somebody else has it or this user may not open it.
_NOT_NOW = frozenset(
    (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY)
)
# The shared memory of a WAL store cannot be opened: a read-only mount, or a directory of somebody else.
_NO_SHARED_MEMORY = frozenset((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY))
_PRIMARY_CODE = 0xFF
_NEXT = "run `monitor once` for one turn, or name the place: --state-dir DIR"
# Whether a config is valid is more than `status` can tell: a turn is refused with one that is not.
_CHECK_FIRST = "run `monitor check-config`, then `monitor once` for one turn; or name the place: --state-dir DIR"
_NO_CONFIG = "name a config, --config FILE, or write one: `monitor demo --write-config config.toml`"


class DamagedError(Exception):
    """What is stored is not what this version writes. The message continues "the store ..."."""


class Stored:
    """`document` None: there are no facts. `receivers` None: those of the document. `trouble`: what went wrong."""

    __slots__ = ("document", "receivers", "trouble")

    def __init__(self) -> None:
        self.document: dict[str, Any] | None = None
        self.receivers: list[dict[str, Any]] | None = None
        self.trouble: Problem | None = None


def read(place: Place) -> Stored:
    """The newest facts that can be read; never raises for state that is absent, locked, damaged or forbidden.

    Facts from status.json have no trouble when the store is merely not for this user or in use; a damaged store is
    trouble all the same.
    """
    stored = Stored()
    reason, damaged = "", False
    if place.state_dir is not None and os.path.isfile(os.path.join(place.state_dir, STORE)):
        try:
            stored.document, stored.receivers = _from_store(os.path.join(place.state_dir, STORE))
        except (sqlite3.Error, DamagedError, RecursionError) as error:
            reason, damaged = str(error) or type(error).__name__, _is_damage(error)
        else:
            _prefer_newer(stored, place)
            return stored
    stored.document = _from_files(place)
    if damaged or (reason and stored.document is None):
        text = f"the store {place.state_dir}/{STORE} cannot be read: {reason}"
        do = "restart the daemon, it mends its store when it starts; its log: `journalctl -u cloud-budget-monitor`"
        stored.trouble = Problem(
            State.UNKNOWN, text, do if damaged else "run it as the daemon's user, or: --state-dir DIR"
        )
    elif stored.document is None:
        stored.trouble = _why_nothing(place)
    return stored


def daemon_runs(place: Place, document: dict[str, Any] | None) -> bool | None:
    """Whether a daemon runs here; None when this user cannot tell.

    By the lock; where that may not be looked at, by the process that `document` says it is from.
    """
    held = _lock_is_held(place)
    if held is not None:
        return held
    told = {} if document is None else document
    if "daemon" not in told:  # from the store, or of an older version
        return None
    # Written by a command that ended: then no daemon has written since.
    return False if told["daemon"] is None else is_alive(told["daemon"])


def _why_nothing(place: Place) -> Problem:
    directory = place.state_dir
    if directory is None:
        return Problem(State.UNKNOWN, "no turn yet: no config and no daemon found here", _NO_CONFIG)
    try:
        os.stat(os.path.join(directory, STORE))
    except PermissionError:
        closed = _closed(directory)
        text = f"the state directory {directory} may not be entered by this user"
        return Problem(State.UNKNOWN, text, f"chmod o+x {closed}, or run it as {_owner(closed)}")
    except OSError:
        pass  # it is not there, or cannot be read: there is nothing to tell
    if place.config is not None and (wrong := what_is_wrong(place.config)):
        return Problem(State.UNKNOWN, wrong, "repair it: `monitor check-config` names every problem")
    do = _NEXT if place.config is None else _CHECK_FIRST
    return Problem(State.UNKNOWN, f"no turn yet: nothing is stored in {directory}", do)


def _closed(directory: str) -> str:
    """It, or the directory above it that keeps this user out."""
    above = os.path.dirname(directory)
    return directory if above == directory or os.access(above, os.X_OK) else _closed(above)


def _owner(directory: str) -> str:
    """Whose it is, for people."""
    import pwd

    try:
        return pwd.getpwuid(os.stat(directory).st_uid).pw_name
    except (OSError, KeyError):
        return "the daemon's user"


def _lock_is_held(place: Place) -> bool | None:
    """Asked without taking it: a daemon that starts just then must have it."""
    if place.state_dir is None:
        return None
    try:
        file = os.open(os.path.join(place.state_dir, LOCK), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None if place.system else False  # under systemd the state is elsewhere
    except OSError:
        return None
    try:
        return is_held(file)
    except OSError:
        return None
    finally:
        os.close(file)


def _from_store(path: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    try:
        return _query(path, "mode=ro")
    except sqlite3.OperationalError as error:
        # `immutable` does not look at the write-ahead log, so it must hold nothing.
        if _code(error) not in _NO_SHARED_MEMORY or _size(f"{path}-wal"):
            raise
        return _query(path, "mode=ro&immutable=1")


def _query(path: str, mode: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file:{escaped}?{mode}", uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("BEGIN")
        facts = connection.execute("SELECT document, checksum FROM facts WHERE id = 1").fetchone()
        receivers = connection.execute(_RECEIVERS).fetchall()
        owed = {name: (count, oldest) for name, count, oldest in connection.execute(_OWED)}
    finally:
        connection.close()
    if facts is None:
        return None, _receivers(set(), receivers, owed)
    if checksum("facts", 1, facts[0]) != facts[1]:
        raise DamagedError("its facts do not match their checksum")
    document = _understood(facts[0])
    return document, _receivers({row["name"] for row in document.get("receivers", [])}, receivers, owed)


def _receivers(configured: set[str], rows: list[Any], owed: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Those configured, and those that are still owed something."""
    known = {}
    for name, state, since, error, last_delivery, stored_checksum in rows:
        if checksum("receiver", name, state, since, error, last_delivery) != stored_checksum:
            raise DamagedError(f"its row of receiver {name!r} does not match its checksum")
        known[name] = {
            "state": state,
            "since": _instant(since),
            "error": error,
            "last_delivery": _instant(last_delivery),
        }
    unknown = {"state": "OK", "since": None, "error": None, "last_delivery": None}
    return [
        {
            "name": name,
            **known.get(name, unknown),
            "undelivered": owed.get(name, (0, None))[0],
            "oldest_due": _instant(owed.get(name, (0, None))[1]),
        }
        for name in sorted(configured | set(owed))
    ]


def _instant(microseconds: int | None) -> str | None:
    return None if microseconds is None else to_text(_EPOCH + timedelta(microseconds=microseconds))


def _prefer_newer(stored: Stored, place: Place) -> None:
    """A daemon whose disk refuses goes on in memory, and what it knows then is in its status.json alone."""
    known = "" if stored.document is None else str(stored.document.get("written_at")).removesuffix("Z")
    if any(_written_at(path) > known for path in _files(place)):
        document = _from_files(place, newer_than=known)
        if document is not None:
            stored.document, stored.receivers = document, None


def _written_at(path: str) -> str:
    """Of a status.json, from its first bytes, for comparing: reading all of it would take longer than all the rest."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD).decode("ascii", "replace")
    except OSError:
        return ""
    return head.partition('"written_at": "')[2].partition('"')[0].removesuffix("Z")


def _files(place: Place) -> list[str]:
    beside = [] if place.state_dir is None else [os.path.join(place.state_dir, STATUS_FILE)]
    return [path for path in [*beside, *([SYSTEM_STATUS] if place.system else [])] if os.path.isfile(path)]


def _from_files(place: Place, newer_than: str = "") -> dict[str, Any] | None:
    for path in _files(place):
        if _written_at(path) > newer_than or not newer_than:
            try:
                with open(path, encoding="utf-8") as file:
                    return _understood(file.read())
            except (OSError, UnicodeDecodeError, DamagedError, RecursionError):
                continue  # the next one may do; that none did is told by `read`
    return None


def _understood(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DamagedError("its facts are not JSON") from error
    if not isinstance(document, dict) or document.get("schema") != 1:
        raise DamagedError("its facts are those of another version of this program")
    return document


def _is_damage(error: Exception) -> bool:
    return _code(error) not in _NOT_NOW


def _code(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY_CODE


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
