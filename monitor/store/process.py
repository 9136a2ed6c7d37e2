"""Which process writes, so that others can see later whether it still lives. Standard library: `status` is a user."""
# ruff: noqa: PTH115, PTH123 pathlib alone would add a sixth to the time that `monitor status` takes.

from __future__ import annotations

import os

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Any

# Of /proc/PID/stat, counted after the name in brackets, which may hold anything.
_STATE, _STARTED = 0, 19
_DEAD = ("Z", "X")


def this_process() -> dict[str, Any] | None:
    """Its number, when it was started (clock ticks since the boot), and where that number counts; None: not known."""
    pid = os.getpid()
    try:
        return {"pid": pid, "started": int(_stat(pid)[_STARTED]), "pid_namespace": _namespace()}
    except (OSError, IndexError, ValueError):
        return None  # no /proc here


def is_alive(told: Any) -> bool | None:
    """Whether the process that `this_process` told of still runs; None when this user, here, cannot tell."""
    if not isinstance(told, dict) or not isinstance(told.get("pid"), int) or told["pid"] <= 0:
        return None
    try:
        if told.get("pid_namespace") != _namespace():
            return None  # in another container that number is another process
        stat = _stat(told["pid"])
        return stat[_STATE] not in _DEAD and int(stat[_STARTED]) == told.get("started")
    except FileNotFoundError:
        return None if _exists(told["pid"]) else False
    except (OSError, IndexError, ValueError):
        return None


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def _exists(pid: int) -> bool:
    """Whether /proc only hides it (hidepid): the signal 0 is none, and is refused for what is there."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
