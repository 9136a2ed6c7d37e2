"""Which config file and state directory are meant, and the file as TOML. Standard library only: `status` is a user."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from monitor.config_lines import Lines, Loc, scan, unclosed_list
from monitor.errors import ConfigError, ExitCode, Problem, UserError
from monitor.rights import is_there, myself, user_name

SYSTEM_CONFIG = Path("/etc/cloud-budget-monitor/config.toml")
# Quotes of a user's own, beside the config.
PRICES_FILE = "prices.toml"
PRICES_TABLES = ("quote", "discount")
# What helps somebody who may not even see whether there is one.
CONFIG_ADVICE = "run it as another user, or name a config elsewhere with --config"
DEFAULT_STATE_DIR = "state"
_WRITE_ONE = "or write one: monitor demo --write-config config.toml"
MAX_BYTES = 1024 * 1024
# The config needs five levels (a value in a threshold of a budget).
_MAX_DEPTH = 20
_KEY_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
# tomllib's time grows with the square of a key's parts: a long one would hang before it is refused.
_LONG_KEY = re.compile(rf"(?:^[ \t]*+\[{{0,2}}+|[{{,])[ \t]*+(?:{_KEY_PART}){{{_MAX_DEPTH}}}", re.MULTILINE)
_LONGEST_SHOWN = 32
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What was read: the text, and of the file itself its mode bits, owner and group."""

    path: Path
    text: str
    mode: int
    owner: int
    group: int

    @property
    def world_readable(self) -> bool:
        """Whether every user of this machine may read it."""
        return bool(self.mode & stat.S_IROTH)


def find_config(option: str | None, environ: Mapping[str, str], cwd: Path | None = None) -> Path:
    """`--config`, else `$MONITOR_CONFIG`, else `config.toml` in `cwd`, else the system's; it need not exist.

    `cwd` None: that of this process, if it is needed. Raises UserError where it is gone or may not be looked into.
    """
    chosen = option or environ.get("MONITOR_CONFIG")
    if chosen:
        return _absolute(chosen, cwd)
    try:
        local = _absolute("config.toml", cwd)
    except _GoneError:
        return SYSTEM_CONFIG
    return local if is_there(local, CONFIG_ADVICE) else SYSTEM_CONFIG


def state_dir(config_path: Path, option: str | None, environ: Mapping[str, str]) -> Path:
    """`--state-dir`, else `$STATE_DIRECTORY`, else `[monitor].state_dir`, which is relative to the config file.

    The config is read only when it decides. Raises ConfigError.
    """
    # systemd joins several directories by colons; the first is the one for state.
    chosen = option or environ.get("STATE_DIRECTORY", "").split(":")[0]
    if chosen:
        return _absolute(chosen)
    section = parse(read(config_path)).get("monitor", {})
    configured = section.get("state_dir", DEFAULT_STATE_DIR) if isinstance(section, dict) else None
    if not isinstance(configured, str) or not configured:
        message = 'expected a directory in quotes, such as state_dir = "state"'
        raise ConfigError([Problem(str(config_path), None, "monitor.state_dir", message)])
    return (config_path.parent / configured).absolute()


def read(path: Path) -> ConfigFile:
    """Read the config as UTF-8 text, 1 MiB at most. Raises ConfigError with one sentence.

    With 77 where this user may not read it: nothing is known to be wrong with it then.
    """
    try:
        # Not waiting: a named pipe that nobody writes to would hang.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _problem(path, _not_a_file(path))
            data = file.read(MAX_BYTES + 1)
    except PermissionError as error:
        sentence = f"may not be read by {myself()}; let this user read it or run as another"
        raise _problem(path, sentence, exit_code=ExitCode.NO_PERMISSION) from error
    except (OSError, ValueError) as error:
        raise _problem(path, _why_unreadable(path, error)) from error
    if len(data) > MAX_BYTES:
        raise _problem(path, "is larger than 1 MiB, which no config is; check that this is the right file")
    return ConfigFile(path, _decoded(path, data), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def check_safety(file: ConfigFile) -> None:
    """Refuse a config that somebody else could have written. Raises ConfigError."""
    # Ubuntu's users have a group of their own and umask 002: what only that group may change, they alone may change.
    by_group = bool(file.mode & stat.S_IWGRP) and file.group != os.getegid()
    if by_group or file.mode & stat.S_IWOTH:
        whom = "every user" if file.mode & stat.S_IWOTH else "its group"
        raise _problem(file.path, f"can be changed by {whom} (mode {file.mode:04o}); run: chmod go-w {file.path}")
    if file.owner not in (0, os.geteuid()):
        owners = f"{'root or to ' if os.geteuid() else ''}{myself()}, who runs this"
        raise _problem(
            file.path,
            f"belongs to {user_name(file.owner)}, but must belong to {owners}; run: chown {myself()} {file.path}",
        )


def parse(file: ConfigFile) -> dict[str, Any]:
    """Read the text as TOML; numbers with a point stay exact. Raises ConfigError with the line."""
    if long := _LONG_KEY.search(file.text):
        line = file.text.count("\n", 0, long.end()) + 1
        raise _problem(
            file.path, f"a key of more than {_MAX_DEPTH} dotted parts; no key here has more than three", line
        )
    too_deep = _problem(file.path, f"brackets are nested more than {_MAX_DEPTH} deep; no key here needs more than five")
    try:
        document = tomllib.loads(file.text, parse_float=_exact)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:
        raise _not_toml(file, error) from None
    if _is_deep(document):
        raise too_deep
    return document


def path_text(loc: Loc) -> str:
    """A path as people write it: `budgets[0].thresholds[1].at`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[\w-]{1,32}", part) else f'"{shown(part)}"'
            text += f".{name}" if text else name
    return text


def shown(text: str) -> str:
    """A wrong word, as far as it helps to find it: it may be a secret that stands where it does not belong."""
    # An end of a line in it is shown as it would be written, or the sentence would have two.
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if "://" in text:
        return text.partition("://")[0][:8] + "://…"
    return text if len(text) <= _LONGEST_SHOWN else text[:8] + "…"


class _GoneError(UserError):
    """The current directory is not there any more."""

    exit_code = ExitCode.CONFIG


def _absolute(name: str, cwd: Path | None = None) -> Path:
    """Relative to `cwd`, or to that of this process, which is asked for only then. Raises _GoneError."""
    path = Path(name)
    if path.is_absolute():
        return path
    try:
        return (cwd or Path.cwd()) / path
    except OSError as error:
        raise _GoneError(
            f"{name} is nowhere, for the current directory is gone; change to another, or give its whole path"
        ) from error


def _problem(
    path: Path, message: str, line: int | None = None, where: str = "", *, exit_code: ExitCode | None = None
) -> ConfigError:
    return ConfigError([Problem(str(path), line, where, message)], exit_code)


def _not_a_file(path: Path) -> str:
    if path.name == PRICES_FILE:
        return "is not a regular file; write your quotes into a file of that name, or remove it"
    return "is not a regular file; give the path of a config.toml"


def _why_unreadable(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        if path == SYSTEM_CONFIG:
            return (
                "there is no config: looked for ./config.toml and this file; name one with --config or "
                f"$MONITOR_CONFIG, {_WRITE_ONE}"
            )
        return "there is no such file; check --config and $MONITOR_CONFIG"
    if isinstance(error, IsADirectoryError):
        return _not_a_file(path)
    why = os.strerror(error.errno or 0) if isinstance(error, OSError) else "its name is not a path"
    return f"cannot be read ({why}); check --config and $MONITOR_CONFIG"


def _decoded(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # Without the cause: it would hold the bytes.
        raise _problem(path, "is not UTF-8 text here; save the file as UTF-8", line) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _problem(path, "holds a NUL character here; save the file as plain UTF-8 text", line)
    return text


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:20]} is out of range") from None


def _not_toml(file: ConfigFile, error: ValueError) -> ConfigError:
    message = _POSITION.sub("", str(error))
    found = _POSITION.search(str(error))
    if found is None:
        # Only numbers fail without a position: too many digits, or an exponent beyond reason.
        return _problem(file.path, "a number in this file is out of range; write plain amounts such as 12.50")
    lines = file.text.split("\n")
    line = int(found[1]) if found[1] else len(file.text.rstrip("\n").split("\n"))
    twice = _given_twice("\n".join(lines[:line]))
    if twice is not None:
        loc, first, second = twice
        name = f"[{path_text(loc)}]" if message.startswith("Cannot declare") else path_text(loc)
        return _problem(file.path, f"is already set on line {first}; keep one of the two", second, name)
    if (begins := unclosed_list(file.text, line)) is not None:
        return _problem(file.path, "the list that begins here is not closed; add the ] where it ends", begins)
    hint = '; text needs quotes, such as poll = "5m"' if "after a statement" in message or "value" in message else ""
    return _problem(file.path, f"not valid TOML: {message[:1].lower()}{message[1:]}{hint}", line)


def _given_twice(text: str) -> tuple[Loc, int, int] | None:
    lines: Lines = scan(text)
    return lines.twice


def _is_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)
