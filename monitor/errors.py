"""What can go wrong, by what a caller does about it. Failures of outside calls are those of `alarms.errors`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from alarms.errors import (
    AccessError,
    BadDataError,
    MissingExtraError,
    OutboxError,
    OutsideError,
    PermanentError,
    TemporaryError,
)

__all__ = [
    "AccessError",
    "AlreadyRunningError",
    "BadDataError",
    "ConfigError",
    "ExitCode",
    "MissingExtraError",
    "OutputError",
    "OutsideError",
    "PermanentError",
    "Problem",
    "StoreError",
    "StoreTooNewError",
    "TemporaryError",
    "UserError",
]


class ExitCode(IntEnum):
    """sysexits(3), for every command but `status`."""

    OK = 0
    OVER_BUDGET = 2
    USAGE = 64
    DATA = 65
    UNAVAILABLE = 69
    INTERNAL = 70
    TEMPORARY = 75
    NO_PERMISSION = 77
    CONFIG = 78


class UserError(Exception):
    """Ends a command with one clear sentence on stderr and `exit_code`."""

    exit_code = ExitCode.DATA

    def __init__(self, message: str, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class OutputError(Exception):
    """Stdout is full, closed or gone."""


class AlreadyRunningError(UserError):
    """Another process holds the state directory."""

    exit_code = ExitCode.TEMPORARY


class StoreError(UserError, OutboxError):
    """The store cannot be opened, read or written; to `alarms` it is the outbox that cannot.

    `again`: the store has found a way to go on, and the same may work now.
    """

    exit_code = ExitCode.NO_PERMISSION
    again = False


class StoreTooNewError(StoreError):
    """The store was written by a newer version; it is left as it is."""

    exit_code = ExitCode.CONFIG


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a config: where (file:line, key path), what was expected, and what to do."""

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigError(UserError):
    """Every problem of a config at once."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[Problem], exit_code: ExitCode | None = None) -> None:
        super().__init__("\n".join(str(problem) for problem in problems), exit_code)
        self.problems = problems
